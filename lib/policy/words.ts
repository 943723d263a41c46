import type { Entry, Requirements, RequirementsFunction, Rule } from './parse.js'
import type { Policy } from './policy.js'
import { isPlanChoice, type RateLimit } from './rate-limit.js'

/** Returns the schemes of a policy in words: `user or web and service`. */
export function schemesInWords ({ alternatives }: Policy): string {
  return alternatives.map(all => all.map(bound => bound.name).join(' and ')).join(' or ')
}

/** Returns the rules of a policy in words, one each. */
export function rulesInWords (policy: Policy): readonly string[] {
  return [...policy.rules.flatMap(ruleInWords), ...maxAgeInWords(policy), ...rateLimitInWords(policy)]
}

/** Returns the conditions of one declaration in words. */
export function ruleInWords (rule: Rule): readonly string[] {
  return [...conditionsInWords(rule), ...rule.anyOf === null ? [] : [rule.anyOf.map(entryInWords).join(' or ')]]
}

/** Returns the maximum age of a login in words, in seconds; nothing if there is none. */
export function maxAgeInWords ({ maxAge }: Policy): readonly string[] {
  return maxAge === null ? [] : [`authenticated within ${maxAge} s`]
}

/** Returns the limit of requests in words, with every plan that it may have; nothing if there is none. */
export function rateLimitInWords ({ rateLimit }: Policy): readonly string[] {
  if (rateLimit === null) return []
  if (!isPlanChoice(rateLimit)) return [`at most ${limitInWords(rateLimit)}`]
  const plans = [...rateLimit.plans.values()].map(limitInWords)
  return [`requests limited by ${ownName(rateLimit.choose, 'rateLimit') || 'a function'}, to ${plans.join(' or ')}`]
}

/** Writes windows as `10 requests in 1 s and 1000 in 86400 s (plan free)`. */
function limitInWords ({ plan, windows }: RateLimit): string {
  const counts = windows.map(({ max, window }, i) => `${max} ${i === 0 ? 'requests ' : ''}in ${window} s`)
  return `${counts.join(' and ')}${plan === null ? '' : ` (plan ${plan})`}`
}

function entryInWords (entry: Entry): string {
  const schemes = entry.schemes === null ? [] : [entry.schemes.join(' or ')]
  return `(${[...schemes, ...conditionsInWords(entry)].join(', ')})`
}

function conditionsInWords ({ scopes, roles, when }: Pick<Entry, 'scopes' | 'roles' | 'when'>): readonly string[] {
  return [
    ...requirementsInWords('scope', scopes),
    ...requirementsInWords('role', roles),
    ...when === null ? [] : [`when ${ownName(when, 'when') || 'a function passes'}`]
  ]
}

function requirementsInWords (
  kind: 'scope' | 'role',
  requirements: Requirements | RequirementsFunction | null
): readonly string[] {
  if (requirements === null) return []
  if (typeof requirements === 'function') return [`${kind}s that a function names`]
  const names = (list: Requirements['all'], last: string) => list.map(each => each.name).join(` ${last} `)
  const { all, any, none } = requirements
  return [
    ...all.length === 0 ? [] : [`${kind} ${names(all, 'and')}`],
    ...any.length === 0 ? [] : [`${kind} ${names(any, 'or')}`],
    ...none.length === 0 ? [] : [`not ${kind} ${names(none, 'nor')}`]
  ]
}

/**
 * Returns the name of a function of the application; `''` for an anonymous one, which has the name of the key that it
 * was written under.
 */
export function ownName (fn: (...args: never[]) => unknown, key: string): string {
  return fn.name === key ? '' : fn.name
}
