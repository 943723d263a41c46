import type { AuditConditions, AuditEntry, AuditPolicy, AuditRateLimit, AuditRule } from '../../types/audit.js'
import type { Conditions, Entry, Requirements, Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import { isPlanChoice, type RateLimit } from '../policy/rate-limit.js'
import { deepFreeze } from '../util/objects.js'
import { ownName } from './words.js'

const known = new WeakMap<Policy, AuditPolicy>()

/** Returns a policy as frozen JSON. Routes that share a policy share its data. */
export function policyData (policy: Policy): AuditPolicy {
  const data = known.get(policy) ?? deepFreeze(toData(policy))
  known.set(policy, data)
  return data
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
  if (!isPlanChoice(limit)) return rateLimitOf(limit)
  return { function: ownName(limit.choose, 'rateLimit'), plans: [...limit.plans.values()].map(rateLimitOf) }
}

function rateLimitOf ({ plan, windows }: RateLimit): AuditRateLimit {
  return { plan, windows: windows.map(({ max, window }) => ({ max, window })) }
}

function ruleData (rule: Rule): AuditRule {
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
