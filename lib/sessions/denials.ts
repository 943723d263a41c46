import type { StoreOwner } from '../../types/store.js'
import type { Session } from './payload.js'

/** One session that ended before its time. */
interface Ended {
  /** Whose it must be to be over: one of these, or anybody's. */
  readonly owners: readonly StoreOwner[] | null
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

/** Of each, at most: some ten megabytes. */
const most = 50_000
/** Entries below which sweeping is not worth it. */
const few = 1_024

/**
 * The sessions that ended before their time, in memory, which a restart forgets. Nothing is dropped that could still be used, and yet it is bounded: when there are very
 * many, a principal's fold into one instant by which all of theirs are over, and when there are very many principals, those of the oldest into one for everybody. Both deny more than was asked
 * for, never less.
 */
export class Denials {
  #longest: number
  readonly #folded: () => void
  readonly #most: number
  readonly #ended = new Map<string, Ended>()
  readonly #principals = new Map<string, NotBefore>()
  #sweepAt = few
  #sweepPrincipalsAt = few
  /** All sessions that began by then are over. */
  #floor = -Infinity

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

  end ({ id, principal: { realm, id: person }, begunAt, endsAt }: Session): void {
    this.#makeRoom()
    // not the principal, which may be as large as a cookie
    this.#ended.set(id, { owners: [{ realm, id: person }], begunBy: begunAt, until: endsAt })
  }

  /** Ends a session that may be anywhere, of which nothing is known but its id, and perhaps whose it must be. */
  endById (id: string, owner: StoreOwner | null): void {
    const now = Date.now()
    const known = this.#ended.get(id)
    if (known !== undefined && owner !== null && isAmong(owner, known.owners)) return
    this.#makeRoom()
    // several may claim an id, and only its owner is believed
    const owners = owner === null ? null : [...known?.owners ?? [], owner]
    this.#ended.set(id, { owners, begunBy: now, until: now + this.#longest })
  }

  endAll (owner: StoreOwner, except: string | null): void {
    const before = this.#principals.get(keyOf(owner)) ?? null
    // what began after the last end of all, in the same millisecond even, is over too
    const at = Math.max(Date.now(), this.after(owner))
    const after = before === null ? -Infinity : before.spared?.id === except ? before.spared.after : before.at
    this.#makePrincipalRoom()
    this.#principals.set(keyOf(owner), { at, spared: except === null ? null : { id: except, after } })
  }

  denies ({ id, principal, begunAt }: Session): boolean {
    if (begunAt <= this.#floor) return true
    const ended = this.#ended.get(id)
    if (ended !== undefined && isAmong(principal, ended.owners)) return true
    if (this.#principals.size === 0) return false
    const all = this.#principals.get(keyOf(principal))
    if (all === undefined || begunAt > all.at) return false
    return all.spared === null || all.spared.id !== id || begunAt <= all.spared.after
  }

  #makeRoom (): void {
    if (this.#ended.size < this.#sweepAt) return
    const now = Date.now()
    for (const [id, { until }] of this.#ended) if (until <= now) this.#ended.delete(id)
    if (this.#ended.size > this.#most / 2) this.#fold()
    // twice what is left: each sweep is paid for by as many additions
    this.#sweepAt = Math.min(this.#most, Math.max(few, this.#ended.size * 2))
  }

  /** An id that may be anybody's has nobody whose instant it could join. */
  #fold (): void {
    for (const [id, { owners, begunBy }] of this.#ended) {
      if (owners === null) this.#floor = Math.max(this.#floor, begunBy)
      for (const owner of owners ?? []) this.#foldOne(id, owner, begunBy)
    }
    this.#ended.clear()
    this.#folded()
  }

  #foldOne (id: string, owner: StoreOwner, begunBy: number): void {
    const before = this.#principals.get(keyOf(owner))
    this.#makePrincipalRoom()
    this.#principals.set(keyOf(owner), {
      at: Math.max(begunBy, before?.at ?? -Infinity),
      spared: before === undefined || before.spared?.id === id ? null : before.spared
    })
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

function isAmong ({ realm, id }: StoreOwner, owners: readonly StoreOwner[] | null): boolean {
  return owners === null || owners.some(owner => owner.id === id && owner.realm === realm)
}

function keyOf ({ realm, id }: StoreOwner): string {
  return JSON.stringify([realm, id])
}
