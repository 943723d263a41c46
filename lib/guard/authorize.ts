import type { FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../types/error.js'
import { authFailure, internalError } from '../errors.js'
import { requirementsFrom, type Conditions, type Entry, type Requirements, type RequirementsFunction, type Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import { hasPermission, type Requirement, type Permissions } from '../policy/requirements.js'
import { isNo } from '../util/answer.js'
import { describeValue } from '../util/describe.js'
import type { Identity } from './request-state.js'

/** What is settled before the body is read: how long ago the person authenticated, then every scope and role that is not a function's to say. */
export function checkStatic (policy: Policy, acting: Identity): AuthFailure | null {
  if (policy.maxAge !== null && isStale(acting, policy.maxAge)) {
    return authFailure('AUTH_STEP_UP_REQUIRED', acting.bound.name, `authenticated longer ago than ${policy.maxAge} s`, { maxAge: policy.maxAge })
  }
  for (const rule of policy.rules) {
    if (!meetsStatic(rule, acting) || (rule.anyOf !== null && !rule.anyOf.some(entry => entryMeetsStatic(entry, acting)))) {
      return denied(rule, acting)
    }
  }
  return null
}

/**
 * What waits for validation, in `preHandler`: functions. They see the request as the handler will.
 * What they throw goes to the error handler unchanged; what they return outside their form is a fault.
 */
export async function checkFunctions (policy: Policy, acting: Identity, request: FastifyRequest, permissions: Permissions): Promise<AuthFailure | null> {
  for (const rule of policy.rules) {
    if (!await meets(rule, acting, request, permissions)) return denied(rule, acting)
    if (rule.anyOf !== null && !await someEntry(rule.anyOf, acting, request, permissions)) return denied(rule, acting)
  }
  return null
}

/** RFC 9470: a credential that cannot say when is as old as can be. */
function isStale ({ outcome }: Identity, maxAge: number): boolean {
  return outcome.authenticatedAt === null || Date.now() - outcome.authenticatedAt.getTime() > maxAge * 1000
}

function entryMeetsStatic (entry: Entry, acting: Identity): boolean {
  return (entry.schemes === null || entry.schemes.includes(acting.bound.name)) && meetsStatic(entry, acting)
}

/** An entry that static parts settle is not asked again; functions of the others are asked one after the other, as written. */
async function someEntry (entries: readonly Entry[], acting: Identity, request: FastifyRequest, permissions: Permissions): Promise<boolean> {
  const standing = entries.filter(entry => entryMeetsStatic(entry, acting))
  if (standing.some(entry => entry.when === null && typeof entry.scopes !== 'function' && typeof entry.roles !== 'function')) return true
  for (const entry of standing) {
    if (await meets(entry, acting, request, permissions)) return true
  }
  return false
}

function meetsStatic ({ scopes, roles }: Conditions, acting: Identity): boolean {
  return meetsRequirements(typeof scopes === 'function' ? null : scopes, acting) && meetsRequirements(typeof roles === 'function' ? null : roles, acting)
}

async function meets (conditions: Conditions, acting: Identity, request: FastifyRequest, permissions: Permissions): Promise<boolean> {
  for (const kind of ['scopes', 'roles'] as const) {
    const asked = conditions[kind]
    if (typeof asked === 'function' && !meetsRequirements(ask(kind, asked, request, permissions), acting)) return false
  }
  if (conditions.when === null) return true
  const answer: unknown = await conditions.when(acting.outcome.principal, request)
  if (isNo(answer)) return false
  if (answer !== true) throw internalError(`a when function must return true, or a no such as false; one returned ${describeValue(answer)}`)
  return true
}

function ask (kind: 'scopes' | 'roles', asked: RequirementsFunction, request: FastifyRequest, permissions: Permissions): Requirements {
  const returned = asked(request)
  // A promise is a fault, which is answered; its rejection, which nobody awaits, must not end the process.
  if (returned instanceof Promise) returned.catch(() => {})
  return requirementsFrom(kind, returned, permissions)
}

/** Returns whether the acting principal meets `{ all, any, none }`. */
export function meetsRequirements (asked: Requirements | null, acting: Identity): boolean {
  if (asked === null) return true
  const { principal } = acting.outcome
  return asked.all.every(need => hasPermission(principal, need)) &&
    (asked.any.length === 0 || asked.any.some(need => hasPermission(principal, need))) &&
    (asked.none.length === 0 || hasNone(asked.none, acting))
}

/**
 * Returns whether nothing of this is held against the acting principal, nor against whom it acts for: a key that leaves a role out narrows what it may do, and frees nobody
 * of that role. Where the owner is not known, nobody can tell, and the rule is not met.
 */
function hasNone (needs: readonly Requirement[], { bound, outcome }: Identity): boolean {
  const { principal, owner = null } = outcome
  if (owner === null && bound.scheme.ownerUnknown === true) return false
  return !needs.some(need => hasPermission(principal, need) || (owner !== null && hasPermission(owner, need)))
}

function denied (rule: Rule, acting: Identity): AuthFailure {
  return authFailure('AUTH_ACCESS_DENIED', acting.bound.name, `the principal ${acting.outcome.principal.id} does not meet the rules`, { scopes: scopesOf(rule) })
}

/** The scopes that the challenge names (RFC 6750, 3: "the scope necessary to access the protected resource"). */
function scopesOf ({ scopes }: Rule): readonly string[] {
  if (scopes === null || typeof scopes === 'function') return []
  return [...scopes.all, ...scopes.any].map((need: Requirement) => need.name)
}
