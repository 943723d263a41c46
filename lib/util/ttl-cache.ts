import { isThenable } from './answer.js'

interface Kept<V> { readonly at: number, readonly value: V }

interface Asked<V> { readonly at: number, readonly answer: Promise<V> }

/** How a {@link Memo} remembers. */
export interface MemoOptions<V> {
  /** Milliseconds, counted from when it was asked and not from when the answer came. */
  readonly staleness: number
  /** Answers remembered at once, of each kind. */
  readonly size: number
  /** What says no is kept apart from what says yes, so that a flood of one does not push out the other. */
  readonly denies: (value: V) => boolean
}

/**
 * Answers, each believed for a bounded time and then asked again; a bounded number of them, the oldest forgotten first. Those who ask for the same at once wait for one answer,
 * unless it was asked longer ago than an answer is believed: it may be from before a change that the later ones know of.
 * What is forgotten while it is asked is not remembered when it comes: it may be from before the change.
 */
export class Memo<V> {
  readonly #options: MemoOptions<V>
  readonly #yes = new Map<string, Kept<V>>()
  readonly #no = new Map<string, Kept<V>>()
  readonly #asked = new Map<string, Asked<V>>()

  constructor (options: MemoOptions<V>) {
    this.#options = options
  }

  /** What is known, or what `ask` says. A failure is nobody's answer: the next one asks again. */
  get (key: string, ask: () => V | Promise<V>): V | Promise<V> {
    const kept = this.#yes.get(key) ?? this.#no.get(key)
    if (kept !== undefined && this.#isFresh(kept)) return kept.value
    const asked = this.#asked.get(key)
    return asked !== undefined && this.#isFresh(asked) ? asked.answer : this.#ask(key, ask)
  }

  /** From now on, what was known before counts for nothing. */
  forget (key: string): void {
    this.#yes.delete(key)
    this.#no.delete(key)
    this.#asked.delete(key)
  }

  forgetAll (): void {
    this.#yes.clear()
    this.#no.clear()
    this.#asked.clear()
  }

  /** A clock that was set back makes no answer last longer. */
  #isFresh ({ at }: { readonly at: number }): boolean {
    const age = Date.now() - at
    return age >= 0 && age < this.#options.staleness
  }

  #ask (key: string, ask: () => V | Promise<V>): V | Promise<V> {
    const at = Date.now()
    const answer = ask()
    if (!isThenable(answer)) return this.#keep(key, { at, value: answer })
    const asked: Asked<V> = { at, answer: this.#settle(key, at, answer, () => this.#asked.get(key) === asked) }
    this.#asked.set(key, asked)
    return asked.answer
  }

  async #settle (key: string, at: number, answer: Promise<V>, isWanted: () => boolean): Promise<V> {
    try {
      const value = await answer
      return isWanted() ? this.#keep(key, { at, value }) : value
    } finally {
      if (isWanted()) this.#asked.delete(key)
    }
  }

  #keep (key: string, kept: Kept<V>): V {
    if (this.#options.staleness === 0) return kept.value
    const denies = this.#options.denies(kept.value)
    const [into, other] = denies ? [this.#no, this.#yes] : [this.#yes, this.#no]
    other.delete(key)
    // the newest stands last
    into.delete(key)
    const [oldest] = into.size < this.#options.size ? [] : into.keys()
    if (oldest !== undefined) into.delete(oldest)
    into.set(key, kept)
    return kept.value
  }
}
