import type { Store, StoreCount } from '../../types/store.js'
import { AuthError } from '../errors.js'
import { countSketch } from './sketch.js'

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
export interface Tally {
  /** @throws {AuthError} `AUTH_UNAVAILABLE` when the store does not answer. */
  increment (id: string, window: number, ceiling: number): Promise<Counted>
  read (id: string): Promise<number>
}

const nothing = async (): Promise<void> => {}

function isFull (error: unknown): boolean {
  return error instanceof AuthError && 'reason' in error && error.reason === 'full'
}

/** @param longest seconds: no window is longer. */
export function tally (store: Store, kind: string, longest: number): Tally {
  const sketch = countSketch(longest * 1000)

  const ask = async (id: string, window: number, ceiling: number): Promise<StoreCount | null> => {
    try {
      return await store.increment(kind, id, { window, ceiling })
    } catch (error) {
      if (!isFull(error)) throw error
      return null
    }
  }

  const inSketch = (id: string, ceiling: number): Counted => {
    const counted = sketch.increment(id, ceiling)
    const until = sketch.end()
    return { counted, count: sketch.estimate(id), until, undo: async () => { sketch.decrement(id, until) } }
  }

  return {
    async increment (id, window, ceiling) {
      // what was counted in the sketch stays counted when the store has room again
      const before = sketch.estimate(id)
      const answer = await ask(id, window, Math.max(0, ceiling - before))
      if (answer === null) return inSketch(id, ceiling)
      const { counted, count, expiresAt } = answer
      const until = Math.max(expiresAt?.getTime() ?? 0, counted ? 0 : before > 0 ? sketch.end() : 0)
      return { counted, count: count + before, until, undo: counted && expiresAt !== null ? async () => store.decrement(kind, id, expiresAt) : nothing }
    },
    async read (id) {
      const { count } = await store.increment(kind, id, { window: longest, ceiling: 0 })
      return count + sketch.estimate(id)
    }
  }
}
