import type { StoreOwner } from '../../../types/store.js'
import { AuthError } from '../../errors.js'
import type { Session } from './payload.js'

/** One session that ended before its time. */
interface Ended {
  /** Whose it must be to be over: one of these. */
  readonly owners: readonly StoreOwner[]
  /** When it began, or later. */
  readonly begunBy: number
  /** From then on its cookie is worthless anyway. */
  readonly until: number
}

/** All sessions of a principal that began by an instant are over, but one. */
interface NotBefore {
  readonly at: number
  /** The one that goes on, unless it began before an earlier end of all. */
  readonly spared: { readonly id: string, readonly after: number } | null
}

/** How many of each are kept before some are folded: some ten megabytes. */
const most = 50_000
/** How many ids an owner keeps in any case. */
const fewest = 16
/** Entries below which sweeping is not worth it. */
const few = 1_024

/**
 * The sessions that ended before their time, in memory, which a restart forgets. Nothing is dropped that could still be used, and yet it is bounded. When there are very many, owners who have more
 * than their share of them lose the ids of their oldest for an instant by which all of theirs are over: nobody's ends cost another person. When there are very many such instants, those
 * of the oldest fold into one for everybody. Both deny more than was asked for, never less. Ids that may be anybody's cannot fold: there is a number of them, beyond which one more is refused.
 */
export class Revocations {
  #longest: number
  readonly #folded: () => void
  readonly #most: number
  readonly #ended = new Map<string, Ended>()
  /** Until when the id is over, whosever it is; the earliest first. */
  readonly #anybodys = new Map<string, number>()
  readonly #principals = new Map<string, NotBefore>()
  #sweepAt = few
  #sweepPrincipalsAt = few
  /** All sessions that began by then are over. */
  #floor = -Infinity
  /** The latest instant at which a session that is known here began: a clock that was set back says less. */
  #latest = -Infinity
  /** The latest at which one began in this process. */
  #begun = -Infinity

  /**
   * @param longest milliseconds that a session lives at most
   * @param folded is called when sessions may be over that nobody ended
   * @param limit of entries, for tests
   */
  constructor (longest: number, folded: () => void, limit = most) {
    this.#longest = longest
    this.#folded = folded
    this.#most = limit
  }

  /** There are sessions that live longer than was said. */
  outlast (longest: number): void {
    this.#longest = Math.max(this.#longest, longest)
  }

  /** The first instant after everything that was ended of a principal's. */
  after (owner: StoreOwner): number {
    return Math.max(this.#floor, this.#principals.get(keyOf(owner))?.at ?? -Infinity) + 1
  }

  /** Notes that a session began in this process. */
  begin ({ begunAt }: Session): void {
    this.#begun = Math.max(this.#begun, begunAt)
    this.#latest = Math.max(this.#latest, begunAt)
  }

  end ({ id, principal: { realm, id: person }, begunAt, endsAt }: Session): void {
    this.#makeRoom()
    // not the principal, which may be as large as a cookie
    this.#ended.set(id, { owners: [{ realm, id: person }], begunBy: begunAt, until: endsAt })
  }

  /** Ends a session that may be anywhere, of which nothing is known but its id and whose it must be. */
  endOwned (id: string, owner: StoreOwner): void {
    const known = this.#ended.get(id)
    if (known !== undefined && isAmong(owner, known.owners)) return
    this.#makeRoom()
    const begunBy = this.#now()
    // several may claim an id, and only its owner is believed
    this.#ended.set(id, { owners: [...known?.owners ?? [], owner], begunBy, until: begunBy + this.#longest })
  }

  /**
   * Ends a session that may be anywhere, whosever it is.
   * @throws {AuthError} `AUTH_UNAVAILABLE` when too many such ids are remembered.
   */
  endOfAnyOwner (id: string): void {
    const now = Date.now()
    for (const [oldest, end] of this.#anybodys) {
      if (end > now) break
      this.#anybodys.delete(oldest)
    }
    // named again it stands last, as it ends last
    this.#anybodys.delete(id)
    if (this.#anybodys.size >= this.#most * 2) throw tooMany()
    this.#anybodys.set(id, this.#now() + this.#longest)
  }

  endAll (owner: StoreOwner, except: string | null): void {
    const before = this.#principals.get(keyOf(owner)) ?? null
    // what began after the last end of all, in the same millisecond even, is over too
    const at = Math.max(this.#now(), this.after(owner))
    const after = before === null ? -Infinity : before.spared?.id === except ? before.spared.after : before.at
    this.#makePrincipalRoom()
    this.#principals.set(keyOf(owner), { at, spared: except === null ? null : { id: except, after } })
  }

  denies (session: Session): boolean {
    const { id, principal, begunAt } = session
    if (begunAt <= this.#floor || this.#anybodys.has(id)) return true
    const ended = this.#ended.get(id)
    if (ended !== undefined && isAmong(principal, ended.owners)) return true
    if (this.#principals.size > 0 && this.#isBefore(session)) return true
    this.#latest = Math.max(this.#latest, begunAt)
    return false
  }

  /** Whether a session began before all of its principal's were ended. */
  #isBefore (session: Session): boolean {
    const { id, principal, begunAt } = session
    const all = this.#principals.get(keyOf(principal))
    if (all === undefined) return false
    if (begunAt <= all.at) return all.spared === null || all.spared.id !== id || begunAt <= all.spared.after
    // it began by a clock that was ahead, nobody knows whether before the end: it is over, also when this clock comes there
    const isAhead = begunAt > Date.now() && begunAt > this.#begun && all.spared?.id !== id
    if (isAhead) this.end(session)
    return isAhead
  }

  /** Now, or later where the clock was set back since a session began. */
  #now (): number {
    return Math.max(Date.now(), this.#latest)
  }

  #makeRoom (): void {
    if (this.#ended.size < this.#sweepAt) return
    const now = Date.now()
    for (const [id, { until }] of this.#ended) if (until <= now) this.#ended.delete(id)
    if (this.#ended.size > this.#most / 2) this.#fold()
    // twice what is left: each sweep is paid for by as many additions
    this.#sweepAt = Math.max(few, this.#ended.size * 2)
  }

  /** Folds the ids of those who have more than their share of the room, the sessions that began first. */
  #fold (): void {
    const idsOf = new Map<string, Array<{ readonly id: string, readonly begunBy: number }>>()
    for (const [id, { owners, begunBy }] of this.#ended) {
      for (const owner of owners) {
        const ids = idsOf.get(keyOf(owner)) ?? []
        idsOf.set(keyOf(owner), ids)
        ids.push({ id, begunBy })
      }
    }
    const share = Math.max(fewest, Math.floor(this.#most / 2 / idsOf.size))
    for (const [owner, ids] of idsOf) {
      if (ids.length <= share) continue
      ids.sort((a, b) => a.begunBy - b.begunBy)
      // half of the share stays, so that the next fold of theirs is as many ends away
      for (const each of ids.slice(0, ids.length - Math.floor(share / 2))) this.#foldOne(owner, each)
    }
    this.#folded()
  }

  #foldOne (owner: string, { id, begunBy }: { readonly id: string, readonly begunBy: number }): void {
    const before = this.#principals.get(owner)
    this.#makePrincipalRoom()
    this.#principals.set(owner, {
      at: Math.max(begunBy, before?.at ?? -Infinity),
      spared: before === undefined || before.spared?.id === id ? null : before.spared
    })
    this.#forget(id, owner)
  }

  /** Forgets that an owner ended an id, which another may have named too. */
  #forget (id: string, owner: string): void {
    const ended = this.#ended.get(id) as Ended
    const owners = ended.owners.filter(each => keyOf(each) !== owner)
    if (owners.length === 0) this.#ended.delete(id)
    else this.#ended.set(id, { ...ended, owners })
  }

  #makePrincipalRoom (): void {
    if (this.#principals.size < this.#sweepPrincipalsAt) return
    const now = Date.now()
    for (const [key, { at }] of this.#principals) if (at + this.#longest <= now) this.#principals.delete(key)
    if (this.#principals.size > this.#most / 2) this.#foldPrincipals()
    this.#sweepPrincipalsAt = Math.min(this.#most, Math.max(few, this.#principals.size * 2))
  }

  /** The older half: their sessions, and those that are older still, have the least time left. */
  #foldPrincipals (): void {
    const byAge = [...this.#principals].sort(([, a], [, b]) => a.at - b.at)
    for (const [key, { at }] of byAge.slice(0, Math.ceil(byAge.length / 2))) {
      this.#floor = Math.max(this.#floor, at)
      this.#principals.delete(key)
    }
    this.#folded()
  }
}

function isAmong ({ realm, id }: StoreOwner, owners: readonly StoreOwner[]): boolean {
  return owners.some(owner => owner.id === id && owner.realm === realm)
}

function keyOf ({ realm, id }: StoreOwner): string {
  return JSON.stringify([realm, id])
}

function tooMany (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'sessions.ofAnyOwner().revoke() has ended too many ids: use ' +
    'sessions.of(owner).revoke(), or give the plugin the option store')
}
