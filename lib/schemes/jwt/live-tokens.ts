import type { FastifyBaseLogger } from 'fastify'
import type { Store, StoreRecord } from '../../../types/store.js'
import type { Claims } from '../../jose/claims.js'
import { dateOf } from '../../jose/claims.js'
import { WatchedCache } from '../../util/revocation-watch.js'
import { familyKind } from './refresh-token.js'

/** The kind of the store's records of access tokens that belong to no grant and were revoked. The id is the `jti`. */
const endedKind = 'token-ended'

/** Configuration of {@link LiveTokens}. */
export interface LiveTokensOptions {
  readonly store: Store
  /** Milliseconds. */
  readonly staleness: number
  readonly log: Pick<FastifyBaseLogger, 'error'>
}

/**
 * The instances of all schemes with one store. A scheme may have cached that a grant or a token is alive which another
 * scheme ends: the oldest grant of a person, or a token for an audience of both.
 */
const byStore = new WeakMap<Store, Set<LiveTokens>>()

/**
 * Knows which access tokens are alive: a token of a grant until the grant has ended, any other token until it is
 * revoked. The answers of the store are cached for `staleness`, or until this process or the store reports a change.
 */
export class LiveTokens {
  readonly #store: Store
  readonly #families: EndedIds
  readonly #ended: EndedIds
  /** The instances with this store, including this one. */
  readonly #all: Set<LiveTokens>

  constructor (options: LiveTokensOptions) {
    this.#store = options.store
    this.#all = byStore.get(options.store) ?? new Set()
    byStore.set(options.store, this.#all.add(this))
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
