import type { AuditConditions, AuditPolicy } from '../../types/audit.js'
import { isRequirements, rateLimitInWords, ruleInWords, schemesInWords } from '../policy/words.js'
import { getOrCreate } from '../util/objects.js'
import {
  betweenMethodsAndPattern, constraintsInWords, endpointsOf, type RoleSummary, type RouteSummary, type SchemeSummary,
  type Snapshot
} from './snapshot.js'
import { comparePolicies, countUnnamed, verdictOf, type Verdict } from './strictness.js'

/** One thing that is different. `note`: of no consequence for who may enter. */
export interface Difference {
  readonly verdict: Verdict | 'note'
  /** The route, the role or the scheme: `GET /orders`, `role admin`. */
  readonly subject: string
  /** The changes, one line each. */
  readonly details: readonly string[]
}

/** The result of a comparison, loosened first. */
export interface Comparison {
  readonly differences: readonly Difference[]
  /** The routes with functions that have no name of their own, which cannot be compared. */
  readonly unnamed: readonly string[]
}

const order: ReadonlyArray<Difference['verdict']> = ['loosened', 'unclear', 'tightened', 'note']

/** Compares an application with a snapshot of it. */
export function compareSnapshots (before: Snapshot, after: Snapshot): Comparison {
  const differences = [
    ...compareSchemes(before.schemes, after.schemes),
    ...compareRoles(before, after),
    ...compareRoutes(before.routes, after.routes)
  ]
  return {
    differences: differences.sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict)),
    unnamed: after.routes.filter(({ policy }) => countUnnamed(policy) > 0).map(nameOf)
  }
}

function nameOf ({ route, constraints }: RouteSummary): string {
  return `${route}${constraintsInWords(constraints)}`
}

/** Returns true if somebody has to review the change before its release. */
export function isAlarming ({ differences }: Comparison): boolean {
  return differences.some(({ verdict }) => verdict === 'loosened' || verdict === 'unclear')
}

function compareSchemes (before: readonly SchemeSummary[], after: readonly SchemeSummary[]): readonly Difference[] {
  return namesIn(before, after).flatMap(name => {
    const [old, now] = [before, after].map(all => all.filter(each => each.name === name).map(each => each.accepts))
    const [was, is] = [JSON.stringify(old), JSON.stringify(now)]
    if (was === is) return []
    const shown = (text: string | undefined): string => text === '[]' ? 'none' : String(text).slice(1, -1)
    return [{
      verdict: 'unclear' as const, subject: `scheme ${name}`, details: [`accepts: ${shown(was)} → ${shown(is)}`]
    }]
  })
}

/**
 * Compares what roles include. A role that includes more than before loosens every rule that its additions can meet. A
 * role that includes less loosens the `none` rules of routes that exclude what it included.
 */
function compareRoles (before: Snapshot, after: Snapshot): readonly Difference[] {
  return namesIn(before.roles, after.roles).flatMap(name => {
    const rightsIn = ({ roles }: Snapshot) => roles.filter(each => each.name === name).flatMap(included)
    const old = rightsIn(before)
    const now = rightsIn(after)
    const added = now.filter(each => !old.includes(each))
    const removed = old.filter(each => !now.includes(each))
    if (added.length + removed.length === 0) return []
    const opened = after.routes.filter(({ policy }) => exclusionsOf(policy).some(each => removed.includes(each)))
    const details = [
      ...added.length === 0 ? [] : [`includes now: ${added.join(', ')}`],
      ...removed.length === 0 ? [] : [`no longer includes: ${removed.join(', ')}`],
      ...opened.length === 0 ? [] : [`is no longer excluded by that from: ${opened.map(nameOf).join(', ')}`]
    ]
    const verdict = added.length + opened.length === 0 ? 'tightened' : 'loosened'
    return [{ verdict, subject: `role ${name}`, details } as const]
  })
}

/** Returns the scopes and roles in the `none` rules of a policy. */
function exclusionsOf ({ rules }: AuditPolicy): readonly string[] {
  return rules.flatMap(rule => [rule, ...rule.anyOf ?? []]).flatMap(({ roles, scopes }) => [
    ...excludedBy(roles).map(name => `role ${name}`), ...excludedBy(scopes).map(name => `scope ${name}`)
  ])
}

function excludedBy (requirements: AuditConditions['scopes']): readonly string[] {
  return requirements !== null && isRequirements(requirements) ? requirements.none : []
}

function included ({ roles, scopes }: RoleSummary): readonly string[] {
  return [...roles.map(name => `role ${name}`), ...scopes.map(name => `scope ${name}`)]
}

function namesIn (...lists: readonly (readonly { readonly name: string }[])[]): readonly string[] {
  return [...new Set(lists.flat().map(({ name }) => name))].sort()
}

/**
 * Compares routes method by method, because a route with several methods may be declared as several routes instead.
 * Methods of one declaration that changed in the same way are reported as one difference.
 */
function compareRoutes (before: readonly RouteSummary[], after: readonly RouteSummary[]): readonly Difference[] {
  const [old, now] = [byEndpoint(before), byEndpoint(after)]
  const found = new Map<string, Difference>()
  for (const name of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    for (const [removed, added] of pairRoutes(old.get(name) ?? [], now.get(name) ?? [])) {
      const change = compareRoute(removed, added)
      if (change === null) continue
      const declared = (added ?? removed) as RouteSummary
      const key = JSON.stringify([change, declared])
      const { verdict, details } = change
      found.set(key, { verdict, subject: withMethod(found.get(key)?.subject, name), details })
    }
  }
  return [...found.values()]
}

/** Adds the method of `POST /orders` to `GET /orders`. */
function withMethod (names: string | undefined, name: string): string {
  const [method] = name.split(' ', 1)
  return names === undefined ? name : names.replace(betweenMethodsAndPattern, () => `, ${method} `)
}

/** Groups routes by endpoint: one method, the pattern and the constraints. */
function byEndpoint (routes: readonly RouteSummary[]): ReadonlyMap<string, readonly RouteSummary[]> {
  const found = new Map<string, RouteSummary[]>()
  for (const each of routes) {
    for (const name of endpointsOf(nameOf(each))) getOrCreate<string, RouteSummary[]>(found, name, () => []).push(each)
  }
  return found
}

type Pair = readonly [before: RouteSummary | undefined, after: RouteSummary | undefined]

/**
 * Pairs the routes of one name. There are several if a merge has left two lines, or if constraints of an application's
 * own strategies have the same text. If it is not known which belong together, all are compared.
 */
function pairRoutes (before: readonly RouteSummary[], after: readonly RouteSummary[]): readonly Pair[] {
  if (after.length === 0) return before.map(each => [each, undefined])
  if (before.length === 0) return after.map(each => [undefined, each])
  const [removed, added] = before.length === after.length ? withoutEqual(before, after) : [before, after]
  return removed.flatMap(old => added.map(now => [old, now] as const))
}

function withoutEqual (
  before: readonly RouteSummary[], after: readonly RouteSummary[]
): readonly [readonly RouteSummary[], readonly RouteSummary[]] {
  const rest = [...after]
  const removed = before.filter(each => {
    const at = rest.findIndex(other => JSON.stringify(other) === JSON.stringify(each))
    if (at !== -1) rest.splice(at, 1)
    return at === -1
  })
  return [removed, rest]
}

function compareRoute (
  before: RouteSummary | undefined, after: RouteSummary | undefined
): Omit<Difference, 'subject'> | null {
  if (after === undefined) return { verdict: 'note', details: ['the route is gone'] }
  if (before === undefined) {
    const details = [`new: ${summary(after.policy)}`]
    return { verdict: after.policy.access === 'required' ? 'note' : 'loosened', details }
  }
  const changes = comparePolicies(before.policy, after.policy).map(({ part, verdict }) =>
    ({ verdict, detail: `${part}: ${partInWords(before.policy, part)} → ${partInWords(after.policy, part)}` }))
  if (before.delegated !== after.delegated) {
    const verdict = after.delegated ? 'loosened' : 'tightened'
    changes.push({ verdict, detail: `delegated tokens: ${after.delegated ? 'accepted now' : 'no longer accepted'}` })
  }
  const verdict = verdictOf(changes)
  return verdict === null ? null : { verdict, details: changes.map(({ detail }) => detail) }
}

function summary (policy: AuditPolicy): string {
  if (policy.access !== 'required') return policy.access
  return `${partInWords(policy, 'alternatives')}, rules: ${partInWords(policy, 'rules')}`
}

/** Writes one part of a policy as text, for a comparison of two. */
function partInWords (policy: AuditPolicy, part: keyof AuditPolicy): string {
  switch (part) {
    case 'access': return policy.access
    case 'alternatives': return schemesInWords(policy)
    case 'rules': return policy.rules.flatMap(ruleInWords).join('; ') || 'none'
    case 'maxAge': return policy.maxAge === null ? 'none' : `${policy.maxAge} s`
    case 'rateLimit': return rateLimitInWords(policy).join() || 'none'
    case 'detached': return policy.detached ? 'inherit: false' : 'inherited'
  }
}
