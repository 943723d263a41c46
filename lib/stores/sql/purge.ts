/** Writes after which expired rows are looked for, and how many are removed at once: more than can have been written since. */
const everyWrites = 250
const batch = 500
/** Milliseconds after which they are looked for also where little is written. */
const everyMilliseconds = 60_000

/** Removes expired rows beside other work, in batches, one at a time. */
export interface Purge {
  /** Notes a write. */
  wrote (): void
  /** Waits for the batch that is under way. */
  settled (): Promise<void>
}

export function purge (remove: (most: number) => Promise<void>): Purge {
  let writes = 0
  let lastAt = performance.now()
  let running: Promise<void> | null = null
  return {
    wrote () {
      if (running !== null || (++writes < everyWrites && performance.now() - lastAt < everyMilliseconds)) return
      writes = 0
      lastAt = performance.now()
      // what fails is tried again next time; it is nobody's request
      running = remove(batch).catch(() => {}).finally(() => { running = null })
    },
    async settled () {
      await running
    }
  }
}
