/** Tells the milliseconds since it was made. */
export type Elapsed = () => number

/**
 * Starts to count. The clock of the system may be set back, and the steady one may stand still while the machine
 * sleeps: the one that says more is believed, so that nothing is believed for longer than it was meant to be.
 */
export function elapsed (): Elapsed {
  const date = Date.now()
  const steady = performance.now()
  return () => Math.max(Date.now() - date, performance.now() - steady)
}
