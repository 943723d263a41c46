import type { Store } from '../../types/store.js'
import { type Counted, createCounters } from './counters.js'

/** A slot that is reserved for one guess. It must be released or kept, once. */
export interface Slot {
  /** Frees the slot: the guess was right, or the check failed. */
  release (): Promise<void>
  /** Keeps the slot taken until the window ends: the guess was wrong. */
  keep (): Promise<void>
}

/**
 * Reserves slots for guesses at names of one kind. Each name has `max` slots per window. The window doubles with every
 * `max` wrong guesses of a day.
 */
export interface Reservations {
  /**
   * Reserves a slot. When all are taken, returns the instant at which they are free again, in milliseconds since 1970.
   */
  reserve (id: string): Promise<Slot | number>
}

interface ReservationRule {
  /** Slots per window. */
  readonly max: number
  /** Seconds. */
  readonly window: number
  /** Seconds. */
  readonly longestWindow: number
}

/** Seconds for which a wrong guess lengthens windows. */
const growthWindow = 86_400

export function createReservations (
  store: Store, kind: string, { max, window, longestWindow }: ReservationRule
): Reservations {
  const taken = createCounters(store, kind, longestWindow)
  // counts all wrong guesses, not full windows: an attacker who leaves one slot free must not keep the shortest window
  const wrong = createCounters(store, `${kind}-level`, growthWindow)
  const maxWrong = max * Math.ceil(Math.log2(longestWindow / window))
  const inFlight = new InFlight()

  const slotOf = (id: string, { undo }: Counted): Slot => {
    const checks = inFlight.enter(id)
    checks.holding++
    const end = async (released: boolean, write: () => Promise<unknown>): Promise<void> => {
      try {
        await write()
        checks.released += Number(released)
      } finally {
        checks.end(released)
        inFlight.leave(id, checks)
      }
    }
    return {
      release: async () => end(true, undo),
      keep: async () => end(false, async () => wrong.increment(id, growthWindow, maxWrong))
    }
  }

  const reserve = async (id: string, checks: InFlightChecks): Promise<Slot | number> => {
    for (let isLast = false; ;) {
      const { released } = checks
      const level = Math.floor(await wrong.read(id) / max)
      const answer = await taken.increment(id, Math.min(window * 2 ** level, longestWindow), max)
      if (answer.counted) return slotOf(id, answer)
      if (isLast) return answer.until
      // wait for a slot to be released, or for the end of the window, which frees all of them
      if (checks.released === released && checks.holding > 0) {
        isLast = !await checks.change(Math.max(0, answer.until - Date.now()))
      }
      if (checks.released === released && !isLast) return answer.until
    }
  }

  return {
    async reserve (id) {
      const checks = inFlight.enter(id)
      try {
        return await reserve(id, checks)
      } finally {
        inFlight.leave(id, checks)
      }
    }
  }
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

  /** Ends a check, whose slot is `released` or stays taken. */
  end (released: boolean): void {
    this.holding--
    for (const wake of this.#waiting.splice(0, this.holding === 0 ? Infinity : Number(released))) wake()
  }
}

/** The running checks by name. Names without users are removed. */
class InFlight {
  readonly #checks = new Map<string, InFlightChecks>()

  enter (id: string): InFlightChecks {
    const checks = this.#checks.get(id) ?? new InFlightChecks()
    this.#checks.set(id, checks)
    checks.users++
    return checks
  }

  leave (id: string, checks: InFlightChecks): void {
    checks.users--
    if (checks.users === 0) this.#checks.delete(id)
  }
}
