import type { AuthFailure } from '../../types/error.js'
import type { Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import { failure, fault } from '../errors.js'
import { principalFrom } from '../schemes/principal.js'
import type { BoundScheme, Policy } from './policy.js'
import type { Faulty, GuardState, Identity } from './state.js'

/** Who is calling: the identities that act, none for an anonymous caller; or why the request goes no further. */
export type Verdict =
  | { readonly identities: readonly Identity[], readonly failure: AuthFailure | null, readonly cause?: unknown }

type Answer = Outcome | Faulty

/** What one alternative of a policy came to: its identities, a refusal, or nothing to stop for. */
type Attempt = Verdict | 'absent' | 'foreign'

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
    const attempt = tryAlternative(alternative, 0, [], state)
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
    return policy.access === 'required' ? { identities: [], failure: failure('AUTH_REQUIRED', null, 'no credential was sent') } : anonymous
  }
  const saw = policy.schemes.find(bound => (state.outcomes[bound.index] as Outcome | undefined)?.kind === 'foreign')
  return { identities: [], failure: failure('AUTH_INVALID_CREDENTIALS', saw?.name ?? null, 'the credential belongs to no scheme of this route') }
}

/** All schemes of one alternative, in order; the first one that has no principal decides. */
function tryAlternative (all: readonly BoundScheme[], at: number, met: readonly Identity[], state: GuardState): Attempt | Promise<Attempt> {
  let identities = met
  for (let i = at; i < all.length; i++) {
    const bound = all[i] as BoundScheme
    const answer = ask(bound, state)
    if (answer instanceof Promise) {
      const before = identities
      return answer.then(settled => {
        const step = judge(bound, settled)
        return 'bound' in (step as object) ? tryAlternative(all, i + 1, [...before, step as Identity], state) : step as Attempt
      })
    }
    const step = judge(bound, answer)
    if (typeof step === 'string' || !('bound' in step)) return step
    identities = identities.length === 0 ? [step] : [...identities, step]
  }
  return { identities, failure: null }
}

function judge (bound: BoundScheme, answer: Answer): Identity | Attempt {
  switch (answer.kind) {
    case 'authenticated': return { bound, outcome: answer }
    case 'absent':
    case 'foreign': return answer.kind
    case 'invalid': return { identities: [], failure: failure(answer.expired ? 'AUTH_TOKEN_EXPIRED' : 'AUTH_INVALID_CREDENTIALS', bound.name, answer.detail) }
    case 'unavailable': return { identities: [], failure: failure('AUTH_UNAVAILABLE', bound.name, answer.detail, { retryAfter: answer.retryAfter }) }
    case 'faulty': return { identities: [], failure: failure('AUTH_FAULT', bound.name, answer.detail), cause: answer.cause }
  }
}

/** Asks one scheme, once per request. */
function ask (bound: BoundScheme, state: GuardState): Answer | Promise<Answer> {
  const known = state.outcomes[bound.index]
  if (known !== undefined) return known
  const answer = askOnce(bound, state)
  state.outcomes[bound.index] = answer
  if (answer instanceof Promise) {
    return answer.then(settled => {
      state.outcomes[bound.index] = settled
      return settled
    })
  }
  return answer
}

function askOnce (bound: BoundScheme, state: GuardState): Answer | Promise<Answer> {
  try {
    const outcome = bound.scheme.authenticate(state.request)
    if (!isThenable(outcome)) return complete(bound, outcome, state)
    return Promise.resolve(outcome).then(settled => complete(bound, settled, state)).catch(cause => faulty(bound, cause))
  } catch (cause) {
    return faulty(bound, cause)
  }
}

function faulty (bound: BoundScheme, cause: unknown): Faulty {
  return { kind: 'faulty', detail: `the scheme '${bound.name}' threw, or its load did`, cause }
}

const kinds: readonly unknown[] = ['authenticated', 'absent', 'foreign', 'invalid', 'unavailable']

/** A scheme's answer, checked, with the principal complete and what a database knows added. What is no outcome is a fault. */
function complete (bound: BoundScheme, outcome: Outcome, state: GuardState): Answer | Promise<Answer> {
  if (typeof outcome !== 'object' || outcome === null || !kinds.includes(outcome.kind)) throw fault(`the scheme '${bound.name}' returned no outcome`)
  if (outcome.kind !== 'authenticated') return outcome
  const principal = isComplete(outcome.principal) ? outcome.principal : principalFrom(outcome.principal, bound.name)
  const whole = principal === outcome.principal ? outcome : { ...outcome, principal }
  if (bound.load === null) return whole
  const loaded = bound.load(principal, { scheme: bound.name, request: state.request })
  return isThenable(loaded) ? Promise.resolve(loaded).then(more => enrich(bound, whole, more)) : enrich(bound, whole, loaded)
}

function isComplete (principal: Principal): boolean {
  return Object.isFrozen(principal) && typeof principal.realm === 'string' && typeof principal.id === 'string' && Array.isArray(principal.scopes) && Array.isArray(principal.roles)
}

/** Identity stays what the credential proved; everything else a database may say. */
function enrich (bound: BoundScheme, outcome: Outcome & { kind: 'authenticated' }, loaded: unknown): Answer {
  if (loaded === null) return { kind: 'invalid', detail: 'load knows no such principal, or it is disabled', expired: false }
  if (typeof loaded !== 'object') throw fault(`the load function for the scheme '${bound.name}' returned neither a principal nor null`)
  const { principal } = outcome
  return { ...outcome, principal: principalFrom({ ...principal, ...loaded, realm: principal.realm, id: principal.id }, bound.name) }
}

function isThenable<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | null | undefined)?.then === 'function'
}
