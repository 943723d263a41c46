/** Those who want to hear that a key was revoked, by its id. While somebody waits, `ask` is called for each key now and then: no store tells everything. */
export class Watchers {
  readonly #watched = new Map<string, Set<() => void>>()
  readonly #ask: (id: string) => void
  readonly #every: number
  #timer: NodeJS.Timeout | null = null

  /** @param every milliseconds. */
  constructor (every: number, ask: (id: string) => void) {
    this.#every = every
    this.#ask = ask
  }

  get ids (): readonly string[] {
    return [...this.#watched.keys()]
  }

  has (id: string): boolean {
    return this.#watched.has(id)
  }

  /** @returns what stops it. */
  add (id: string, revoked: () => void): () => void {
    // one of its own for each call: the same function may wait twice
    const own = (): void => { revoked() }
    const set = this.#watched.get(id) ?? new Set<() => void>()
    this.#watched.set(id, set.add(own))
    this.#timer ??= setInterval(() => { this.ids.forEach(this.#ask) }, this.#every).unref()
    // it may have ended since it was looked up
    this.#ask(id)
    return () => {
      set.delete(own)
      if (set.size === 0 && this.#watched.get(id) === set) this.#watched.delete(id)
      this.#rest()
    }
  }

  /** Tells all who wait for this key, once. */
  tell (id: string): void {
    const set = this.#watched.get(id) ?? []
    this.#watched.delete(id)
    this.#rest()
    for (const revoked of set) revoked()
  }

  /** Nobody is told any more. */
  close (): void {
    this.#watched.clear()
    this.#rest()
  }

  #rest (): void {
    if (this.#watched.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
