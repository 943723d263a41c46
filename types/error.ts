/** The codes of every error that this plugin throws on purpose. */
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

/** Why a request was refused: what a scheme needs to write its challenge, and the operator to understand it. */
export interface AuthFailure {
  readonly code: AuthErrorCode
  /** The scheme that saw the credential, `null` when none was sent. */
  readonly scheme: string | null
  /** The reason in words, for the log only. */
  readonly detail: string
  /**
   * The scopes that the route asks for, those that the caller has included: all of an `all`, of an `any` the first.
   * For a 401, those of the route; for a 403, empty unless scopes were the reason.
   */
  readonly scopes: readonly string[]
  /** Seconds, for a step-up (RFC 9470). */
  readonly maxAge: number | null
  /** Seconds, for `Retry-After`. */
  readonly retryAfter: number | null
  /** A word of the scheme's own, from its outcome, that tells its challenges of one code apart. */
  readonly reason?: string
  /** Further headers of the response, from the outcome of the scheme. */
  readonly headers?: Readonly<Record<string, string>>
}
