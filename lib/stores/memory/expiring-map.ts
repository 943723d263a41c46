/** The value of a key and its end. */
interface Entry<V> {
  value: V
  /** The instant at which the entry expires. */
  readonly at: number
}

interface KeyedEntry<V> extends Entry<V> {
  readonly key: string
  at: number
}

/** The number of dead entries, beyond the number of live ones, at which the heap is rebuilt. */
const maxDead = 1_024

/**
 * A map whose entries expire at an instant in milliseconds since 1970 (`Infinity`: never), without a timer.
 *
 * Reading, extending and deleting an entry take constant time: an extended entry keeps its place in the heap until its
 * first end comes, and a deleted one until its turn, or until more entries are dead than live. An entry is dead when
 * its key is gone or has another entry.
 */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, KeyedEntry<V>>()
  readonly #heap = new ExpiryHeap<KeyedEntry<V>>()
  readonly #onExpired: (value: V) => void

  /** @param onExpired is called with the value of each entry that expired. */
  constructor (onExpired: (value: V) => void = () => {}) {
    this.#onExpired = onExpired
  }

  get (key: string, now: number): V | undefined {
    return this.find(key, now)?.value
  }

  /** Returns the entry itself, whose value may be changed in place. */
  find (key: string, now: number): Entry<V> | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.at > now ? entry : undefined
  }

  /** Adds or replaces an entry. The caller checks the size before. */
  set (key: string, value: V, at: number): void {
    const known = this.#entries.get(key)
    if (known !== undefined && at >= known.at) {
      known.value = value
      known.at = at
      return
    }
    const entry = { key, value, at }
    this.#entries.set(key, entry)
    if (at !== Infinity) this.#heap.push(entry, at)
    this.#clean()
  }

  delete (key: string): void {
    if (this.#entries.delete(key)) this.#clean()
  }

  /** Removes what has expired, and returns the number of entries that are left. */
  sizeAt (now: number): number {
    for (let first = this.#heap.take(now); first !== undefined; first = this.#heap.take(now)) {
      if (this.#isLive(first)) this.#settle(first, now)
    }
    return this.#entries.size
  }

  #settle (entry: KeyedEntry<V>, now: number): void {
    if (entry.at <= now) {
      this.#entries.delete(entry.key)
      this.#onExpired(entry.value)
    } else if (entry.at !== Infinity) this.#heap.push(entry, entry.at)
  }

  #clean (): void {
    if (this.#heap.size > 2 * this.#entries.size + maxDead) this.#heap.keep(entry => this.#isLive(entry))
  }

  #isLive (entry: KeyedEntry<V>): boolean {
    return this.#entries.get(entry.key) === entry
  }
}

/**
 * A binary heap ordered by instant. The instants have an array of their own, because a number field would cost an
 * object each.
 */
class ExpiryHeap<T> {
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
