import type { Duration } from '../../types/duration.js'
import { misconfigured } from '../errors.js'
import { duration, listOf, object, optional, wholeNumber } from '../util/options.js'
import { defaultQueueSettings, createHashQueue, sharedQueue } from './hash-queue.js'
import type { HashQueue, HashQueueSettings } from './hash-queue.js'
import { parsePepper, peppersById } from './pepper.js'
import type { Pepper, Peppers } from './pepper.js'
import { checkStrength, recipeFrom } from './recipe.js'
import type { HashOptions, Recipe } from './recipe.js'
import { longestPassword } from './text.js'

/** The options of {@link passwords}. Each may be left out. */
export interface PasswordOptions {
  /** How new hashes are made. Default: argon2id with OWASP's parameters. */
  readonly hash?: HashOptions
  /** How other hashes in the database were made, so that an unknown user costs as much as theirs from the first request on. Those that are met later are learned. */
  readonly legacy?: readonly HashOptions[]
  /** Goes over every password before it is hashed: HMAC-SHA256. */
  readonly pepper?: Pepper
  /** Earlier peppers. Hashes under one of them are verified, and need a rehash. */
  readonly oldPeppers?: readonly Pepper[]
  /** Bytes of UTF-8. Longer passwords are refused before any work. Default 1,024, and at most 4,096. */
  readonly maxLength?: number
  /** Hashes computed at a time. Default: one less than there are cores, and at most half of UV_THREADPOOL_SIZE. */
  readonly concurrency?: number
  /** Hashes that wait for their turn; one more is `AUTH_UNAVAILABLE`. Default 256. */
  readonly queue?: number
  /** How long one may wait. Default `'10s'`. */
  readonly maxWait?: Duration
}

/** {@link PasswordOptions}, complete. */
export interface PasswordSettings {
  readonly current: Recipe
  /** At least one. */
  readonly inUse: readonly Recipe[]
  readonly keyId: string | null
  readonly peppers: Peppers
  readonly maxLength: number
  readonly gate: HashQueue
}

const parse = object({
  hash: (value = {}, place) => checkStrength(recipeFrom(value, place), place),
  legacy: optional(listOf(recipeFrom), []),
  pepper: optional(parsePepper, null),
  oldPeppers: optional(listOf(parsePepper), []),
  maxLength: optional(wholeNumber({ min: 64, max: 4096 }), longestPassword),
  concurrency: optional(wholeNumber({ max: 1024 }), null),
  queue: optional(wholeNumber({ min: 0, max: 100_000 }), null),
  maxWait: optional(duration(), null)
})

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place`. */
export function passwordSettings (options: unknown, place: string): PasswordSettings {
  const { hash, legacy, pepper, oldPeppers, maxLength, ...gate } = parse(options, `The options of ${place}`)
  if (oldPeppers.length > 0 && pepper === null) {
    throw misconfigured(`${place} has oldPeppers and no pepper. Give the one that new hashes are made with.`)
  }
  const peppers = peppersById(pepper === null ? [] : [pepper, ...oldPeppers], place)
  return Object.freeze({
    current: hash,
    inUse: Object.freeze([hash, ...legacy]),
    keyId: pepper?.id ?? null,
    peppers,
    maxLength,
    gate: gateOf(gate)
  })
}

/** The gate of the process, unless something else is asked for. */
function gateOf (asked: { readonly [K in keyof HashQueueSettings]: number | null }): HashQueue {
  const { concurrency, queue, maxWait } = asked
  if (concurrency === null && queue === null && maxWait === null) return sharedQueue
  return createHashQueue({
    concurrency: concurrency ?? defaultQueueSettings.concurrency,
    queue: queue ?? defaultQueueSettings.queue,
    maxWait: maxWait ?? defaultQueueSettings.maxWait
  })
}
