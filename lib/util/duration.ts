import { misconfigured } from '../errors.js'
import { shown } from './options.js'

const units = { s: 1, m: 60, h: 3600, d: 86400 } as const

/** 300 years, in seconds: an instant that is so far away is still a `Date`. */
const longest = 300 * 365 * 86_400

/**
 * Parses a {@link Duration} option to seconds: zero or more, at most 300 years. Anything else stops the boot, naming
 * `place`.
 */
export function seconds (value: unknown, place: string): number {
  const length = lengthOf(value)
  if (length >= 0 && length <= longest) return length
  const examples = "a duration such as '30s', '15m', '12h' or '7d'"
  throw misconfigured(`${place} must be a number of seconds, or ${examples}, at most 300 years; it is ${shown(value)}.`)
}

/** Returns the seconds of a duration, and NaN for what is none. */
function lengthOf (value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([smhd])$/.exec(value) : null
  return match === null ? NaN : Number(match[1]) * units[match[2] as keyof typeof units]
}
