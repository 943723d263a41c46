import type { InjectOptions } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import { authenticated } from '../kit/outcome.js'
import { principalFrom } from '../kit/principal.js'
import { sourcesOf } from '../kit/sources.js'
import type { Conditions, Entry, Requirements, Rule } from '../policy/parse.js'
import { hasFunction, type BoundScheme, type Policy } from '../policy/policy.js'
import { hasPermission, type Requirement } from '../policy/requirements.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { isObject, ownField } from '../util/objects.js'

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

/** The scopes and roles of a principal. */
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
    ...rules.flatMap(rule => grantsBelowRule(rule, grants)).map(([caller, given]) => refused(caller, given)),
    ...rules.some(rule => isUnmetBy(grantsFor(rules), rule, name))
      ? [refused('a principal that meets no entry of anyOf', grantsFor(rules))]
      : [],
    ...rules.flatMap(rule => grantsBelowEntries(rule, rules, name)).map(([caller, given]) => refused(caller, given)),
    ...maxAge === null ? [] : [refused(`a principal that logged in ${maxAge + 1} s ago`, grants, maxAge + 1)],
    ...incompleteCases(policy, alternative, grants)
  ]
  const isClosed = open.length === 0 && entries.length === 0
  return { cases, unproven: isClosed ? [`no principal that the scheme '${name}' may let in was found`] : open }
}

/**
 * Returns the case of a principal with everything that the rules require; no case if a `none` rule excludes that
 * principal.
 */
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

/**
 * Returns the cases in which the credential of one scheme is missing, although several schemes are required together.
 */
function incompleteCases (
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
 * Returns lists with one entry of each `anyOf`, for principals that meet them: the first entries of all, and then for
 * each other entry the list in which it replaces the first one. Returns no list if the entries of an `anyOf` for this
 * scheme all have functions.
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

/**
 * Returns the rules with functions, in words. Entries of an `anyOf` with functions are left out if it also has an entry
 * without, which can be tested.
 */
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

/** Returns all scopes and roles that conditions require. */
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

type Below = ReadonlyArray<readonly [caller: string, grants: Grants]>

/**
 * Returns grants that meet all other conditions but just fail each entry of a rule, and meet none of its other entries.
 */
function grantsBelowEntries (rule: Rule, rules: readonly Rule[], scheme: string): Below {
  return entriesFor(rule.anyOf ?? [], scheme)
    .flatMap(entry => grantsBelowRule(entry, grantsFor([...rules, entry])))
    .filter(([, grants]) => isUnmetBy(grants, rule, scheme))
}

/** Returns grants that just fail the scopes and roles of a rule, each with the caller in words. */
function grantsBelowRule (rule: Conditions, grants: Grants): Below {
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

/** Returns true if the conditions without functions are met. */
function isMet (conditions: Conditions, { scopes, roles }: Grants): boolean {
  const principal: Principal = { realm: '', id: '', scopes, roles }
  const has = (each: Requirement) => hasPermission(principal, each)
  return listsOf(conditions).every(({ all, any, none }) =>
    all.every(has) && (any.length === 0 || any.some(has)) && !none.some(has))
}

/** Values of path parameters by name; `'*'` for a wildcard. */
export type ParameterExamples = Readonly<Record<string, string | number>>

/** Matches `::`, a parameter with its expression and its question mark, or a wildcard. */
const parts = /::|:([^:/(.?-]+)(\((?:[^()\\]|\\.|\([^()]*\))*\))?\??|\*/g

/** Texts that are tried for a parameter with a regular expression. */
const candidates = [
  'test', '1', '10', '2030', '2030-01-01', 'a', 'ab', 'abc', 'A', 'AB', '00000000-0000-4000-8000-000000000000', 'a.txt',
  'en', 'en-GB', 'a1b2c3d4', '1234567890', '0123456789abcdef01234567', 'true', 'test-access', '1.0.0'
]

/**
 * Returns a URL that the pattern of a route matches. The values of parameters are those of `examples`, else those that
 * their schemas give, else made up.
 * @returns `null` if no value is known for a parameter.
 */
export function sampleUrl ({ url, params }: RoutePolicy, examples: ParameterExamples): string | null {
  let isKnown = true
  const filled = url.replace(parts, (part, name: string | undefined, expression: string | undefined) => {
    if (part === '::') return ':'
    const value = sampleValue(name ?? '*', { examples, params, expression })
    isKnown &&= value !== null
    return encodeURIComponent(value ?? '')
  })
  if (!isKnown) return null
  return filled.startsWith('/') ? filled : `/${filled}`
}

interface Sources {
  readonly examples: ParameterExamples
  readonly params: unknown
  readonly expression: string | undefined
}

function sampleValue (name: string, { examples, params, expression }: Sources): string | null {
  const example = ownField(examples, name)
  if (example !== undefined) return String(example)
  const schema = schemaOf(params, name)
  const fromSchema = [schema.const, schema.enum, schema.examples, schema.example, schema.default]
    .flat().find(value => typeof value === 'string' || typeof value === 'number')
  const likely = [...fromSchema === undefined ? [] : [String(fromSchema)], ...typical(schema), ...candidates]
  if (expression === undefined) return String(likely[0])
  const matcher = new RegExp(`^(?:${expression.slice(1, -1)})$`)
  return likely.find(value => matcher.test(value)) ?? null
}

/** Returns the schema of a parameter, for a JSON Schema. Validators of other libraries have none. */
function schemaOf (params: unknown, name: string): Readonly<Record<string, unknown>> {
  const properties = isObject(params) && isObject(params.properties) ? params.properties : {}
  const schema = Object.hasOwn(properties, name) ? properties[name] : undefined
  return isObject(schema) ? schema : {}
}

function typical ({ type, format, minimum, minLength }: Readonly<Record<string, unknown>>): readonly string[] {
  if (type === 'integer' || type === 'number') return [String(typeof minimum === 'number' ? Math.ceil(minimum) : 1)]
  if (type === 'boolean') return ['true']
  if (format === 'uuid') return ['00000000-0000-4000-8000-000000000000']
  if (format === 'date') return ['2030-01-01']
  if (format === 'date-time') return ['2030-01-01T00:00:00Z']
  return typeof minLength === 'number' ? ['a'.repeat(Math.max(1, minLength))] : []
}

/**
 * Returns the headers that meet the constraints of a route: its host and version.
 * @returns `null` for other constraints, and for a host that is an expression.
 */
export function constraintHeaders ({ constraints }: RoutePolicy): Readonly<Record<string, string>> | null {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(constraints ?? {})) {
    const header = name === 'host' ? 'host' : name === 'version' ? 'accept-version' : null
    if (header === null || typeof value !== 'string') return null
    headers[header] = value
  }
  return headers
}

const badText = 'test-access-bad-credential'
/** An unsigned JSON Web Token: `{"alg":"none"}`, `{"sub":"test-access"}`. */
const unsignedToken = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0LWFjY2VzcyJ9.'

/** Returns requests that each carry a bad credential, one for each source from which a scheme reads credentials. */
function badCredentials ({ scheme }: BoundScheme): readonly InjectOptions[] {
  return sourcesOf(scheme).flatMap(badCredentialsAt)
}

function badCredentialsAt (source: string): readonly InjectOptions[] {
  const name = source.slice(source.indexOf(':') + 1)
  const authorization = (value: string): InjectOptions => ({ headers: { authorization: value } })
  switch (source.slice(0, source.indexOf(':'))) {
    case 'header': return [{ headers: { [name]: badText } }]
    case 'cookie': return [{ headers: { cookie: `${name}=${badText}` } }]
    case 'query': return [{ query: { [name]: badText } }]
    case 'basic': return [authorization(basic(`${badText}:`))]
    case 'authorization':
      return [authorization(/^basic$/i.test(name) ? basic(`test-access:${badText}`) : `${name} ${badText}`)]
    default: return [authorization(`Bearer ${unsignedToken}`)]
  }
}

function basic (userPass: string): string {
  return `Basic ${Buffer.from(userPass).toString('base64')}`
}
