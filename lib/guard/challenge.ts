import type { Challenge } from '../../types/challenge.js'
import type { AuthErrorCode, AuthFailure } from '../../types/error.js'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import { authFailure, internalError } from '../errors.js'
import { isFixed } from '../kit/challenge.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { describeValue } from '../util/describe.js'
import { isHttpToken } from '../util/http-token.js'
import { requiredScopes } from './authorize.js'

/** The codes of every refusal whose status is 401. */
export const unauthenticated: ReadonlySet<AuthErrorCode> =
  new Set(['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'])

/** The text of a challenge; or a scheme whose challenge may be another each time. */
type Part = string | BoundScheme

/**
 * The header `WWW-Authenticate` of each refusal under one policy. What the schemes of this plugin write is fixed, so it
 * is written once, at boot, or at the first refusal for a reason of its own. A scheme of the application is called for each refusal.
 */
export class PolicyChallenges {
  readonly #policy: Policy
  readonly #prepared = new Map<string, readonly Part[]>()

  constructor (policy: Policy) {
    this.#policy = policy
    for (const failure of possibleFailures(policy)) {
      try {
        this.#prepared.set(keyOf(failure), partsOf(policy, failure))
      } catch {
        // what cannot be written is an error of the request, not of the boot
      }
    }
  }

  /**
   * Returns the challenges of a refusal: those of every scheme of the policy where nothing was sent, else that of the
   * scheme that read the credential. A 401 has at least one (RFC 9110, 15.5.2): where these schemes have none, each
   * gets the one that its description in OpenAPI implies.
   * @returns `''` where the response has no challenge.
   */
  header (failure: AuthFailure): string {
    const parts = this.#prepared.get(keyOf(failure)) ?? this.#prepare(failure)
    const texts = parts.flatMap(part => typeof part === 'string' ? part : textsOf(this.#policy, part, failure))
    return join(texts.length > 0 ? texts : impliedTexts(this.#policy, failure))
  }

  /** Keeps the challenge of a reason that a scheme gave: a few words each. */
  #prepare (failure: AuthFailure): readonly Part[] {
    const parts = partsOf(this.#policy, failure)
    if (this.#prepared.size < maxPrepared) this.#prepared.set(keyOf(failure), parts)
    return parts
  }
}

/** Challenges that are kept under one policy. Beyond that, they are written for each refusal. */
const maxPrepared = 1_000

/** Yields every refusal of a policy that has a challenge. */
function * possibleFailures (policy: Policy): Iterable<AuthFailure> {
  const { schemes, maxAge } = policy
  yield authFailure('AUTH_REQUIRED', null, '')
  for (const { name } of schemes) {
    yield authFailure('AUTH_INVALID_CREDENTIALS', name, '')
    yield authFailure('AUTH_TOKEN_EXPIRED', name, '')
    if (maxAge !== null) yield authFailure('AUTH_STEP_UP_REQUIRED', name, '', { maxAge })
    yield authFailure('AUTH_ACCESS_DENIED', name, '')
    yield authFailure('AUTH_ACCESS_DENIED', name, '', { scopes: requiredScopes(policy) })
  }
}

/** Everything that a fixed challenge may depend on. */
function keyOf ({ code, scheme, maxAge, reason, scopes }: AuthFailure): string {
  return [code, scheme, maxAge, reason, ...scopes].join(' ')
}

function partsOf (policy: Policy, failure: AuthFailure): readonly Part[] {
  const parts = challengers(policy, failure).flatMap((bound): Part | readonly Part[] => {
    const { challenge } = bound.scheme
    return challenge === undefined || isFixed(challenge) ? textsOf(policy, bound, failure) : bound
  })
  return parts.length > 0 ? parts : impliedTexts(policy, failure)
}

/** Returns the schemes whose challenges a refusal has: none where another credential would not help. */
function challengers (policy: Policy, { code, scheme }: AuthFailure): readonly BoundScheme[] {
  if (code === 'AUTH_REQUIRED') return policy.schemes
  const mayHelp = code === 'AUTH_ACCESS_DENIED' || unauthenticated.has(code)
  return mayHelp ? policy.schemes.filter(bound => bound.name === scheme) : []
}

/** Returns the text of each challenge of a scheme. In a 401 it may name the scopes of the route. */
function textsOf (policy: Policy, { scheme }: BoundScheme, failure: AuthFailure): readonly string[] {
  const named = unauthenticated.has(failure.code) ? { ...failure, scopes: requiredScopes(policy) } : failure
  return [scheme.challenge?.(named) ?? []].flat().map(write)
}

function impliedTexts (policy: Policy, failure: AuthFailure): readonly string[] {
  if (!unauthenticated.has(failure.code)) return []
  return challengers(policy, failure).map(bound => write(impliedChallenge(bound, failure)))
}

/** A step-up, which alone has a `maxAge`, says how recent the login must be, as RFC 9470, 3, does for Bearer. */
function impliedChallenge ({ name, scheme }: BoundScheme, { maxAge }: AuthFailure): Challenge {
  const stepUp = maxAge === null ? {} : { error: 'insufficient_user_authentication', max_age: maxAge }
  return { scheme: authenticationScheme(scheme.openapi), params: { realm: name, ...stepUp } }
}

/**
 * Returns the name of the HTTP authentication scheme. None is registered for cookies, for keys in places of their own
 * and for client certificates.
 */
function authenticationScheme (openapi: OpenApiSecurityScheme): string {
  switch (openapi.type) {
    case 'http': return openapi.scheme
    case 'apiKey': return openapi.in === 'cookie' ? 'Cookie' : 'APIKey'
    case 'mutualTLS': return 'ClientCertificate'
    default: return 'Bearer'
  }
}

/**
 * Writes the value of `WWW-Authenticate` (RFC 9110, 11.6.1).
 * @throws {AuthError} `AUTH_FAULT` for a name that is no token of HTTP.
 */
export function writeChallenges (challenges: readonly Challenge[]): string {
  return join(challenges.map(write))
}

/**
 * Joins challenges. Equal ones are written once, and Basic comes first, because browsers prompt for the first scheme
 * that they know and some read no further.
 */
function join (texts: readonly string[]): string {
  if (texts.length < 2) return texts.join()
  const ordered = [...texts].sort((a, b) => Number(isBasic(b)) - Number(isBasic(a)))
  return [...new Set(ordered)].join(', ')
}

function isBasic (text: string): boolean {
  return /^basic(?: |$)/i.test(text)
}

/** @throws {AuthError} `AUTH_FAULT` for a name that is no token: it would end the header, or begin another. */
function write ({ scheme, params }: Challenge): string {
  const given = Object.entries(params).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])
  const wrong = [scheme, ...given.map(([name]) => name)].find(name => !isHttpToken(name))
  if (wrong !== undefined) {
    throw internalError(`a challenge has the name ${describeValue(wrong)}, which is no token of RFC 9110`)
  }
  const written = given.map(([name, value]) => `${name}=${typeof value === 'number' ? value : quote(value)}`)
  return written.length === 0 ? scheme : `${scheme} ${written.join(', ')}`
}

/**
 * Quotes a value (RFC 9110, 5.6.4, `quoted-string`). Control characters cannot be in a header at all, and Node writes
 * headers in Latin-1.
 */
function quote (value: string): string {
  return `"${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
