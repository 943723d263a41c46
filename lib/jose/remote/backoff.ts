/** Returns the milliseconds since it was created. */
export type Elapsed = () => number

/**
 * Starts a stopwatch. The system clock may be set back, and the monotonic clock may stop while the machine sleeps. The
 * longer of both times counts, so that nothing is cached for longer than intended.
 */
export function elapsed (): Elapsed {
  const date = Date.now()
  const monotonic = performance.now()
  return () => Math.max(Date.now() - date, performance.now() - monotonic)
}

/** The bounds of a pause, in milliseconds. */
interface PauseBounds {
  /** The pause after the first failure, which doubles with each further one. */
  readonly first: number
  readonly longest: number
}

/** Delays the attempts at a server that has failed. */
export class Backoff {
  /** The time since the last attempt, if it failed. */
  #sinceFailure: Elapsed | null = null
  #failures = 0

  /** Returns true if the last attempt failed. */
  get hasFailed (): boolean {
    return this.#sinceFailure !== null
  }

  noteSuccess (): void {
    this.#sinceFailure = null
    this.#failures = 0
  }

  noteFailure (): void {
    this.#sinceFailure = elapsed()
    this.#failures++
  }

  /** Returns the milliseconds before the next attempt; 0 if there is no need to wait. */
  remaining ({ first, longest }: PauseBounds): number {
    if (this.#sinceFailure === null) return 0
    return Math.max(0, Math.min(first * 2 ** (this.#failures - 1), longest) - this.#sinceFailure())
  }
}
