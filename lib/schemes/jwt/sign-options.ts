import type { Duration } from '../../../types/options.js'
import type { Principal } from '../../../types/principal.js'
import type { KeyMaterial } from '../../jose/key-material.js'
import { duration, functionOf, object, optional, text } from '../../util/options.js'
import type { Parser } from '../../util/options.js'
import { parseRefresh } from './refresh-options.js'
import type { RefreshSettings, RefreshTokenOptions } from './refresh-options.js'

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
  /** Milliseconds; `null` if access tokens cannot be revoked. */
  readonly staleness: number | null
  /** `null` if there are no refresh tokens. */
  readonly refresh: RefreshSettings | null
}

const asGiven: Parser<unknown> = value => value

const parseSignOptions = object({
  key: asGiven,
  kid: optional(text, null),
  expiresIn: optional(parseLifetime, 15 * 60),
  realm: optional(text, null),
  client: optional(text, 'first-party'),
  claims: optional(functionOf<TokenClaims>('(principal) => claims'), null),
  staleness: (value = 10, option) => parseStaleness(value, option),
  refresh: optional(parseRefresh, null)
})

/** Parses the option `sign`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseSign (value: unknown, option: string): SignSettings {
  return parseSignOptions(value === true ? {} : value, option)
}

/**
 * Parses a duration to whole seconds, because not every parser accepts a NumericDate that is not an integer.
 */
export function parseLifetime (value: unknown, option: string): number {
  return Math.ceil(duration({ positive: true })(value, option))
}

const parseStalenessTime = duration({
  max: 60,
  reason: 'A token that another instance revoked stays valid here for this time.'
})

/** Parses a staleness to milliseconds. */
function parseStaleness (value: unknown, option: string): number | null {
  return value === false ? null : parseStalenessTime(value, option) * 1000
}
