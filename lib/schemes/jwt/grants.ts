import type { FastifyRequest } from 'fastify'
import type { GrantedTokens, GrantOptions, RefreshOptions } from '../../../types/features.js'
import type { Foreign, Invalid } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import { AuthError } from '../../errors.js'
import { publish } from '../../events/events.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { loadedPrincipal, principalFrom } from '../../kit/principal.js'
import { isNo } from '../../util/answer.js'
import { familyEntry, familyKind, familyOf, rotate, standingOf, type Family } from './family.js'
import type { RefreshSettings } from './refresh-options.js'
import { createHandle, familyId, RefreshTokens, type RefreshToken } from './refresh-token.js'
import type { Signer } from './sign.js'

/** The maximum number of grants per person, so that nobody can fill the store. */
const maxFamilies = 100

/** Configuration of {@link Grants}. */
export interface GrantsOptions {
  readonly scheme: string
  readonly signer: Signer
  readonly issuer: string
  readonly resource: string
  readonly refresh: RefreshSettings
  readonly store: Store
  /** Completes a person at each refresh; `null` if people keep what they were granted. */
  readonly load: Load | null
  readonly grants: SchemeContext['grants']
}

/** A person with their current rights, and the scopes that they still have of a grant. */
interface Person {
  readonly principal: Principal
  readonly scopes: readonly string[]
}

interface Answer {
  readonly tokens: GrantedTokens
  readonly announce: () => void
}

/** Manages the grants of one signing scheme: issues access tokens, and refreshes them once per refresh token. */
export class Grants {
  readonly #options: GrantsOptions
  readonly #tokens: RefreshTokens

  constructor (options: GrantsOptions) {
    this.#options = options
    this.#tokens = new RefreshTokens(options.refresh.prefix, options.refresh.secrets)
  }

  /** Begins a grant for a person who has just authenticated. */
  async grant (input: PrincipalInput, { scopes, client, authenticatedAt }: GrantOptions): Promise<GrantedTokens> {
    const { signer, store, refresh, issuer, resource } = this.#options
    const principal = signer.person(input)
    const handle = createHandle()
    const id = familyId(handle)
    const now = Date.now()
    const family: Family = {
      issuer,
      client: client ?? signer.client,
      scopes: scopes ?? principal.scopes,
      roles: principal.roles,
      resource,
      generation: 0,
      secret: this.#tokens.newest,
      rotatedAt: now,
      createdAt: now,
      authenticatedAt: authenticatedAt?.getTime() ?? now,
      absolute: now + refresh.absolute * 1000
    }
    const owner = { realm: principal.realm, id: principal.id }
    const { tokens, announce } = await this.#answer(
      { principal, scopes: family.scopes }, family, { handle, generation: 0 }
    )
    await store.add(familyEntry(id, owner, family, refresh))
    await this.#makeRoom(id, owner)
    announce()
    return tokens
  }

  /**
   * Exchanges a refresh token. Returns *foreign* for a token of another scheme, and *invalid* for a token of this
   * scheme that is not valid any more.
   * @throws {AuthError} `AUTH_UNAVAILABLE`
   */
  async refresh (
    request: FastifyRequest, text: unknown, options: RefreshOptions
  ): Promise<GrantedTokens | Invalid | Foreign> {
    const { signer, store, issuer, resource, refresh } = this.#options
    const token = this.#tokens.read(text, { issuer, client: options.client ?? signer.client })
    if (token === null) return foreign
    for (;;) {
      const record = await store.get(familyKind, familyId(token.handle))
      if (record === null) return invalid('the grant of the refresh token has ended')
      const family = familyOf(record)
      if (family.resource !== resource) return foreign
      const standing = standingOf(family, token.generation, refresh)
      if (standing === 'unknown') return invalid('the store does not know the refresh token yet, or no longer')
      if (standing === 'used again') return await this.#reused(record, token)
      const person = await this.#load(record, request)
      if (person === null) return await this.#lost(record)
      const narrowed = { ...person, scopes: narrow(person.scopes, options.scopes) }
      const isRotated = standing === 'just before'
      const next = isRotated ? record : rotate(record, this.#tokens.newest, refresh)
      const { generation } = familyOf(next)
      const { tokens, announce } = await this.#answer(narrowed, familyOf(next), { ...token, generation })
      // a concurrent call has exchanged this token, which now is the one just before
      if (!isRotated && !await store.swap(next)) continue
      if (!isRotated) publish('token-refreshed', { ...this.#event(record), scopes: narrowed.scopes, generation })
      announce()
      return tokens
    }
  }

  /** Loads the person of a grant. Returns `null` if `load` refuses them. */
  async #load (record: StoreRecord, request: FastifyRequest): Promise<Person | null> {
    const { load, scheme, grants } = this.#options
    const { scopes, roles } = familyOf(record)
    const granted = principalFrom({ ...ownerOf(record), scopes, roles }, scheme) as Principal
    if (load === null) return { principal: granted, scopes }
    const loaded = await load(granted, { scheme, request })
    if (isNo(loaded)) return null
    const person = loadedPrincipal(granted, loaded)
    const kept = scopes.filter(scope => grants(person, 'scopes', scope))
    const principal = { ...person, scopes: kept, roles: roles.filter(role => grants(person, 'roles', role)) }
    return { principal, scopes: kept }
  }

  async #answer ({ principal, scopes }: Person, family: Family, token: RefreshToken): Promise<Answer> {
    const { signer, issuer } = this.#options
    const { client, authenticatedAt } = family
    const refreshToken = this.#tokens.write(token, { issuer, client }, family.secret)
    if (refreshToken === null) {
      throw new AuthError(
        'AUTH_UNAVAILABLE', 'the secret of the current refresh token is not in sign.refresh.secret'
      )
    }
    const grant = familyId(token.handle)
    const {
      accessToken, expiresIn, announce
    } = await signer.sign({ principal, scopes, client, grant, authenticatedAt })
    const tokens = {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: expiresIn,
      scope: scopes.join(' '),
      refresh_token: refreshToken
    } as const
    return { tokens, announce }
  }

  async #reused (record: StoreRecord, { generation }: RefreshToken): Promise<Invalid> {
    const taken = await this.#options.store.take(familyKind, record.id)
    if (taken !== null) {
      publish('token-reused', { ...this.#event(record), generation, current: familyOf(taken).generation })
    }
    return invalid('the refresh token was used before: its grant has ended')
  }

  /** Ends a grant. Only one of several concurrent calls publishes the event. */
  async #revoke (record: StoreRecord): Promise<void> {
    const taken = await this.#options.store.take(familyKind, record.id)
    if (taken !== null) publish('token-revoked', { ...this.#event(record), tokenId: null })
  }

  async #lost (record: StoreRecord): Promise<Invalid> {
    await this.#revoke(record)
    return invalid('load refused the person of the refresh token: the grant has ended')
  }

  /** Ends the least recently used grants of an owner who has too many. */
  async #makeRoom (id: string, owner: StoreOwner): Promise<void> {
    const { store } = this.#options
    const found = await store.find(familyKind, owner)
    const surplus = found.filter(record => record.id !== id)
      .sort((a, b) => familyOf(b).rotatedAt - familyOf(a).rotatedAt)
      .slice(maxFamilies - 1)
    for (const record of surplus) await this.#revoke(record)
  }

  #event (record: StoreRecord) {
    const { scheme, signer } = this.#options
    const { client } = familyOf(record)
    return { scheme, grant: record.id, ...ownerOf(record), client: client === signer.client ? null : client }
  }
}

/** Returns the owner of a family, which always has one. */
function ownerOf ({ owner }: StoreRecord): StoreOwner {
  return owner as StoreOwner
}

/** Returns the requested scopes that are granted. */
function narrow (granted: readonly string[], requested: readonly string[] | undefined): readonly string[] {
  return requested === undefined ? granted : granted.filter(scope => requested.includes(scope))
}
