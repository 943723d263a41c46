import { scrypt } from 'node:crypto'
import type { ScryptOptions } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { authFailure, internalError, refusal } from '../errors.js'
import { loadPeer } from '../util/load-peer.js'
import type { Argon2Recipe, Recipe } from './recipe.js'
import { fromBcrypt64 } from './stored.js'

/** The input of one hash computation. */
export interface Derivation {
  readonly recipe: Recipe
  /** For bcrypt at most 72 bytes, without NUL. */
  readonly password: Buffer
  readonly salt: Buffer
  /** The length of the result in bytes; bcrypt always returns 23. */
  readonly length: number
}

/** Computes one hash on a thread of libuv's pool. */
export type Derive = (derivation: Derivation) => Promise<Buffer>

export const derive: Derive = async derivation => {
  switch (derivation.recipe.algorithm) {
    case 'scrypt': return computed(byScrypt(derivation.recipe, derivation))
    case 'bcrypt': return computed(byBcrypt(derivation.recipe, derivation, bcryptLibrary()))
    default: return computed(byArgon2(derivation.recipe, derivation, argon2Library()))
  }
}

/** Turns an error of the hashing library into an `AUTH_FAULT`: its text is for the log only. */
async function computed (hash: Promise<Buffer>): Promise<Buffer> {
  try {
    return await hash
  } catch (cause) {
    throw internalError('a password hash could not be computed', cause)
  }
}

/**
 * Loads the packages that these recipes need, so that a missing package stops the boot and not the first login.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the package.
 */
export function loadLibraries (recipes: readonly Recipe[]): void {
  for (const { algorithm } of recipes) {
    if (algorithm === 'bcrypt') bcryptLibrary()
    else if (algorithm !== 'scrypt') argon2Library()
  }
}

const use = 'This password hash'

function argon2Library () {
  return loadPeer('@node-rs/argon2', use) as typeof import('@node-rs/argon2')
}

function bcryptLibrary () {
  return loadPeer('@node-rs/bcrypt', use) as typeof import('@node-rs/bcrypt')
}

/** The numbers behind the library's `const enum`s, which exist only in its types. */
const kinds = { argon2d: 0, argon2i: 1, argon2id: 2 } as const
const versions = { 16: 0, 19: 1 } as const

async function byArgon2 (
  recipe: Argon2Recipe, { password, salt, length }: Derivation, { hashRaw }: ReturnType<typeof argon2Library>
): Promise<Buffer> {
  return hashRaw(password, {
    algorithm: kinds[recipe.algorithm],
    version: versions[recipe.version],
    memoryCost: recipe.memorySize,
    timeCost: recipe.passes,
    parallelism: recipe.parallelism,
    salt,
    outputLen: length
  })
}

async function byBcrypt (
  { cost }: Extract<Recipe, { algorithm: 'bcrypt' }>,
  { password, salt }: Derivation,
  { hash }: ReturnType<typeof bcryptLibrary>
): Promise<Buffer> {
  const text = await hash(password, { salt, cost, version: '2b', rejectLongPasswords: true })
  return fromBcrypt64(text.slice(-31))
}

const scryptKey: (
  password: Buffer, salt: Buffer, length: number, options: ScryptOptions
) => Promise<Buffer> = promisify(scrypt)

async function byScrypt (
  { cost, blockSize, parallelization }: Extract<Recipe, { algorithm: 'scrypt' }>, { password, salt, length }: Derivation
): Promise<Buffer> {
  // Twice what RFC 7914 asks for, because OpenSSL counts some memory of its own.
  const maxmem = 256 * blockSize * (cost + parallelization)
  return scryptKey(password, salt, length, { cost, blockSize, parallelization, maxmem })
}

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
