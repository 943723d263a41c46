import type { Challenge } from '../../types/challenge.js'
import type { AuthErrorCode, AuthFailure } from '../../types/error.js'

/** The `challenge` of a scheme. */
export type WriteChallenge = (failure: AuthFailure) => Challenge | null

const fixed = new WeakSet<object>()

/**
 * Marks a challenge that depends on nothing but the code, the scopes and the `maxAge` of the failure, so that the guard
 * writes it once at boot. Without the mark, a scheme is called for each refusal.
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
 * Returns the Bearer challenge of a scheme (RFC 6750, 3; RFC 9470, 3). It has no error where nothing was sent, and is
 * `null` for failures for which HTTP has none.
 * @param descriptions `error_description` of some codes.
 */
export function bearerChallenge (
  challengeRealm: string, descriptions: Readonly<Partial<Record<AuthErrorCode, string>>> = {}
): WriteChallenge {
  return fixedChallenge(failure => {
    if (failure.code === 'AUTH_REQUIRED') return { scheme: 'Bearer', params: { realm: challengeRealm } }
    const error = errors[failure.code]
    if (error === undefined) return null
    const description = descriptions[failure.code]
    const described = description === undefined ? {} : { error_description: description }
    return { scheme: 'Bearer', params: { realm: challengeRealm, error, ...described, ...details(failure) } }
  })
}

/** RFC 6750, 3.1, and RFC 9470, 3. */
const errors: Readonly<Partial<Record<AuthErrorCode, string>>> = {
  AUTH_INVALID_CREDENTIALS: 'invalid_token',
  AUTH_TOKEN_EXPIRED: 'invalid_token',
  AUTH_ACCESS_DENIED: 'insufficient_scope',
  AUTH_STEP_UP_REQUIRED: 'insufficient_user_authentication'
}

function details ({ scopes, maxAge }: AuthFailure): Challenge['params'] {
  return {
    ...scopes.length === 0 ? {} : { scope: scopes.join(' ') },
    ...maxAge === null ? {} : { max_age: maxAge }
  }
}
