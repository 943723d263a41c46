import type { OwnRateLimit } from './limits.js'
import type { Principal } from './principal.js'

/** A credential of this scheme, and whose. */
export interface Authenticated<P extends Principal = Principal, C = unknown> {
  readonly kind: 'authenticated'
  readonly principal: P
  /**
   * Whom the credential acts for, where the principal has only a part of what they have, as with a key of fewer roles: `none` rules are judged by everything that the owner
   * has. `null`, or left out: the principal is all of it.
   */
  readonly owner?: Principal | null
  /** What a handler may know of the credential. Never the secret itself. */
  readonly credential: C
  /** Browsers sent this credential by themselves; `null` or left out: what the scheme's `ambient` says. */
  readonly ambient?: boolean | null
  /** When the person proved who they are; `null` where the scheme cannot say. */
  readonly authenticatedAt: Date | null
  /** When the credential ends; `null` where it does not. */
  readonly expiresAt: Date | null
  /** Calls back once when the credential is revoked before its end, and returns what stops that; `null` where nobody would know. For what outlives the request. */
  readonly onRevoked?: ((revoked: () => void) => () => void) | null
  /**
   * Says again of this request whose the credential is, where a slow body came between the two stages of the guard: it may have been revoked, or its owner may have lost
   * rights. `null`, or left out: what was said stands until `expiresAt`.
   */
  readonly recheck?: (() => Outcome<P, C> | Promise<Outcome<P, C>>) | null
  /** The credential's own limit, beside the route's; `null` where it has none. */
  readonly rateLimit?: OwnRateLimit | null
  /** What every answer to this credential says (`Deprecation`, `Sunset`), by header. Never the secret itself. */
  readonly headers?: Readonly<Record<string, string>> | null
}

/** Nothing of this scheme on the request: ask the next. */
export interface Absent { readonly kind: 'absent' }

/** Something in this scheme's place that is not its own (another issuer, another prefix): ask the next. */
export interface Foreign { readonly kind: 'foreign' }

/** This scheme's, and bad: stop. */
export interface Invalid {
  readonly kind: 'invalid'
  /** Why, for the operator's log; never shown to the client, never the credential itself. */
  readonly detail: string
  /** It was good once. */
  readonly expired: boolean
  /** A word for the scheme's own `challenge`, which gets it as `failure.reason`. One of a few: challenges are cached by it. */
  readonly reason?: string
  /** Further headers of the refusal, such as a nonce. Never cached. */
  readonly headers?: Readonly<Record<string, string>>
}

/** This scheme's, and nobody can tell now (a store or key source does not answer): 503, stop. */
export interface Unavailable {
  readonly kind: 'unavailable'
  readonly detail: string
  /** Seconds after which a client may try again. */
  readonly retryAfter: number
}

/** This scheme's, and not looked at: too many guesses came before. 429, stop. */
export interface Limited {
  readonly kind: 'limited'
  readonly detail: string
  /** Seconds after which a client may try again. */
  readonly retryAfter: number
}

/** This scheme's, and not looked at: browsers send it by themselves, and one says that another site asked. 403, stop. */
export interface CrossSite {
  readonly kind: 'cross-site'
  readonly detail: string
}

/** What a scheme says of one request. */
export type Outcome<P extends Principal = Principal, C = unknown> =
  | Authenticated<P, C>
  | Absent
  | Foreign
  | Invalid
  | Unavailable
  | Limited
  | CrossSite
