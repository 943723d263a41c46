/** Milliseconds until a store that did not answer is asked again. */
const soon = 1_000

/**
 * Those who want to hear that a record is over, by its id. While somebody waits, `ask` is called for each id now and then: no store tells everything. Where it rejects,
 * as the store does not answer, it is called again soon: for one until there is an answer, then for all that are without.
 */
export class Watchers {
  readonly #watched = new Map<string, Set<() => void>>()
  readonly #ask: (id: string) => Promise<void>
  readonly #every: number
  /** Those of them that the store was asked for in vain. */
  readonly #unanswered = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined

  /** @param every milliseconds. */
  constructor (every: number, ask: (id: string) => Promise<void>) {
    this.#every = every
    this.#ask = ask
  }

  /** @returns what stops it. */
  add (id: string, over: () => void): () => void {
    // one of its own for each call: the same function may wait twice
    const own = (): void => { over() }
    const set = this.#watched.get(id) ?? new Set<() => void>()
    this.#watched.set(id, set.add(own))
    this.#timer ??= setInterval(() => { this.checkAll() }, this.#every).unref()
    // it may have ended since it was looked up
    void this.check(id)
    return () => {
      set.delete(own)
      if (set.size === 0 && this.#watched.get(id) === set) this.#leave(id)
    }
  }

  /** Asks for one, if somebody waits. */
  async check (id: string): Promise<void> {
    this.#unanswered.delete(id)
    if (!this.#watched.has(id)) return
    try {
      await this.#ask(id)
    } catch {
      if (!this.#watched.has(id)) return
      // behind the others: the next time it is another one that is asked first
      this.#unanswered.add(id)
      this.#again ??= setTimeout(() => { void this.#retry() }, soon).unref()
    }
  }

  checkAll (): void {
    for (const id of [...this.#watched.keys()]) void this.check(id)
  }

  /** Tells all who wait for this one, once. */
  tell (id: string): void {
    const set = this.#watched.get(id) ?? []
    this.#leave(id)
    for (const over of set) over()
  }

  /** Nobody is told any more. */
  close (): void {
    this.#watched.clear()
    this.#unanswered.clear()
    this.#rest()
  }

  async #retry (): Promise<void> {
    this.#again = undefined
    const [first = '', ...others] = this.#unanswered
    await this.check(first)
    if (!this.#unanswered.has(first)) for (const id of others) void this.check(id)
  }

  #leave (id: string): void {
    this.#watched.delete(id)
    this.#unanswered.delete(id)
    this.#rest()
  }

  #rest (): void {
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    clearTimeout(this.#again)
    this.#timer = this.#again = undefined
  }
}
