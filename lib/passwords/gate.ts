import { availableParallelism } from 'node:os'
import { failure, refusal } from '../errors.js'

/** Lets a few hashes be computed at a time. */
export interface Gate {
  /**
   * Does the work when a place is free.
   * @throws {AuthError} `AUTH_UNAVAILABLE` when too many wait already, or when this waited too long.
   */
  run<T> (work: () => Promise<T>): Promise<T>
}

export interface GateSettings {
  /** Works at a time. */
  readonly concurrency: number
  /** Works that wait, at most. */
  readonly queue: number
  /** Seconds that one may wait: who asked for it has gone by then, and doing it nevertheless is how an overload outlives its cause. */
  readonly maxWait: number
}

interface Waiting {
  readonly since: number
  start (): void
  refuse (): void
}

/** @param now Milliseconds of a clock that is never set. */
export function makeGate ({ concurrency, queue, maxWait }: GateSettings, now: () => number = () => performance.now()): Gate {
  const waiting: Waiting[] = []
  let running = 0

  function leave (): void {
    running--
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (now() - next.since <= maxWait * 1000) return next.start()
      next.refuse()
    }
  }

  async function work<T> (todo: () => Promise<T>): Promise<T> {
    try {
      return await todo()
    } finally {
      leave()
    }
  }

  function run<T> (todo: () => Promise<T>): Promise<T> {
    if (running < concurrency) {
      running++
      return work(todo)
    }
    if (waiting.length >= queue) return Promise.reject(busy(`${queue} password hashes are waiting already`))
    return new Promise<T>((resolve, reject) => {
      waiting.push({
        since: now(),
        start () { running++; resolve(work(todo)) },
        refuse () { reject(busy(`a password hash waited longer than ${maxWait} seconds`)) }
      })
    })
  }

  return Object.freeze({ run })
}

function busy (detail: string): Error {
  return refusal(failure('AUTH_UNAVAILABLE', null, detail))
}

/**
 * As many as leave a core to the event loop and half of libuv's pool to files and name look-ups, which share it with the hashes.
 * @param threads UV_THREADPOOL_SIZE.
 */
export function defaultConcurrency (cores: number, threads: number): number {
  return Math.max(1, Math.min(cores - 1, Math.floor(threads / 2)))
}

/** libuv reads the variable once, when its pool is first used; 4 by default, 1,024 at most. */
export function poolThreads (value: string | undefined): number {
  const size = Number.parseInt(value ?? '4', 10)
  return Number.isNaN(size) ? 1 : Math.min(1024, Math.max(1, size))
}

export const defaultGate: GateSettings = Object.freeze({
  concurrency: defaultConcurrency(availableParallelism(), poolThreads(process.env.UV_THREADPOOL_SIZE)),
  queue: 256,
  maxWait: 10
})

/** The pool belongs to the process, and so does the gate before it: everybody who says nothing else shares this one. */
export const sharedGate = makeGate(defaultGate)
