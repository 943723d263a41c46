import type { Duration } from '../../../types/options.js'
import { misconfigured } from '../../errors.js'
import { secrets } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { duration, object, optional } from '../../util/options.js'

/** Configures refresh tokens. */
export interface RefreshTokenOptions {
  /** A secret of at least 32 bytes, or a list with the newest first: new tokens use the first, and all are accepted. */
  readonly secret: string | readonly (string | undefined)[] | undefined
  /** The prefix of refresh tokens. Default `'rt'`. */
  readonly prefix?: string
  /** The longest time between two refreshes of a grant. Default `'14d'`. */
  readonly idle?: Duration
  /** The longest lifetime of a grant. Default `'90d'`. */
  readonly absolute?: Duration
  /**
   * The time for which the previous refresh token still returns the current one, for tabs that refresh concurrently and
   * for lost responses. Default `'30s'`. With `0`, a second use of a token always ends the grant.
   */
  readonly reuseGrace?: Duration
}

/** {@link RefreshTokenOptions}, parsed. Durations in seconds. */
export interface RefreshSettings {
  readonly secrets: readonly Uint8Array[]
  readonly prefix: string
  readonly idle: number
  readonly absolute: number
  readonly reuseGrace: number
}

const parseRefreshOptions = object({
  secret: secrets({ minBytes: 32 }),
  prefix: optional(parsePrefix, 'rt'),
  idle: optional(duration({ positive: true }), 14 * 86_400),
  absolute: optional(duration({ positive: true }), 90 * 86_400),
  reuseGrace: optional(duration({ max: 600, reason: 'A stolen token could be used for as long.' }), 30)
})

/** Parses the option `sign.refresh`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseRefresh (value: unknown, option: string): RefreshSettings {
  const { secret, ...rest } = parseRefreshOptions(value, option)
  if (rest.idle > rest.absolute) {
    throw misconfigured(`${option}.idle must not be longer than ${option}.absolute, which ends the grant in any case.`)
  }
  return Object.freeze({ ...rest, secrets: secret })
}

function parsePrefix (value: unknown, option: string): string {
  if (typeof value === 'string' && /^[a-z][a-z0-9_]{1,31}$/i.test(value)) return value
  throw misconfigured(
    `${option} must be 2 to 32 letters, digits and '_', with a letter first. Got ${describeValue(value)}.`
  )
}
