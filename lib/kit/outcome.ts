import type { OwnRateLimit } from '../../types/limits.js'
import type {
  Absent, Authenticated, CrossSite, Foreign, Invalid, Limited, Outcome, Unavailable
} from '../../types/outcome.js'
import type { Principal, PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import { AuthError } from '../errors.js'
import { ownField } from '../util/objects.js'

/** Nothing of this scheme on the request: the next is asked. */
export const absent: Absent = Object.freeze({ kind: 'absent' })

/** Something in this scheme's place that is not its own: the next is asked; foreign to all is invalid. */
export const foreign: Foreign = Object.freeze({ kind: 'foreign' })

/** What {@link authenticated} takes beside the principal. */
export interface AuthenticatedDetails<C> {
  /**
   * Whom the credential acts for, where the principal has only a part of what they have: `none` rules are judged by
   * everything that the owner has.
   */
  readonly owner?: Principal | null
  /** What a handler may know of the credential. Never the secret itself. */
  readonly credential?: C
  /**
   * Whether browsers sent this credential by themselves, for a scheme that takes it from several places; left out, what
   * the scheme's `ambient` says. A request from another site may change nothing with a credential that did.
   */
  readonly ambient?: boolean | null
  /** When the person proved who they are; left out where the scheme cannot say. */
  readonly authenticatedAt?: Date | null
  /** When the credential ends; left out where it does not. */
  readonly expiresAt?: Date | null
  /**
   * Calls back once when the credential is revoked before its end, and returns what stops that; left out where nobody
   * would know.
   */
  readonly onRevoked?: ((revoked: () => void) => () => void) | null
  /**
   * Says again whose the credential is, where a slow body came between; left out where what was said stands until
   * `expiresAt`.
   */
  readonly recheck?: (() => Outcome<Principal, C> | Promise<Outcome<Principal, C>>) | null
  /** The credential's own limit of requests, beside the route's; left out where it has none. */
  readonly rateLimit?: OwnRateLimit | null
  /** What every answer to this credential says, by header; left out where there is nothing to say. */
  readonly headers?: Readonly<Record<string, string>> | null
}

/**
 * A good credential, and whose. The guard completes a principal without realm, scopes or roles: the scheme's name, none
 * and none.
 */
export function authenticated<P extends Principal, C = null> (
  principal: P, details?: AuthenticatedDetails<C>
): Authenticated<P, C>
export function authenticated<P extends PrincipalInput, C = null> (
  principal: P, details?: AuthenticatedDetails<C>
): Authenticated<PrincipalFrom<P>, C>
export function authenticated (principal: PrincipalInput, details: AuthenticatedDetails<unknown> = {}): Authenticated {
  return {
    kind: 'authenticated',
    principal: principal as Principal,
    owner: ownField(details, 'owner') ?? null,
    credential: ownField(details, 'credential') ?? null,
    ambient: ownField(details, 'ambient') ?? null,
    authenticatedAt: ownField(details, 'authenticatedAt') ?? null,
    expiresAt: ownField(details, 'expiresAt') ?? null,
    onRevoked: ownField(details, 'onRevoked') ?? null,
    recheck: ownField(details, 'recheck') ?? null,
    rateLimit: ownField(details, 'rateLimit') ?? null,
    headers: ownField(details, 'headers') ?? null
  }
}

/** What a scheme may add to *invalid*: a word for its own challenge, and headers of the response. */
export type InvalidDetails = Pick<Invalid, 'reason' | 'headers'>

/** This scheme's, and bad. `detail` goes to the log and must not hold the credential. */
export function invalid (detail: string, details?: InvalidDetails): Invalid {
  return details === undefined ? { kind: 'invalid', detail, expired: false } : { ...details, kind: 'invalid', detail, expired: false }
}

/** This scheme's, good once, and past its end. */
export function expired (detail: string): Invalid {
  return { kind: 'invalid', detail, expired: true }
}

/** This scheme's, and nobody can tell now. `retryAfter` in seconds. */
export function unavailable (detail: string, retryAfter = 5): Unavailable {
  return { kind: 'unavailable', detail, retryAfter }
}

/**
 * Returns *unavailable* for an error that says that somebody cannot tell now: a store that does not answer, a queue
 * that is full. Throws every other error on: it is a fault.
 * @param detail left out, what the error says.
 */
export function unavailableOr (error: unknown, detail?: string): Unavailable {
  if (error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE') return unavailable(detail ?? error.detail)
  throw error
}

/** This scheme's, and not looked at, because too many guesses came before. `retryAfter` in seconds. */
export function limited (detail: string, retryAfter: number): Limited {
  return { kind: 'limited', detail, retryAfter }
}

/** This scheme's, and not looked at, because browsers send it by themselves and one says that another site asked. */
export function crossSite (detail: string): CrossSite {
  return { kind: 'cross-site', detail }
}
