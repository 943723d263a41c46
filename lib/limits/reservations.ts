import type { Store } from '../../types/store.js'
import { type Counted, createCounters } from './counters.js'

/** A slot that was reserved for one guess. It ends in exactly one of two ways. */
export interface Slot {
  /** The guess was right, or was none: the slot is free again. */
  giveBack (): Promise<void>
  /** The guess was wrong: the slot stays taken until the window ends. */
  keep (): Promise<void>
}

/** Reservations for guesses at names of one kind: so many wrong ones in a window, which grows with each so many wrong ones of a day. */
export interface Reservations {
  /** A slot; or, when all are taken, the instant (milliseconds since 1970) at which they are free again. */
  reserve (id: string): Promise<Slot | number>
}

interface ReservationRule {
  readonly max: number
  /** Seconds. */
  readonly window: number
  readonly longestWindow: number
}

/** Seconds for which wrong guesses make windows grow. */
const growthWindow = 86_400

export function createReservations (store: Store, kind: string, { max, window, longestWindow }: ReservationRule): Reservations {
  const counts = createCounters(store, kind, longestWindow)
  // all wrong ones, not the windows that were used up: whoever leaves one slot of each would meet the shortest for ever
  const wrong = createCounters(store, `${kind}-level`, growthWindow)
  const maxWrong = max * Math.ceil(Math.log2(longestWindow / window))
  const inFlight = new InFlightChecks()

  const slotOf = (id: string, { undo }: Counted): Slot => {
    const flight = inFlight.enter(id)
    flight.holding++
    const end = async (freed: boolean, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write()
        flight.freed += Number(freed)
      } finally {
        flight.over(freed)
        inFlight.leave(id, flight)
      }
    }
    return {
      giveBack: async () => end(true, undo),
      keep: async () => end(false, async () => wrong.increment(id, growthWindow, maxWrong))
    }
  }

  const reserve = async (id: string, flight: InFlight): Promise<Slot | number> => {
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
      const flight = inFlight.enter(id)
      try {
        return await reserve(id, flight)
      } finally {
        inFlight.leave(id, flight)
      }
    }
  }
}

/** Guesses at one name that this process is checking. While there are some, a refusal is not certain: they may turn out right and free their slots. */
class InFlight {
  /** Whoever asks or holds. */
  users = 0
  /** Reservations that are taken by checks under way. */
  holding = 0
  /** How often a slot was given back. */
  freed = 0
  #waiting: Array<() => void> = []

  /**
   * Ends when a slot was given back that nobody else who waits was told of, or when nothing is being checked any more.
   * @param maxWait milliseconds, after which it is `false`: a check that never ends keeps nobody else.
   */
  async changed (maxWait: number): Promise<boolean> {
    return new Promise(resolve => {
      const wake = (): void => { clearTimeout(timer); resolve(true) }
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter(each => each !== wake)
        resolve(false)
      }, maxWait).unref()
      this.#waiting.push(wake)
    })
  }

  /** A check is over; `freed` says whether its slot is free again. */
  over (freed: boolean): void {
    this.holding--
    for (const wake of this.#waiting.splice(0, this.holding === 0 ? Infinity : Number(freed))) wake()
  }
}

/** The inFlight of names that somebody asks for, and no others. */
class InFlightChecks {
  readonly #inFlight = new Map<string, InFlight>()

  enter (id: string): InFlight {
    const flight = this.#inFlight.get(id) ?? new InFlight()
    this.#inFlight.set(id, flight)
    flight.users++
    return flight
  }

  leave (id: string, flight: InFlight): void {
    flight.users--
    if (flight.users === 0) this.#inFlight.delete(id)
  }
}
