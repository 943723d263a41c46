import type { FastifyBaseLogger } from 'fastify'
import type { StoreChange } from '../../types/store.js'
import { AuthError } from '../errors.js'
import type { Memo } from './ttl-cache.js'

/** Look-ups under way at once: few enough to leave the connections of a database to the requests. */
const atOnce = 4
/** Parts into which a round is divided, so that not everybody is asked for at the same moment. */
const parts = 20
/** Milliseconds until a store that did not answer is asked again. */
const soon = 1_000

/** How {@link Watchers} ask. */
interface WatchersOptions {
  /** Milliseconds of a round, in which each id has its turn. Where the look-ups take longer, so does the round. */
  readonly every: number
  /** Looks up one id, and calls {@link Watchers.tell} if it is over. */
  readonly ask: (id: string) => Promise<void>
  readonly log: Pick<FastifyBaseLogger, 'error'>
}

/**
 * Those who want to hear that a record is over, by its id. No store tells of everything, so while somebody waits each id is looked up once a round: spread over the round, and only
 * a few at a time, because all at once would keep everybody's look-ups from being answered in time. Ids of which something was heard come first. While the store is unavailable
 * there is a pause of a second after each try, unless it says something.
 */
export class Watchers {
  readonly #options: WatchersOptions
  readonly #watched = new Map<string, Set<() => void>>()
  /** Ids of which something was heard, or which were asked for in vain. */
  readonly #urgent = new Queue()
  /** Ids whose turn it is. */
  readonly #due = new Queue()
  #asking = 0
  #round: { readonly ids: Iterator<string>, part: number, taken: number } | null = null
  #timer: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined

  constructor (options: WatchersOptions) {
    this.#options = options
  }

  /** @returns what stops it. */
  add (id: string, over: () => void): () => void {
    // one of its own for each call: the same function may wait twice
    const own = (): void => { over() }
    const set = this.#watched.get(id) ?? new Set<() => void>()
    this.#watched.set(id, set.add(own))
    this.#timer ??= setInterval(() => { this.#takeTurns() }, this.#options.every / parts).unref()
    // it may have ended since it was looked up
    this.#urgent.add(id)
    this.#pump()
    return () => {
      set.delete(own)
      if (set.size === 0 && this.#watched.get(id) === set) this.#leave(id)
    }
  }

  /** Looks one up before the others, if somebody waits for it, because the store said something of it. */
  check (id: string): void {
    if (!this.#watched.has(id)) return
    this.#urgent.add(id)
    this.#goOn()
  }

  /** Looks all of them up, as fast as few at a time go, because the store said that something may have been missed. */
  checkAll (): void {
    for (const id of this.#watched.keys()) this.#due.add(id)
    this.#goOn()
  }

  /** Tells all who wait for this one, once. */
  tell (id: string): void {
    const set = this.#watched.get(id) ?? []
    this.#leave(id)
    for (const over of set) over()
  }

  /** Nobody is told any more. */
  close (): void {
    for (const id of [...this.#watched.keys()]) this.#leave(id)
  }

  /** Adds those whose turn it is by this part of the round; at the end of a round, all that are left. */
  #takeTurns (): void {
    this.#round ??= { ids: this.#watched.keys(), part: 0, taken: 0 }
    const round = this.#round
    const isLast = ++round.part === parts
    const share = isLast ? Infinity : Math.ceil(this.#watched.size * round.part / parts)
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
    while (this.#pause === undefined && this.#asking < atOnce) {
      const id = this.#urgent.take() ?? this.#due.take()
      if (id === undefined) return
      this.#due.delete(id)
      void this.#askFor(id)
    }
  }

  async #askFor (id: string): Promise<void> {
    this.#asking++
    try {
      await this.#options.ask(id)
    } catch (error) {
      this.#failed(id, error)
    }
    this.#asking--
    this.#pump()
  }

  /** A store that is unavailable is asked again soon, behind the others that wait; what failed otherwise has to be mended by somebody, and is tried again in the next round. */
  #failed (id: string, error: unknown): void {
    if (!this.#watched.has(id)) return
    if (!(error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE')) {
      this.#options.log.error({ err: error }, 'a credential that is watched could not be looked up')
      return
    }
    this.#urgent.add(id)
    this.#pause ??= setTimeout(() => { this.#goOn() }, soon).unref()
  }

  /** A store that says something is asked at once. */
  #goOn (): void {
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

/** Ids in a line, each once. */
class Queue {
  readonly #ids = new Set<string>()
  /** Never at its end while there is an id. A new one each time would pass all places of those that were taken before. */
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

/** What a store tells of one record, or of any: it is not believed as it was, and asked for where somebody waits. */
export function hear (change: StoreChange, memo: Pick<Memo<unknown>, 'forget' | 'forgetAll'>, watchers: Watchers): void {
  if (change === null) {
    memo.forgetAll()
    watchers.checkAll()
  } else {
    memo.forget(change.id)
    watchers.check(change.id)
  }
}
