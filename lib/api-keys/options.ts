import type { Duration } from '../../types/duration.js'
import { seconds } from '../duration.js'
import { misconfigured } from '../errors.js'
import { fields, shown } from '../shape.js'
import { isPrefix } from './format.js'

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

export function managedSettings (value: unknown, place: string): ManagedSettings {
  const { prefix, staleness = 5 } = fields(value, ['prefix', 'staleness'], `The option managed of ${place}`)
  if (!isPrefix(prefix)) throw misconfigured(`The option managed.prefix of ${place} must be 2 to 32 letters and digits with single underscores between them, a letter first, such as 'acme_live'; it is ${shown(prefix)}.`)
  const length = seconds(staleness, `The option managed.staleness of ${place}`)
  if (length > 60) throw misconfigured(`The option managed.staleness of ${place} is more than 60 seconds: for so long a revoked key would be good on other instances.`)
  return Object.freeze({ prefix, staleness: length * 1000 })
}
