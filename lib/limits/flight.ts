/** Guesses at one name that this process is checking. While there are some, a refusal is not certain: they may turn out right and free their slots. */
export class Flight {
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
export class Flights {
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
