import fc from 'fast-check'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { comparePolicies, verdictOf } from '../../lib/audit/strictness.js'
import { authenticate, type Verdict } from '../../lib/guard/authenticate.js'
import { checkStatic } from '../../lib/guard/authorize.js'
import { RequestState } from '../../lib/guard/request-state.js'
import { parseDeclaration } from '../../lib/policy/parse.js'
import { publicPolicy, resolvePolicy, type BoundScheme, type Policy } from '../../lib/policy/policy.js'
import { parsePermissions } from '../../lib/policy/requirements.js'
import { policyData } from '../../lib/policy/words.js'
import { as, headerScheme, type Sent } from '../fixtures/policies.js'
import { size } from '../fixtures/size.js'

const schemes = new Map<string, BoundScheme>(['user', 'web', 'service'].map(name =>
  [name, { name, scheme: headerScheme(name, { reportsAuthTime: true }), ambient: false, load: null, features: {} }]))
const permissions = parsePermissions(undefined, { a: { roles: ['b'], scopes: ['c'] }, b: {}, c: {} })

const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 2 })
const clause = fc.oneof(
  fc.constantFrom('a', 'b', 'c'),
  fc.record({ all: names, any: names, none: names }, { requiredKeys: [] }).filter(isNotEmpty)
)
const conditions = { scopes: clause, roles: clause }
const schemeNames = fc.uniqueArray(fc.constantFrom('user', 'web'), { minLength: 1 })
const entry = fc.record({ schemes: schemeNames, ...conditions }, { requiredKeys: [] }).filter(isNotEmpty)
const rules = {
  ...conditions, anyOf: fc.array(entry, { minLength: 1, maxLength: 2 }), maxAge: fc.constantFrom(30, 60, 90)
}
// any combination of modes and rules; the entries of anyOf use schemes that every alternative contains
const both = fc.constantFrom(
  ['user', 'web'], ['web', 'user'], ['user', { all: ['web', 'service'] }, 'web'], ['service', 'user', 'web'],
  [{ all: ['user', 'service'] }, 'web']
)
const ruled = fc.record({ schemes: both, ...rules }, { requiredKeys: ['schemes'] })
const declaration = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 2, arbitrary: fc.record({ schemes: both, mode: fc.constantFrom('optional', 'try', 'required') }) },
  { weight: 1, arbitrary: fc.record({ schemes: fc.constantFrom('user', ['service'], { all: ['web', 'user'] }) }) },
  { weight: 9, arbitrary: ruled }
)
/** Two declarations that have nothing in common, or all but one or two fields. */
const pair = fc.oneof(
  { weight: 1, arbitrary: fc.tuple(declaration, declaration) },
  {
    weight: 3,
    arbitrary: fc.tuple(ruled, fc.record({ schemes: both, ...rules }, { requiredKeys: [] }))
      .map(([first, changed]): [unknown, unknown] => {
        const kept = Object.entries(changed).slice(0, 2)
        return [first, { ...first, ...Object.fromEntries(kept) }]
      })
  }
)

function isNotEmpty (value: object): boolean {
  return Object.keys(value).length > 0
}

function policyFrom (declared: unknown): Policy {
  if (declared === null) return publicPolicy('')
  return resolvePolicy([parseDeclaration(declared, 'test', permissions)], { schemes, plans: new Map() }, 'test')
}

/** Returns whether the guard admits the caller. */
function enters (policy: Policy, scheme: string, sent: Sent): boolean {
  if (policy.access === 'public') return true
  const headers = as(sent, scheme)
  const request = { headers, raw: { headers } } as unknown as FastifyRequest
  const verdict = authenticate(policy, new RequestState(request)) as Verdict
  if ('failure' in verdict) return false
  const [acting] = verdict
  return acting === undefined || checkStatic(policy, acting) === null
}

const has = fc.subarray(['a', 'b', 'c'])
const caller = fc.record({ scopes: has, roles: has, age: fc.constantFrom(10, 45, 75, 100) })
const callers = fc.array(
  fc.tuple(fc.constantFrom('user', 'web', 'service'), caller), { minLength: 12, maxLength: 12 }
)

t.test('a caller whom only the new policy admits passes by a part that is loosened', async t => {
  const counts = { pairs: 0, newcomers: 0, loosened: 0 }
  fc.assert(fc.property(pair, callers, ([first, second], callers) => {
    const [before, after] = [policyFrom(first), policyFrom(second)]
    const verdict = verdictOf(comparePolicies(policyData(before), policyData(after)))
    const isNew = callers.some(([scheme, sent]) => enters(after, scheme, sent) && !enters(before, scheme, sent))
    counts.pairs++
    if (isNew) counts.newcomers++
    if (verdict === 'loosened') counts.loosened++
    return !isNew || verdict === 'loosened'
  }), { numRuns: size({ test: 2_000, short: 10_000, full: 100_000 }) })
  t.ok(counts.newcomers > counts.pairs * 0.1 && counts.loosened < counts.pairs * 0.95, JSON.stringify(counts))
})

t.test('the opposite comparison has the opposite verdict', async t => {
  fc.assert(fc.property(pair, ([first, second]) => {
    const [before, after] = [policyData(policyFrom(first)), policyData(policyFrom(second))]
    const [there, back] = [comparePolicies(before, after), comparePolicies(after, before)]
    const opposite = { loosened: 'tightened', tightened: 'loosened', unclear: 'unclear' } as const
    return there.every(({ part, verdict }) => {
      const other = back.find(each => each.part === part)?.verdict
      // a part that changed in both directions is loosened in both comparisons; reordered alternatives may also have
      // lost one
      return other === opposite[verdict] || (verdict !== 'tightened' && other === 'loosened') ||
        (verdict === 'loosened' && other === 'unclear')
    }) && comparePolicies(before, before).length === 0
  }), { numRuns: size({ test: 1_000, short: 3_000, full: 30_000 }) })
})
