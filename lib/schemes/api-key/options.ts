import type { Duration } from '../../../types/duration.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { duration, object, optional } from '../../util/options.js'
import { isPrefix } from './key.js'

/** The option `managed` of `apiKey`. */
export interface ManagedOptions {
  /** What every key begins with, an underscore behind it: one that secret scanners know as yours (`acme_live`). Letters, digits and single underscores between. */
  readonly prefix: string
  /**
   * How long this process believes what the store said of a key, and `load` of its owner: a key that was revoked on another instance is good here for no longer.
   * At most 60 seconds; 0 asks every time. Default 5 seconds.
   */
  readonly staleness?: Duration
}

/** {@link ManagedOptions}, checked and complete. */
export interface ManagedSettings {
  readonly prefix: string
  /** Milliseconds. */
  readonly staleness: number
}

const parse = object({
  prefix: parsePrefix,
  staleness: optional(duration({ max: 60, reason: 'For so long a revoked key would be good on other instances.' }), 5)
})

export function managedSettings (value: unknown, place: string): ManagedSettings {
  const { prefix, staleness } = parse(value, place)
  return Object.freeze({ prefix, staleness: staleness * 1000 })
}

function parsePrefix (prefix: unknown, place: string): string {
  if (isPrefix(prefix)) return prefix
  throw misconfigured(`${place} must be 2 to 32 letters and digits with single underscores between them, a letter ` +
    `first, such as 'acme_live'. Got ${describeValue(prefix)}.`)
}
