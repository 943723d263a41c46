import type { Challenge } from '../../types/challenge.js'
import type { AuthFailure } from '../../types/error.js'

/** The Bearer challenge of a failure (RFC 6750, 3; RFC 9470, 3), `null` where HTTP has none for it. */
export function bearerChallenge (realm: string, failure: AuthFailure): Challenge | null {
  const params = paramsOf(failure)
  return params === null ? null : { scheme: 'Bearer', params: { realm, ...params } }
}

function paramsOf (failure: AuthFailure): Challenge['params'] | null {
  switch (failure.code) {
    case 'AUTH_REQUIRED': return {}
    case 'AUTH_INVALID_CREDENTIALS': return { error: 'invalid_token', error_description: 'The token is invalid' }
    case 'AUTH_TOKEN_EXPIRED': return { error: 'invalid_token', error_description: 'The token expired' }
    case 'AUTH_ACCESS_DENIED': return { error: 'insufficient_scope', ...failure.scopes.length === 0 ? {} : { scope: failure.scopes.join(' ') } }
    case 'AUTH_STEP_UP_REQUIRED': return {
      error: 'insufficient_user_authentication',
      error_description: 'A more recent authentication is required',
      ...failure.maxAge === null ? {} : { max_age: failure.maxAge }
    }
    default: return null
  }
}
