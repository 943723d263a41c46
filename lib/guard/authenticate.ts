import type { FastifyRequest } from 'fastify'
import type { Authenticated, AuthFailure, Invalid, Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import { AuthError, authFailure, defaultRetryAfter, internalError } from '../errors.js'
import { absent, isAuthenticated, isCompleteOutcome } from '../kit/outcome.js'
import { loadedPrincipal, principalFrom } from '../kit/principal.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { describeValue } from '../util/describe.js'
import { isNo, isObject, isThenable, isValidDate, ownField, property } from '../util/objects.js'
import { isHttpToken } from '../util/options.js'
import { isExpired, isTimed, RequestState, type Faulty, type Identity } from './request-state.js'
import { testSeam } from './test-seam.js'

/** The identities of the caller, none if anonymous, or the failure that ends the request. */
export type Verdict = readonly Identity[] | Failed

/** A failure that ends the request, with the error behind it if a scheme threw. */
export interface Failed {
  readonly failure: AuthFailure
  readonly cause?: unknown
}

type Answer = Outcome | Faulty

type Missing = 'absent' | 'foreign'

/** The result of one alternative: a verdict, or the reason to try the next alternative. */
type Attempt = Verdict | Missing

const anonymous: readonly Identity[] = Object.freeze([])

/** The failure if no credential was sent. */
export const nothingSent: Failed = Object.freeze({
  failure: Object.freeze(authFailure('AUTH_REQUIRED', null, 'no credential was sent'))
})

/** Marks the position at which to continue with the alternatives of a policy. */
interface Progress {
  readonly next: number
  readonly foreignSeen: boolean
}

const start: Progress = Object.freeze({ next: 0, foreignSeen: false })

/** A {@link Progress} whose last alternative is still waiting for a scheme. */
interface WaitingProgress extends Progress {
  readonly attempt: Promise<Attempt>
}

/** Marks the position at which to continue with the schemes of one alternative. */
interface PartialAttempt {
  readonly next: number
  readonly identities: readonly Identity[]
  readonly missing: Missing | null
}

const startOfAttempt: PartialAttempt = Object.freeze({ next: 0, identities: [], missing: null })

/** A {@link PartialAttempt} whose last scheme has not answered yet. */
interface WaitingAttempt extends PartialAttempt {
  readonly answer: Promise<Answer>
}

/**
 * Calls the schemes of a policy in order. The first alternative with a principal wins, and later ones are not called.
 * An invalid credential ends the request; an absent or foreign one leads to the next alternative. Returns a promise
 * only if a scheme does.
 *
 * Here and in the guard, functions that wait are apart from those that may return at once. A closure for `then` would
 * make V8 allocate the variables that it captures on every call, which took a tenth of the memory of a request.
 */
export function authenticate (policy: Policy, state: RequestState): Verdict | Promise<Verdict> {
  return tryFrom(policy, state, start)
}

function tryFrom (policy: Policy, state: RequestState, { next, foreignSeen }: Progress): Verdict | Promise<Verdict> {
  let foreign = foreignSeen
  for (let i = next; i < policy.alternatives.length; i++) {
    const alternative = policy.alternatives[i] as readonly BoundScheme[]
    const attempt = tryAlternative(alternative, state, startOfAttempt)
    if (attempt instanceof Promise) return tryAfter(policy, state, { attempt, next: i + 1, foreignSeen: foreign })
    if (typeof attempt === 'object') return attempt
    foreign ||= attempt === 'foreign'
  }
  return foreign ? rejectForeign(policy, state) : withoutCredential(policy, detailOf(policy, state, 'absent'))
}

async function tryAfter (
  policy: Policy, state: RequestState, { attempt, next, foreignSeen }: WaitingProgress
): Promise<Verdict> {
  const settled = await attempt
  if (typeof settled === 'object') return settled
  return tryFrom(policy, state, { next, foreignSeen: foreignSeen || settled === 'foreign' })
}

/** Returns the first reason that a scheme gives for an outcome of this kind, or an empty text. */
function detailOf ({ schemes }: Policy, state: RequestState, kind: Missing): string {
  for (const bound of schemes) {
    const answer = state.answerOf(bound) as Outcome | undefined
    const detail = answer?.kind === kind ? ownField(answer, 'detail') : null
    if (typeof detail === 'string') return detail
  }
  return ''
}

/** Returns the verdict about a caller without an identity: anonymous, unless the policy requires a credential. */
function withoutCredential ({ access }: Policy, detail = ''): Verdict {
  if (access !== 'required') return anonymous
  return detail === '' ? nothingSent : { failure: authFailure('AUTH_REQUIRED', null, detail) }
}

/** Rejects a credential that is foreign to every scheme: it was sent, so the caller is not anonymous. */
function rejectForeign (policy: Policy, state: RequestState): Verdict {
  const isForeign = (bound: BoundScheme): boolean => (state.answerOf(bound) as Outcome | undefined)?.kind === 'foreign'
  const { name } = policy.schemes.find(isForeign) as BoundScheme
  const reason = detailOf(policy, state, 'foreign')
  const detail = `the credential belongs to no scheme of this route${reason === '' ? '' : `: ${reason}`}`
  return { failure: authFailure('AUTH_INVALID_CREDENTIALS', name, detail) }
}

/**
 * Calls all schemes of one alternative, in order. If one of them has no principal, the alternative fails, but the
 * others are still called, because an invalid credential among them ends the request.
 */
function tryAlternative (
  alternative: readonly BoundScheme[], state: RequestState, before: PartialAttempt
): Attempt | Promise<Attempt> {
  let { identities, missing } = before
  for (let i = before.next; i < alternative.length; i++) {
    const bound = alternative[i] as BoundScheme
    const answer = callOnce(bound, state)
    if (answer instanceof Promise) return callAfter(alternative, state, { answer, next: i, identities, missing })
    if (answer.kind === 'authenticated') identities = withIdentity(identities, { bound, outcome: answer })
    else if (answer.kind === 'absent') missing ??= 'absent'
    else if (answer.kind === 'foreign') missing = 'foreign'
    else return refused(bound, answer)
  }
  return missing ?? identities
}

async function callAfter (
  alternative: readonly BoundScheme[], state: RequestState, before: WaitingAttempt
): Promise<Attempt> {
  await before.answer
  return tryAlternative(alternative, state, before)
}

function withIdentity (identities: readonly Identity[], identity: Identity): readonly Identity[] {
  return identities.length === 0 ? [identity] : [...identities, identity]
}

function refused (bound: BoundScheme, answer: Refusing): Failed {
  const failure = failureOf(bound, answer)
  return answer.kind === 'faulty' ? { failure, cause: answer.cause } : { failure }
}

/** An answer that ends the request. */
type Refusing = Exclude<Answer, { readonly kind: 'authenticated' | Missing }>

function failureOf ({ name }: BoundScheme, answer: Refusing): AuthFailure {
  const { detail } = answer
  switch (answer.kind) {
    case 'invalid': return invalidFailure(name, answer)
    case 'unavailable': return { ...authFailure('AUTH_UNAVAILABLE', name, detail), ...retryOf(answer) }
    case 'limited': return { ...authFailure('AUTH_RATE_LIMITED', name, detail), ...retryOf(answer) }
    case 'cross-site': return authFailure('AUTH_CROSS_SITE', name, detail)
    case 'faulty': return authFailure('AUTH_FAULT', name, detail)
  }
}

function invalidFailure (name: string, answer: Invalid): AuthFailure {
  const failure = authFailure(answer.expired ? 'AUTH_TOKEN_EXPIRED' : 'AUTH_INVALID_CREDENTIALS', name, answer.detail)
  const reason = ownField(answer, 'reason')
  const headers = ownField(answer, 'headers')
  if (reason === undefined && headers === undefined) return failure
  return { ...failure, ...reason === undefined ? {} : { reason }, ...headers === undefined ? {} : { headers } }
}

/** Returns a valid `delay-seconds` (RFC 9110, 10.2.3). A scheme of the application may return anything. */
function retryOf ({ retryAfter }: { readonly retryAfter: unknown }): { readonly retryAfter: number } {
  const isDelay = typeof retryAfter === 'number' && retryAfter >= 0 && retryAfter < 1e9
  return { retryAfter: isDelay ? retryAfter : defaultRetryAfter }
}

/** The answer of one scheme, with the failure that it means for a request. */
interface SchemeAnswer {
  readonly outcome: Outcome
  /** `null` for a valid, absent or foreign credential. */
  readonly failure: AuthFailure | null
}

/**
 * Calls one scheme for a request of its own, outside of any policy.
 * @throws {AuthError} `AUTH_FAULT` if the scheme throws.
 */
export async function askScheme (bound: BoundScheme, request: FastifyRequest): Promise<SchemeAnswer> {
  const answer = await callScheme(bound, new RequestState(request))
  if (answer.kind === 'faulty') throw internalError(answer.detail, answer.cause)
  const { kind } = answer
  const isFailure = kind !== 'authenticated' && kind !== 'absent' && kind !== 'foreign'
  return { outcome: answer, failure: isFailure ? failureOf(bound, answer) : null }
}

/** Calls a scheme once per request, and checks its answer again if a slow body was received in between. */
function callOnce (bound: BoundScheme, state: RequestState): Answer | Promise<Answer> {
  const known = state.answerOf(bound)
  if (known !== undefined && !state.isDue(bound)) return known
  const answer = known === undefined
    ? testSeam?.outcomeOf(bound, state.request) ?? callScheme(bound, state)
    : recheck(bound, state, known as Authenticated)
  return state.setAnswer(bound, answer instanceof Promise ? replaceWhenSettled(bound, answer, state) : answer)
}

async function replaceWhenSettled (bound: BoundScheme, answer: Promise<Answer>, state: RequestState): Promise<Answer> {
  return state.setAnswer(bound, await answer)
}

/** Checks a credential again. One that cannot be checked is due only because it has expired. */
function recheck (bound: BoundScheme, state: RequestState, known: Authenticated): Answer | Promise<Answer> {
  return known.recheck ? callScheme(bound, state, known.recheck) : expiredMeanwhile
}

const expiredMeanwhile: Invalid = Object.freeze({
  kind: 'invalid', detail: 'the credential expired while the request was being received', expired: true
})

/** @param recheck the function of an earlier outcome that checks it again; `null` for the first call. */
function callScheme (
  bound: BoundScheme, state: RequestState, recheck: Authenticated['recheck'] = null
): Answer | Promise<Answer> {
  try {
    const outcome = recheck === null ? bound.scheme.authenticate(state.request) : recheck(state.request)
    const answer = isThenable(outcome) ? completeLater(bound, outcome, state) : complete(bound, outcome, state)
    return answer instanceof Promise ? orFaulty(bound, answer) : answer
  } catch (cause) {
    return toFaulty(bound, cause)
  }
}

async function orFaulty (bound: BoundScheme, answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer
  } catch (cause) {
    return toFaulty(bound, cause)
  }
}

/**
 * Converts an error that a scheme threw to its answer. The message of an `AuthError` is public, so the reason is taken
 * from its `detail`.
 */
function toFaulty (bound: BoundScheme, cause: unknown): Faulty {
  const detail = cause instanceof AuthError ? cause.detail : `the scheme '${bound.name}' or its load function threw`
  return { kind: 'faulty', detail, cause }
}

const kinds: readonly unknown[] =
  ['authenticated', 'absent', 'foreign', 'invalid', 'unavailable', 'limited', 'cross-site']

function isOutcome (outcome: unknown): outcome is Outcome {
  return outcome === absent || (typeof outcome === 'object' && outcome !== null &&
    (isAuthenticated(outcome) || kinds.includes(property(outcome, 'kind'))))
}

/**
 * Checks the return value of a scheme, completes its principal, and adds the result of `load`.
 * @throws {AuthError} `AUTH_FAULT` for a value that is not an outcome.
 */
function complete (bound: BoundScheme, outcome: Outcome, state: RequestState): Answer | Promise<Answer> {
  if (!isOutcome(outcome)) {
    if (!isNo(outcome)) throw internalError(`the scheme '${bound.name}' returned no outcome`)
    const detail = `the scheme '${bound.name}' returned a falsy value instead of an outcome. Return ` +
      'invalid(reason), or absent if no credential was sent'
    return { kind: 'invalid', detail, expired: false }
  }
  if (!isCompleteOutcome(outcome)) checkDetails(outcome, bound.name)
  if (outcome.kind !== 'authenticated') return outcome
  const completed = isComplete(outcome) ? outcome : fillOutcome(outcome, bound.name)
  if (isTimed(completed)) state.checkedAt = Date.now()
  if (isExpired(completed, state.checkedAt)) {
    return { kind: 'invalid', detail: 'the credential has expired', expired: true }
  }
  if (bound.load === null) return completed
  const loaded = bound.load(completed.principal, { scheme: bound.name, request: state.request })
  return isThenable(loaded) ? enrichLater(bound, completed, loaded) : enrich(bound, completed, loaded)
}

async function completeLater (
  bound: BoundScheme, outcome: PromiseLike<Outcome>, state: RequestState
): Promise<Answer> {
  return complete(bound, await outcome, state)
}

/** An hour: the most by which the clock that `authenticatedAt` comes from may be ahead. */
const maxAheadMs = 3_600_000

/**
 * Checks details of an outcome that would fail when the response is sent, or later, or that would open a route.
 * @throws {AuthError} `AUTH_FAULT`
 */
function checkDetails (outcome: object, name: string): void {
  for (const detail of ['onRevoked', 'recheck']) {
    const value = property(outcome, detail) ?? null
    if (value === null || typeof value === 'function') continue
    throw internalError(`the scheme '${name}' returned ${detail} that is not a function. Got ${describeValue(value)}`)
  }
  const authenticatedAt = property(outcome, 'authenticatedAt')
  if (isValidDate(authenticatedAt) && authenticatedAt.getTime() > Date.now() + maxAheadMs) {
    throw internalError(`the scheme '${name}' returned an authenticatedAt in the future, which would meet every ` +
      'maxAge. A Date is made of milliseconds since 1970')
  }
  const headers = property(outcome, 'headers') ?? null
  if (headers === null) return
  const problem = isObject(headers) ? Object.entries(headers).find(header => !isHeader(header)) : ['']
  if (problem === undefined) return
  throw internalError(`the scheme '${name}' returned headers that cannot be sent: ${describeValue(problem[0])}. ` +
    'They must be an object of texts')
}

function isHeader ([name, value]: readonly [string, unknown]): boolean {
  const isText = typeof value === 'string' && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
  return isHttpToken(name) && (isText || typeof value === 'number')
}

/** Returns true if the outcome is complete and frozen, as those of the schemes of this plugin are. */
function isComplete (outcome: Authenticated): boolean {
  if (isCompleteOutcome(outcome)) return true
  const { principal, owner, authenticatedAt, expiresAt } = outcome
  return (isAuthenticated(outcome) || outcomeFields.every(field => Object.hasOwn(outcome, field))) &&
    isCompletePrincipal(principal) && (owner === null || isCompletePrincipal(owner)) &&
    isInstant(authenticatedAt) && isInstant(expiresAt)
}

function isCompletePrincipal (principal: unknown): principal is Principal {
  return isObject(principal) && Object.isFrozen(principal) &&
    isName(ownField(principal, 'realm')) && isName(ownField(principal, 'id')) &&
    isFrozenNames(ownField(principal, 'scopes')) && isFrozenNames(ownField(principal, 'roles'))
}

/** The fields of an outcome other than `kind`. */
const outcomeFields = [
  'principal', 'owner', 'delegated', 'credential', 'ambient', 'authenticatedAt', 'expiresAt', 'onRevoked', 'recheck',
  'rateLimit', 'headers'
] as const satisfies ReadonlyArray<keyof Authenticated>

/** Adds the missing fields of an outcome. An outcome may be an instance of a class, and inherit fields. */
function fillOutcome (outcome: Authenticated, name: string): Authenticated {
  const fields = Object.fromEntries(outcomeFields.map(field => [field, property(outcome, field) ?? null]))
  const whole = { ...outcome, ...fields } as Required<Authenticated>
  const { principal, owner, authenticatedAt, expiresAt } = whole
  if (!isInstant(authenticatedAt) || !isInstant(expiresAt)) {
    throw internalError(`the scheme '${name}' returned an instant that is neither a valid Date nor null`)
  }
  return {
    ...whole,
    kind: 'authenticated',
    principal: completePrincipal(principal, name),
    owner: owner === null ? null : completePrincipal(owner, name)
  }
}

function completePrincipal (principal: Principal, name: string): Principal {
  if (isCompletePrincipal(principal)) return principal
  return principalFrom(principal, name, `the principal in the outcome of the scheme '${name}'`) as Principal
}

function isName (value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isFrozenNames (value: unknown): boolean {
  return Array.isArray(value) && Object.isFrozen(value) && value.every(name => typeof name === 'string')
}

function isInstant (value: unknown): boolean {
  return value === null || isValidDate(value)
}

async function enrichLater (
  bound: BoundScheme, outcome: Authenticated, loaded: PromiseLike<unknown>
): Promise<Answer> {
  return enrich(bound, outcome, await loaded)
}

function enrich (bound: BoundScheme, outcome: Authenticated, loaded: unknown): Answer {
  const principal = loadedPrincipal(outcome.principal, loaded, bound.name)
  if (principal !== null) return { ...outcome, principal }
  return { kind: 'invalid', detail: 'the load function refused the principal', expired: false }
}
