/** A binary heap, the earliest first. The instants stand in an array of their own: as a field, each would be an object beside the item. */
export class Heap<T> {
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

  /** Takes the first away, if it is due by `now`. */
  take (now: number): T | undefined {
    const [first] = this.#items
    if (first === undefined || this.#due(0) > now) return undefined
    const item = this.#items.pop() as T
    const due = this.#dues.pop() as number
    if (this.#items.length > 0) this.#sink(item, due)
    return first
  }

  /** Forgets all that are not wanted, whatever their turn. */
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

  /** `Infinity` where nothing stands. */
  #due (at: number): number {
    return at < this.#dues.length ? this.#dues[at] as number : Infinity
  }
}
