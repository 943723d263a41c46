import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Returns a limit in milliseconds for something that takes `milliseconds` on a quiet machine at most. It grows with the load:
 * a limit ends a wait that would never end, and says nothing of how fast something is.
 */
export function timeLimit (milliseconds: number): number {
  const [lastMinute = 0] = loadavg()
  return Math.ceil(milliseconds * (1 + lastMinute / availableParallelism()))
}

/** Waits until a condition holds, for as long as it may take. Returns false if it did not come true within the limit. */
export async function until (condition: () => boolean | Promise<boolean>, milliseconds = 10_000): Promise<boolean> {
  const end = performance.now() + timeLimit(milliseconds)
  while (performance.now() < end) {
    if (await condition()) return true
    await sleep(10)
  }
  return await condition()
}
