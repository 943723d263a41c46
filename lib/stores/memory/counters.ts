import type { StoreCount } from '../../../types/store.js'
import { unavailable } from '../unavailable.js'
import { createExpiringMap } from './expiring.js'

/** The counters of one kind. */
export interface Counters {
  /** @throws {StoreUnavailable} with the reason `full`: live counters are never evicted. */
  increment (id: string, length: number, ceiling: number, now: number): StoreCount
  decrement (id: string, end: number, now: number): void
}

const none: StoreCount = Object.freeze({ counted: false, count: 0, expiresAt: null })

export function createCounters (kind: string, maxCounters: number): Counters {
  // Plain numbers: one object for each counter would make a full kind a third larger.
  const counts = createExpiringMap<number>()

  function begin (id: string, end: number, now: number): StoreCount {
    if (counts.sizeAt(now) >= maxCounters) throw unavailable('full', `memory holds ${maxCounters} counters of the kind '${kind}'`)
    counts.set(id, 1, end)
    return { counted: true, count: 1, expiresAt: new Date(end) }
  }

  return {
    increment (id, length, ceiling, now) {
      const counter = counts.find(id, now)
      if (counter === undefined) return ceiling < 1 ? none : begin(id, now + length, now)
      const counted = counter.value < ceiling
      if (counted) counter.value++
      return { counted, count: counter.value, expiresAt: new Date(counter.at) }
    },
    decrement (id, end, now) {
      const counter = counts.find(id, now)
      if (counter !== undefined && counter.at === end && counter.value > 0) counter.value--
    }
  }
}
