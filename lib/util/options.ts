import { types } from 'node:util'
import { AuthError, internalError, misconfigured } from '../errors.js'
import { describeValue, didYouMean, joinNames } from './describe.js'
import { isObject, isPlainObject, isValidDate, ownFields } from './objects.js'

/**
 * Parses one value, or throws `AUTH_MISCONFIGURED`. An option that is left out is parsed as `undefined`.
 * @param option the name of the value in messages: `The option limits.guesses.window`.
 */
export type Parser<T> = (value: unknown, option: string) => T

/** The parsers of an object's keys. */
export type Shape = Readonly<Record<string, Parser<unknown>>>

/** The result of the parser of an object. */
export type Parsed<S extends Shape> = { readonly [K in keyof S]: ReturnType<S[K]> }

/** Returns the parser of an options object with these keys and no others. The result is frozen. */
export function object<S extends Shape> (shape: S): Parser<Parsed<S>> {
  const parsers = Object.entries(shape)
  const keys = Object.keys(shape)
  return (value, option) => {
    const given = knownFields(value, keys, option)
    return Object.freeze(Object.fromEntries(parsers.map(([key, parse]) => {
      const parsed = parse(given[key], optionOf(option, key))
      // A parser that accepts `undefined` has a default, which is only for options that are left out.
      if (key in given && given[key] === undefined) throw undefinedKey(option, key)
      return [key, parsed]
    }))) as Parsed<S>
  }
}

/**
 * Returns the parser of an options object in which any of these keys may be left out. The frozen result has the keys
 * that were given, and no prototype, from which others could come.
 */
export function partial<S extends Shape> (shape: S): Parser<Partial<Parsed<S>>> {
  const keys = Object.keys(shape)
  return (value, option) => {
    const given = Object.entries(readOptions(value, keys, option))
    const parsed = Object.fromEntries(given.map(([key, field]) => [key, shape[key]?.(field, optionOf(option, key))]))
    return Object.freeze(ownFields(parsed)) as Partial<Parsed<S>>
  }
}

/** Returns the parser of an option that is an object, or `true` for an object without a key. */
export function orTrue<T> (parse: Parser<T>): Parser<T> {
  return (value, option) => {
    if (value === true) return parse({}, option)
    if (isObject(value)) return parse(value, option)
    throw misconfigured(`${option} must be true or an object. Got ${describeValue(value)}.`)
  }
}

/** The name of the plugin's own options in messages. */
export const pluginOptions = 'The options of fastify-gatehouse'

/**
 * Names an option in an options object: `The option sqlStore.timeout` in `The options of sqlStore`, and
 * `The option stage` in {@link pluginOptions}.
 */
function optionOf (parent: string, key: string): string {
  if (parent === pluginOptions) return `The option ${key}`
  return `${parent.replace(/^The options of /, 'The option ')}.${key}`
}

/**
 * Returns the fields of an options object. Rejects unknown keys and `undefined`, so that a typo or a missing
 * environment variable is not taken for an option that is left out.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function readOptions (
  value: unknown,
  keys: readonly string[],
  option: string
): Readonly<Record<string, unknown>> {
  const given = knownFields(value, keys, option)
  for (const key of Object.keys(given)) if (given[key] === undefined) throw undefinedKey(option, key)
  return given
}

/** Names that other packages, such as @fastify/jwt, @fastify/session and @fastify/oauth2, have for options of ours. */
const foreignNames = new Map<string, readonly string[]>([
  ['secret', ['keys']], ['key', ['secret']], ['password', ['secret']], ['validate', ['verify']], ['auth', ['verify']],
  ['allowedIss', ['issuer']], ['allowedAud', ['audience']], ['extractToken', ['from']], ['formatUser', ['principal']],
  ['jwksUrl', ['keys']], ['jwksUri', ['keys']], ['maxAge', ['absoluteTimeout', 'maxTokenAge']],
  ['expiresIn', ['absoluteTimeout', 'sign']], ['callbackUri', ['redirectUri']], ['startRedirectPath', ['path']]
])

/** Returns " Did you mean 'keys'?" with the option that resembles a key, or that another package calls by it. */
function suggestion (key: string, keys: readonly string[]): string {
  const other = foreignNames.get(key)?.find(each => keys.includes(each))
  return other === undefined ? didYouMean(key, keys) : ` Did you mean '${other}'?`
}

/** Returns the own fields of a plain object with only known keys. Ignores properties of `Object.prototype`. */
function knownFields (value: unknown, keys: readonly string[], option: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) {
    const some = keys.length === 1 ? `the key ${joinNames(keys)}` : `one or more of ${joinNames(keys)}`
    throw misconfigured(`${option} must be an object with ${some}.`)
  }
  if (!isPlainObject(value)) throw misconfigured(`${option} must be a plain object. Inherited properties are ignored.`)
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue
    const unknown = /^[a-z]{1,30}$/i.test(key) ? `'${key}'` : describeValue(key)
    throw misconfigured(`${option} ${hasOrHave(option)} an unknown key ${unknown}.${suggestion(key, keys)} Known: ` +
      `${joinNames(keys)}.`)
  }
  return ownFields(value)
}

function undefinedKey (option: string, key: string): AuthError {
  return misconfigured(`${option} ${hasOrHave(option)} '${key}' set to undefined. Set it, or the environment ` +
    'variable that it comes from, or leave the key out.')
}

function hasOrHave (option: string): 'has' | 'have' {
  return option.startsWith('The options ') ? 'have' : 'has'
}

/**
 * Runs a parser while requests are served: converts `AUTH_MISCONFIGURED`, whose message is public, to `AUTH_FAULT`,
 * whose message reveals nothing to the client.
 * @param call the name of the call, if the message does not contain it.
 */
export function atRunTime<T> (parse: () => T, call?: string): T {
  try {
    return parse()
  } catch (error) {
    throw error instanceof AuthError
      ? internalError(call === undefined ? error.detail : `${call}: ${error.detail}`)
      : error
  }
}

/** Returns the parser of an option that has a default if it is left out. `null` is not left out. */
export function optional<T, D> (parse: Parser<T>, absent: D): Parser<T | D> {
  return (value, option) => value === undefined ? absent : parse(value, option)
}

/**
 * Returns the one option of several that is given; the others are `null`.
 * @param options the name of the options object in messages.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if none is given, or more than one.
 */
export function exactlyOne<T> (alternatives: Readonly<Record<string, T | null>>, options: string): T {
  const [only, ...others] = Object.values(alternatives).flatMap(each => each === null ? [] : [each])
  if (only !== undefined && others.length === 0) return only
  throw misconfigured(`${options} must have exactly one of ${joinNames(Object.keys(alternatives), 'and')}.`)
}

/** Parses nothing: another part of the options decides what the value may be. */
export const asGiven: Parser<unknown> = value => value

/** Returns the parser of a list. */
export function listOf<T> (parse: Parser<T>): Parser<readonly T[]> {
  return (value, option) => {
    if (!Array.isArray(value)) throw misconfigured(`${option} must be a list. Got ${describeValue(value)}.`)
    // Unlike map, Array.from does not skip the holes of a list.
    return Object.freeze(Array.from(value as unknown[], (each, i) => parse(each, `${option}[${i}]`)))
  }
}

/** Returns the parser of one of a few values. */
export function oneOf<const T> (...values: readonly T[]): Parser<T> {
  return (value, option) => {
    const found = values.find(each => each === value)
    if (found !== undefined) return found
    // unlike what was given, the accepted texts are not secrets, however long
    const accepted = values.map(each => typeof each === 'string' ? `'${each}'` : describeValue(each))
    throw misconfigured(`${option} must be ${joinNames(accepted)}. Got ${describeValue(value)}.`)
  }
}

/** Parses a text, which may be empty. */
export function string (value: unknown, option: string): string {
  if (typeof value === 'string') return value
  throw misconfigured(`${option} must be a string. Got ${describeValue(value)}.`)
}

/** Parses a text that is not empty. */
export function text (value: unknown, option: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw misconfigured(`${option} must be a non-empty string. Got ${describeValue(value)}.`)
}

/** Parses an instant. */
export function date (value: unknown, option: string): Date {
  if (isValidDate(value)) return value
  throw misconfigured(`${option} must be a valid Date. Got ${describeValue(value)}.`)
}

/** Returns the parser of a function. */
export function functionOf<F> (signature: string): Parser<F> {
  return (value, option) => {
    if (typeof value === 'function') return value as F
    throw misconfigured(`${option} must be a function ${signature}. Got ${describeValue(value)}.`)
  }
}

/** Returns the parser of a function whose result is needed at once. */
export function syncFunctionOf<F> (signature: string): Parser<F> {
  const parse = functionOf<F>(signature)
  return (value, option) => {
    if (!types.isAsyncFunction(value)) return parse(value, option)
    throw misconfigured(`${option} must be a function that is not async, because nothing waits for its result: ` +
      `${signature}. Got an async one.`)
  }
}

interface Range {
  readonly min?: number
  readonly max?: number
}

/** Returns the parser of a whole number within a range; without one, 1 or more. */
export function wholeNumber ({ min = 1, max = Number.MAX_SAFE_INTEGER }: Range = {}): Parser<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`
  return (value, option) => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
    throw misconfigured(`${option} must be a whole number${range}. Got ${describeValue(value)}.`)
  }
}

interface DurationRange {
  /** Seconds. */
  readonly min?: number
  /** Seconds. */
  readonly max?: number
  /** Refuses 0. Default `false`. */
  readonly positive?: true
  /** The reason for the range, as a sentence. */
  readonly reason?: string
}

/** Returns the parser of a duration within a range. The result is in seconds. */
export function duration ({ min = 0, max = Infinity, positive, reason }: DurationRange = {}): Parser<number> {
  const least = positive === true ? ['more than 0 seconds'] : min === 0 ? [] : [`at least ${inWords(min)}`]
  const range = [...least, ...max === Infinity ? [] : [`at most ${inWords(max)}`]].join(' and ')
  return (value, option) => {
    const length = parseDuration(value, option)
    if (length >= min && length <= max && (length > 0 || positive !== true)) return length
    throw misconfigured(
      `${option} must be ${range}. Got ${describeValue(value)}.${reason === undefined ? '' : ` ${reason}`}`
    )
  }
}

const units = [[1, 'second'], [60, 'minute'], [3_600, 'hour'], [86_400, 'day']] as const

/** Writes whole seconds in words: `7 days`, `90 seconds`. */
function inWords (length: number): string {
  const [size, unit] = units.reduce<readonly [number, string]>(
    (found, each) => length % each[0] === 0 ? each : found, units[0]
  )
  return `${length / size} ${unit}${length === size ? '' : 's'}`
}

const secondsPerUnit = { s: 1, m: 60, h: 3600, d: 86400 } as const

/** 300 years: an instant that is so far away is still a `Date`. */
const maxSeconds = 300 * 365 * 86_400

/**
 * Parses a {@link Duration} option to seconds: zero or more, at most 300 years.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function parseDuration (value: unknown, option: string): number {
  const length = secondsOf(value)
  if (length >= 0 && length <= maxSeconds) return length
  throw misconfigured(`${option} must be a number of seconds, or a duration such as '30s', '15m', '12h' or '7d', at ` +
    `most 300 years. Got ${describeValue(value)}.`)
}

/** Returns the seconds of a duration, or NaN for anything else. */
function secondsOf (value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([smhd])$/.exec(value) : null
  return match === null ? NaN : Number(match[1]) * secondsPerUnit[match[2] as keyof typeof secondsPerUnit]
}

/** Returns true for a scope as tokens and OAuth write it (RFC 6749, 3.3): no spaces, quotes and backslashes. */
export function isScopeToken (text: string): boolean {
  return /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text)
}

/**
 * Returns true for a token of RFC 9110, 5.6.2: the name of a header, of a cookie, of an authentication scheme, of a
 * parameter.
 */
export function isHttpToken (text: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)
}
