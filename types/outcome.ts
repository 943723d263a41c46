import type { FastifyRequest } from 'fastify'
import type { OwnRateLimit } from './limits.js'
import type { Principal } from './principal.js'
import type { AllowsQuery } from './request-auth.js'

/** The credential is valid and belongs to this principal. */
export interface Authenticated<P extends Principal = Principal, C = unknown> {
  readonly kind: 'authenticated'
  readonly principal: P
  /**
   * The owner of the credential, if the principal has only some of the owner's scopes and roles, such as a key that is
   * limited to fewer roles: `none` rules are checked against everything that the owner has. `null` or left out: the
   * principal itself.
   */
  readonly owner?: Principal | null
  /**
   * `true` if a client uses the credential on behalf of the principal (OAuth 2.0): the guard then refuses it on routes
   * that require no scope, unless the scheme's `delegated` is `true`, and `none` rules are checked against `owner`, and
   * are not met without one. Default, and for `null`: `false`.
   */
  readonly delegated?: boolean | null
  /** Data about the credential for handlers. Never the secret itself. */
  readonly credential: C
  /** `true` if browsers send this credential automatically. Default, and for `null`: the scheme's `ambient`. */
  readonly ambient?: boolean | null
  /** The time at which the user authenticated; `null` if the scheme does not know. */
  readonly authenticatedAt: Date | null
  /** The time at which the credential expires; `null` if it does not. */
  readonly expiresAt: Date | null
  /**
   * Calls `revoked` once if the credential is revoked before it expires, and returns a function that cancels this. For
   * work that outlives the request, such as a WebSocket. `null` if the scheme cannot detect revocation.
   */
  readonly onRevoked?: ((revoked: () => void) => () => void) | null
  /**
   * Authenticates this request again, if a slow body came between the two stages of the guard: in the meantime the
   * credential may have been revoked, or its owner may have lost permissions. It gets the request, so that one function
   * can serve all requests. `null` or left out: the outcome is valid until `expiresAt`.
   */
  readonly recheck?: ((request: FastifyRequest) => Outcome<P, C> | Promise<Outcome<P, C>>) | null
  /** A rate limit of this credential, in addition to the route's; `null` if it has none. */
  readonly rateLimit?: OwnRateLimit | null
  /** Headers of every response to this credential, such as `Deprecation` and `Sunset`. Never the secret itself. */
  readonly headers?: Readonly<Record<string, string>> | null
}

/** The outcome of a valid credential that came in a message. */
export interface CredentialCaller<P, C> extends Omit<Authenticated, 'principal' | 'credential'> {
  readonly principal: P
  readonly credential: C
  /**
   * Aborts when the credential expires or is revoked, until the connection of the request closes. The reason is an
   * `AuthError`.
   */
  readonly signal: AbortSignal
  /** Returns `true` if the principal has these scopes and roles. */
  allows (query: AllowsQuery): boolean
}

/** The request has no credential of this scheme. The guard tries the next scheme. */
export interface Absent {
  readonly kind: 'absent'
  /** The reason, for the log, if what was sent does not count any more, such as the cookie of a session that ended. */
  readonly detail?: string
}

/**
 * The request has a credential where this scheme looks for one, but it is not of this scheme (another issuer, another
 * prefix). The guard tries the next scheme.
 */
export interface Foreign {
  readonly kind: 'foreign'
  /** The reason, for the log. Never the credential itself. */
  readonly detail?: string
}

/** The credential is of this scheme and invalid. The guard tries no other scheme and answers with 401. */
export interface Invalid {
  readonly kind: 'invalid'
  /** The reason, for the log. Never sent to the client, and never the credential itself. */
  readonly detail: string
  /** `true` if the credential was valid and has expired. */
  readonly expired: boolean
  /** A word for the scheme's own `challenge`, which gets it as `failure.reason`. */
  readonly reason?: string
  /** Further headers of the refusal, such as a nonce. Never cached. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * The credential is of this scheme, but cannot be checked because a store or key source is unavailable. The guard tries
 * no other scheme and answers with 503.
 */
export interface Unavailable {
  readonly kind: 'unavailable'
  readonly detail: string
  /** Seconds after which a client may try again. */
  readonly retryAfter: number
}

/**
 * The credential is of this scheme, and was not checked because there were too many failed attempts. The guard tries no
 * other scheme and answers with 429.
 */
export interface Limited {
  readonly kind: 'limited'
  readonly detail: string
  /** Seconds after which a client may try again. */
  readonly retryAfter: number
}

/**
 * The credential is of this scheme and is sent automatically by browsers, and was not checked because the request comes
 * from another site. The guard tries no other scheme and answers with 403.
 */
export interface CrossSite {
  readonly kind: 'cross-site'
  readonly detail: string
}

/** The result of {@link Scheme.authenticate} for one request. */
export type Outcome<P extends Principal = Principal, C = unknown> =
  | Authenticated<P, C>
  | Absent
  | Foreign
  | Invalid
  | Unavailable
  | Limited
  | CrossSite

/** Lists the codes of all errors that this plugin throws on purpose. */
export type AuthErrorCode =
  | 'AUTH_REQUIRED'
  | 'AUTH_INVALID_CREDENTIALS'
  | 'AUTH_TOKEN_EXPIRED'
  | 'AUTH_STEP_UP_REQUIRED'
  | 'AUTH_ACCESS_DENIED'
  | 'AUTH_CROSS_SITE'
  | 'AUTH_RATE_LIMITED'
  | 'AUTH_UNAVAILABLE'
  | 'AUTH_FAULT'
  | 'AUTH_MISCONFIGURED'

/** Describes why a request was refused, for the challenge of a scheme and for the log. */
export interface AuthFailure {
  readonly code: AuthErrorCode
  /** The name of the scheme that refused the credential; `null` if none was sent. */
  readonly scheme: string | null
  /** The reason as text, for the log only. */
  readonly detail: string
  /**
   * The scopes that the route requires, including those that the caller has: all of an `all`, and the first of an
   * `any`. For a 401 those of the route; for a 403 empty unless missing scopes were the reason.
   */
  readonly scopes: readonly string[]
  /**
   * The maximum age of the authentication in seconds, for a step-up (RFC 9470). `Scheme.refuse` gets that of the route
   * for every 401, because a first login has to fulfil it too.
   */
  readonly maxAge: number | null
  /** The value of `Retry-After`, in seconds. */
  readonly retryAfter: number | null
  /** An identifier of the scheme, from its outcome, to distinguish its challenges for one code. */
  readonly reason?: string
  /** Further headers of the response, from the outcome of the scheme. */
  readonly headers?: Readonly<Record<string, string>>
}
