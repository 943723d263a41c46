import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Invalid, Unavailable } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreRecord } from '../../../types/store.js'
import { type Claims, dateOf } from '../../jose/claims.js'
import { invalid, unavailableOr } from '../../kit/outcome.js'
import { loadedPrincipal, principalFrom } from '../../kit/principal.js'
import { getOrCreate, isThenable } from '../../util/objects.js'
import { WatchedCache } from '../../util/revocation-watch.js'
import { familyKind } from './refresh-token.js'
import { clientPrefix } from './sign.js'

/** Returns true if a client exists. */
export type IsClient = (client: string) => boolean | Promise<boolean>

/** Configuration of {@link OwnTokens}. */
export interface OwnTokensOptions {
  readonly scheme: string
  /** The `client_id` of the application itself. */
  readonly firstParty: string
  /** `null` if access tokens are valid until they expire. */
  readonly live: LiveTokens | null
  /** Completes the person of a token; `null` without one. */
  readonly load: Load | null
  readonly grants: SchemeContext['grants']
  /** Returns true if an `aud` belongs to another scheme that signs for the same issuer. */
  readonly isOfAnother: (aud: unknown) => boolean
}

/** The principal of a token, and whose rights it has. */
export interface Bearer {
  readonly principal: Principal
  /** The person of a delegated token with all of their rights; `null` if they are the principal, or are unknown. */
  readonly owner: Principal | null
  /** `true` if a client acts for the person. */
  readonly delegated: boolean
}

type Fault = Invalid | Unavailable | null

/**
 * Checks tokens that a scheme signed itself for what a signature cannot prove: whether their grants and clients still
 * exist, and which rights the person has now.
 */
export class OwnTokens {
  readonly #options: OwnTokensOptions
  #isClient: IsClient | null = null

  constructor (options: OwnTokensOptions) {
    this.#options = options
  }

  /** Returns true if the audience of a token is another scheme of the same issuer. */
  isOfAnother ({ aud }: Readonly<Record<string, unknown>>): boolean {
    return this.#options.isOfAnother(aud)
  }

  /** Refuses tokens whose client is unknown to a function from now on. */
  checkClients (isClient: IsClient): void {
    this.#isClient = isClient
  }

  /** Returns true if a client exists, or is not checked. */
  hasClient (client: unknown): boolean | Promise<boolean> {
    if (this.#isClient === null || client === this.#options.firstParty) return true
    return typeof client === 'string' && this.#isClient(client)
  }

  /** Returns the reason why a verified token is refused. Returns a promise only if the store must be asked. */
  check (claims: Claims): Fault | Promise<Fault> {
    const isEnded = this.#options.live?.isEnded(claims) ?? false
    if (isEnded === false && this.#isClient === null) return null
    return isThenable(isEnded) ? this.#checkLater(claims, isEnded) : this.#checkClient(claims, isEnded)
  }

  /** Returns the principal of a token with the rights that the person has now. */
  complete (
    principal: Principal, claims: Claims, request: FastifyRequest
  ): Bearer | Invalid | Promise<Bearer | Invalid> {
    const { load, scheme } = this.#options
    const delegated = claims['delegated'] === true
    const limited = delegated ? withScopesOf(claims, principal) : principal
    // load knows people
    if (load === null || isOfClient(claims)) return { principal: limited, owner: null, delegated }
    const loaded = load(limited, { scheme, request })
    const complete = (found: unknown): Bearer | Invalid => this.#complete(limited, found, delegated)
    return isThenable(loaded) ? Promise.resolve(loaded).then(complete) : complete(loaded)
  }

  /** Returns a function that watches a token, or `null` if it cannot be revoked. */
  watchOf (claims: Claims): ((ended: () => void) => () => void) | null {
    return this.#options.live?.watchOf(claims) ?? null
  }

  async #checkLater (claims: Claims, isEnded: Promise<boolean>): Promise<Fault> {
    try {
      return await this.#checkClient(claims, await isEnded)
    } catch (error) {
      return unavailableOr(error, 'the store of grants is unavailable')
    }
  }

  #checkClient (claims: Claims, isEnded: boolean): Fault | Promise<Fault> {
    if (isEnded && claims['sid'] === undefined) return invalid('the token was revoked')
    if (isEnded) return invalid('the grant of the token has ended, or is not in the store of this instance')
    const isClient = this.hasClient(claims['client_id'])
    const judge = (exists: boolean): Fault => exists ? null : invalid('the client of the token was removed')
    if (!isThenable(isClient)) return judge(isClient)
    return isClient.then(judge).catch((error: unknown) => unavailableOr(error, 'the store of clients is unavailable'))
  }

  #complete (principal: Principal, found: unknown, delegated: boolean): Bearer | Invalid {
    const { grants, scheme } = this.#options
    const person = loadedPrincipal(principal, found, scheme)
    if (person === null) return invalid('the load function refused the principal')
    if (!delegated) return { principal: person, owner: null, delegated }
    const scopes = principal.scopes.filter(scope => grants(person, 'scopes', scope))
    return { principal: principalFrom({ ...person, scopes, roles: [] }, person.realm), owner: person, delegated }
  }
}

/** Returns a principal without roles, and only with scopes that the token has, even if a mapping added others. */
function withScopesOf ({ scope }: Claims, principal: Principal): Principal {
  const granted = typeof scope === 'string' ? scope.split(' ') : []
  const scopes = principal.scopes.filter(each => granted.includes(each))
  return principalFrom({ ...principal, scopes, roles: [] }, principal.realm)
}

/** Returns true for a token that a client got for itself. */
export function isOfClient ({ sub }: Claims): boolean {
  return sub?.startsWith(clientPrefix) === true
}

/** The kind of the store's records of access tokens that belong to no grant and were revoked. The id is the `jti`. */
const endedKind = 'token-ended'

/** Configuration of {@link LiveTokens}. */
export interface LiveTokensOptions {
  readonly store: Store
  readonly stalenessMs: number
  readonly log: Pick<FastifyBaseLogger, 'error'>
}

/**
 * The instances of all schemes with one store. A scheme may have cached that a grant or a token is alive which another
 * scheme ends: the oldest grant of a person, or a token for an audience of both.
 */
const byStore = new WeakMap<Store, Set<LiveTokens>>()

/**
 * Knows which access tokens are alive: a token of a grant until the grant has ended, any other token until it is
 * revoked. The answers of the store are cached for `stalenessMs`, or until this process or the store reports a change.
 */
export class LiveTokens {
  readonly #store: Store
  readonly #families: EndedIds
  readonly #ended: EndedIds
  /** The instances with this store, including this one. */
  readonly #all: Set<LiveTokens>

  constructor (options: LiveTokensOptions) {
    this.#store = options.store
    this.#all = getOrCreate(byStore, options.store, () => new Set()).add(this)
    this.#families = new EndedIds(familyKind, record => record === null, options)
    this.#ended = new EndedIds(endedKind, record => record !== null, options)
  }

  /**
   * Returns true if a verified token was revoked, or its grant has ended. Returns a promise only if the store must be
   * asked; it rejects with `AUTH_UNAVAILABLE` if the store is unavailable.
   */
  isEnded (claims: Claims): boolean | Promise<boolean> {
    const { sid } = claims
    if (sid === undefined) return isTokenId(claims.jti) && this.#ended.isEnded(claims.jti)
    return !isFamilyId(sid) || this.#families.isEnded(sid)
  }

  /** Returns the same as {@link isEnded}, always from the store and never from the cache. */
  isEndedNow (claims: Claims): boolean | Promise<boolean> {
    if (isFamilyId(claims['sid'])) this.#families.delete(claims['sid'])
    else if (isTokenId(claims.jti)) this.#ended.delete(claims.jti)
    return this.isEnded(claims)
  }

  /** Returns a function that watches a token, or `null` if it cannot be revoked. */
  watchOf ({ sid, jti }: Claims): ((ended: () => void) => () => void) | null {
    if (isFamilyId(sid)) return ended => this.#families.watch(sid, ended)
    return isTokenId(jti) ? ended => this.#ended.watch(jti, ended) : null
  }

  /**
   * Revokes a token that belongs to no grant. Returns `false` if it was revoked before, or has no usable `jti`.
   * @param tolerance seconds for which it is accepted after its `exp`.
   */
  async end ({ jti, exp }: Claims, tolerance: number): Promise<boolean> {
    if (!isTokenId(jti)) return false
    const entry = { kind: endedKind, id: jti, owner: null, value: {}, expiresAt: dateOf(exp + tolerance) }
    try {
      const isNew = await this.#store.add(entry)
      for (const each of this.#all) each.#ended.end(jti)
      return isNew
    } finally {
      // a store that failed may have added it
      for (const each of this.#all) each.#ended.delete(jti)
    }
  }

  /** Drops a family from the caches and notifies the watchers of its tokens, after this process has ended it. */
  notifyFamily (id: string): void {
    for (const each of this.#all) each.#families.end(id)
  }

  /** Drops a family from the caches after a failed call of the store, which may or may not have ended it. */
  forgetFamily (id: string): void {
    for (const each of this.#all) each.#families.delete(id)
  }

  close (): void {
    this.#all.delete(this)
    this.#families.close()
    this.#ended.close()
  }
}

/** Returns true for the id of a family, which is a SHA-256 as base64url. */
export function isFamilyId (value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{43}$/.test(value)
}

/** Returns true for a `jti` that can be the id of a record. Tokens of this package have a UUID. */
function isTokenId (value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value)
}

/** Knows which ids have ended: by the presence of a record of one kind, or by its absence. */
class EndedIds extends WatchedCache<boolean> {
  readonly #ask: (id: string) => Promise<boolean>

  constructor (kind: string, isEnd: (record: StoreRecord | null) => boolean, options: LiveTokensOptions) {
    const hasEnded = async (id: string): Promise<boolean> => isEnd(await options.store.get(kind, id))
    super({ ...options, kind, hasEnded, isNegative: ended => ended })
    this.#ask = hasEnded
  }

  isEnded (id: string): boolean | Promise<boolean> {
    return this.get(id, () => this.#ask(id))
  }
}
