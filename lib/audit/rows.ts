import type { AuditRow } from '../../types/audit.js'
import { requiresScope, type Policy } from '../policy/policy.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { fileInPackage } from './file.js'
import { policyData } from './policy-data.js'
import { rulesInWords, schemesInWords } from './words.js'

/**
 * Returns a row for every route, sorted by pattern. A HEAD route that Fastify added for a GET route has no row of its
 * own.
 */
export function auditRows (routes: readonly RoutePolicy[], stage: string): readonly AuditRow[] {
  const gets = new Map<string, Set<Policy>>()
  for (const { url, policy } of routes.filter(route => route.methods === 'GET')) {
    gets.set(url, (gets.get(url) ?? new Set()).add(policy))
  }
  return routes
    .filter(route => route.methods !== 'HEAD' || !patternsOfGet(route).some(url => gets.get(url)?.has(route.policy)))
    .map(route => row(route, stage))
    .sort((a, b) => compare(a.url, b.url) || compare(a.method, b.method))
}

/**
 * Returns the patterns under which the GET of a HEAD may be listed: for the root of a prefix, `onRoute` reports
 * `GET /prefix` and `HEAD /prefix/`.
 */
function patternsOfGet ({ url, server }: RoutePolicy): readonly string[] {
  return url === `${server.prefix}/` ? [url, server.prefix] : [url]
}

function row ({ policy, methods, url, from, preflight, file }: RoutePolicy, declared: string): AuditRow {
  const stage = preflight ? 'preHandler' : declared
  return Object.freeze({
    method: methods,
    url,
    access: policy.access,
    schemes: schemesInWords(policy),
    rules: Object.freeze(rulesInWords(policy)),
    from,
    delegated: acceptsDelegated(policy),
    stage: policy.access === 'public' ? 'none' : policy.late && stage !== 'preHandler' ? `${stage}, preHandler` : stage,
    reason: reasonOf(policy),
    policy: policyData(policy),
    file: file === null ? null : fileInPackage(file)
  })
}

/** Returns true if a client may call the route for a person: it requires a scope, or the scheme is for clients. */
function acceptsDelegated ({ alternatives, rules, requiresScope: isScoped }: Policy): boolean {
  const entries = rules.flatMap(rule => rule.anyOf ?? []).filter(requiresScope)
  return alternatives.some(([acting]) => {
    if (acting?.scheme.delegated === undefined) return false
    return acting.scheme.delegated || isScoped ||
      entries.some(({ schemes }) => schemes === null || schemes.includes(acting.name))
  })
}

/** Returns the reason why a route is public, or a note that it does not inherit the default. */
function reasonOf (policy: Policy): string | null {
  if (policy.access === 'public') return policy.reason === '' ? null : policy.reason
  return policy.detached ? 'inherit: false' : null
}

function compare (a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
