import type { FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../types/outcome.js'
import { authFailure, internalError } from '../errors.js'
import {
  parseReturnedRequirements, type Conditions, type Entry, type Requirements, type RequirementsFunction, type Rule
} from '../policy/parse.js'
import { hasFunction, namedScopes, requiresScope, type Policy } from '../policy/policy.js'
import { hasPermission, type Permissions, type Requirement } from '../policy/requirements.js'
import { ruleData, ruleInWords } from '../policy/words.js'
import { describeValue } from '../util/describe.js'
import { isMisplacedPromise, isNo, isSet, isThenable } from '../util/objects.js'
import type { Identity } from './request-state.js'

/** The caller and the request that the functions of a policy decide about. */
export interface Caller {
  readonly acting: Identity
  readonly request: FastifyRequest
  readonly permissions: Permissions
}

/**
 * Checks the rules that do not depend on the body: how long ago the person authenticated, then every scope and role
 * that no function decides.
 */
export function checkStatic (policy: Policy, acting: Identity): AuthFailure | null {
  const { maxAge, rules } = policy
  if (maxAge !== null && isStale(acting, maxAge)) {
    const detail = `authenticated longer ago than ${maxAge} s`
    return { ...authFailure('AUTH_STEP_UP_REQUIRED', acting.bound.name, detail), maxAge }
  }
  const needsScope = isLimitedToScopes(policy, acting)
  if (needsScope && !rules.some(rule => rule.anyOf?.some(requiresScope))) return deniedWithoutScope(acting)
  // for…of would allocate an iterator, as V8 does not optimise it for frozen lists
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i] as Rule
    if (!meetsStatic(rule, acting)) return denied(policy, rule, acting)
    const { anyOf } = rule
    if (anyOf !== null && !meetsAnyStatic(openEntries(anyOf, needsScope), acting)) return denied(policy, rule, acting)
  }
  return null
}

/**
 * Checks the credentials other than the acting one. Rules apply to the acting principal only, and a delegated
 * credential may be used only where a rule requires one of its scopes, so it is refused here.
 */
export function checkOthers (identities: readonly Identity[]): AuthFailure | null {
  const delegated = identities.find((each, i) => i > 0 && isLimited(each))
  return delegated === undefined ? null : deniedWithoutScope(delegated)
}

/**
 * Checks the functions of the rules, which run after validation and receive the request as the handler does. Errors
 * that they throw reach the error handler unchanged.
 * @throws {AuthError} `AUTH_FAULT` for a return value of the wrong form.
 */
export async function checkFunctions (policy: Policy, caller: Caller): Promise<AuthFailure | null> {
  const needsScope = isLimitedToScopes(policy, caller.acting)
  for (const rule of policy.rules) {
    const settled = settleScopes(rule, caller)
    const met = meets(settled, caller)
    // a promise is awaited only if a function has returned one
    if (!(typeof met === 'boolean' ? met : await met)) return denied(policy, settled, caller.acting)
    if (rule.anyOf === null) continue
    if (!await meetsAny(openEntries(rule.anyOf, needsScope), caller)) return denied(policy, rule, caller.acting)
  }
  return null
}

/** Returns a rule with the scopes that its function requires of this request, so that a refusal can name them. */
function settleScopes (rule: Rule, caller: Caller): Rule {
  return typeof rule.scopes === 'function' ? { ...rule, scopes: callFor('scopes', rule.scopes, caller) } : rule
}

/**
 * Returns true for a delegated credential where no rule requires a scope. The person has agreed to scopes, so the
 * client may use only what requires one: of an `anyOf`, the entries that do.
 */
function isLimitedToScopes (policy: Policy, acting: Identity): boolean {
  return isLimited(acting) && !policy.requiresScope
}

/** Returns true for a delegated credential, unless its scheme is meant for clients. */
function isLimited ({ bound, outcome }: Identity): boolean {
  return isSet(outcome.delegated) && bound.scheme.delegated !== true
}

function openEntries (entries: readonly Entry[], needsScope: boolean): readonly Entry[] {
  return needsScope ? entries.filter(requiresScope) : entries
}

function deniedWithoutScope ({ bound }: Identity): AuthFailure {
  const detail = 'the credential is delegated, and the route requires no scope of it'
  return authFailure('AUTH_ACCESS_DENIED', bound.name, detail)
}

/** Returns true if the person authenticated too long ago, or at an unknown time (RFC 9470). */
function isStale ({ outcome }: Identity, maxAge: number): boolean {
  return outcome.authenticatedAt === null || Date.now() - outcome.authenticatedAt.getTime() > maxAge * 1000
}

function entryMeetsStatic (entry: Entry, acting: Identity): boolean {
  return (entry.schemes === null || entry.schemes.includes(acting.bound.name)) && meetsStatic(entry, acting)
}

function meetsAnyStatic (entries: readonly Entry[], acting: Identity): boolean {
  return entries.some(entry => entryMeetsStatic(entry, acting))
}

/** Returns true if one entry is met. Functions are called only if no entry without functions is met, one by one. */
async function meetsAny (entries: readonly Entry[], caller: Caller): Promise<boolean> {
  const possible = entries.filter(entry => entryMeetsStatic(entry, caller.acting))
  if (possible.some(entry => !hasFunction(entry))) return true
  for (const entry of possible) {
    if (await meets(entry, caller)) return true
  }
  return false
}

function meetsStatic ({ scopes, roles }: Conditions, acting: Identity): boolean {
  return meetsRequirements(typeof scopes === 'function' ? null : scopes, acting) &&
    meetsRequirements(typeof roles === 'function' ? null : roles, acting)
}

function meets (conditions: Conditions, caller: Caller): boolean | Promise<boolean> {
  const { acting, request } = caller
  for (const kind of ['scopes', 'roles'] as const) {
    const required = conditions[kind]
    const returned = typeof required === 'function' ? callFor(kind, required, caller) : required
    if (!meetsRequirements(returned, acting)) return false
  }
  if (conditions.when === null) return true
  const answer: unknown = conditions.when(acting.outcome.principal, request)
  return isThenable(answer) ? Promise.resolve(answer).then(judgeWhen) : judgeWhen(answer)
}

function judgeWhen (answer: unknown): boolean {
  if (isNo(answer)) return false
  if (answer === true) return true
  throw internalError(`a when function must return true or false. Got ${describeValue(answer)}.`)
}

function callFor (kind: 'scopes' | 'roles', run: RequirementsFunction, caller: Caller): Requirements {
  const returned = run(caller.request)
  isMisplacedPromise(returned)
  return parseReturnedRequirements(kind, returned, caller.permissions)
}

/** Returns true if the acting principal meets `{ all, any, none }`. */
export function meetsRequirements (required: Requirements | null, acting: Identity): boolean {
  if (required === null) return true
  const { all, any, none } = required
  const { principal } = acting.outcome
  for (const each of all) if (!hasPermission(principal, each)) return false
  return (any.length === 0 || any.some(each => hasPermission(principal, each))) &&
    (none.length === 0 || hasNoneOf(none, acting))
}

/**
 * Returns true if neither the acting principal nor its owner has one of these. A key without a role of its owner, or a
 * delegated token, has fewer rights, but must not escape a rule that excludes the role. If the owner is unknown, the
 * rule is not met.
 */
function hasNoneOf (excluded: readonly Requirement[], { bound, outcome }: Identity): boolean {
  const { principal, owner = null } = outcome
  if (owner === null && (isSet(bound.scheme.ownerUnknown) || isSet(outcome.delegated))) return false
  return !excluded.some(each => hasPermission(principal, each) || (owner !== null && hasPermission(owner, each)))
}

function denied (policy: Policy, unmet: Rule, { bound, outcome }: Identity): AuthFailure {
  const detail = `the principal ${outcome.principal.id} does not meet the rule: ${wordsOf(unmet)}`
  const scopes = scopesFor(policy, unmet)
  const failure = authFailure('AUTH_ACCESS_DENIED', bound.name, detail)
  return scopes === null ? failure : { ...failure, scopes }
}

const words = new WeakMap<Rule, string>()
/** A function may name scopes after the request, of any length. */
const maxWords = 500

/** Returns a rule in words for the log. The words are cached. */
function wordsOf (rule: Rule): string {
  const known = words.get(rule)
  if (known !== undefined) return known
  const written = ruleInWords(ruleData(rule)).join('; ').slice(0, maxWords)
  words.set(rule, written)
  return written
}

/** Returns the scopes that a refusal names, or `null` if the rule requires none. */
function scopesFor ({ rules, requiredScopes }: Policy, unmet: Rule): readonly string[] | null {
  if (typeof unmet.scopes === 'function' || !requiresScope(unmet)) return null
  // the policy requires the scopes of each of its rules, but not those that a function has returned
  return rules.includes(unmet) ? requiredScopes : [...new Set([...requiredScopes, ...namedScopes(unmet)])]
}
