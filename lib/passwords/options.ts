import type { Duration } from '../../types/duration.js'
import { seconds } from '../duration.js'
import { misconfigured } from '../errors.js'
import { fields } from '../shape.js'
import { defaultGate, makeGate, sharedGate } from './gate.js'
import type { Gate } from './gate.js'
import { readPeppers } from './pepper.js'
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
  readonly gate: Gate
}

const known = ['hash', 'legacy', 'pepper', 'oldPeppers', 'maxLength', 'concurrency', 'queue', 'maxWait']

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place`. */
export function passwordSettings (options: unknown, place: string): PasswordSettings {
  const said = fields(options, known, `The options of ${place}`)
  const current = recipeFrom(said.hash ?? {}, `The option hash of ${place}`)
  checkStrength(current, `The option hash of ${place}`)
  const legacy = listOf(said.legacy, `The option legacy of ${place}`).map((each, i) => recipeFrom(each, `Entry ${i + 1} of the option legacy of ${place}`))
  const old = listOf(said.oldPeppers, `The option oldPeppers of ${place}`)
  if (old.length > 0 && said.pepper === undefined) throw misconfigured(`${place} has oldPeppers and no pepper. Give the one that new hashes are made with.`)
  const peppers = readPeppers(said.pepper === undefined ? [] : [said.pepper, ...old], place)
  const [keyId = null] = peppers.keys()
  const maxLength = whole(said.maxLength ?? longestPassword, [64, 4096], `The option maxLength of ${place}`)
  return Object.freeze({ current, inUse: Object.freeze([current, ...legacy]), keyId, peppers, maxLength, gate: gateOf(said, place) })
}

function gateOf (said: Readonly<Record<string, unknown>>, place: string): Gate {
  const { concurrency = defaultGate.concurrency, queue = defaultGate.queue, maxWait = defaultGate.maxWait } = said
  const settings = {
    concurrency: whole(concurrency, [1, 1024], `The option concurrency of ${place}`),
    queue: whole(queue, [0, 100_000], `The option queue of ${place}`),
    maxWait: seconds(maxWait, `The option maxWait of ${place}`)
  }
  return ['concurrency', 'queue', 'maxWait'].some(name => name in said) ? makeGate(settings) : sharedGate
}

function listOf (value: unknown, place: string): readonly unknown[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw misconfigured(`${place} must be a list.`)
  return value
}

function whole (value: unknown, [least, most]: readonly [number, number], place: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw misconfigured(`${place} must be a whole number from ${least} to ${most}.`)
}
