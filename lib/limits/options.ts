import { randomBytes } from 'node:crypto'
import { seconds } from '../duration.js'
import { misconfigured } from '../errors.js'
import { checkSecret } from '../schemes/secrets.js'
import { fields, isObject } from '../shape.js'

/** How guesses are counted. Windows in seconds. */
export interface GuessSettings {
  readonly perAccount: number
  readonly perAddress: number
  readonly window: number
  readonly longestWindow: number
  /** What device cookies are sealed with, the newest first. */
  readonly deviceSecrets: readonly Uint8Array[]
}

/** The limit of requests where a route says none. The window in seconds. */
export interface RequestRule {
  readonly max: number
  readonly window: number
}

/** The option `limits`, parsed. */
export interface Limits {
  /** `null`: guesses are not counted. */
  readonly guesses: GuessSettings | null
  readonly requests: RequestRule | null
  /** A client of `ioredis`; `null`: each process counts requests for itself. */
  readonly redis: object | null
}

const week = 7 * 86_400

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the mend. */
export function parseLimits (limits: unknown = {}): Limits {
  const said = fields(limits, ['guesses', 'requests', 'redis'], 'The option limits')
  const { guesses = {}, redis } = said
  if ('redis' in said && !(isObject(redis) && typeof redis['defineCommand'] === 'function')) throw misconfigured('The option limits.redis must be a client of ioredis: new Redis(url).')
  return Object.freeze({
    guesses: guesses === false ? null : parseGuesses(guesses),
    requests: 'requests' in said ? parseRule(said.requests, 'The option limits.requests') : null,
    redis: redis === undefined ? null : redis as object
  })
}

function parseGuesses (guesses: unknown): GuessSettings {
  const place = 'The option limits.guesses'
  if (!isObject(guesses)) throw misconfigured(`${place} must be false, or an object such as { perAccount: 5, perAddress: 20 }.`)
  const said = fields(guesses, ['perAccount', 'perAddress', 'window', 'longestWindow', 'deviceSecret'], place)
  const window = windowOf(said['window'] ?? '1m', `${place}.window`)
  const longestWindow = windowOf(said['longestWindow'] ?? '15m', `${place}.longestWindow`)
  if (longestWindow < window) throw misconfigured(`${place}.longestWindow is shorter than its window: it must be at least as long.`)
  return Object.freeze({
    perAccount: count(said['perAccount'] ?? 5, `${place}.perAccount`),
    perAddress: count(said['perAddress'] ?? 5, `${place}.perAddress`),
    window,
    longestWindow,
    deviceSecrets: secretsOf(said['deviceSecret'], `${place}.deviceSecret`)
  })
}

/** `{ max, window }`, its window in seconds. */
export function parseRule (rule: unknown, place: string): RequestRule {
  const { max, window } = fields(rule, ['max', 'window'], place)
  return Object.freeze({ max: count(max, `${place}.max`), window: windowOf(window, `${place}.window`) })
}

function count (value: unknown, place: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  throw misconfigured(`${place} must be a whole number above 0.`)
}

function windowOf (value: unknown, place: string): number {
  const length = seconds(value, place)
  if (length >= 1 && length <= week) return length
  throw misconfigured(`${place} must be a second to 7 days long.`)
}

function secretsOf (given: unknown, place: string): readonly Uint8Array[] {
  if (given === undefined) return [randomBytes(32)]
  const all: readonly unknown[] = Array.isArray(given) ? given : [given]
  if (all.length === 0) throw misconfigured(`${place} is an empty list; it must hold at least one secret, the newest first.`)
  return all.map((secret, index) => checkSecret(secret, { minBytes: 32, place: Array.isArray(given) ? `${place}[${index}]` : place }))
}
