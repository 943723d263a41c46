import { misconfigured } from '../errors.js'
import { describeValue } from './describe.js'

const units = { s: 1, m: 60, h: 3600, d: 86400 } as const

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
  return match === null ? NaN : Number(match[1]) * units[match[2] as keyof typeof units]
}
