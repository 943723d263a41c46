import { misconfigured } from '../errors.js'
import { seconds } from './duration.js'
import { knownKeys, list, shown, undefinedKey } from './options.js'

/**
 * Parses one value, or throws `AUTH_MISCONFIGURED`. An option that is left out is parsed as `undefined`.
 * @param place what a sentence about the value begins with: `The option limits.guesses.window`.
 */
export type Parser<T> = (value: unknown, place: string) => T

/** The parsers of an object's keys. */
type Shape = Readonly<Record<string, Parser<unknown>>>

/** What the parser of an object returns. */
export type Parsed<S extends Shape> = { readonly [K in keyof S]: ReturnType<S[K]> }

/** Returns the parser of an options object with these keys and no others. What it parses is frozen. */
export function object<S extends Shape> (shape: S): Parser<Parsed<S>> {
  const parsers = Object.entries(shape)
  return (value, place) => {
    const given = new Map(Object.entries(knownKeys(value, Object.keys(shape), place)))
    return Object.freeze(Object.fromEntries(parsers.map(([key, parse]) => {
      const parsed = parse(given.get(key), placeOf(place, key))
      // a parser that takes `undefined` has a default for it, which is for what was left out
      if (given.has(key) && given.get(key) === undefined) throw undefinedKey(place, key)
      return [key, parsed]
    }))) as Parsed<S>
  }
}

/** Names an option by its path: those of `The options of sqlStore` are `The option sqlStore.timeout`, and so on. */
function placeOf (place: string, key: string): string {
  return `${place.replace(/^The options of /, 'The option ')}.${key}`
}

/**
 * Returns the parser of an option that can be left out. Only then it has the default: `null` is a wrong value like
 * any other.
 */
export function optional<T, D> (parse: Parser<T>, absent: D): Parser<T | D> {
  return (value, place) => value === undefined ? absent : parse(value, place)
}

/** Returns the parser of a list. */
export function listOf<T> (parse: Parser<T>): Parser<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw misconfigured(`${place} must be a list. Got ${shown(value)}.`)
    // Array.from sees the holes of a list, which map passes over
    return Object.freeze(Array.from(value as unknown[], (each, i) => parse(each, `${place}[${i}]`)))
  }
}

/** Returns the parser of one of a few values. */
export function oneOf<const T> (...values: readonly T[]): Parser<T> {
  return (value, place) => {
    const found = values.find(each => each === value)
    if (found !== undefined) return found
    throw misconfigured(`${place} must be ${list(values.map(shown))}. Got ${shown(value)}.`)
  }
}

/** Returns the parser of a function. */
export function functionOf<F> (signature: string): Parser<F> {
  return (value, place) => {
    if (typeof value === 'function') return value as F
    throw misconfigured(`${place} must be a function ${signature}. Got ${shown(value)}.`)
  }
}

interface Range {
  readonly min?: number
  readonly max?: number
}

/** Returns the parser of a whole number within a range; without one, 1 or more. */
export function wholeNumber ({ min = 1, max = Number.MAX_SAFE_INTEGER }: Range = {}): Parser<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`
  return (value, place) => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
    throw misconfigured(`${place} must be a whole number${range}. Got ${shown(value)}.`)
  }
}

interface DurationRange extends Range {
  /** Why, as a sentence of its own. */
  readonly reason?: string
}

/** Returns the parser of a duration within a range. What it parses is in seconds. */
export function duration ({ min = 0, max = Infinity, reason }: DurationRange = {}): Parser<number> {
  const least = min === 0 ? [] : [`at least ${inWords(min)}`]
  const range = [...least, ...max === Infinity ? [] : [`at most ${inWords(max)}`]].join(' and ')
  return (value, place) => {
    const length = seconds(value, place)
    if (length >= min && length <= max) return length
    throw misconfigured(`${place} must be ${range}. Got ${shown(value)}.${reason === undefined ? '' : ` ${reason}`}`)
  }
}

const units = [[1, 'second'], [60, 'minute'], [3_600, 'hour'], [86_400, 'day']] as const

/** Whole seconds in words: `7 days`, `90 seconds`. */
function inWords (length: number): string {
  const [size, unit] = units.reduce<readonly [number, string]>((found, each) => length % each[0] === 0 ? each : found, units[0])
  return `${length / size} ${unit}${length === size ? '' : 's'}`
}
