import type { Duration } from '../../types/options.js'
import { misconfigured } from '../errors.js'
import { checkSecret } from '../secrets/check-secret.js'
import { noteSharedSecret } from '../secrets/secret-uses.js'
import { duration, listOf, object, optional, wholeNumber, type Parser } from '../util/options.js'
import {
  createHashQueue, defaultQueueSettings, sharedQueue, type HashQueue, type HashQueueSettings
} from './compute.js'
import { checkStrength, recipeFrom } from './recipe.js'
import type { HashOptions, Recipe } from './recipe.js'
import { keyIdForm } from './stored.js'

/** A secret outside of the database, without which passwords cannot be guessed from stolen hashes. */
export interface Pepper {
  /** The name of the pepper in hashes: up to 32 letters, digits, `.`, `_` and `-`. */
  readonly id: string
  /** At least 32 bytes. */
  readonly secret: string | Uint8Array | undefined
}

/** Options of {@link passwords}. */
export interface PasswordOptions {
  /** The algorithm and parameters of new hashes. Default: argon2id with OWASP's parameters. */
  readonly hash?: HashOptions
  /**
   * Algorithms and parameters of other hashes in the database, so that an unknown user takes as long as a known one
   * from the first request on. Hashes with other parameters are noted when they are first verified.
   */
  readonly legacy?: readonly HashOptions[]
  /** A secret that is applied to every password by HMAC-SHA256 before it is hashed. */
  readonly pepper?: Pepper
  /** Earlier peppers. Hashes with one of them are valid and need a rehash. */
  readonly oldPeppers?: readonly Pepper[]
  /** The maximum length in bytes of UTF-8. Longer passwords are refused. Default 1,024, at most 4,096. */
  readonly maxLength?: number
  /**
   * The maximum number of hashes that are computed at a time. Default: one less than the number of cores, but at most
   * half of UV_THREADPOOL_SIZE.
   */
  readonly concurrency?: number
  /** The maximum number of waiting hashes. Further calls fail with `AUTH_UNAVAILABLE`. Default 256. */
  readonly queue?: number
  /** The longest time that a hash may wait. Default `'10s'`. */
  readonly maxWait?: Duration
}

/** Peppers, by their ids. */
export type Peppers = ReadonlyMap<string, Buffer>

/** {@link PasswordOptions}, parsed and complete. */
export interface PasswordSettings {
  readonly current: Recipe
  /** The recipes of the hashes in the database; at least one. */
  readonly inUse: readonly Recipe[]
  readonly keyId: string | null
  readonly peppers: Peppers
  readonly maxLength: number
  readonly hashQueue: HashQueue
}

type QueueOptions = { readonly [K in keyof HashQueueSettings]: number | null }

/** Bytes of UTF-8 after normalisation. The limit bounds the work that a client can cause. */
const defaultMaxLength = 1024

const secret: Parser<Buffer> = (value, path) => checkSecret(value, { minBytes: 32, path })

function parseId (id: unknown, path: string): string {
  if (typeof id === 'string' && keyIdForm.test(id)) return id
  throw misconfigured(`${path} must be 1 to 32 letters, digits, '.', '_' and '-'.`)
}

/** Parses one {@link Pepper}. Messages do not contain its secret. */
const parsePepper = object({ id: parseId, secret })

const parse = object({
  hash: (value = {}, path) => checkStrength(recipeFrom(value, path), path),
  legacy: optional(listOf(recipeFrom), []),
  pepper: optional(parsePepper, null),
  oldPeppers: optional(listOf(parsePepper), []),
  maxLength: optional(wholeNumber({ min: 64, max: 4096 }), defaultMaxLength),
  concurrency: optional(wholeNumber({ max: 1024 }), null),
  queue: optional(wholeNumber({ min: 0, max: 100_000 }), null),
  maxWait: optional(duration(), null)
})

/**
 * Parses {@link PasswordOptions}.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `path`.
 */
export function passwordSettings (options: unknown, path: string): PasswordSettings {
  const { hash, legacy, pepper, oldPeppers, maxLength, ...queueOptions } = parse(options, `The options of ${path}`)
  if (oldPeppers.length > 0 && pepper === null) {
    throw misconfigured(`${path} has oldPeppers but no pepper. Add the pepper of new hashes.`)
  }
  const peppers = peppersById(pepper === null ? [] : [pepper, ...oldPeppers], path)
  return Object.freeze({
    current: hash,
    inUse: Object.freeze([hash, ...legacy]),
    keyId: pepper?.id ?? null,
    peppers,
    maxLength,
    hashQueue: queueOf(queueOptions)
  })
}

/** Returns the queue of the process, or a new one if an option of the queue is set. */
function queueOf ({ concurrency, queue, maxWait }: QueueOptions): HashQueue {
  if (concurrency === null && queue === null && maxWait === null) return sharedQueue
  return createHashQueue({
    concurrency: concurrency ?? defaultQueueSettings.concurrency,
    queue: queue ?? defaultQueueSettings.queue,
    maxWait: maxWait ?? defaultQueueSettings.maxWait
  })
}

/** Returns peppers by their ids. @throws {AuthError} `AUTH_MISCONFIGURED` for two peppers with the same id. */
function peppersById (peppers: ReadonlyArray<ReturnType<typeof parsePepper>>, path: string): Peppers {
  const byId = new Map<string, Buffer>()
  for (const { id, secret } of peppers) {
    if (byId.has(id)) {
      throw misconfigured(`${path} has two peppers with the id '${id}'. Give each its own id, and never reuse an id.`)
    }
    byId.set(id, secret)
    noteSharedSecret({ purpose: 'peppers', path: `the pepper '${id}' of ${path}` }, secret)
  }
  return byId
}
