import type {
  AuditConditions, AuditEntry, AuditPolicy, AuditRateLimit, AuditRequirements, AuditRule
} from '../../types/audit.js'
import { deepFreeze, getOrCreate } from '../util/objects.js'
import type { Conditions, Entry, Requirements, Rule } from './parse.js'
import type { Policy } from './policy.js'
import { isPlanChoice, type RateLimit } from './rate-limit.js'

const known = new WeakMap<Policy, AuditPolicy>()

/** Returns a policy as frozen JSON. Routes that share a policy share its data. */
export function policyData (policy: Policy): AuditPolicy {
  return getOrCreate(known, policy, () => deepFreeze(toData(policy)))
}

function toData ({ access, alternatives, rules, maxAge, rateLimit, detached }: Policy): AuditPolicy {
  return {
    access,
    alternatives: alternatives.map(all => all.map(bound => bound.name)),
    rules: rules.map(ruleData),
    maxAge,
    rateLimit: rateLimitData(rateLimit),
    detached
  }
}

function rateLimitData (limit: Policy['rateLimit']): AuditPolicy['rateLimit'] {
  if (limit === null) return null
  if (!isPlanChoice(limit)) return windowsData(limit)
  return { function: ownName(limit.choose, 'rateLimit'), plans: [...limit.plans.values()].map(windowsData) }
}

function windowsData ({ plan, windows }: RateLimit): AuditRateLimit {
  return { plan, windows: windows.map(({ max, window }) => ({ max, window })) }
}

/** Returns the conditions of one declaration as JSON. */
export function ruleData (rule: Rule): AuditRule {
  return { ...conditionsData(rule), anyOf: rule.anyOf === null ? null : rule.anyOf.map(entryData) }
}

function entryData (entry: Entry): AuditEntry {
  return { schemes: entry.schemes === null ? null : [...entry.schemes], ...conditionsData(entry) }
}

function conditionsData ({ scopes, roles, when }: Conditions): AuditConditions {
  return {
    scopes: requirementsData('scopes', scopes),
    roles: requirementsData('roles', roles),
    when: when === null ? null : ownName(when, 'when')
  }
}

function requirementsData (key: 'scopes' | 'roles', written: Conditions['scopes']): AuditConditions['scopes'] {
  if (written === null) return null
  if (typeof written === 'function') return { function: ownName(written, key) }
  const names = (list: Requirements['all']) => list.map(each => each.name)
  return { all: names(written.all), any: names(written.any), none: names(written.none) }
}

/**
 * Returns the name of a function of the application; `''` for an anonymous one, which has the name of the key that it
 * was written under.
 */
function ownName (fn: (...args: never[]) => unknown, key: string): string {
  return fn.name === key ? '' : fn.name
}

/** Returns the schemes of a policy in words: `user or web and service`. */
export function schemesInWords ({ alternatives }: AuditPolicy): string {
  return alternatives.map(all => all.join(' and ')).join(' or ')
}

/** Returns everything that a policy requires of a caller in words, one text for each condition. */
export function rulesInWords (policy: AuditPolicy): readonly string[] {
  return [...policy.rules.flatMap(ruleInWords), ...maxAgeInWords(policy), ...rateLimitInWords(policy)]
}

/** Returns the conditions of one declaration in words. */
export function ruleInWords (rule: AuditRule): readonly string[] {
  return [...conditionsInWords(rule), ...rule.anyOf === null ? [] : [rule.anyOf.map(entryInWords).join(' or ')]]
}

/** Returns the maximum age of a login in words, in seconds; nothing if there is none. */
export function maxAgeInWords ({ maxAge }: AuditPolicy): readonly string[] {
  return maxAge === null ? [] : [`authenticated within ${maxAge} s`]
}

/** Returns the limit of requests in words, with every plan that it may have; nothing if there is none. */
export function rateLimitInWords ({ rateLimit }: AuditPolicy): readonly string[] {
  if (rateLimit === null) return []
  if (!('plans' in rateLimit)) return [`at most ${windowsInWords(rateLimit)}`]
  const plans = rateLimit.plans.map(windowsInWords)
  return [`requests limited by ${rateLimit.function || 'a function'}, to ${plans.join(' or ')}`]
}

/** Writes windows as `10 requests in 1 s and 1000 in 86400 s (plan free)`. */
function windowsInWords ({ plan, windows }: AuditRateLimit): string {
  const noun = windows[0]?.max === 1 ? 'request ' : 'requests '
  const counts = windows.map(({ max, window }, i) => `${max} ${i === 0 ? noun : ''}in ${window} s`)
  return `${counts.join(' and ')}${plan === null ? '' : ` (plan ${plan})`}`
}

function entryInWords (entry: AuditEntry): string {
  const schemes = entry.schemes === null ? [] : [entry.schemes.join(' or ')]
  return `(${[...schemes, ...conditionsInWords(entry)].join(', ')})`
}

function conditionsInWords ({ scopes, roles, when }: AuditConditions): readonly string[] {
  return [
    ...requirementsInWords('scope', scopes),
    ...requirementsInWords('role', roles),
    ...when === null ? [] : [`when ${when || 'a function passes'}`]
  ]
}

function requirementsInWords (kind: 'scope' | 'role', requirements: AuditConditions['scopes']): readonly string[] {
  if (requirements === null) return []
  if (!isRequirements(requirements)) return [`${kind}s that ${requirements.function || 'a function'} names`]
  const { all, any, none } = requirements
  return [
    ...all.length === 0 ? [] : [`${kind} ${all.join(' and ')}`],
    ...any.length === 0 ? [] : [`${kind} ${any.join(' or ')}`],
    ...none.length === 0 ? [] : [`not ${kind} ${none.join(' nor ')}`]
  ]
}

/** Returns true for names that are known, and false for a function that returns them for each request. */
export function isRequirements (rule: NonNullable<AuditConditions['scopes']>): rule is AuditRequirements {
  return 'all' in rule
}
