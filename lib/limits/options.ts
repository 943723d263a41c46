import { randomBytes } from 'node:crypto'
import { misconfigured } from '../errors.js'
import {
  parsePlans, parseRateLimit, resolveRateLimit, type DeclaredRateLimit, type Plans
} from '../policy/rate-limit.js'
import { secrets } from '../secrets/check-secret.js'
import { describeValue } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { duration, object, optional, wholeNumber } from '../util/options.js'

/** The option `limits.guesses`, parsed. Windows are in seconds. */
export interface GuessSettings {
  readonly perAccount: number
  readonly perAddress: number
  readonly window: number
  readonly longestWindow: number
  /** The secrets of device cookies, the newest first. It encrypts; cookies of all of them are accepted. */
  readonly deviceSecrets: readonly Uint8Array[]
}

/** The option `limits`, parsed. */
export interface Limits {
  /** `null`: guesses are not limited. */
  readonly guesses: GuessSettings | null
  readonly requests: DeclaredRateLimit | null
  readonly plans: Plans
  /** A client of `ioredis`; `null`: each process counts on its own. */
  readonly redis: object | null
}

const window = duration({ min: 1, max: 7 * 86_400 })
const deviceSecrets = secrets({ minBytes: 32 })

const parseCounts = object({
  perAccount: optional(wholeNumber(), 5),
  perAddress: optional(wholeNumber(), 30),
  window: optional(window, 60),
  longestWindow: optional(window, 900),
  deviceSecret: (value, option) => value === undefined ? [randomBytes(32)] : deviceSecrets(value, option)
})

const parse = object({
  guesses: parseGuesses,
  requests: optional(parseRateLimit, null),
  plans: optional(parsePlans, new Map() as Plans),
  redis: optional(parseRedis, null)
})

/** Parses the option `limits`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix. */
export function parseLimits (limits: unknown = {}): Limits {
  const parsed = parse(limits, 'The option limits')
  if (parsed.requests !== null) resolveRateLimit(parsed.requests, parsed.plans, 'The option limits.requests')
  return parsed
}

function parseGuesses (guesses: unknown = {}, option: string): GuessSettings | null {
  if (guesses === false) return null
  if (!isObject(guesses)) {
    throw misconfigured(`${option} must be false, or an object such as { perAccount: 5, perAddress: 30 }. Got ` +
      `${describeValue(guesses)}.`)
  }
  const { deviceSecret, ...counts } = parseCounts(guesses, option)
  if (counts.longestWindow < counts.window) {
    throw misconfigured(`${option}.longestWindow is shorter than its window: it must be at least as long.`)
  }
  return Object.freeze({ ...counts, deviceSecrets: deviceSecret })
}

function parseRedis (redis: unknown, option: string): object {
  if (isObject(redis) && typeof redis['defineCommand'] === 'function') return redis
  throw misconfigured(`${option} must be a client of ioredis: new Redis(url). Got ${describeValue(redis)}.`)
}
