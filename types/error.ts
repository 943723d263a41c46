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
  /** The maximum age of the authentication in seconds, for a step-up (RFC 9470). */
  readonly maxAge: number | null
  /** The value of `Retry-After`, in seconds. */
  readonly retryAfter: number | null
  /** An identifier of the scheme, from its outcome, to distinguish its challenges for one code. */
  readonly reason?: string
  /** Further headers of the response, from the outcome of the scheme. */
  readonly headers?: Readonly<Record<string, string>>
}
