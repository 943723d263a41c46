import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { AnyOwnerSessions, OwnerSessions } from '../../../types/sessions.js'
import type { StoreOwner } from '../../../types/store.js'
import { AuthError, internalError } from '../../errors.js'
import { isSameOwner, ownerKey } from '../../util/encoding.js'
import { getOrCreate } from '../../util/objects.js'
import type { SessionSettings } from './options.js'
import { isId, maxLifetime, type Liveness, type Session } from './session.js'

/** A session that was ended early. Times are in milliseconds since 1970. */
interface Ended {
  /** The owners that ended the id. The session is ended only if it belongs to one of them. */
  readonly owners: readonly StoreOwner[]
  /** The session began at this instant or before. */
  readonly begunBy: number
  /** The session has expired by this instant in any case. */
  readonly until: number
}

interface EndedId extends Pick<Ended, 'begunBy'> {
  readonly id: string
}

/** Ends all sessions of a principal that began at or before an instant, except one. */
interface NotBefore {
  readonly at: number
  /** The session that stays alive, if it began after `after`: an earlier `revokeAll`. */
  readonly spared: { readonly id: string, readonly after: number } | null
}

/** Entries of each kind before some are folded: some ten megabytes. */
const defaultMaxEntries = 50_000
/** Ids of one owner that are never folded. */
const minShare = 16
/** Entries below which expired ones are not swept. */
const minSweep = 1_024

/**
 * Remembers in memory which sessions were ended early. A restart forgets them. Memory is bounded, and no revocation is
 * dropped while its session could be used. Instead, entries are folded, which ends more sessions than requested, never
 * fewer:
 * - When there are too many ids, those of owners with more than their share are replaced by an instant: all sessions of
 *   that owner that began by then are ended. Other owners are not affected.
 * - When there are too many such instants, the oldest are replaced by one instant for everybody.
 *
 * Ids without an owner cannot be folded. Beyond a maximum, further ones are refused.
 */
export class Revocations {
  #lifetime: number
  readonly #onFold: () => void
  readonly #maxEntries: number
  readonly #ended = new Map<string, Ended>()
  /** Ids that were ended whoever owns them, with the instant at which the session has expired; the earliest first. */
  readonly #ownerless = new Map<string, number>()
  readonly #notBefore = new Map<string, NotBefore>()
  #sweepAt = minSweep
  #sweepNotBeforeAt = minSweep
  /** All sessions that began at this instant or before are ended. */
  #floor = -Infinity
  /** The latest start of a known session. It is later than the clock if that was set back. */
  #latest = -Infinity
  /** The latest start of a session of this process. */
  #latestOwn = -Infinity

  /**
   * @param lifetime the longest absolute timeout of a session, in milliseconds.
   * @param onFold called when entries were folded, which may have ended further sessions.
   */
  constructor (lifetime: number, onFold: () => void, maxEntries = defaultMaxEntries) {
    this.#lifetime = lifetime
    this.#onFold = onFold
    this.#maxEntries = maxEntries
  }

  /** Remembers revocations for this time, in milliseconds, if it is longer. */
  extendTo (lifetime: number): void {
    this.#lifetime = Math.max(this.#lifetime, lifetime)
  }

  /** Returns the first instant at which a new session of the owner is not ended by an earlier revocation. */
  after (owner: StoreOwner): number {
    return Math.max(this.#floor, this.#notBefore.get(ownerKey(owner))?.at ?? -Infinity) + 1
  }

  /** Records a session that began in this process. */
  begin ({ begunAt }: Session): void {
    this.#latestOwn = Math.max(this.#latestOwn, begunAt)
    this.#latest = Math.max(this.#latest, begunAt)
  }

  end ({ id, principal: { realm, id: person }, begunAt, endsAt }: Session): void {
    this.#limitEnded()
    // of the principal, which may be as large as a cookie, only the id is kept
    this.#ended.set(id, { owners: [{ realm, id: person }], begunBy: begunAt, until: endsAt })
  }

  /** Ends a session by its id, if it belongs to the owner. It may be unknown to this process. */
  endOwned (id: string, owner: StoreOwner): void {
    const known = this.#ended.get(id)
    if (known !== undefined && isAmong(owner, known.owners)) return
    this.#limitEnded()
    const begunBy = this.#now()
    // several owners may name an id; only the revocation of its real owner applies
    this.#ended.set(id, { owners: [...known?.owners ?? [], owner], begunBy, until: begunBy + this.#lifetime })
  }

  /**
   * Ends a session by its id, whoever owns it. It may be unknown to this process.
   * @throws {AuthError} `AUTH_UNAVAILABLE` when too many such ids are remembered.
   */
  endOfAnyOwner (id: string): void {
    const now = Date.now()
    for (const [oldest, end] of this.#ownerless) {
      if (end > now) break
      this.#ownerless.delete(oldest)
    }
    // move the id to the end: the map is ordered by expiry
    this.#ownerless.delete(id)
    if (this.#ownerless.size >= this.#maxEntries * 2) throw tooManyIds()
    this.#ownerless.set(id, this.#now() + this.#lifetime)
  }

  /** Ends all sessions of the owner that have begun, except the one with the id `except`. */
  endAll (owner: StoreOwner, except: string | null): void {
    const previous = this.#notBefore.get(ownerKey(owner)) ?? null
    // also ends sessions that began in the same millisecond as the previous revocation
    const at = Math.max(this.#now(), this.after(owner))
    const after = previous === null
      ? -Infinity
      : previous.spared?.id === except ? previous.spared.after : previous.at
    this.#limitNotBefore()
    this.#notBefore.set(ownerKey(owner), { at, spared: except === null ? null : { id: except, after } })
  }

  /** Returns true for a session that was ended. */
  denies (session: Session): boolean {
    const { id, principal, begunAt } = session
    if (begunAt <= this.#floor || this.#ownerless.has(id)) return true
    const ended = this.#ended.get(id)
    if (ended !== undefined && isAmong(principal, ended.owners)) return true
    if (this.#notBefore.size > 0 && this.#isBefore(session)) return true
    this.#latest = Math.max(this.#latest, begunAt)
    return false
  }

  /** Returns true for a session that began before all sessions of its principal were ended. */
  #isBefore (session: Session): boolean {
    const { id, principal, begunAt } = session
    const all = this.#notBefore.get(ownerKey(principal))
    if (all === undefined) return false
    if (begunAt <= all.at) return all.spared === null || all.spared.id !== id || begunAt <= all.spared.after
    // it began by a clock that was ahead, perhaps before the revocation: end it, also for when this clock catches up
    const isAhead = begunAt > Date.now() && begunAt > this.#latestOwn && all.spared?.id !== id
    if (isAhead) this.end(session)
    return isAhead
  }

  /** Returns the current time, or the latest start of a session if the clock was set back since. */
  #now (): number {
    return Math.max(Date.now(), this.#latest)
  }

  #limitEnded (): void {
    if (this.#ended.size < this.#sweepAt) return
    const now = Date.now()
    for (const [id, { until }] of this.#ended) if (until <= now) this.#ended.delete(id)
    if (this.#ended.size > this.#maxEntries / 2) this.#foldEnded()
    // sweep again when the map has doubled, so that the cost per addition is constant
    this.#sweepAt = Math.max(minSweep, this.#ended.size * 2)
  }

  /** Folds the ids of owners with more than their share, the sessions that began first. */
  #foldEnded (): void {
    const idsOf = new Map<string, EndedId[]>()
    for (const [id, { owners, begunBy }] of this.#ended) {
      for (const owner of owners) {
        getOrCreate<string, EndedId[]>(idsOf, ownerKey(owner), () => []).push({ id, begunBy })
      }
    }
    const share = Math.max(minShare, Math.floor(this.#maxEntries / 2 / idsOf.size))
    for (const [owner, ids] of idsOf) {
      if (ids.length <= share) continue
      ids.sort((a, b) => a.begunBy - b.begunBy)
      // keep half of the share, so that the next fold of this owner is not due at once
      for (const each of ids.slice(0, ids.length - Math.floor(share / 2))) this.#foldId(owner, each)
    }
    this.#onFold()
  }

  #foldId (owner: string, { id, begunBy }: EndedId): void {
    const previous = this.#notBefore.get(owner)
    this.#limitNotBefore()
    this.#notBefore.set(owner, {
      at: Math.max(begunBy, previous?.at ?? -Infinity),
      spared: previous === undefined || previous.spared?.id === id ? null : previous.spared
    })
    this.#forget(id, owner)
  }

  /** Removes an owner from an entry, and the entry when nobody else ended the id. */
  #forget (id: string, owner: string): void {
    const ended = this.#ended.get(id) as Ended
    const owners = ended.owners.filter(each => ownerKey(each) !== owner)
    if (owners.length === 0) this.#ended.delete(id)
    else this.#ended.set(id, { ...ended, owners })
  }

  #limitNotBefore (): void {
    if (this.#notBefore.size < this.#sweepNotBeforeAt) return
    const now = Date.now()
    for (const [key, { at }] of this.#notBefore) if (at + this.#lifetime <= now) this.#notBefore.delete(key)
    if (this.#notBefore.size > this.#maxEntries / 2) this.#foldNotBefore()
    this.#sweepNotBeforeAt = Math.min(this.#maxEntries, Math.max(minSweep, this.#notBefore.size * 2))
  }

  /** Folds the older half: their sessions expire first. */
  #foldNotBefore (): void {
    const byAge = [...this.#notBefore].sort(([, a], [, b]) => a.at - b.at)
    for (const [key, { at }] of byAge.slice(0, Math.ceil(byAge.length / 2))) {
      this.#floor = Math.max(this.#floor, at)
      this.#notBefore.delete(key)
    }
    this.#onFold()
  }
}

function isAmong (owner: StoreOwner, owners: readonly StoreOwner[]): boolean {
  return owners.some(each => isSameOwner(each, owner))
}

function tooManyIds (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'sessions.ofAnyOwner().revoke() has ended too many ids: use ' +
    'sessions.of(owner).revoke(), or give the plugin the option store')
}

interface Watch { readonly session: Session, readonly ended: () => void }

/**
 * Treats every authentic session as alive unless it was ended in this process. It does not know the sessions that other
 * processes began, so it cannot list them, nor tell whether an id exists.
 */
class LocalSessions implements Liveness {
  readonly #revocations: Revocations
  readonly #watches = new Map<string, Set<Watch>>()

  /** @param lifetime the longest absolute timeout, in milliseconds. */
  constructor (lifetime: number) {
    this.#revocations = new Revocations(lifetime, () => { this.#notifyAll() })
  }

  /**
   * Remembers revocations for this time, in milliseconds, if it is longer: a scheme that shares them has a longer
   * timeout.
   */
  extendTo (lifetime: number): void {
    this.#revocations.extendTo(lifetime)
  }

  beginning (principal: StoreOwner): number {
    return Math.max(Date.now(), this.#revocations.after(principal))
  }

  begin (session: Session): void {
    this.#revocations.begin(session)
  }

  end (session: Session): boolean {
    if (this.#revocations.denies(session)) return false
    this.#revocations.end(session)
    this.#notify(session.id)
    return true
  }

  isAlive (session: Session): boolean {
    return !this.#revocations.denies(session)
  }

  see (session: Session): boolean {
    return !this.#revocations.denies(session)
  }

  watch (session: Session, ended: () => void): () => void {
    const watch = { session, ended }
    const set = getOrCreate(this.#watches, session.id, () => new Set<Watch>()).add(watch)
    // the session may have ended since the request was authenticated
    if (this.#revocations.denies(session)) queueMicrotask(() => { this.#notify(session.id) })
    return () => {
      set.delete(watch)
      if (set.size === 0 && this.#watches.get(session.id) === set) this.#watches.delete(session.id)
    }
  }

  of (owner: StoreOwner): OwnerSessions {
    return Object.freeze({
      list: async () => {
        throw internalError('sessions are listed only with a store: give the plugin the option store')
      },
      revoke: async (id: string) => this.#revoke(id, () => { this.#revocations.endOwned(id, owner) }),
      revokeAll: async ({ except = null }: { readonly except?: string | null } = {}) => {
        this.#revocations.endAll(owner, except)
        this.#notifyAll()
      }
    })
  }

  ofAnyOwner (): AnyOwnerSessions {
    return Object.freeze({
      revoke: async (id: string) => this.#revoke(id, () => { this.#revocations.endOfAnyOwner(id) })
    })
  }

  close (): void {
    this.#watches.clear()
  }

  #revoke (id: string, end: () => void): boolean {
    if (!isId(id)) return false
    end()
    this.#notify(id)
    return true
  }

  #notifyAll (): void {
    for (const id of [...this.#watches.keys()]) this.#notify(id)
  }

  /** Notifies those who watch a session, if it was ended. */
  #notify (id: string): void {
    const watches = this.#watches.get(id) ?? new Set<Watch>()
    for (const watch of watches) {
      if (!this.#revocations.denies(watch.session)) continue
      watches.delete(watch)
      watch.ended()
    }
    if (watches.size === 0) this.#watches.delete(id)
  }
}

/** Sessions that are shared by schemes of one name that have a secret in common. */
interface SharedSessions {
  readonly scheme: string
  /** The digests of the secrets of all. */
  readonly secrets: Set<string>
  readonly sessions: LocalSessions
}

/** By HTTP server, which all plugin contexts of one application have in common. */
const applications = new WeakMap<object, readonly SharedSessions[]>()

/**
 * Returns the sessions of a scheme without a store. When an application registers the plugin in several contexts with
 * one secret and one scheme name, they accept each other's cookies. They share the revocations, so that a logout in one
 * context counts in all.
 */
export function localSessionsOf (
  { server }: FastifyInstance, scheme: string, { secrets, expiry }: Pick<SessionSettings, 'secrets' | 'expiry'>
): LocalSessions {
  const digests = new Set(secrets.map(secret => hash('sha256', secret, 'base64url')))
  const all = applications.get(server) ?? []
  const sibling = all.find(each => each.scheme === scheme && [...digests].some(digest => each.secrets.has(digest)))
  if (sibling !== undefined) {
    for (const digest of digests) sibling.secrets.add(digest)
    sibling.sessions.extendTo(maxLifetime(expiry))
    return sibling.sessions
  }
  const sessions = new LocalSessions(maxLifetime(expiry))
  applications.set(server, [...all, { scheme, secrets: digests, sessions }])
  return sessions
}
