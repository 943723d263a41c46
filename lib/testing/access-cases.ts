import type { InjectOptions } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import { authenticated } from '../kit/outcome.js'
import { principalFrom } from '../kit/principal.js'
import type { Conditions, Entry, Requirements, Rule } from '../policy/parse.js'
import { hasFunction, type BoundScheme, type Policy } from '../policy/policy.js'
import { hasPermission, type Requirement } from '../policy/requirements.js'
import { badCredentials } from './sample-request.js'

/** One request to a route, and how it must end. */
export interface AccessCase {
  /** The caller, in words. */
  readonly caller: string
  /**
   * `entry`: anything but 401 and 403. `refusal`: 401, 403, or a redirect to a login page. `no entry`: neither 2xx nor
   * another redirect.
   */
  readonly expects: 'entry' | 'refusal' | 'no entry'
  /** Returns the outcomes of the schemes by name; `null` if the schemes themselves are called. */
  readonly outcomes: ((id: string) => ReadonlyMap<string, Outcome>) | null
  readonly request: InjectOptions
}

/** The cases of one policy, and the rules that they cannot prove, in words. */
export interface PolicyCases {
  readonly cases: readonly AccessCase[]
  readonly unproven: readonly string[]
}

/** Scopes and roles of a principal, by whose absence a rule must refuse it. */
interface Grants {
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
}

type Alternative = readonly [acting: BoundScheme, ...others: readonly BoundScheme[]]

/**
 * Returns the cases of a policy that is not public. Those that are let in come first, so that a cache in front of the
 * guard has something to give away when the others come.
 */
export function policyCases (policy: Policy): PolicyCases {
  const all = policy.alternatives.map(alternative => alternativeCases(policy, alternative as Alternative))
  const cases = [...all.flatMap(({ cases }) => cases), ...nobodyCases(policy)]
  const order = ['entry', 'refusal', 'no entry']
  return {
    cases: cases.sort((a, b) => order.indexOf(a.expects) - order.indexOf(b.expects)),
    unproven: [...new Set(all.flatMap(({ unproven }) => unproven))]
  }
}

/** Returns the cases of callers without a good credential. Mode `try` refuses none of them. */
function nobodyCases ({ access, schemes }: Policy): readonly AccessCase[] {
  if (access === 'try') return []
  const nobody = (caller: string, request: InjectOptions): AccessCase =>
    ({ caller, expects: 'no entry', outcomes: null, request })
  const browser = { headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate' } }
  const without = [
    nobody('a program without a credential', {}),
    ...schemes.some(({ scheme }) => scheme.refuse !== undefined)
      ? [nobody('a browser without a credential', browser)]
      : []
  ]
  const bad = schemes.flatMap(bound =>
    badCredentials(bound).map(request => nobody(`a bad credential of the scheme '${bound.name}'`, request)))
  return access === 'required' ? [...without, ...bad] : bad
}

function alternativeCases (policy: Policy, alternative: Alternative): PolicyCases {
  const [{ name }] = alternative
  const { rules, maxAge } = policy
  const choices = entryChoices(rules, name)
  const [first] = choices
  const open = functionsOf(rules, name)
  const grants = grantsFor([...rules, ...first ?? []])
  const refused = (caller: string, given: Grants, seconds = 0) =>
    asPrincipal(alternative, { caller, expects: 'refusal', grants: given, seconds })
  const entries = open.length > 0 ? [] : choices.flatMap(each => entryCase(policy, alternative, each))
  const cases = [
    ...entries,
    ...rules.flatMap(rule => belowRule(rule, grants)).map(([caller, given]) => refused(caller, given)),
    ...rules.some(rule => isUnmetBy(grantsFor(rules), rule, name))
      ? [refused('a principal that meets no entry of anyOf', grantsFor(rules))]
      : [],
    ...maxAge === null ? [] : [refused(`a principal that logged in ${maxAge + 1} s ago`, grants, maxAge + 1)],
    ...incomplete(policy, alternative, grants)
  ]
  const isClosed = open.length === 0 && entries.length === 0
  return { cases, unproven: isClosed ? [`no principal that the scheme '${name}' may let in was found`] : open }
}

/** Returns the case of a principal with everything that the rules ask for; none if that meets a `none` too. */
function entryCase ({ rules }: Policy, alternative: Alternative, entries: readonly Entry[]): readonly AccessCase[] {
  const grants = grantsFor([...rules, ...entries])
  if (![...rules, ...entries].every(each => isMet(each, grants))) return []
  return [asPrincipal(alternative, { caller: 'a principal with everything', expects: 'entry', grants, seconds: 0 })]
}

interface CallerOf {
  readonly caller: string
  readonly expects: AccessCase['expects']
  readonly grants: Grants
  /** Seconds since the principal logged in. */
  readonly seconds: number
}

function asPrincipal (schemes: readonly BoundScheme[], { caller, expects, grants, seconds }: CallerOf): AccessCase {
  const outcomes = (id: string): ReadonlyMap<string, Outcome> => {
    const authenticatedAt = new Date(Date.now() - seconds * 1000)
    return new Map(schemes.map(({ name }) => [
      name, authenticated(principalFrom({ id, ...grants }, name) as Principal, { authenticatedAt })
    ]))
  }
  const names = schemes.map(({ name }) => `'${name}'`).join(' and ')
  return { caller: `${caller}, by ${names}`, expects, outcomes, request: {} }
}

/** Returns the cases that lack one scheme of several that are all required. */
function incomplete (
  { access, alternatives }: Policy, alternative: Alternative, grants: Grants
): readonly AccessCase[] {
  if (access !== 'required' || alternative.length < 2) return []
  return alternative.flatMap(left => {
    const others = alternative.filter(each => each !== left)
    const isOther = alternatives.some(each => each.every(bound => others.includes(bound)))
    const caller = `a principal without a credential of '${left.name}'`
    return isOther ? [] : [asPrincipal(others, { caller, expects: 'refusal', grants, seconds: 0 })]
  })
}

/**
 * Returns for each way of meeting all `anyOf` its entries: the first of each, and each other one beside the first ones.
 * None if an `anyOf` has no entry for the scheme that a request does not decide.
 */
function entryChoices (rules: readonly Rule[], scheme: string): ReadonlyArray<readonly Entry[]> {
  const lists = rules.flatMap(({ anyOf }) => anyOf === null ? [] : [entriesFor(anyOf, scheme)])
    .map(entries => entries.filter(entry => !hasFunction(entry)))
  const first = lists.flatMap(([entry]) => entry ?? [])
  if (first.length < lists.length) return []
  const others = lists.flatMap((list, i) => list.slice(1).map(entry => first.with(i, entry)))
  return [first, ...others]
}

function entriesFor (entries: readonly Entry[], scheme: string): readonly Entry[] {
  return entries.filter(({ schemes }) => schemes === null || schemes.includes(scheme))
}

/** Returns the rules that a request decides, in words. Entries beside a static one decide nothing alone. */
function functionsOf (rules: readonly Rule[], scheme: string): readonly string[] {
  return rules.flatMap(rule => {
    const entries = entriesFor(rule.anyOf ?? [], scheme)
    const open = entries.every(hasFunction) ? entries : []
    return [rule, ...open].filter(hasFunction).map(({ when, scopes, roles }) => {
      const named = [['when', when], ['scopes', scopes], ['roles', roles]] as const
      const found = named.flatMap(([key, value]) => typeof value === 'function' ? [{ key, name: value.name }] : [])
      return found.map(({ key, name }) => name === key || name === '' ? key : `${key} ${name}`).join(', ')
    })
  })
}

function listsOf ({ scopes, roles }: Conditions): readonly Requirements[] {
  return [scopes, roles].flatMap(each => each === null || typeof each === 'function' ? [] : [each])
}

/** Returns everything that conditions ask for. */
function grantsFor (conditions: readonly Conditions[]): Grants {
  const required = conditions.flatMap(listsOf).flatMap(({ all, any }) => [...all, ...any])
  return {
    scopes: [...new Set(required.flatMap(({ scope }) => scope ?? []))],
    roles: [...new Set(required.flatMap(({ scope, name }) => scope === null ? [name] : []))]
  }
}

function without ({ scopes, roles }: Grants, removed: readonly Requirement[]): Grants {
  return {
    scopes: scopes.filter(name => !removed.some(({ scope }) => scope === name)),
    roles: roles.filter(name => !removed.some(each => each.roles.includes(name)))
  }
}

function withAlso ({ scopes, roles }: Grants, { scope, name }: Requirement): Grants {
  return scope === null ? { scopes, roles: [...roles, name] } : { scopes: [...scopes, scope], roles }
}

/** Returns what is just not enough for the scopes and roles of a rule, each with the caller in words. */
function belowRule (rule: Rule, grants: Grants): ReadonlyArray<readonly [caller: string, grants: Grants]> {
  const inWords = ({ scope, name }: Requirement) => `${scope === null ? 'role' : 'scope'} '${name}'`
  return listsOf(rule).flatMap(({ all, any, none }) => [
    ...all.map(each => [`a principal without the ${inWords(each)}`, without(grants, [each])] as const),
    ...any.length === 0
      ? []
      : [[`a principal without the ${any.map(inWords).join(' and the ')}`, without(grants, any)] as const],
    ...none.map(each => [`a principal with the ${inWords(each)}`, withAlso(grants, each)] as const)
  ])
}

/** Returns true if grants meet no entry of the rule. */
function isUnmetBy (grants: Grants, { anyOf }: Rule, scheme: string): boolean {
  return anyOf !== null && !entriesFor(anyOf, scheme).some(entry => isMet(entry, grants))
}

/** Returns true if the conditions that no request decides are met. */
function isMet (conditions: Conditions, { scopes, roles }: Grants): boolean {
  const principal: Principal = { realm: '', id: '', scopes, roles }
  const has = (each: Requirement) => hasPermission(principal, each)
  return listsOf(conditions).every(({ all, any, none }) =>
    all.every(has) && (any.length === 0 || any.some(has)) && !none.some(has))
}
