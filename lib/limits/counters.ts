import { createHmac, randomBytes } from 'node:crypto'
import type { Store, StoreCount } from '../../types/store.js'
import { AuthError } from '../errors.js'

/** The result of an increment. */
export interface Counted {
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
export function createCounters (store: Store, kind: string, maxWindow: number): Counters {
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
