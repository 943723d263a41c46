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
