/** A binary heap ordered by instant. The instants have an array of their own, because a number field would cost an object each. */
export class ExpiryHeap<T> {
  #items: T[] = []
  #dues: number[] = []

  get size (): number {
    return this.#items.length
  }

  push (item: T, due: number): void {
    let at = this.#items.length
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.#due(above) <= due) break
      this.#move(above, at)
      at = above
    }
    this.#items[at] = item
    this.#dues[at] = due
  }

  /** Removes and returns the earliest item, if it is due by `now`. */
  take (now: number): T | undefined {
    const [first] = this.#items
    if (first === undefined || this.#due(0) > now) return undefined
    const item = this.#items.pop() as T
    const due = this.#dues.pop() as number
    if (this.#items.length > 0) this.#sink(item, due)
    return first
  }

  /** Rebuilds the heap with the items that are still wanted. */
  keep (isWanted: (item: T) => boolean): void {
    const [items, dues] = [this.#items, this.#dues]
    this.#items = []
    this.#dues = []
    for (const [i, item] of items.entries()) if (isWanted(item)) this.push(item, dues[i] as number)
  }

  #sink (item: T, due: number): void {
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const below = this.#due(left + 1) < this.#due(left) ? left + 1 : left
      if (this.#due(below) >= due) break
      this.#move(below, at)
      at = below
    }
    this.#items[at] = item
    this.#dues[at] = due
  }

  #move (from: number, to: number): void {
    this.#items[to] = this.#items[from] as T
    this.#dues[to] = this.#due(from)
  }

  /** Returns the instant at a position; `Infinity` beyond the end. */
  #due (at: number): number {
    return at < this.#dues.length ? this.#dues[at] as number : Infinity
  }
}
