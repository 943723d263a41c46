import { createHmac, randomBytes } from 'node:crypto'
import type { Store, StoreCount } from '../../types/store.js'
import { AuthError } from '../errors.js'
import { getOrCreate } from '../util/objects.js'

/** A slot that is reserved for one guess. It must be released or kept, once. */
export interface Slot {
  /** Frees the slot: the guess was right, or the check failed. */
  release (): Promise<void>
  /** Keeps the slot taken until the window ends: the guess was wrong. */
  keep (): Promise<void>
}

interface ReservationRule {
  /** Slots per window. */
  readonly max: number
  /** Seconds. */
  readonly window: number
  /** Seconds. */
  readonly longestWindow: number
}

/** The time for which a wrong guess lengthens windows. */
const growthSeconds = 86_400

/**
 * Reserves slots for guesses at names of one kind. Each name has `max` slots per window. The window doubles with every
 * `max` wrong guesses of a day.
 */
export class Reservations {
  readonly #rule: ReservationRule
  readonly #taken: Counters
  /**
   * Counts the wrong guesses of a day. Counting full windows instead would let an attacker who never uses the last slot
   * of a window keep the shortest window for ever.
   */
  readonly #wrong: Counters
  readonly #maxWrong: number
  readonly #inFlight = new InFlight()

  constructor (store: Store, kind: string, rule: ReservationRule) {
    const { max, window, longestWindow } = rule
    this.#rule = rule
    this.#taken = createCounters(store, kind, longestWindow)
    this.#wrong = createCounters(store, `${kind}-level`, growthSeconds)
    this.#maxWrong = max * Math.ceil(Math.log2(longestWindow / window))
  }

  /**
   * Reserves a slot. When all are taken, returns the instant at which they are free again, in milliseconds since 1970.
   */
  async reserve (id: string): Promise<Slot | number> {
    const checks = this.#inFlight.enter(id)
    try {
      return await this.#reserve(id, checks)
    } finally {
      this.#inFlight.leave(id, checks)
    }
  }

  async #reserve (id: string, checks: InFlightChecks): Promise<Slot | number> {
    const { max, window, longestWindow } = this.#rule
    for (let isLast = false; ;) {
      const { released } = checks
      const level = Math.floor(await this.#wrong.read(id) / max)
      const answer = await this.#taken.increment(id, Math.min(window * 2 ** level, longestWindow), max)
      if (answer.counted) return this.#slotOf(id, answer)
      if (isLast) return answer.until
      // wait for a slot to be released, or for the end of the window, which frees all of them
      if (checks.released === released && checks.holding > 0) {
        isLast = !await checks.change(untilAfter(answer.until))
      }
      if (checks.released === released && !isLast) return answer.until
    }
  }

  #slotOf (id: string, { undo }: Counted): Slot {
    const checks = this.#inFlight.enter(id)
    checks.holding++
    const end = async (how: keyof Slot, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write()
        if (how === 'release') checks.released++
      } finally {
        checks.end(how)
        this.#inFlight.leave(id, checks)
      }
    }
    return {
      release: async () => end('release', undo),
      keep: async () => end('keep', async () => this.#wrong.increment(id, growthSeconds, this.#maxWrong))
    }
  }
}

/** Returns the milliseconds until an instant is over. A timer of Node may end a millisecond before its time. */
function untilAfter (instant: number): number {
  return Math.max(0, instant - Date.now()) + 1
}

/**
 * The checks of one name that run in this process. While there are some, a refusal is not final: they may succeed and
 * release their slots.
 */
class InFlightChecks {
  /** Callers that reserve or hold a slot. */
  users = 0
  /** Slots that are held by running checks. */
  holding = 0
  /** Slots that were released so far. */
  released = 0
  #waiting: Array<() => void> = []

  /**
   * Waits until a slot is released, or no check is running any more. A released slot wakes only one waiter.
   * @param maxWait milliseconds.
   * @returns `false` after `maxWait`: a check that never ends must not block others.
   */
  async change (maxWait: number): Promise<boolean> {
    return new Promise(resolve => {
      const wake = (): void => { clearTimeout(timer); resolve(true) }
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter(each => each !== wake)
        resolve(false)
      }, maxWait).unref()
      this.#waiting.push(wake)
    })
  }

  /** Ends a check, whose slot is released or stays taken. */
  end (how: keyof Slot): void {
    this.holding--
    const freed = how === 'release' ? 1 : 0
    for (const wake of this.#waiting.splice(0, this.holding === 0 ? Infinity : freed)) wake()
  }
}

/** The running checks by name. A name without a running check is removed. */
class InFlight {
  readonly #checks = new Map<string, InFlightChecks>()

  enter (id: string): InFlightChecks {
    const checks = getOrCreate(this.#checks, id, () => new InFlightChecks())
    checks.users++
    return checks
  }

  leave (id: string, checks: InFlightChecks): void {
    checks.users--
    if (checks.users === 0) this.#checks.delete(id)
  }
}

/** The result of an increment. */
interface Counted {
  /** `false` when the maximum was reached before: nothing was counted. */
  readonly counted: boolean
  readonly count: number
  /** The time at which the count is reset, in milliseconds since 1970. */
  readonly until: number
  /** Reverts the increment. */
  undo (): Promise<void>
}

/**
 * Counts by name, in the store. When the store is full, new names are counted in a sketch of fixed size, which may
 * count too high but never too low: a full store must not give anybody a fresh count.
 */
interface Counters {
  /**
   * Counts one, unless `max` is reached.
   * @param window seconds until the count is reset, from the first increment.
   * @throws {AuthError} `AUTH_UNAVAILABLE` when the store is unavailable.
   */
  increment (id: string, window: number, max: number): Promise<Counted>
  read (id: string): Promise<number>
}

const noUndo = async (): Promise<void> => {}

function isFull (error: unknown): boolean {
  return error instanceof AuthError && 'reason' in error && error.reason === 'full'
}

/** @param maxWindow the longest window of an increment, in seconds. */
function createCounters (store: Store, kind: string, maxWindow: number): Counters {
  const sketch = createCountMinSketch(maxWindow * 1000)

  /** Returns `null` when the store is full. */
  const countInStore = async (id: string, window: number, max: number): Promise<StoreCount | null> => {
    try {
      return await store.increment(kind, id, { window, ceiling: max })
    } catch (error) {
      if (!isFull(error)) throw error
      return null
    }
  }

  const countInSketch = (id: string, max: number): Counted => {
    const counted = sketch.increment(id, max)
    const until = sketch.end()
    return { counted, count: sketch.estimate(id), until, undo: async () => { sketch.decrement(id, until) } }
  }

  return {
    async increment (id, window, max) {
      // counts of the sketch still apply when the store has room again
      const inSketch = sketch.estimate(id)
      const answer = await countInStore(id, window, Math.max(0, max - inSketch))
      if (answer === null) return countInSketch(id, max)
      const { counted, count, expiresAt } = answer
      const until = Math.max(expiresAt?.getTime() ?? 0, counted ? 0 : inSketch > 0 ? sketch.end() : 0)
      const undo = counted && expiresAt !== null ? async () => store.decrement(kind, id, expiresAt) : noUndo
      return { counted, count: count + inSketch, until, undo }
    },
    async read (id) {
      const { count } = await store.increment(kind, id, { window: maxWindow, ceiling: 0 })
      return count + sketch.estimate(id)
    }
  }
}

/** Counts any number of names in fixed space. A count is never too low, but may be too high. */
interface CountMinSketch {
  /** Counts one, unless the count of the name has reached `max`. Returns whether it was counted. */
  increment (name: string, max: number): boolean
  /** Reverts an increment, unless its window ended at `end`. */
  decrement (name: string, end: number): void
  /** Returns the count of a name in this window, or more. */
  estimate (name: string): number
  /** Returns when all counts are reset, in milliseconds since 1970; 0 when there are none. */
  end (): number
}

const rows = 4
const width = 65_536
const maxCount = 65_535

/**
 * Creates a count-min sketch (Cormode and Muthukrishnan, 2005) over one window, which begins with the first count. It
 * takes 512 KiB once it is used. Cells are chosen by an HMAC with a key of this process, so that nobody can construct
 * names that collide.
 * @param window milliseconds.
 */
export function createCountMinSketch (window: number): CountMinSketch {
  const key = randomBytes(32)
  let cells: Buffer | null = null
  let ends = 0

  const current = (): Buffer | null => {
    if (Date.now() >= ends) cells = null
    return cells
  }
  /** Returns the offsets of a name's cells, which have two bytes each. */
  const offsetsOf = (name: string): readonly number[] => {
    const digest = createHmac('sha256', key).update(name).digest()
    return Array.from({ length: rows }, (_, row) => 2 * (row * width + digest.readUInt16LE(row * 2)))
  }
  const lowest = (counts: Buffer, offsets: readonly number[]): number =>
    Math.min(...offsets.map(offset => counts.readUInt16LE(offset)))
  const add = (counts: Buffer, offset: number, change: 1 | -1): void => {
    counts.writeUInt16LE(Math.min(maxCount, Math.max(0, counts.readUInt16LE(offset) + change)), offset)
  }

  return {
    increment (name, max) {
      const counts = current() ?? Buffer.alloc(rows * width * 2)
      if (cells === null) ends = Date.now() + window
      cells = counts
      const offsets = offsetsOf(name)
      if (lowest(counts, offsets) >= Math.min(max, maxCount)) return false
      for (const offset of offsets) add(counts, offset, 1)
      return true
    },
    decrement (name, end) {
      const counts = current()
      if (counts === null || end !== ends) return
      for (const offset of offsetsOf(name)) add(counts, offset, -1)
    },
    estimate (name) {
      const counts = current()
      return counts === null ? 0 : lowest(counts, offsetsOf(name))
    },
    end: () => current() === null ? 0 : ends
  }
}
