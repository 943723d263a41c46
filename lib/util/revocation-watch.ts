import type { FastifyBaseLogger } from 'fastify'
import type { Store, StoreChange } from '../../types/store.js'
import { AuthError } from '../errors.js'
import { TtlCache, type TtlCacheOptions } from './cache.js'
import { getOrCreate } from './objects.js'

/** The maximum number of parallel look-ups, so that most connections of a database are left to requests. */
const maxLookups = 4
/** The number of parts of a round. The look-ups are spread over the parts. */
const partsPerRound = 20
/** The pause after a look-up for which the store was unavailable, in milliseconds. */
const retryDelay = 1_000

/** Options of {@link RevocationWatch}. */
interface RevocationWatchOptions {
  /** The length of a round in milliseconds, in which each id is looked up once. Slow look-ups make it longer. */
  readonly interval: number
  /** Looks up one id, and calls {@link RevocationWatch.notify} if its record has ended. */
  readonly lookUp: (id: string) => Promise<void>
  readonly log: Pick<FastifyBaseLogger, 'error'>
}

/**
 * Calls listeners when a record has ended, by its id. No store reports every end, so each watched id is looked up once
 * a round: spread over the round and only a few at a time, because look-ups of all ids at once would delay those of
 * requests. Ids that the store reported come first. While the store is unavailable, there is a pause of a second after
 * each attempt, until it reports a change.
 */
export class RevocationWatch {
  readonly #options: RevocationWatchOptions
  readonly #watched = new Map<string, Set<() => void>>()
  /** Ids that the store reported, or whose look-up failed. */
  readonly #urgent = new Queue()
  /** Ids whose turn it is. */
  readonly #due = new Queue()
  #lookups = 0
  #round: { readonly ids: Iterator<string>, part: number, taken: number } | null = null
  #timer: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined

  constructor (options: RevocationWatchOptions) {
    this.#options = options
  }

  /**
   * Calls `ended` once when the record has ended.
   * @returns a function that cancels this.
   */
  add (id: string, ended: () => void): () => void {
    // A new function for each call, because the same listener may be added twice.
    const own = (): void => { ended() }
    const set = getOrCreate(this.#watched, id, () => new Set<() => void>()).add(own)
    this.#timer ??= setInterval(() => { this.#takeTurns() }, this.#options.interval / partsPerRound).unref()
    // The record may have ended since the caller looked it up.
    this.#urgent.add(id)
    this.#pump()
    return () => {
      set.delete(own)
      if (set.size === 0 && this.#watched.get(id) === set) this.#leave(id)
    }
  }

  /** Looks up an id before the others, if it is watched, because the store reported a change. */
  check (id: string): void {
    if (!this.#watched.has(id)) return
    this.#urgent.add(id)
    this.#resume()
  }

  /** Looks up all watched ids as soon as possible, because changes may have been missed. */
  checkAll (): void {
    for (const id of this.#watched.keys()) this.#due.add(id)
    this.#resume()
  }

  /** Calls the listeners of an id, and removes them. */
  notify (id: string): void {
    const set = this.#watched.get(id) ?? []
    this.#leave(id)
    for (const ended of set) ended()
  }

  /** Removes all listeners. */
  close (): void {
    for (const id of [...this.#watched.keys()]) this.#leave(id)
  }

  /** Queues the ids whose turn it is in this part of the round; in the last part, all that are left. */
  #takeTurns (): void {
    this.#round ??= { ids: this.#watched.keys(), part: 0, taken: 0 }
    const round = this.#round
    const isLast = ++round.part === partsPerRound
    const share = isLast ? Infinity : Math.ceil(this.#watched.size * round.part / partsPerRound)
    while (round.taken < share) {
      const { value } = round.ids.next() as { readonly value: string | undefined }
      if (value === undefined) break
      round.taken++
      this.#due.add(value)
    }
    if (isLast) this.#round = null
    this.#pump()
  }

  #pump (): void {
    while (this.#pause === undefined && this.#lookups < maxLookups) {
      const id = this.#urgent.take() ?? this.#due.take()
      if (id === undefined) return
      this.#due.delete(id)
      void this.#lookUp(id)
    }
  }

  async #lookUp (id: string): Promise<void> {
    this.#lookups++
    try {
      await this.#options.lookUp(id)
    } catch (error) {
      this.#failed(id, error)
    }
    this.#lookups--
    this.#pump()
  }

  /**
   * Tries again after a pause if the store is unavailable, behind the other ids that wait. Logs any other error; the id
   * is looked up again in the next round.
   */
  #failed (id: string, error: unknown): void {
    if (!this.#watched.has(id)) return
    if (!(error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE')) {
      this.#options.log.error({ err: error }, 'a credential that is watched could not be looked up')
      return
    }
    this.#urgent.add(id)
    this.#pause ??= setTimeout(() => { this.#resume() }, retryDelay).unref()
  }

  /** Ends the pause. A store that reports a change is available again. */
  #resume (): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#pump()
  }

  #leave (id: string): void {
    this.#watched.delete(id)
    this.#urgent.delete(id)
    this.#due.delete(id)
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    clearTimeout(this.#pause)
    this.#timer = this.#pause = undefined
    this.#round = null
  }
}

/** A queue of ids that holds each id once. */
class Queue {
  readonly #ids = new Set<string>()
  /**
   * One iterator for the life of the queue, which does not end while ids are added in time: a new iterator would have
   * to skip the places of all ids that were taken before.
   */
  readonly #next: Iterator<string> = this.#ids.values()

  add (id: string): void {
    this.#ids.add(id)
  }

  delete (id: string): void {
    this.#ids.delete(id)
  }

  take (): string | undefined {
    if (this.#ids.size === 0) return undefined
    const id = this.#next.next().value as string
    this.#ids.delete(id)
    return id
  }
}

/** Options of {@link WatchedCache}. */
export interface WatchedCacheOptions<V> extends Pick<TtlCacheOptions<V>, 'isNegative'> {
  readonly store: Store
  /** The kind of the records in the store. */
  readonly kind: string
  /** The time for which a value is cached. */
  readonly stalenessMs: number
  /** Asks the store if the record of an id has ended. */
  readonly hasEnded: (id: string) => Promise<boolean>
  /** Returns the id that a record of the store is cached under, or `null` for a record of somebody else. */
  readonly idOf?: (name: string) => string | null
  readonly log: RevocationWatchOptions['log']
}

/** The maximum number of cached values, and of cached negative ones. */
const maxEntries = 10_000

/** The length of a round if the store reports changes: it may miss one, and does not report an expiry. */
const reportingRoundMs = 30_000

/**
 * Caches what a store knows of its records of one kind, by id. Values are dropped when the store or this process
 * reports a change of their record, and listeners are called when a record has ended.
 */
export class WatchedCache<V> extends TtlCache<V> {
  readonly #watch: RevocationWatch
  readonly #idOf: (name: string) => string | null
  readonly #unsubscribe: (() => void) | undefined

  constructor (options: WatchedCacheOptions<V>) {
    const { store, kind, stalenessMs, isNegative, hasEnded, idOf = id => id, log } = options
    super({ ttlMs: stalenessMs, maxEntries, isNegative })
    const interval = store.subscribe === undefined ? Math.max(1_000, stalenessMs) : reportingRoundMs
    const lookUp = async (id: string): Promise<void> => { if (await hasEnded(id)) this.end(id) }
    this.#watch = new RevocationWatch({ interval, lookUp, log })
    this.#idOf = idOf
    this.#unsubscribe = store.subscribe?.(kind, change => { this.#applyChange(change) })
  }

  /** Calls `ended` once when the record of an id has ended. Returns a function that cancels this. */
  watch (id: string, ended: () => void): () => void {
    return this.#watch.add(id, ended)
  }

  /** Drops the value of a record that has ended, and calls those who watch it. */
  end (id: string): void {
    this.delete(id)
    this.#watch.notify(id)
  }

  close (): void {
    this.#unsubscribe?.()
    this.#watch.close()
  }

  /** Drops the value of a changed record, and looks it up if it is watched; all of them if changes were missed. */
  #applyChange (change: StoreChange): void {
    if (change === null) {
      this.clear()
      this.#watch.checkAll()
      return
    }
    const id = this.#idOf(change.id)
    if (id === null) return
    this.delete(id)
    this.#watch.check(id)
  }
}
