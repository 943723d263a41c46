import type { Store } from '../../types/store.js'
import { tally } from './tally.js'

/** A slot that was reserved for one guess. It ends in exactly one of two ways. */
export interface Slot {
  /** The guess was right, or was none: the slot is free again. */
  giveBack (): Promise<void>
  /** The guess was wrong: the slot stays taken until the window ends. */
  keep (): Promise<void>
}

/** Slots for guesses at names of one kind: so many wrong ones in a window, which grows each time that it is used up. */
export interface Slots {
  /** A slot; or, when all are taken, the instant (milliseconds since 1970) at which they are free again. */
  reserve (id: string): Promise<Slot | number>
}

export interface SlotRule {
  readonly max: number
  /** Seconds. */
  readonly window: number
  readonly longestWindow: number
}

/** Guesses of this process that are being checked. While there are some, a refusal is not certain: they may turn out right and free their slots. */
interface InFlight {
  /** Whoever asks or holds; the last one leaves no trace. */
  users: number
  holding: number
  /** How often a slot was given back. */
  freed: number
  waiting: Array<() => void>
}

/** Seconds after which nobody remembers that windows grew. */
const memory = 86_400

export function guessSlots (store: Store, kind: string, { max, window, longestWindow }: SlotRule): Slots {
  const counts = tally(store, kind, longestWindow)
  const levels = tally(store, `${kind}-level`, memory)
  const highest = Math.ceil(Math.log2(longestWindow / window))
  const flights = new Map<string, InFlight>()

  const reserve = async (id: string, flight: InFlight): Promise<Slot | number> => {
    for (;;) {
      const { freed } = flight
      const level = await levels.read(id)
      const slot = await counts.increment(id, Math.min(window * 2 ** level, longestWindow), max)
      if (slot.counted) return hold(id, flight, slot.count, slot.undo)
      if (flight.freed !== freed) continue
      if (flight.holding === 0) return slot.until
      await new Promise<void>(resolve => { flight.waiting.push(resolve) })
      if (flight.freed === freed) return slot.until
    }
  }

  const hold = (id: string, flight: InFlight, count: number, undo: () => Promise<void>): Slot => {
    flight.users++
    flight.holding++
    return {
      async giveBack () {
        try {
          await undo()
          flight.freed++
        } finally {
          release(id, flight, 1)
        }
      },
      async keep () {
        try {
          if (count >= max) await levels.increment(id, memory, highest)
        } finally {
          release(id, flight, 0)
        }
      }
    }
  }

  /** One that waits may have the freed slot; when nothing is being checked any more, all that wait know where they are. */
  const release = (id: string, flight: InFlight, freed: number): void => {
    flight.holding--
    for (const wake of flight.waiting.splice(0, flight.holding === 0 ? Infinity : freed)) wake()
    leave(id, flight)
  }

  const leave = (id: string, flight: InFlight): void => {
    flight.users--
    if (flight.users === 0) flights.delete(id)
  }

  return {
    async reserve (id) {
      const flight = flights.get(id) ?? { users: 0, holding: 0, freed: 0, waiting: [] }
      flights.set(id, flight)
      flight.users++
      try {
        return await reserve(id, flight)
      } finally {
        leave(id, flight)
      }
    }
  }
}
