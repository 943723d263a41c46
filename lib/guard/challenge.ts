import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { AuthErrorCode, AuthFailure } from '../../types/outcome.js'
import type { Challenge } from '../../types/scheme.js'
import { authFailure, internalError } from '../errors.js'
import { isFixed } from '../kit/challenge.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { describeValue } from '../util/describe.js'
import { getOrCreate, isMisplacedPromise, isObject } from '../util/objects.js'
import { isHttpToken } from '../util/options.js'

/** The codes of every refusal whose status is 401. */
export const unauthenticated: ReadonlySet<AuthErrorCode> =
  new Set(['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'])

/** The text of a challenge, or a scheme whose challenge may differ each time. */
type Part = string | BoundScheme

/**
 * The challenges of one refusal: the complete text, or parts, for some of which a scheme of the application has to be
 * called.
 */
type Prepared = string | readonly Part[]

/** The challenges of a refusal that every policy has, and the scopes that it names. */
interface Usual {
  readonly scopes: readonly string[]
  readonly prepared: Prepared
}

/**
 * Creates the header `WWW-Authenticate` for the refusals of one policy. The challenges of this plugin's schemes are
 * fixed, and serialised once: at boot, or at the first refusal that names other scopes. A scheme of the application is
 * called for each refusal.
 */
export class PolicyChallenges {
  readonly #policy: Policy
  /**
   * By scheme (`null` if no credential was sent), and by code. One map with a key of both would need a new text for
   * each look-up.
   */
  readonly #usual = new Map<string | null, Map<AuthErrorCode, Usual>>()
  /** Those that name other scopes than the policy requires. */
  readonly #others = new Map<string, Prepared>()

  constructor (policy: Policy) {
    this.#policy = policy
    for (const failure of usualFailures(policy)) {
      const { scheme, code, scopes } = failure
      const codes = getOrCreate(this.#usual, scheme, () => new Map<AuthErrorCode, Usual>())
      codes.set(code, { scopes, prepared: prepare(policy, failure) })
    }
  }

  /**
   * Returns the challenges of a refusal: those of every scheme of the policy if no credential was sent, otherwise that
   * of the scheme that read the credential. A 401 must have one (RFC 9110, 15.5.2): if these schemes have none, each
   * gets the challenge that its OpenAPI description implies.
   * @returns `''` if the response has no challenge.
   */
  header (failure: AuthFailure): string {
    const usual = this.#usual.get(failure.scheme)?.get(failure.code)
    const prepared = usual !== undefined && isSame(usual.scopes, failure.scopes) ? usual.prepared : this.#other(failure)
    if (typeof prepared === 'string') return prepared
    const texts = prepared.flatMap(part => typeof part === 'string' ? part : textsOf(this.#policy, part, failure))
    return join(texts.length > 0 ? texts : impliedTexts(this.#policy, failure))
  }

  #other (failure: AuthFailure): Prepared {
    const key = keyOf(failure)
    const known = this.#others.get(key)
    if (known !== undefined) return known
    const prepared = prepare(this.#policy, failure)
    if (this.#others.size < maxOthers && key.length <= maxKeyLength) this.#others.set(key, prepared)
    return prepared
  }
}

/** Compares the lists of scopes that two refusals of one scheme and code name. */
function isSame (a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === 0 && b.length === 0)
}

/**
 * The maximum number of cached refusals of one policy, in addition to the usual ones. If there are more, challenges are
 * serialised for each refusal.
 */
const maxOthers = 1_000
/** The maximum length of the key of a cached refusal, because a function of the route may make up scopes. */
const maxKeyLength = 1_000

/** Yields the refusals of a policy that have a challenge. */
function * usualFailures (policy: Policy): Iterable<AuthFailure> {
  const { schemes, maxAge } = policy
  yield authFailure('AUTH_REQUIRED', null, '')
  for (const { name } of schemes) {
    yield authFailure('AUTH_INVALID_CREDENTIALS', name, '')
    yield authFailure('AUTH_TOKEN_EXPIRED', name, '')
    if (maxAge !== null) yield { ...authFailure('AUTH_STEP_UP_REQUIRED', name, ''), maxAge }
    yield { ...authFailure('AUTH_ACCESS_DENIED', name, ''), scopes: policy.requiredScopes }
  }
}

/**
 * Returns a cache key of everything that a fixed challenge depends on, except for the maximum age, which is constant
 * for a policy.
 */
function keyOf ({ code, scheme, scopes }: AuthFailure): string {
  return `${code} ${scheme} ${scopes.join(' ')}`
}

function prepare (policy: Policy, failure: AuthFailure): Prepared {
  const parts = challengeParts(policy, failure)
  return parts.every(part => typeof part === 'string') ? join(parts) : parts
}

function challengeParts (policy: Policy, failure: AuthFailure): readonly Part[] {
  const parts = challengers(policy, failure).flatMap((bound): Part | readonly Part[] => {
    const { challenge } = bound.scheme
    return challenge === undefined || isFixed(challenge) ? textsOf(policy, bound, failure) : bound
  })
  return parts.length > 0 ? parts : impliedTexts(policy, failure)
}

/** Returns the schemes whose challenges a refusal has: none if another credential would not help. */
function challengers (policy: Policy, { code, scheme }: AuthFailure): readonly BoundScheme[] {
  if (code === 'AUTH_REQUIRED') return policy.schemes
  const mayHelp = code === 'AUTH_ACCESS_DENIED' || unauthenticated.has(code)
  return mayHelp ? policy.schemes.filter(bound => bound.name === scheme) : []
}

/** Returns the text of each challenge of a scheme. In a 401 it may name the scopes of the route. */
function textsOf (policy: Policy, { name, scheme }: BoundScheme, failure: AuthFailure): readonly string[] {
  const named = unauthenticated.has(failure.code) ? { ...failure, scopes: policy.requiredScopes } : failure
  return [scheme.challenge?.(named) ?? []].flat().map(each => serialize(each, `the challenge of the scheme '${name}'`))
}

function impliedTexts (policy: Policy, failure: AuthFailure): readonly string[] {
  if (!unauthenticated.has(failure.code)) return []
  return challengers(policy, failure).map(bound => serialize(impliedChallenge(bound, failure)))
}

/**
 * Returns the challenge that the OpenAPI description of a scheme implies. That of a step-up also has the `max_age` of
 * RFC 9470, 3.
 */
function impliedChallenge ({ name, scheme }: BoundScheme, { maxAge }: AuthFailure): Challenge {
  const stepUp = maxAge === null ? {} : { error: 'insufficient_user_authentication', max_age: maxAge }
  return { scheme: authenticationScheme(scheme.openapi), params: { realm: name, ...stepUp } }
}

/**
 * Returns the name of the HTTP authentication scheme. For cookies, for keys outside of `Authorization` and for client
 * certificates none is registered, so these names are our own.
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
 * Returns the value of `WWW-Authenticate` (RFC 9110, 11.6.1).
 * @throws {AuthError} `AUTH_FAULT` for a name that is not an HTTP token.
 */
export function writeChallenges (challenges: readonly Challenge[]): string {
  return join(challenges.map(each => serialize(each)))
}

/**
 * Joins challenges without duplicates, Basic first, because browsers prompt for the first scheme that they know and
 * some ignore the rest.
 */
function join (texts: readonly string[]): string {
  if (texts.length < 2) return texts.join()
  const ordered = [...texts].sort((a, b) => Number(isBasic(b)) - Number(isBasic(a)))
  return [...new Set(ordered)].join(', ')
}

function isBasic (text: string): boolean {
  return /^basic(?: |$)/i.test(text)
}

/**
 * Serialises a challenge, which a scheme of the application may have made.
 * @param what how the error names the challenge.
 * @throws {AuthError} `AUTH_FAULT` for what is not a challenge, and for a name that is not a token, which could end the
 * header or begin another.
 */
function serialize (challenge: unknown, what = 'a challenge'): string {
  const { scheme, params } = isObject(challenge) ? challenge : {}
  if (typeof scheme !== 'string' || !isObject(params)) {
    isMisplacedPromise(challenge)
    throw internalError(`${what} must be { scheme, params }, and no promise of it. Got ${describeValue(challenge)}`)
  }
  const entries = Object.entries(params).filter(([, value]) => value !== undefined)
  const invalid = [scheme, ...entries.map(([name]) => name)].find(name => !isHttpToken(name))
  if (invalid !== undefined) {
    throw internalError(`${what} has the name ${describeValue(invalid)}, which is not a token of RFC 9110`)
  }
  const serialized = entries.map(([name, value]) => {
    if (typeof value === 'number') return `${name}=${value}`
    if (typeof value === 'string') return `${name}=${quote(value)}`
    throw internalError(`${what} has a parameter ${name} that is neither a text nor a number`)
  })
  return serialized.length === 0 ? scheme : `${scheme} ${serialized.join(', ')}`
}

/**
 * Quotes a value (RFC 9110, 5.6.4, `quoted-string`). Control characters cannot be in a header at all, and Node writes
 * headers in Latin-1.
 */
function quote (value: string): string {
  return `"${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
