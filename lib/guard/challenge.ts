import type { Challenge } from '../../types/challenge.js'
import type { AuthErrorCode, AuthFailure } from '../../types/error.js'
import type { OpenApiSecurityScheme } from '../../types/scheme.js'
import { fault } from '../errors.js'
import { isHttpToken, shown } from '../shape.js'
import type { BoundScheme, Policy } from './policy.js'

/** The codes of every refusal whose status is 401. */
export const unauthenticated: ReadonlySet<AuthErrorCode> =
  new Set(['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'])

/**
 * Returns the challenges of a refusal: those of every scheme of the policy where nothing was sent, else that of the scheme that saw the credential.
 * A 401 has at least one (RFC 9110, 15.5.2): where these schemes write none, each has the one that its description in OpenAPI implies.
 */
export function challengesOf (policy: Policy, failure: AuthFailure): readonly Challenge[] {
  const asked = challengers(policy, failure)
  const written = asked.flatMap(bound => bound.scheme.challenge?.(failure) ?? [])
  return written.length > 0 || !unauthenticated.has(failure.code) ? written : asked.map(bound => impliedChallenge(bound, failure))
}

/** Returns no scheme where another credential would not help. */
function challengers (policy: Policy, { code, scheme }: AuthFailure): readonly BoundScheme[] {
  if (code === 'AUTH_REQUIRED') return policy.schemes
  return code === 'AUTH_ACCESS_DENIED' || unauthenticated.has(code) ? policy.schemes.filter(bound => bound.name === scheme) : []
}

/** Returns the challenge of a scheme that writes none. A step-up, which alone has a `maxAge`, says how recent the login must be, as RFC 9470, 3, does for Bearer. */
function impliedChallenge ({ name, scheme }: BoundScheme, { maxAge }: AuthFailure): Challenge {
  const stepUp = maxAge === null ? {} : { error: 'insufficient_user_authentication', max_age: maxAge }
  return { scheme: authenticationScheme(scheme.openapi), params: { realm: name, ...stepUp } }
}

/** Names the HTTP authentication scheme. HTTP has registered none for cookies, for keys in places of their own and for client certificates. */
function authenticationScheme (openapi: OpenApiSecurityScheme): string {
  switch (openapi.type) {
    case 'http': return openapi.scheme
    case 'apiKey': return openapi.in === 'cookie' ? 'Cookie' : 'APIKey'
    case 'mutualTLS': return 'ClientCertificate'
    default: return 'Bearer'
  }
}

/**
 * Writes the value of `WWW-Authenticate` (RFC 9110, 11.6.1): one writer for every scheme. Equal challenges are written once, and Basic comes first,
 * because browsers prompt for the first scheme that they know and some read no further.
 */
export function writeChallenges (challenges: readonly Challenge[]): string {
  const ordered = [...challenges].sort((a, b) => Number(isBasic(b)) - Number(isBasic(a)))
  return [...new Set(ordered.map(write))].join(', ')
}

function isBasic (challenge: Challenge): boolean {
  return challenge.scheme.toLowerCase() === 'basic'
}

/** @throws {AuthError} `AUTH_FAULT` for a name that is no token: it would end the header, or begin another. */
function write ({ scheme, params }: Challenge): string {
  const said = Object.entries(params).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])
  const stranger = [scheme, ...said.map(([name]) => name)].find(name => !isHttpToken(name))
  if (stranger !== undefined) throw fault(`a challenge has the name ${shown(stranger)}, which is no token of RFC 9110`)
  const written = said.map(([name, value]) => `${name}=${typeof value === 'number' ? value : quote(value)}`)
  return written.length === 0 ? scheme : `${scheme} ${written.join(', ')}`
}

/** RFC 9110, 5.6.4: `quoted-string`. Control characters cannot be in a header at all; what is beyond Latin-1 cannot be in ours. */
function quote (value: string): string {
  return `"${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
