/** Waits until the work of the boot on later turns of the event loop is done, and collects garbage. */
export async function settled (): Promise<void> {
  await new Promise(resolve => { setTimeout(resolve, 50) })
  global.gc?.()
  global.gc?.()
}

/** Returns the middle value, or the upper of the two in the middle. */
export function median (values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}
