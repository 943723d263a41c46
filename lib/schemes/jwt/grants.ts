import type { FastifyRequest } from 'fastify'
import type { Foreign, Invalid } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import type {
  BegunGrant, GrantedTokens, GrantOptions, GrantRecord, IssuedTokens, NewGrant, OwnerGrants, RefreshGrant, Revocation
} from '../../../types/tokens.js'
import { AuthError } from '../../errors.js'
import { publish } from '../../events/events.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { loadPrincipal, principalFrom } from '../../kit/principal.js'
import { changeRecord, fieldIn, isRemovable, ownerOf, timeIn } from '../../stores/records.js'
import { settleAll } from '../../util/objects.js'
import type { IsClient, LiveTokens } from './own-tokens.js'
import {
  codeKind, createHandle, endOf, familyEntry, familyId, familyKind, familyOf, RefreshTokens, rotate, standingOf,
  type Family, type RefreshToken
} from './refresh-token.js'
import type { RefreshSettings } from './sign-options.js'
import type { Signer } from './sign.js'

/** The maximum number of grants per person, so that nobody can fill the store. */
const maxFamilies = 100

/** Configuration of {@link Grants}. */
export interface GrantsOptions {
  readonly scheme: string
  readonly signer: Signer
  readonly issuer: string
  readonly resource: string
  /** `null` if access tokens are valid until they expire. */
  readonly live: LiveTokens | null
  /** `null` if the scheme has no refresh tokens: a grant ends with its access token. */
  readonly refresh: RefreshSettings | null
  readonly store: Store
  /** The scheme's own `load`, which completes a person at each refresh; `null` if it has none. */
  readonly load: Load | null
  /** The plugin's `load`. */
  readonly pluginLoad: Load | null
  readonly grants: SchemeContext['grants']
  /** Returns true if a client exists, or is not checked. */
  readonly hasClient: IsClient
}

/** A person with their current rights, and the scopes that they still have of a grant. */
interface Person {
  readonly principal: Principal
  readonly scopes: readonly string[]
}

interface Answer {
  readonly tokens: IssuedTokens
  readonly announce: () => void
}

/** Manages the grants of one signing scheme: issues access tokens, and refreshes them once per refresh token. */
export class Grants {
  readonly #options: GrantsOptions
  readonly #tokens: RefreshTokens | null

  constructor (options: GrantsOptions) {
    const { issuer, refresh } = options
    this.#options = options
    this.#tokens = refresh === null ? null : new RefreshTokens({ issuer, ...refresh })
  }

  /** Begins a grant for a person who has just authenticated at the application. */
  async grant (input: PrincipalInput, { scopes, client, authenticatedAt }: GrantOptions): Promise<GrantedTokens> {
    const { signer } = this.#options
    const principal = signer.person(input)
    const handle = createHandle()
    const { tokens, announce } = await this.#begin(principal, handle, {
      ...this.#newFamily(principal, { refresh: true, roles: true }),
      client: client ?? signer.client,
      scopes: scopes ?? principal.scopes,
      authenticatedAt: authenticatedAt?.getTime() ?? Date.now()
    }) as BegunGrant
    announce()
    return tokens as GrantedTokens
  }

  /** Begins a grant for a client, as {@link TokenService.begin} does. */
  async begin (grant: NewGrant): Promise<BegunGrant | null> {
    const { client, scopes, authenticatedAt, handle } = grant
    const principal = this.#options.signer.person(grant.principal)
    return await this.#begin(principal, handle, {
      ...this.#newFamily(principal, grant),
      client,
      scopes,
      authenticatedAt: authenticatedAt?.getTime() ?? null
    })
  }

  /**
   * Exchanges a refresh token. Returns *foreign* for a token of another scheme, and *invalid* for a token of this
   * scheme that is not valid any more.
   * @throws {AuthError} `AUTH_UNAVAILABLE`
   */
  async refresh (
    request: FastifyRequest, text: unknown, options: RefreshGrant
  ): Promise<IssuedTokens | Invalid | Foreign> {
    const { store, resource, refresh } = this.#options
    const format = this.#tokens
    const token = format?.read(text, options.client) ?? null
    if (token === null || refresh === null || format === null) return foreign
    return await changeRecord('a grant', async () => {
      const record = await store.get(familyKind, familyId(token.handle))
      if (record === null) return invalid('its grant has ended, or is not in the store of this instance')
      const family = familyOf(record)
      if (family.resource !== resource) return foreign
      const standing = standingOf(family, token.generation, refresh)
      if (standing === 'unknown') return invalid('the store does not know the refresh token yet, or no longer')
      if (standing === 'used again') return await this.#reused(record, token)
      if (!await this.#options.hasClient(family.client)) return invalid('the client of the grant was removed')
      const person = await this.#load(record, request, options.load ?? null)
      if (person === null) return await this.#lost(record)
      const narrowed = { ...person, scopes: narrow(person.scopes, options.scopes) }
      if (options.needsScope === true && narrowed.scopes.length === 0) return noScope
      const isRotated = standing === 'just before'
      const next = isRotated ? record : rotate(record, format.newest, refresh)
      const { generation } = familyOf(next)
      const { tokens, announce } = await this.#answer(narrowed, familyOf(next), { ...token, generation })
      // a concurrent call has exchanged this token, so it is now the previous one
      if (!isRotated && !await store.swap(next)) return undefined
      if (!isRotated) publish('token-refreshed', { ...this.#event(record), scopes: narrowed.scopes, generation })
      announce()
      return tokens
    })
  }

  /** Returns true if a text is a refresh token of this client at this scheme, whose grant has not ended. */
  async holds (text: string, client: string): Promise<boolean> {
    const { store, resource } = this.#options
    const token = this.#tokens?.read(text, client) ?? null
    const record = token === null ? null : await store.get(familyKind, familyId(token.handle))
    return record !== null && familyOf(record).resource === resource
  }

  /** Ends a grant by the handle that it was begun with. Returns `false` if there is none. */
  async end (handle: string): Promise<boolean> {
    return await this.endFamily(familyId(handle))
  }

  /** Ends a grant by the id of its family. Of several concurrent calls, only one returns `true`. */
  async endFamily (id: string): Promise<boolean> {
    const taken = await this.#take(id)
    if (taken !== null) publish('token-revoked', { ...this.#event(taken), tokenId: null })
    return taken !== null
  }

  /**
   * Ends the grant of a refresh token.
   * @param client the only client whose token is revoked; `null` for any.
   */
  async revoke (text: string, client: string | null): Promise<Revocation> {
    const { store, resource } = this.#options
    const handle = this.#tokens?.handleIn(text) ?? null
    if (handle === null) return 'unknown'
    const record = await store.get(familyKind, familyId(handle))
    if (record === null) return 'unknown'
    const family = familyOf(record)
    const isAuthentic = this.#tokens?.read(text, family.client) != null
    if (!isAuthentic || family.resource !== resource) return 'unknown'
    if (client !== null && family.client !== client) return 'foreign client'
    await this.endFamily(record.id)
    return 'revoked'
  }

  /** Returns the grants of one owner. */
  of (owner: StoreOwner): OwnerGrants {
    return Object.freeze({
      list: async () => {
        const own = (await this.#find(owner)).filter(record => this.#isOwn(record))
        const records = await Promise.all(own.map(record => this.#recordOf(record)))
        return records.sort((a, b) => b.lastUsedAt.localeCompare(a.lastUsedAt))
      },
      revoke: async (id: string) => {
        const found = (await this.#find(owner)).find(each => each.id === id)
        return found !== undefined && this.#isRemovable(found) && await this.endFamily(id)
      },
      revokeAll: async ({ except }: { readonly except?: string } = {}) => {
        // first the codes: one that is redeemed meanwhile has begun its grant before the grants are found
        const codes = this.#endCodes(owner)
        await codes.catch(() => {})
        const others = (await this.#find(owner)).filter(each => each.id !== except && this.#isRemovable(each))
        // a store that fails to end one grant must not keep the other grants alive
        await settleAll<unknown>([codes, ...others.map(each => this.endFamily(each.id))])
      }
    })
  }

  /** Finds the grants of an owner, also those at other schemes. */
  async #find ({ realm, id }: StoreOwner): Promise<readonly StoreRecord[]> {
    return await this.#options.store.find(familyKind, { realm, id })
  }

  /** Returns true for a grant at this scheme. */
  #isOwn (record: StoreRecord): boolean {
    const { issuer, resource } = familyOf(record)
    return issuer === this.#options.issuer && resource === this.#options.resource
  }

  #isRemovable (record: StoreRecord): boolean {
    const { issuer, resource } = this.#options
    return isRemovable(record, { issuer, resource })
  }

  /** Ends the authorization codes of an owner that have not begun a grant yet. */
  async #endCodes ({ realm, id }: StoreOwner): Promise<void> {
    const { store, issuer, resource } = this.#options
    const open = Object.entries({ issuer, resource, used: false })
    const codes = (await store.find(codeKind, { realm, id }))
      .filter(code => open.every(([name, value]) => fieldIn(code, name) === value))
    await Promise.all(codes.map(code => store.take(codeKind, code.id)))
  }

  async #recordOf (record: StoreRecord): Promise<GrantRecord> {
    const { scheme, signer, hasClient } = this.#options
    const { client, scopes, createdAt, rotatedAt } = familyOf(record)
    return Object.freeze({
      id: record.id,
      owner: Object.freeze(ownerOf(record)),
      scheme,
      client: client === signer.client ? null : client,
      scopes,
      createdAt: new Date(createdAt).toISOString(),
      lastUsedAt: new Date(rotatedAt).toISOString(),
      expiresAt: new Date(Number(record.expiresAt)).toISOString(),
      ended: !await hasClient(client)
    })
  }

  #newFamily (
    { roles }: Principal, options: Pick<NewGrant, 'refresh' | 'roles'>
  ): Omit<Family, 'client' | 'scopes' | 'authenticatedAt'> {
    const { issuer, resource, refresh, signer } = this.#options
    const isRefreshed = options.refresh && refresh !== null
    const now = Date.now()
    return {
      issuer,
      roles: options.roles ? roles : [],
      delegated: !options.roles,
      resource,
      generation: 0,
      secret: isRefreshed && this.#tokens !== null ? this.#tokens.newest : null,
      rotatedAt: now,
      createdAt: now,
      absolute: now + (isRefreshed ? refresh.absolute : signer.expiresIn) * 1000
    }
  }

  /** Adds a family, or answers with the tokens of the family that the handle has already. */
  async #begin (person: Principal, handle: string, family: Family): Promise<BegunGrant | null> {
    const { store, refresh } = this.#options
    const id = familyId(handle)
    const owner = { realm: person.realm, id: person.id }
    const token = { handle, generation: 0 }
    const answer = await this.#answer({ principal: withRoles(person, family), scopes: family.scopes }, family, token)
    const isNew = await store.add(familyEntry({ id, owner }, family, refresh?.idle ?? Infinity))
    const known = isNew ? null : await store.get(familyKind, id)
    if (!isNew && (known === null || familyOf(known).generation > 0)) return null
    await this.#makeRoom(id, owner)
    if (known === null) return { ...answer, isNew }
    const begun = familyOf(known)
    return { ...await this.#answer({ principal: withRoles(person, begun), scopes: begun.scopes }, begun, token), isNew }
  }

  /** Loads the person of a grant. Returns `null` if `load` refuses them. */
  async #load (record: StoreRecord, request: FastifyRequest, otherLoad: Load | null): Promise<Person | null> {
    const { load: ownLoad, pluginLoad, scheme, grants } = this.#options
    const load = ownLoad ?? otherLoad ?? pluginLoad
    const { scopes, roles } = familyOf(record)
    const granted = principalFrom({ ...ownerOf(record), scopes, roles }, scheme) as Principal
    if (load === null) return { principal: granted, scopes }
    const person = await loadPrincipal(load, granted, { scheme, request })
    if (person === null) return null
    const kept = scopes.filter(scope => grants(person, 'scopes', scope))
    const principal = { ...person, scopes: kept, roles: roles.filter(role => grants(person, 'roles', role)) }
    return { principal, scopes: kept }
  }

  async #answer ({ principal, scopes }: Person, family: Family, token: RefreshToken): Promise<Answer> {
    const { client, authenticatedAt, delegated } = family
    const { signer, refresh } = this.#options
    const refreshToken = this.#refreshToken(family, token)
    const grant = familyId(token.handle)
    // no longer than the grant, with which the token ends
    const left = Math.ceil((endOf(family, refresh?.idle ?? Infinity).getTime() - Date.now()) / 1000)
    const { accessToken, expiresIn, announce } = await signer.sign({
      principal, scopes, client, grant, delegated, authenticatedAt, expiresIn: Math.min(signer.expiresIn, left)
    })
    const tokens = {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: expiresIn,
      scope: scopes.join(' '),
      ...refreshToken === null ? {} : { refresh_token: refreshToken }
    } as const
    return { tokens, announce }
  }

  /** Returns the refresh token of a family, or `null` if it has none. */
  #refreshToken ({ client, secret }: Family, token: RefreshToken): string | null {
    if (secret === null || this.#tokens === null) return null
    const text = this.#tokens.write(token, client, secret)
    if (text !== null) return text
    throw new AuthError('AUTH_UNAVAILABLE', 'the secret of the current refresh token is not in sign.refresh.secret')
  }

  async #take (id: string): Promise<StoreRecord | null> {
    const { store, live } = this.#options
    try {
      const taken = await store.take(familyKind, id)
      live?.notifyFamily(id)
      return taken
    } finally {
      // a store that failed may have taken it
      live?.forgetFamily(id)
    }
  }

  async #reused (record: StoreRecord, { generation }: RefreshToken): Promise<Invalid> {
    const taken = await this.#take(record.id)
    if (taken !== null) {
      publish('token-reused', { ...this.#event(record), generation, current: familyOf(taken).generation })
    }
    return invalid('the refresh token was used before: its grant has ended')
  }

  async #lost (record: StoreRecord): Promise<Invalid> {
    await this.endFamily(record.id)
    return invalid('load refused the person of the refresh token: the grant has ended')
  }

  /** Ends the least recently used grants of an owner who has too many. Those of other issuers do not count. */
  async #makeRoom (id: string, owner: StoreOwner): Promise<void> {
    const { issuer } = this.#options
    const surplus = (await this.#find(owner)).filter(each => each.id !== id && fieldIn(each, 'issuer') === issuer)
      .sort((a, b) => timeIn(b, 'rotatedAt') - timeIn(a, 'rotatedAt'))
      .slice(maxFamilies - 1)
    for (const record of surplus) await this.endFamily(record.id)
  }

  /** Returns the fields that all events of a grant have. The record of a grant that is ended may be damaged. */
  #event (record: StoreRecord) {
    const { scheme, signer } = this.#options
    const client = fieldIn(record, 'client')
    const isKnown = typeof client === 'string' && client !== signer.client
    return { scheme, grant: record.id, ...ownerOf(record), client: isKnown ? client : null }
  }
}

const noScope = invalid('none of the requested scopes was granted, or is left', { reason: 'invalid_scope' })

/** Returns the person as the tokens of a family show them. */
function withRoles (person: Principal, { roles }: Family): Principal {
  return { ...person, roles }
}

/** Returns the requested scopes that are granted. */
function narrow (granted: readonly string[], requested: readonly string[] | undefined): readonly string[] {
  return requested === undefined ? granted : granted.filter(scope => requested.includes(scope))
}
