import type { OwnRateLimit } from '../../types/limits.js'
import type {
  Absent, Authenticated, CrossSite, Foreign, Invalid, Limited, Unavailable
} from '../../types/outcome.js'
import type { Principal, PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import { AuthError, defaultRetryAfter, internalError } from '../errors.js'
import { describeValue, didYouMean, joinNames } from '../util/describe.js'
import { hasFields, isObject } from '../util/objects.js'

/** The outcome if the request has no credential of the scheme: the guard tries the next scheme. */
export const absent: Absent = Object.freeze({ kind: 'absent' })

/**
 * The outcome if the request has a credential where the scheme looks for one, but it is not of the scheme: the guard
 * tries the next one. A credential that is foreign to all schemes is invalid.
 */
export const foreign: Foreign = Object.freeze({ kind: 'foreign' })

/** The details of {@link authenticated}. */
export interface AuthenticatedDetails<C> {
  /**
   * The owner of the credential, if the principal has only some of the owner's scopes and roles: `none` rules are
   * checked against everything that the owner has.
   */
  readonly owner?: Principal | null
  /** `true` if a client uses the credential on behalf of the principal. Default: `false`. */
  readonly delegated?: boolean | null
  /** Data about the credential for handlers. Never the secret itself. */
  readonly credential?: C
  /**
   * `true` if browsers send this credential automatically, for a scheme that reads several sources. Default: `ambient`
   * of the scheme. With such a credential, a request from another site must not change anything.
   */
  readonly ambient?: boolean | null
  /** The time at which the user authenticated. Default: unknown. */
  readonly authenticatedAt?: Date | null
  /** The time at which the credential expires. Default: never. */
  readonly expiresAt?: Date | null
  /**
   * Calls `revoked` once if the credential is revoked before it expires, and returns a function that cancels this.
   * Default: the scheme cannot detect revocation.
   */
  readonly onRevoked?: ((revoked: () => void) => () => void) | null
  /**
   * Authenticates the request again if a slow body came between the two stages of the guard. Default: the outcome is
   * valid until `expiresAt`.
   */
  readonly recheck?: Authenticated<Principal, C>['recheck'] | null
  /** A rate limit of this credential, in addition to the route's. Default: none. */
  readonly rateLimit?: OwnRateLimit | null
  /** Headers of every response to this credential. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | null
}

/**
 * Creates the outcome for a valid credential. The guard completes the principal: the default of the realm is the
 * scheme's name, and that of the scopes and roles is none.
 */
export function authenticated<P extends Principal, C = null> (
  principal: P, details?: AuthenticatedDetails<C>
): Authenticated<P, C>
export function authenticated<P extends PrincipalInput, C = null> (
  principal: P, details?: AuthenticatedDetails<C>
): Authenticated<PrincipalFrom<P>, C>
export function authenticated (principal: PrincipalInput, details: AuthenticatedDetails<unknown> = {}): Authenticated {
  checkNames(details)
  return new Valid(principal as Principal, details)
}

const detailNames: readonly string[] = [
  'owner', 'delegated', 'credential', 'ambient', 'authenticatedAt', 'expiresAt', 'onRevoked', 'recheck', 'rateLimit',
  'headers'
] satisfies ReadonlyArray<keyof AuthenticatedDetails<unknown>>

/** Fields of an outcome that are not details. Another outcome may be given in place of details. */
const otherNames: readonly string[] = ['kind', 'principal']

/** Details that limit a credential. Without them it could do more, so `undefined` is not read as left out. */
const limitingNames: readonly string[] = ['owner', 'expiresAt', 'rateLimit']

/**
 * Checks that an `expiresAt` that is misspelled or `undefined`, or a Date in place of the details, is not ignored.
 * @throws {AuthError} `AUTH_FAULT`
 */
function checkNames (details: unknown): void {
  if (!isObject(details) || !hasFields(details)) {
    throw internalError('the details of authenticated() must be an object, such as { expiresAt }. Got ' +
      describeValue(details))
  }
  for (const [name, value] of Object.entries(details)) {
    if (!detailNames.includes(name) && !otherNames.includes(name)) {
      throw internalError(`authenticated() has no detail ${describeValue(name)}.${didYouMean(name, detailNames)} ` +
        `Known: ${joinNames(detailNames, 'and')}`)
    }
    if (value === undefined && limitingNames.includes(name)) {
      throw internalError(`authenticated() has '${name}' set to undefined. Set it to null, or leave it out, if there ` +
        'is none')
    }
  }
}

/** Creates an outcome as {@link authenticated} does, for a scheme whose details the compiler has checked. */
export function validOutcome<P extends Principal, C> (
  principal: P, details: AuthenticatedDetails<C>
): Authenticated<P, C> {
  return new Valid(principal, details) as Authenticated<Principal, unknown> as Authenticated<P, C>
}

/** The outcome for a valid credential. A class, so that the guard knows at a glance that no field is missing. */
class Valid implements Authenticated {
  readonly kind = 'authenticated'
  readonly principal: Principal
  readonly owner: Principal | null
  readonly delegated: boolean | null
  readonly credential: unknown
  readonly ambient: boolean | null
  readonly authenticatedAt: Date | null
  readonly expiresAt: Date | null
  readonly onRevoked: Authenticated['onRevoked'] | null
  readonly recheck: Authenticated['recheck'] | null
  readonly rateLimit: OwnRateLimit | null
  readonly headers: Readonly<Record<string, string>> | null
  #isComplete = false

  constructor (
    principal: Principal, details: AuthenticatedDetails<unknown>,
    credential: unknown = own(details, 'credential', details.credential)
  ) {
    this.principal = principal
    this.owner = own(details, 'owner', details.owner)
    this.delegated = own(details, 'delegated', details.delegated)
    this.credential = credential
    this.ambient = own(details, 'ambient', details.ambient)
    this.authenticatedAt = own(details, 'authenticatedAt', details.authenticatedAt)
    this.expiresAt = own(details, 'expiresAt', details.expiresAt)
    this.onRevoked = own(details, 'onRevoked', details.onRevoked)
    this.recheck = own(details, 'recheck', details.recheck)
    this.rateLimit = own(details, 'rateLimit', details.rateLimit)
    this.headers = own(details, 'headers', details.headers)
  }

  /** Creates an outcome whose principal is complete. */
  static complete (principal: Principal, details: AuthenticatedDetails<unknown>): Valid {
    return new Valid(principal, details).#completed()
  }

  /** Creates an outcome like a complete one, with another credential. */
  static withCredential (outcome: Authenticated, credential: unknown): Valid {
    return new Valid(outcome.principal, outcome, credential).#completed()
  }

  #completed (): this {
    this.#isComplete = true
    return Object.freeze(this)
  }

  static isInstance (outcome: object): boolean {
    return #isComplete in outcome
  }

  static isComplete (outcome: object): boolean {
    return #isComplete in outcome && outcome.#isComplete
  }
}

/** Returns the value of a detail, or `null` if it is missing, or inherited from `Object.prototype`. */
function own<T> (details: object, name: string, value: T | null | undefined): T | null {
  // most details are missing, and reading a value is cheaper than checking whether the property is the object's own
  return value === null || value === undefined || !Object.hasOwn(details, name) ? null : value
}

/**
 * Creates the outcome for a valid credential whose principal is complete. The guard does not check it, so it is frozen:
 * a scheme of the application that wraps ours cannot change it. Requests may share it if nothing in it depends on one.
 * @param principal as `principalFrom` or `principalAtBoot` returns it.
 */
export function completeOutcome<P extends Principal, C = null> (
  principal: P, details: AuthenticatedDetails<C>
): Authenticated<P, C> {
  return Valid.complete(principal, details) as Authenticated<Principal, unknown> as Authenticated<P, C>
}

/**
 * Creates a copy of an outcome of {@link completeOutcome} with the credential of one request, for a scheme whose
 * requests share everything else.
 */
export function withCredential<P extends Principal, C> (
  outcome: Authenticated<P, unknown>, credential: C
): Authenticated<P, C> {
  return Valid.withCredential(outcome, credential) as Authenticated<Principal, unknown> as Authenticated<P, C>
}

/** Returns true for a result of {@link completeOutcome}. A copy of one has to be checked. */
export function isCompleteOutcome (outcome: object): boolean {
  return Valid.isComplete(outcome)
}

/** Returns true for a result of {@link authenticated}, which has every field. A copy of one has to be looked at. */
export function isAuthenticated (outcome: object): outcome is Authenticated {
  return Valid.isInstance(outcome)
}

/** The details that a scheme may add to *invalid*: an identifier for its own challenge, and headers of the response. */
export type InvalidDetails = Pick<Invalid, 'reason' | 'headers'>

/** Creates the outcome for an invalid credential. `detail` is logged and must not contain the credential. */
export function invalid (detail: string, details?: InvalidDetails): Invalid {
  const outcome = { kind: 'invalid', detail, expired: false } as const
  return details === undefined ? outcome : { ...details, ...outcome }
}

/** Creates the outcome for a credential that was valid and has expired. */
export function expired (detail: string): Invalid {
  return { kind: 'invalid', detail, expired: true }
}

/** Creates the outcome for a credential that cannot be checked now. `retryAfter` is in seconds. */
export function unavailable (detail: string, retryAfter = defaultRetryAfter): Unavailable {
  return { kind: 'unavailable', detail, retryAfter }
}

/**
 * Converts an error with the code `AUTH_UNAVAILABLE` (the store timed out, the queue is full) to *unavailable*.
 * @param detail default: the detail of the error.
 * @throws any other error as it is.
 */
export function unavailableOr (error: unknown, detail?: string): Unavailable {
  if (error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE') return unavailable(detail ?? error.detail)
  throw error
}

/** Creates the outcome for a credential that was not checked after too many guesses. `retryAfter` is in seconds. */
export function limited (detail: string, retryAfter: number): Limited {
  return { kind: 'limited', detail, retryAfter }
}

/** Creates the outcome for a credential that browsers send automatically, in a request from another site. */
export function crossSite (detail: string): CrossSite {
  return { kind: 'cross-site', detail }
}
