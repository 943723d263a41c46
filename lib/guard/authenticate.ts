import type { AuthFailure } from '../../types/error.js'
import type { Authenticated, Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import { AuthError, authFailure, internalError } from '../errors.js'
import { loadedPrincipal, principalFrom } from '../kit/principal.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { isNo, isThenable } from '../util/answer.js'
import { isObject, property } from '../util/objects.js'
import { isExpired, type Faulty, type GuardState, type Identity } from './request-state.js'

/** Who is calling: the identities that act, none for an anonymous caller; or why the request goes no further. */
export type Verdict =
  | { readonly identities: readonly Identity[], readonly failure: AuthFailure | null, readonly cause?: unknown }

type Answer = Outcome | Faulty

/** What one alternative of a policy came to: its identities, a refusal, or nothing to stop for. */
type Attempt = Verdict | Missing

type Missing = 'absent' | 'foreign'

const anonymous: Verdict = Object.freeze({ identities: [], failure: null })

/**
 * Asks the schemes of a policy in written order: design §3, "Any of" and "All of". The first alternative with a principal wins and later ones are not asked;
 * a bad credential stops; what is absent or foreign asks the next. Stays synchronous as long as every scheme does.
 */
export function authenticate (policy: Policy, state: GuardState): Verdict | Promise<Verdict> {
  return from(0, false, policy, state)
}

function from (start: number, foreignSeen: boolean, policy: Policy, state: GuardState): Verdict | Promise<Verdict> {
  let foreign = foreignSeen
  for (let i = start; i < policy.alternatives.length; i++) {
    const alternative = policy.alternatives[i] as readonly BoundScheme[]
    const attempt = tryAlternative(alternative, 0, [], null, state)
    if (attempt instanceof Promise) {
      const seen = foreign
      return attempt.then(settled => typeof settled === 'object' ? settled : from(i + 1, seen || settled === 'foreign', policy, state))
    }
    if (typeof attempt === 'object') return attempt
    foreign ||= attempt === 'foreign'
  }
  return nobody(policy, foreign, state)
}

/** Nothing sent, or nothing that any scheme knows: presented and foreign to all is invalid, never absent. */
function nobody (policy: Policy, foreign: boolean, state: GuardState): Verdict {
  if (!foreign) {
    return policy.access === 'required' ? { identities: [], failure: authFailure('AUTH_REQUIRED', null, 'no credential was sent') } : anonymous
  }
  const saw = policy.schemes.find(bound => (state.answerOf(bound) as Outcome | undefined)?.kind === 'foreign') as BoundScheme
  return { identities: [], failure: authFailure('AUTH_INVALID_CREDENTIALS', saw.name, 'the credential belongs to no scheme of this route') }
}

/**
 * All schemes of one alternative, in order. Where one of them has no principal the alternative is nobody's, yet the rest is asked:
 * a bad credential among them stops the request, whichever stands first.
 */
function tryAlternative (all: readonly BoundScheme[], at: number, met: readonly Identity[], missing: Missing | null, state: GuardState): Attempt | Promise<Attempt> {
  let identities = met
  let gap = missing
  for (let i = at; i < all.length; i++) {
    const bound = all[i] as BoundScheme
    const answer = ask(bound, state)
    if (answer instanceof Promise) {
      const before = [identities, gap] as const
      return answer.then(() => tryAlternative(all, i, ...before, state))
    }
    const step = judge(bound, answer)
    if (typeof step === 'string') gap = gap === 'foreign' ? gap : step
    else if (!isIdentity(step)) return step
    else identities = identities.length === 0 ? [step] : [...identities, step]
  }
  return gap ?? { identities, failure: null }
}

function isIdentity (step: Identity | Verdict): step is Identity {
  return Object.hasOwn(step, 'bound')
}

function judge (bound: BoundScheme, answer: Answer): Identity | Attempt {
  switch (answer.kind) {
    case 'authenticated': return { bound, outcome: answer }
    case 'absent':
    case 'foreign': return answer.kind
    case 'invalid': return { identities: [], failure: authFailure(answer.expired ? 'AUTH_TOKEN_EXPIRED' : 'AUTH_INVALID_CREDENTIALS', bound.name, answer.detail) }
    case 'unavailable': return { identities: [], failure: authFailure('AUTH_UNAVAILABLE', bound.name, answer.detail, { retryAfter: delay(answer.retryAfter) }) }
    case 'limited': return { identities: [], failure: authFailure('AUTH_RATE_LIMITED', bound.name, answer.detail, { retryAfter: delay(answer.retryAfter) }) }
    case 'cross-site': return { identities: [], failure: authFailure('AUTH_CROSS_SITE', bound.name, answer.detail) }
    case 'faulty': return { identities: [], failure: authFailure('AUTH_FAULT', bound.name, answer.detail), cause: answer.cause }
  }
}

/** RFC 9110, 10.2.3: `delay-seconds`, which a scheme may have written by hand. */
function delay (retryAfter: unknown): number {
  return typeof retryAfter === 'number' && retryAfter >= 0 && retryAfter < 1e9 ? retryAfter : 5
}

/** Asks one scheme, once per request; again only where a slow body came between and its answer is due. */
function ask (bound: BoundScheme, state: GuardState): Answer | Promise<Answer> {
  const known = state.answerOf(bound)
  if (known !== undefined && !state.isDue(bound)) return known
  const answer = known === undefined ? askScheme(bound, state, () => bound.scheme.authenticate(state.request)) : askAgain(bound, state, known as Authenticated)
  if (!(answer instanceof Promise)) return state.answered(bound, answer)
  return state.answered(bound, answer.then(settled => state.answered(bound, settled)))
}

function askAgain (bound: BoundScheme, state: GuardState, known: Authenticated): Answer | Promise<Answer> {
  const answer = known.recheck ? askScheme(bound, state, known.recheck) : known
  return answer instanceof Promise ? answer.then(unlessExpired) : unlessExpired(answer)
}

function unlessExpired (answer: Answer): Answer {
  if (answer.kind !== 'authenticated' || !isExpired(answer)) return answer
  return { kind: 'invalid', detail: 'the credential expired while the request was being received', expired: true }
}

function askScheme (bound: BoundScheme, state: GuardState, say: () => Outcome | Promise<Outcome>): Answer | Promise<Answer> {
  try {
    const outcome = say()
    const answer = isThenable(outcome) ? Promise.resolve(outcome).then(settled => complete(bound, settled, state)) : complete(bound, outcome, state)
    return answer instanceof Promise ? answer.catch(cause => faulty(bound, cause)) : answer
  } catch (cause) {
    return faulty(bound, cause)
  }
}

/** A fault of ours says in its detail what was wrong; its message is for clients and says nothing. */
function faulty (bound: BoundScheme, cause: unknown): Faulty {
  const detail = cause instanceof AuthError ? cause.detail : `the scheme '${bound.name}' threw, or its load did`
  return { kind: 'faulty', detail, cause }
}

const kinds: readonly unknown[] = ['authenticated', 'absent', 'foreign', 'invalid', 'unavailable', 'limited', 'cross-site']

/** A scheme's answer, checked, with the principal complete and what a database knows added. What is no outcome is a fault. */
function complete (bound: BoundScheme, outcome: Outcome, state: GuardState): Answer | Promise<Answer> {
  if (typeof outcome !== 'object' || outcome === null || !kinds.includes(property(outcome, 'kind'))) {
    if (isNo(outcome)) return { kind: 'invalid', detail: `the scheme '${bound.name}' said no without an outcome: return invalid(reason), or absent where nothing was sent`, expired: false }
    throw internalError(`the scheme '${bound.name}' returned no outcome`)
  }
  if (outcome.kind !== 'authenticated') return outcome
  const whole = isWhole(outcome) ? outcome : wholeOf(outcome, bound.name)
  if (bound.load === null) return whole
  const loaded = bound.load(whole.principal, { scheme: bound.name, request: state.request })
  return isThenable(loaded) ? Promise.resolve(loaded).then(more => enrich(bound, whole, more)) : enrich(bound, whole, loaded)
}

/** Returns whether nothing is left to complete, nor could be changed by a handler: what every scheme of ours returns. */
function isWhole (outcome: Authenticated): boolean {
  return details.every(field => Object.hasOwn(outcome, field)) && isWholePrincipal(outcome.principal) && (outcome.owner === null || isWholePrincipal(outcome.owner)) &&
    isInstant(outcome.authenticatedAt) && isInstant(outcome.expiresAt)
}

function isWholePrincipal (principal: unknown): principal is Principal {
  return isObject(principal) && Object.isFrozen(principal) && identity.every(field => Object.hasOwn(principal, field)) && isName(principal.realm) && isName(principal.id) &&
    isFrozenList(principal.scopes) && isFrozenList(principal.roles)
}

const identity = ['realm', 'id', 'scopes', 'roles'] as const
/** What an outcome says beside its kind. */
const details = ['principal', 'owner', 'credential', 'ambient', 'authenticatedAt', 'expiresAt', 'onRevoked', 'recheck', 'rateLimit', 'headers'] as const satisfies ReadonlyArray<keyof Authenticated>

/** Completes what a scheme said, from the fields that the outcome has itself, or by its class. */
function wholeOf (outcome: Authenticated, name: string): Authenticated {
  const said = { ...outcome, ...Object.fromEntries(details.map(field => [field, property(outcome, field) ?? null])) } as Required<Authenticated>
  const { principal, owner, authenticatedAt, expiresAt } = said
  if (!isInstant(authenticatedAt) || !isInstant(expiresAt)) throw internalError(`the scheme '${name}' returned an instant that is neither a valid Date nor null`)
  return { ...said, kind: 'authenticated', principal: wholePrincipal(principal, name), owner: owner === null ? null : wholePrincipal(owner, name) }
}

function wholePrincipal (principal: Principal, name: string): Principal {
  return isWholePrincipal(principal) ? principal : principalFrom(principal, name) as Principal
}

function isName (value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isFrozenList (value: unknown): boolean {
  return Array.isArray(value) && Object.isFrozen(value)
}

function isInstant (value: unknown): boolean {
  return value === null || (value instanceof Date && !Number.isNaN(value.getTime()))
}

function enrich (bound: BoundScheme, outcome: Authenticated, loaded: unknown): Answer {
  if (isNo(loaded)) return { kind: 'invalid', detail: 'load knows no such principal, or it is disabled', expired: false }
  if (typeof loaded !== 'object' || Array.isArray(loaded)) throw internalError(`the load function for the scheme '${bound.name}' returned neither a principal nor a no, such as null`)
  return { ...outcome, principal: loadedPrincipal(outcome.principal, loaded) }
}
