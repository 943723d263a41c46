import { createHmac, randomBytes } from 'node:crypto'
import type { Store, StoreCount } from '../../types/store.js'
import { AuthError } from '../errors.js'

/** A count that was asked for. */
export interface Counted {
  /** `false`: the ceiling was reached, and nothing was counted. */
  readonly counted: boolean
  readonly count: number
  /** When the count is forgotten, in milliseconds since 1970. */
  readonly until: number
  /** Takes it back. */
  undo (): Promise<void>
}

/** Counters of one kind in the store. One that is full lends nobody a fresh count: new names then go to a sketch of fixed size, whose mistakes are refusals. */
interface Counters {
  /** @throws {AuthError} `AUTH_UNAVAILABLE` when the store does not answer. */
  increment (id: string, window: number, ceiling: number): Promise<Counted>
  read (id: string): Promise<number>
}

const nothing = async (): Promise<void> => {}

function isFull (error: unknown): boolean {
  return error instanceof AuthError && 'reason' in error && error.reason === 'full'
}

/** @param maxWindow seconds: no window is longer. */
export function createCounters (store: Store, kind: string, maxWindow: number): Counters {
  const sketch = createCountMinSketch(maxWindow * 1000)

  const ask = async (id: string, window: number, ceiling: number): Promise<StoreCount | null> => {
    try {
      return await store.increment(kind, id, { window, ceiling })
    } catch (error) {
      if (!isFull(error)) throw error
      return null
    }
  }

  const countInSketch = (id: string, ceiling: number): Counted => {
    const counted = sketch.increment(id, ceiling)
    const until = sketch.end()
    return { counted, count: sketch.estimate(id), until, undo: async () => { sketch.decrement(id, until) } }
  }

  return {
    async increment (id, window, ceiling) {
      // what was counted in the sketch stays counted when the store has room again
      const before = sketch.estimate(id)
      const answer = await ask(id, window, Math.max(0, ceiling - before))
      if (answer === null) return countInSketch(id, ceiling)
      const { counted, count, expiresAt } = answer
      const until = Math.max(expiresAt?.getTime() ?? 0, counted ? 0 : before > 0 ? sketch.end() : 0)
      return { counted, count: count + before, until, undo: counted && expiresAt !== null ? async () => store.decrement(kind, id, expiresAt) : nothing }
    },
    async read (id) {
      const { count } = await store.increment(kind, id, { window: maxWindow, ceiling: 0 })
      return count + sketch.estimate(id)
    }
  }
}

/** Counts of any number of names in fixed space, for when nothing else has room: never too low, at times too high. */
interface CountMinSketch {
  /** Counts one unless the name's count has reached `ceiling`. */
  increment (name: string, ceiling: number): boolean
  /** Takes one back, if the window has not ended since. */
  decrement (name: string, end: number): void
  /** At least what was counted for the name in this window. */
  estimate (name: string): number
  /** When everything is forgotten, in milliseconds since 1970; 0 when nothing is held. */
  end (): number
}

const rows = 4
const width = 65_536
const maxCount = 65_535

/**
 * A count-min sketch (Cormode and Muthukrishnan, 2005) over one window, which begins with the first count. 512 KiB, and none until it is needed.
 * Where a name falls depends on a key of this process, so that nobody can choose names that fall together.
 * @param window milliseconds.
 */
export function createCountMinSketch (window: number): CountMinSketch {
  const key = randomBytes(32)
  let cells: Buffer | null = null
  let ends = 0

  const live = (): Buffer | null => {
    if (Date.now() >= ends) cells = null
    return cells
  }
  /** Offsets of the name's cells, of two bytes each. */
  const placesOf = (name: string): readonly number[] => {
    const digest = createHmac('sha256', key).update(name).digest()
    return Array.from({ length: rows }, (_, row) => 2 * (row * width + digest.readUInt16LE(row * 2)))
  }
  const lowest = (counts: Buffer, places: readonly number[]): number => Math.min(...places.map(place => counts.readUInt16LE(place)))
  const add = (counts: Buffer, place: number, change: 1 | -1): void => {
    counts.writeUInt16LE(Math.min(maxCount, Math.max(0, counts.readUInt16LE(place) + change)), place)
  }

  return {
    increment (name, ceiling) {
      const counts = live() ?? Buffer.alloc(rows * width * 2)
      if (cells === null) ends = Date.now() + window
      cells = counts
      const places = placesOf(name)
      if (lowest(counts, places) >= Math.min(ceiling, maxCount)) return false
      for (const place of places) add(counts, place, 1)
      return true
    },
    decrement (name, end) {
      const counts = live()
      if (counts === null || end !== ends) return
      for (const place of placesOf(name)) add(counts, place, -1)
    },
    estimate (name) {
      const counts = live()
      return counts === null ? 0 : lowest(counts, placesOf(name))
    },
    end: () => live() === null ? 0 : ends
  }
}
