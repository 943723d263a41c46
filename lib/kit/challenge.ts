import type { AuthErrorCode, AuthFailure } from '../../types/outcome.js'
import type { Challenge } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { string } from '../util/options.js'

/** The type of {@link Scheme.challenge}. */
export type WriteChallenge = (failure: AuthFailure) => Challenge | null

const fixed = new WeakSet<object>()

/**
 * Marks a challenge that depends only on the code, the scopes and the `maxAge` of the failure, so that the guard writes
 * it once at boot. Without the mark, the scheme is called for each refusal.
 */
export function fixedChallenge (challenge: WriteChallenge): WriteChallenge {
  fixed.add(challenge)
  return challenge
}

/** Returns true for a challenge that {@link fixedChallenge} marked. */
export function isFixed (challenge: object): boolean {
  return fixed.has(challenge)
}

/**
 * Parses the option `realm` of a scheme. Node writes headers in Latin-1, so any other character would become `?`.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function parseRealm (value: unknown, option: string): string {
  const realm = string(value, option)
  if (/^[\t\x20-\x7e\x80-\xff]*$/.test(realm)) return realm
  throw misconfigured(`${option} has a character that no header can carry. Use letters of Latin-1, such as those of ` +
    'English, French and German.')
}

/** Options of {@link bearerChallenge}. */
export interface BearerOptions {
  /** The `error_description` for each code that has one. */
  readonly descriptions?: Readonly<Partial<Record<AuthErrorCode, string>>>
  /**
   * The URL of the metadata of the protected resource (RFC 9728, 5.1). A 401 then names the scopes of the route too.
   */
  readonly resourceMetadata?: string | null
}

/**
 * Returns the Bearer challenge of a scheme (RFC 6750, 3; RFC 9470, 3). It has no `error` if no credential was sent, and
 * is `null` for failures without a challenge, such as too many requests.
 */
export function bearerChallenge (
  realm: string, { descriptions = {}, resourceMetadata = null }: BearerOptions = {}
): WriteChallenge {
  const metadata = resourceMetadata === null ? {} : { resource_metadata: resourceMetadata }
  return fixedChallenge(failure => {
    const { code, maxAge } = failure
    const error = errors[code]
    if (error === undefined && code !== 'AUTH_REQUIRED') return null
    const description = descriptions[code]
    const namesScopes = failure.scopes.length > 0 && (resourceMetadata !== null || code === 'AUTH_ACCESS_DENIED')
    return {
      scheme: 'Bearer',
      params: {
        realm,
        ...error === undefined ? {} : { error },
        ...description === undefined ? {} : { error_description: description },
        ...namesScopes ? { scope: failure.scopes.join(' ') } : {},
        ...maxAge === null ? {} : { max_age: maxAge },
        ...metadata
      }
    }
  })
}

/** The values of `error` (RFC 6750, 3.1; RFC 9470, 3). */
const errors: Readonly<Partial<Record<AuthErrorCode, string>>> = {
  AUTH_INVALID_CREDENTIALS: 'invalid_token',
  AUTH_TOKEN_EXPIRED: 'invalid_token',
  AUTH_ACCESS_DENIED: 'insufficient_scope',
  AUTH_STEP_UP_REQUIRED: 'insufficient_user_authentication'
}
