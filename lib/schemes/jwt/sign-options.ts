import type { Duration } from '../../../types/options.js'
import type { Principal } from '../../../types/principal.js'
import { misconfigured } from '../../errors.js'
import type { KeyMaterial } from '../../jose/key-material.js'
import { secrets } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { asGiven, duration, functionOf, object, optional, orTrue, text } from '../../util/options.js'

/** Configures the signing of tokens. */
export interface SignOptions {
  /** The secret or private key, which must belong to one of `keys`. Default: the first of `keys` that can sign. */
  readonly key?: KeyMaterial | undefined
  /** The `kid` in the header. Default: that of the key. */
  readonly kid?: string
  /** The time until a token expires, unless a call sets another one. Default `'15m'`. */
  readonly expiresIn?: Duration
  /** The realm that people must have to get a token, and that the principals of tokens get. Default: the issuer. */
  readonly realm?: string
  /** The `client_id` of tokens that are not issued to a client. Default `'first-party'`. */
  readonly client?: string
  /** Returns further claims for every token. */
  readonly claims?: TokenClaims
  /**
   * The time for which this process caches that a grant has not ended and that a token was not revoked. A token that
   * another instance revoked stays valid here for up to this time, unless the store reports changes. At most 60
   * seconds. Default 10 seconds. With `false`, access tokens are valid until they expire and cannot be revoked.
   */
  readonly staleness?: Duration | false
  /** Turns on refresh tokens: `app.gatehouse.tokens.grant` and `refresh`. */
  readonly refresh?: RefreshTokenOptions
}

/** Returns further claims of a token for a person. */
export type TokenClaims =
  (principal: Principal) => Readonly<Record<string, unknown>> | Promise<Readonly<Record<string, unknown>>>

/** {@link SignOptions}, parsed. */
export interface SignSettings {
  /** As given; `undefined` for one of the keys of the issuer. */
  readonly key: unknown
  readonly kid: string | null
  /** Seconds. */
  readonly expiresIn: number
  /** `null` for the issuer. */
  readonly realm: string | null
  readonly client: string
  readonly claims: TokenClaims | null
  /** Seconds; `null` if access tokens cannot be revoked. */
  readonly staleness: number | null
  /** `null` if there are no refresh tokens. */
  readonly refresh: RefreshSettings | null
}

const parseSignOptions = object({
  key: asGiven,
  kid: optional(text, null),
  expiresIn: optional(parseLifetime, 15 * 60),
  realm: optional(text, null),
  client: optional(text, 'first-party'),
  claims: optional(functionOf<TokenClaims>('(principal) => claims'), null),
  staleness: (value = 10, option) => value === false ? null : parseStaleness(value, option),
  refresh: optional(parseRefresh, null)
})

/** Parses the option `sign`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseSign (value: unknown, option: string): SignSettings {
  return orTrue(parseSignOptions)(value, option)
}

/**
 * Parses a duration to whole seconds, because not every parser accepts a NumericDate that is not an integer.
 */
export function parseLifetime (value: unknown, option: string): number {
  return Math.ceil(duration({ positive: true })(value, option))
}

const parseStaleness = duration({
  max: 60,
  reason: 'A token that another instance revoked stays valid here for this time.'
})

/** Configures refresh tokens. */
interface RefreshTokenOptions {
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
function parseRefresh (value: unknown, option: string): RefreshSettings {
  const { secret, ...rest } = parseRefreshOptions(value, option)
  if (rest.idle > rest.absolute) {
    throw misconfigured(`${option}.idle must not be longer than absolute, which ends the grant in any case.`)
  }
  return Object.freeze({ ...rest, secrets: secret })
}

function parsePrefix (value: unknown, option: string): string {
  if (typeof value === 'string' && /^[a-z][a-z0-9_]{1,31}$/i.test(value)) return value
  throw misconfigured(
    `${option} must be 2 to 32 letters, digits and '_', with a letter first. Got ${describeValue(value)}.`
  )
}
