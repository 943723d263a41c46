import { misconfigured } from './errors.js'
import { shown } from './shape.js'

const units = { s: 1, m: 60, h: 3600, d: 86400 } as const

/** Seconds of a {@link Duration} option: a finite number, zero or more. Anything else stops the boot, naming `place`. */
export function seconds (value: unknown, place: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([smhd])$/.exec(value) : null
  const length = match === null ? NaN : Number(match[1]) * units[match[2] as keyof typeof units]
  if (Number.isFinite(length)) return length
  throw misconfigured(`${place} must be a number of seconds, or a duration such as '30s', '15m', '12h' or '7d'; it is ${shown(value)}.`)
}
