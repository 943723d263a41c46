import type { Store } from '../../types/store.js'
import { type Counted, tally } from './counters.js'

/** A slot that was reserved for one guess. It ends in exactly one of two ways. */
export interface Slot {
  /** The guess was right, or was none: the slot is free again. */
  giveBack (): Promise<void>
  /** The guess was wrong: the slot stays taken until the window ends. */
  keep (): Promise<void>
}

/** Slots for guesses at names of one kind: so many wrong ones in a window, which grows with each so many wrong ones of a day. */
export interface Slots {
  /** A slot; or, when all are taken, the instant (milliseconds since 1970) at which they are free again. */
  reserve (id: string): Promise<Slot | number>
}

interface SlotRule {
  readonly max: number
  /** Seconds. */
  readonly window: number
  readonly longestWindow: number
}

/** Seconds for which wrong guesses make windows grow. */
const memory = 86_400

export function guessSlots (store: Store, kind: string, { max, window, longestWindow }: SlotRule): Slots {
  const counts = tally(store, kind, longestWindow)
  // all wrong ones, not the windows that were used up: whoever leaves one slot of each would meet the shortest for ever
  const wrong = tally(store, `${kind}-level`, memory)
  const enough = max * Math.ceil(Math.log2(longestWindow / window))
  const flights = new Flights()

  const slotOf = (id: string, { undo }: Counted): Slot => {
    const flight = flights.enter(id)
    flight.holding++
    const end = async (freed: boolean, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write()
        flight.freed += Number(freed)
      } finally {
        flight.over(freed)
        flights.leave(id, flight)
      }
    }
    return {
      giveBack: async () => end(true, undo),
      keep: async () => end(false, async () => wrong.increment(id, memory, enough))
    }
  }

  const reserve = async (id: string, flight: Flight): Promise<Slot | number> => {
    for (let isLast = false; ;) {
      const { freed } = flight
      const level = Math.floor(await wrong.read(id) / max)
      const answer = await counts.increment(id, Math.min(window * 2 ** level, longestWindow), max)
      if (answer.counted) return slotOf(id, answer)
      if (isLast) return answer.until
      // what was given back since it was asked for may be had, and all of them when the window has ended
      if (flight.freed === freed && flight.holding > 0) isLast = !await flight.changed(Math.max(0, answer.until - Date.now()))
      if (flight.freed === freed && !isLast) return answer.until
    }
  }

  return {
    async reserve (id) {
      const flight = flights.enter(id)
      try {
        return await reserve(id, flight)
      } finally {
        flights.leave(id, flight)
      }
    }
  }
}

/** Guesses at one name that this process is checking. While there are some, a refusal is not certain: they may turn out right and free their slots. */
class Flight {
  /** Whoever asks or holds. */
  users = 0
  /** Slots that are taken by checks under way. */
  holding = 0
  /** How often a slot was given back. */
  freed = 0
  #waiting: Array<() => void> = []

  /**
   * Ends when a slot was given back that nobody else who waits was told of, or when nothing is being checked any more.
   * @param longest milliseconds, after which it is `false`: a check that never ends keeps nobody else.
   */
  async changed (longest: number): Promise<boolean> {
    return new Promise(resolve => {
      const wake = (): void => { clearTimeout(timer); resolve(true) }
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter(each => each !== wake)
        resolve(false)
      }, longest).unref()
      this.#waiting.push(wake)
    })
  }

  /** A check is over; `freed` says whether its slot is free again. */
  over (freed: boolean): void {
    this.holding--
    for (const wake of this.#waiting.splice(0, this.holding === 0 ? Infinity : Number(freed))) wake()
  }
}

/** The flights of names that somebody asks for, and no others. */
class Flights {
  readonly #flights = new Map<string, Flight>()

  enter (id: string): Flight {
    const flight = this.#flights.get(id) ?? new Flight()
    this.#flights.set(id, flight)
    flight.users++
    return flight
  }

  leave (id: string, flight: Flight): void {
    flight.users--
    if (flight.users === 0) this.#flights.delete(id)
  }
}
