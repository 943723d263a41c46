/** Two kinds of refusal between which time should not tell. */
export interface Question {
  readonly name: string
  /**
   * Each is asked once a sample, in random order; neither may succeed. What comes before the work of a sample (a key of
   * its own, say) is not timed.
   */
  readonly kinds: Readonly<Record<string, Kind>>
  /** Samples of each kind: `slow` where each hashes a password. */
  readonly pace: 'slow' | 'fast'
}

/** Makes what the next sample asks. */
export type Kind = () => () => unknown

export interface Figures {
  /** Microseconds, trimmed. */
  readonly means: readonly number[]
  readonly t: number
}

/**
 * The slowest of each kind are left out: they measure the machine, not the code. The share is the same for both kinds.
 */
export const kept = 0.95

/** Samples of each kind before those that count. */
export const warmUp = { slow: 20, fast: 3_000 }

/** Asks both kinds once more and once more. */
export async function ask ({ kinds, pace }: Question, samples: number): Promise<Figures> {
  const entries = Object.values(kinds).map(make => ({ make, times: [] as number[] }))
  for (let i = -warmUp[pace]; i < samples; i++) {
    const prepared = shuffled(entries).map(({ make, times }) => ({ work: make(), times }))
    for (const { work, times } of shuffled(prepared)) {
      const time = await microseconds(work)
      if (i >= 0) times.push(time)
    }
    // injected requests are let go of only when the event loop turns
    if (i % 50 === 0) await new Promise(resolve => { setImmediate(resolve) })
  }
  const [a = [], b = []] = entries.map(({ times }) => trimmed(times))
  return { means: [mean(a), mean(b)], t: welch(a, b) }
}

/** Of two. What is made last is the warmest in the processor's caches, so that this too is left to chance. */
function shuffled<T> (pair: readonly T[]): readonly T[] {
  return Math.random() < 0.5 ? pair : [...pair].reverse()
}

/** Returns the time of a call. A synchronous result is not awaited: the wait would take longer than the call. */
async function microseconds (work: () => unknown): Promise<number> {
  const start = performance.now()
  const answer = work()
  if (answer instanceof Promise) await answer
  return (performance.now() - start) * 1000
}

function mean (values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function variance (values: readonly number[]): number {
  const middle = mean(values)
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1)
}

/** Welch's t. Its |t| below 4.5 says that this many samples cannot tell the kinds apart. */
function welch (a: readonly number[], b: readonly number[]): number {
  return (mean(a) - mean(b)) / Math.sqrt(variance(a) / a.length + variance(b) / b.length)
}

function trimmed (values: readonly number[]): readonly number[] {
  return [...values].sort((a, b) => a - b).slice(0, Math.floor(values.length * kept))
}
