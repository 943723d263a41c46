import type { AuditRow } from '../../types/gatehouse.js'
import type { Entry, Requirements, RequirementsFunction, Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import type { RouteMark } from '../policy/route-policy.js'

/** Returns a row for every route, sorted by pattern. A HEAD route that Fastify added for a GET route is shown with it. */
export function auditRows (marks: readonly RouteMark[], stage: string): readonly AuditRow[] {
  const gets = new Map<string, Set<Policy>>()
  for (const { url, policy } of marks.filter(mark => mark.methods === 'GET')) gets.set(url, (gets.get(url) ?? new Set()).add(policy))
  return marks
    .filter(mark => mark.methods !== 'HEAD' || !patternsOfGet(mark).some(url => gets.get(url)?.has(mark.policy)))
    .map(mark => row(mark, stage))
    .sort((a, b) => compare(a.url, b.url) || compare(a.method, b.method))
}

/** Returns the patterns under which the GET of a HEAD may be listed: for the root of a prefix, `onRoute` reports `GET /prefix` and `HEAD /prefix/`. */
function patternsOfGet ({ url, server }: RouteMark): readonly string[] {
  return url === `${server.prefix}/` ? [url, server.prefix] : [url]
}

function row ({ policy, methods, url, from, preflight }: RouteMark, declared: string): AuditRow {
  const stage = preflight ? 'preHandler' : declared
  return Object.freeze({
    method: methods,
    url,
    access: policy.access,
    schemes: policy.alternatives.map(all => all.map(bound => bound.name).join(' and ')).join(' or '),
    rules: Object.freeze(rulesOf(policy)),
    from,
    stage: policy.access === 'public' ? 'none' : policy.late && stage !== 'preHandler' ? `${stage}, preHandler` : stage,
    reason: reasonOf(policy)
  })
}

/** Returns why a route is public, or that it does not inherit the default. */
function reasonOf (policy: Policy): string | null {
  if (policy.access === 'public') return policy.reason === '' ? null : policy.reason
  return policy.detached ? 'inherit: false' : null
}

function rulesOf (policy: Policy): string[] {
  return [
    ...policy.rules.flatMap(ruleText),
    ...policy.maxAge === null ? [] : [`authenticated within ${policy.maxAge} s`],
    ...policy.rateLimit === null ? [] : [`at most ${policy.rateLimit.max} requests in ${policy.rateLimit.window} s`]
  ]
}

function ruleText (rule: Rule): string[] {
  return [...conditions(rule), ...rule.anyOf === null ? [] : [rule.anyOf.map(entryText).join(' or ')]]
}

function entryText (entry: Entry): string {
  return `(${[...entry.schemes === null ? [] : [entry.schemes.join(' or ')], ...conditions(entry)].join(', ')})`
}

function conditions ({ scopes, roles, when }: Pick<Entry, 'scopes' | 'roles' | 'when'>): string[] {
  return [
    ...requirement('scope', scopes),
    ...requirement('role', roles),
    ...when === null ? [] : [`when ${when.name === '' || when.name === 'when' ? 'a function passes' : when.name}`]
  ]
}

function requirement (kind: 'scope' | 'role', asked: Requirements | RequirementsFunction | null): string[] {
  if (asked === null) return []
  if (typeof asked === 'function') return [`${kind}s that a function names`]
  const words = (requirements: Requirements['all'], last: string) => requirements.map(each => each.name).join(` ${last} `)
  return [
    ...asked.all.length === 0 ? [] : [`${kind} ${words(asked.all, 'and')}`],
    ...asked.any.length === 0 ? [] : [`${kind} ${words(asked.any, 'or')}`],
    ...asked.none.length === 0 ? [] : [`not ${kind} ${words(asked.none, 'nor')}`]
  ]
}

function compare (a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
