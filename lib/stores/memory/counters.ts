import type { StoreCount } from '../../../types/store.js'
import { unavailable } from '../unavailable.js'
import { expiringMap } from './expiring.js'

/** The counters of one kind. */
export interface Counters {
  /** @throws {StoreUnavailable} `full`: no count that is alive makes room. */
  increment (id: string, length: number, ceiling: number, now: number): StoreCount
  decrement (id: string, end: number, now: number): void
}

interface Counter {
  count: number
  readonly end: number
}

const none: StoreCount = Object.freeze({ counted: false, count: 0, expiresAt: null })

export function counters (kind: string, most: number): Counters {
  const counts = expiringMap<Counter>()

  function begin (id: string, end: number, now: number): StoreCount {
    if (counts.sizeAt(now) >= most) throw unavailable('full', `memory holds ${most} counters of the kind '${kind}'`)
    counts.set(id, { count: 1, end }, end)
    return { counted: true, count: 1, expiresAt: new Date(end) }
  }

  return {
    increment (id, length, ceiling, now) {
      const counter = counts.get(id, now)
      if (counter === undefined) return ceiling < 1 ? none : begin(id, now + length, now)
      const counted = counter.count < ceiling
      if (counted) counter.count++
      return { counted, count: counter.count, expiresAt: new Date(counter.end) }
    },
    decrement (id, end, now) {
      const counter = counts.get(id, now)
      if (counter !== undefined && counter.end === end && counter.count > 0) counter.count--
    }
  }
}
