import type { Duration } from '../../../types/duration.js'
import { misconfigured } from '../../errors.js'
import { secrets } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { duration, object, optional } from '../../util/options.js'

/** How refresh tokens are made, and how long they are good for. */
export interface RefreshTokenOptions {
  /** At least 32 bytes; or a list, the newest first. All are accepted, and the first writes. */
  readonly secret: string | readonly (string | undefined)[] | undefined
  /** How refresh tokens begin. Default `'rt'`. */
  readonly prefix?: string
  /** How long a grant lives without being refreshed. Default `'14d'`. */
  readonly idle?: Duration
  /** How long a grant lives at most. Default `'90d'`. */
  readonly absolute?: Duration
  /**
   * How long the refresh token just before the current one is answered with the current one, for tabs that refresh at
   * once and answers that are lost. Default `'30s'`; `0`: each is good for one use, and a second one ends the grant.
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
  reuseGrace: optional(duration({ max: 600, reason: 'A thief could use a stolen token for as long.' }), 30)
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
