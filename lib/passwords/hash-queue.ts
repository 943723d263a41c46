import { availableParallelism } from 'node:os'
import { authFailure, refusal } from '../errors.js'

/** Limits how many password hashes are computed at the same time. */
export interface HashQueue {
  /**
   * Runs a task as soon as fewer than `concurrency` others are running.
   * @throws {AuthError} `AUTH_UNAVAILABLE` if the queue is full, or the task waited longer than `maxWait`.
   */
  run<T> (work: () => Promise<T>): Promise<T>
}

export interface HashQueueSettings {
  /** The number of tasks that run at the same time. */
  readonly concurrency: number
  /** The number of tasks that may wait. */
  readonly queue: number
  /**
   * The longest wait in seconds. By then the client has given up; running the task anyway would prolong an overload.
   */
  readonly maxWait: number
}

interface Waiting {
  readonly since: number
  start (): void
  refuse (): void
}

/** @param now a monotonic clock, in milliseconds. */
export function createHashQueue (
  { concurrency, queue, maxWait }: HashQueueSettings,
  now: () => number = () => performance.now()
): HashQueue {
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
  return refusal(authFailure('AUTH_UNAVAILABLE', null, detail))
}

/**
 * Returns the default concurrency: it leaves one core to the event loop, and half of libuv's thread pool to file access
 * and DNS look-ups, which share the pool with the hashes.
 * @param threads the size of the pool, `UV_THREADPOOL_SIZE`.
 */
export function defaultConcurrency (cores: number, threads: number): number {
  return Math.max(1, Math.min(cores - 1, Math.floor(threads / 2)))
}

/** Parses `UV_THREADPOOL_SIZE` as libuv does: 4 by default, 1,024 at most. */
export function poolThreads (value: string | undefined): number {
  const size = Number.parseInt(value ?? '4', 10)
  return Number.isNaN(size) ? 1 : Math.min(1024, Math.max(1, size))
}

export const defaultQueueSettings: HashQueueSettings = Object.freeze({
  concurrency: defaultConcurrency(availableParallelism(), poolThreads(process.env.UV_THREADPOOL_SIZE)),
  queue: 256,
  maxWait: 10
})

/** The queue that all hashers without settings of their own share, because libuv's pool belongs to the process. */
export const sharedQueue = createHashQueue(defaultQueueSettings)
