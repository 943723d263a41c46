import t from 'tap'
import { compareSnapshots, isAlarming } from '../../lib/audit/compare.js'
import type { RouteSummary, SchemeSummary, Snapshot } from '../../lib/audit/snapshot.js'
import type { AuditPolicy } from '../../types/audit.js'

/** Returns the summary of a route. */
function summary (maxAge: number | null, access: AuditPolicy['access'] = 'required'): RouteSummary {
  const policy = { access, alternatives: [['user']], rules: [], maxAge, rateLimit: null, detached: false }
  return { route: 'GET /x', constraints: null, policy, delegated: false }
}

function snapshot (...routes: readonly RouteSummary[]): Snapshot {
  return { schemes: [], roles: [], routes }
}

/** Compares routes of one name, and returns the differences. */
function changes (before: readonly RouteSummary[], after: readonly RouteSummary[]): readonly string[] {
  const { differences } = compareSnapshots(snapshot(...before), snapshot(...after))
  return differences.map(({ verdict, details }) => `${verdict} ${details.join(', ')}`)
}

t.test('pairs routes of one name so that the ones that are equal hide no other', async t => {
  const [one, two, none] = [summary(60), summary(120), summary(null)]
  t.same(changes([one, two], [two, one]), [], 'the order means nothing')
  t.same(changes([one, one], [one, none]), ['loosened maxAge: 60 s → none'])
  t.same(changes([one, two], [none, two]), ['loosened maxAge: 60 s → none'])
  t.same(changes([one, one], [one, one]), [])
  t.same(
    changes([one, two], [none]), ['loosened maxAge: 60 s → none', 'loosened maxAge: 120 s → none'],
    'it is not known which one is left'
  )
})

t.test('compares all lines of a scheme or a role, of which a merge may have left two', async t => {
  const scheme = (issuer: string): SchemeSummary => ({ name: 'user', accepts: { issuer } })
  const [one, two] = [scheme('one'), scheme('two')]
  const compared = (before: Partial<Snapshot>, after: Partial<Snapshot>) => {
    const comparison = compareSnapshots({ ...snapshot(), ...before }, { ...snapshot(), ...after })
    t.equal(isAlarming(comparison), comparison.differences.some(({ verdict }) => verdict !== 'tightened'))
    return comparison.differences.map(({ verdict, subject, details }) => `${verdict} ${subject} ${details.join()}`)
  }
  t.same(
    compared({ schemes: [one, two] }, { schemes: [one] }),
    ['unclear scheme user accepts: {"issuer":"one"},{"issuer":"two"} → {"issuer":"one"}']
  )
  t.same(compared({ schemes: [one] }, { schemes: [one, two] }).length, 1)
  t.same(compared({ schemes: [one, two] }, { schemes: [one, two] }), [])
  const role = (...scopes: string[]) => ({ name: 'clerk', roles: [], scopes })
  t.same(compared({ roles: [role('a'), role('b')] }, { roles: [role('a', 'b')] }), [])
  t.same(
    compared({ roles: [role('a'), role('b')] }, { roles: [role('a')] }),
    ['tightened role clerk no longer includes: scope b']
  )
  t.same(
    compared({ roles: [role('a')] }, { roles: [role('a'), role('b')] }), ['loosened role clerk includes now: scope b']
  )
})

t.test('reports a new route that admits anonymous callers as loosened', async t => {
  for (const access of ['public', 'optional', 'try'] as const) {
    const comparison = compareSnapshots(snapshot(), snapshot(summary(null, access)))
    t.match(comparison.differences, [{ verdict: 'loosened', subject: 'GET /x', details: [`new: ${access}`] }])
    t.equal(isAlarming(comparison), true)
  }
  t.equal(isAlarming(compareSnapshots(snapshot(), snapshot(summary(null)))), false)
})

t.test('reports each route that changed in the same way, and the methods of one declaration together', async t => {
  const routes = (maxAge: number | null) => ['GET /x', 'GET /y', 'GET, POST /z'].map(
    route => ({ ...summary(maxAge), route })
  )
  const { differences } = compareSnapshots(snapshot(...routes(60)), snapshot(...routes(null)))
  t.same(differences.map(({ subject }) => subject), ['GET /x', 'GET /y', 'GET, POST /z'])
})

t.test('reports what is loosened first, and names routes with a single function without a name', async t => {
  const at = (route: string, maxAge: number | null) => ({ ...summary(maxAge), route })
  const { differences } = compareSnapshots(
    snapshot(at('GET /a', null), at('GET /b', 60)), snapshot(at('GET /a', 60), at('GET /b', null))
  )
  t.same(differences.map(({ verdict, subject }) => `${verdict} ${subject}`), ['loosened GET /b', 'tightened GET /a'])
  const one = summary(null)
  const rules = [{ scopes: null, roles: null, when: '', anyOf: null }]
  const checked = { ...one, policy: { ...one.policy, rules } }
  t.same(compareSnapshots(snapshot(checked), snapshot(checked, at('GET /a', null))).unnamed, ['GET /x'])
})

const names = (all: readonly string[], any: readonly string[] = [], none: readonly string[] = []) =>
  ({ all, any, none })
const rule = (more: object) => ({ scopes: null, roles: null, when: null, anyOf: null, ...more })
const entry = (more: object) => ({ schemes: null, scopes: null, roles: null, when: null, ...more })
const windows = (max: number, window: number, plan: string | null = null) => ({ plan, windows: [{ max, window }] })
const choice = (name: string, ...plans: object[]) => ({ function: name, plans })
const anyOf = (...entries: object[]) => ({ rules: [rule({ anyOf: entries })] })

type Verdicts = readonly [there: string, back: string]

/** Changes of one part of a policy, with the verdict of each and that of its opposite. */
const parts: Readonly<Record<string, readonly (readonly [before: object, after: object, verdicts: Verdicts])[]>> = {
  access: [
    ['public', 'try'], ['public', 'optional'], ['public', 'required'], ['try', 'optional'], ['try', 'required'],
    ['optional', 'required']
  ].map(([before, after]) => [{ access: before }, { access: after }, ['tightened', 'loosened']]),
  alternatives: [
    [{ alternatives: [['user']] }, { alternatives: [['user'], ['web']] }, ['loosened', 'tightened']],
    [{ alternatives: [['user']] }, { alternatives: [['web']] }, ['loosened', 'loosened']],
    [{ alternatives: [['user', 'web']] }, { alternatives: [['user']] }, ['loosened', 'tightened']],
    [{ alternatives: [['user', 'web']] }, { alternatives: [['web', 'user']] }, ['loosened', 'loosened']],
    [{ alternatives: [['user'], ['web']] }, { alternatives: [['web'], ['user']] }, ['unclear', 'unclear']],
    [{ alternatives: [['a'], ['b'], ['c']] }, { alternatives: [['c'], ['a']] }, ['unclear', 'loosened']],
    [{ alternatives: [['a'], ['b'], ['c']] }, { alternatives: [['a'], ['c']] }, ['tightened', 'loosened']],
    [{ alternatives: [['user'], ['user', 'web']] }, { alternatives: [['user']] }, ['unclear', 'unclear']]
  ],
  rules: [
    [{ rules: [] }, { rules: [rule({ scopes: names(['a']) })] }, ['tightened', 'loosened']],
    [{ rules: [] }, { rules: [rule({ roles: names([], [], ['a']) })] }, ['tightened', 'loosened']],
    [{ rules: [rule({ scopes: names(['a']) })] }, { rules: [rule({ roles: names(['a']) })] }, ['loosened', 'loosened']],
    [
      { rules: [rule({ scopes: names([], ['a', 'b']) })] }, { rules: [rule({ scopes: names(['a']) })] },
      ['tightened', 'loosened']
    ],
    [{ rules: [rule({ when: 'isOwner' })] }, { rules: [rule({ when: 'isAdmin' })] }, ['unclear', 'unclear']],
    [{ rules: [rule({ when: 'isOwner' })] }, { rules: [] }, ['loosened', 'tightened']],
    [
      { rules: [rule({ when: 'check' })] }, { rules: [rule({ scopes: { function: 'check' } })] },
      ['loosened', 'loosened']
    ],
    [anyOf(entry({ scopes: names(['a']) })), anyOf(entry({}), entry({ when: 'f' })), ['loosened', 'tightened']],
    [
      anyOf(entry({ schemes: ['user'], scopes: names(['a']) })), anyOf(entry({ scopes: names(['a']) })),
      ['loosened', 'tightened']
    ],
    [anyOf(entry({ when: '' })), anyOf(entry({ when: '' }), entry({ when: '' })), ['unclear', 'unclear']],
    [anyOf(entry({ when: '' })), { rules: [rule({ when: '' })] }, ['loosened', 'loosened']]
  ],
  maxAge: [[{ maxAge: null }, { maxAge: 60 }, ['tightened', 'loosened']], [
    { maxAge: 90 }, { maxAge: 60 }, ['tightened', 'loosened']
  ]],
  rateLimit: [
    [{ rateLimit: null }, { rateLimit: windows(5, 60) }, ['tightened', 'loosened']],
    [{ rateLimit: windows(6, 60) }, { rateLimit: windows(5, 60) }, ['tightened', 'loosened']],
    [{ rateLimit: windows(5, 60) }, { rateLimit: windows(5, 90) }, ['tightened', 'loosened']],
    [{ rateLimit: choice('f', windows(5, 60, 'a')) }, { rateLimit: choice('g', windows(5, 60, 'a')) }, [
      'unclear', 'unclear'
    ]],
    [
      { rateLimit: choice('f', windows(5, 60, 'a')) },
      { rateLimit: choice('f', windows(5, 60, 'a'), windows(9, 60, 'b')) }, ['unclear', 'unclear']
    ],
    [{ rateLimit: windows(5, 60) }, { rateLimit: choice('f', windows(9, 60, 'b')) }, ['loosened', 'tightened']]
  ],
  detached: [[{ detached: true }, { detached: false }, ['tightened', 'loosened']]]
}

t.test('reports each part that changed, alone and with its verdict, in both directions', async t => {
  const compared = (before: object, after: object) => {
    const [one, other] = [summary(null), summary(null)]
    return changes(
      [{ ...one, policy: { ...one.policy, ...before } }], [{ ...other, policy: { ...other.policy, ...after } }]
    ).map(change => change.split(':')[0])
  }
  for (const [part, cases] of Object.entries(parts)) {
    for (const [before, after, [there, back]] of cases) {
      t.same(compared(before, after), [`${there} ${part}`], JSON.stringify([before, after]))
      t.same(compared(after, before), [`${back} ${part}`], JSON.stringify([after, before]))
      t.same(compared(after, after), [])
    }
  }
  t.same(
    compared({ maxAge: 60 }, { rateLimit: windows(5, 60) }), ['loosened maxAge'],
    'only the loosened part is reported'
  )
  const open = { access: 'public', alternatives: [], rateLimit: windows(5, 60) }
  t.same(compared({ alternatives: [['web']], maxAge: 60 }, open), ['loosened access'], 'there is nothing to compare')
  t.same(compared(open, { alternatives: [['web']], maxAge: 60 }), ['tightened access'])
})

t.test('reports a role that includes less as loosened where a route excludes what it included', async t => {
  const at = (route: string, ...rules: readonly object[]) => {
    const one = summary(null)
    return { ...one, route, policy: { ...one.policy, rules } } as RouteSummary
  }
  const routes = [
    at('GET /scope', rule({ scopes: names([], [], ['other', 'blocked']) })),
    at('GET /role', rule({ roles: names([], [], ['guest']) })),
    at('GET /entry', rule({ anyOf: [entry({ scopes: names([], [], ['blocked']) })] })),
    at('GET /needs', rule({ scopes: names(['blocked'], ['blocked']) })),
    at('GET /function', rule({ scopes: { function: 'f' }, roles: { function: 'g' } })), at('GET /free')
  ]
  const compared = (before: readonly object[], after: readonly object[]) => {
    const of = (roles: readonly object[]) => ({ schemes: [], roles, routes }) as Snapshot
    return compareSnapshots(of(before), of(after)).differences
      .map(({ verdict, subject, details }) => `${verdict} ${subject} ${details.join('; ')}`)
  }
  const role = (name: string, roles: readonly string[], scopes: readonly string[]) => ({ name, roles, scopes })
  const clerk = role('clerk', ['guest'], ['blocked', 'read'])
  const admin = role('admin', [], ['blocked'])
  const end = 'is no longer excluded by that from: '
  t.same(compared([clerk, admin], [role('clerk', ['guest'], ['read']), admin]), [
    `loosened role clerk no longer includes: scope blocked; ${end}GET /scope, GET /entry`
  ])
  t.same(compared([clerk], [role('clerk', [], ['blocked', 'read'])]), [
    `loosened role clerk no longer includes: role guest; ${end}GET /role`
  ])
  t.same(compared([clerk], [role('clerk', ['boss'], ['blocked', 'read'])]), [
    `loosened role clerk includes now: role boss; no longer includes: role guest; ${end}GET /role`
  ])
  t.same(compared([clerk], [role('clerk', ['guest'], ['blocked'])]), [
    'tightened role clerk no longer includes: scope read'
  ])
  t.same(compared([clerk], [role('clerk', ['guest', 'boss'], ['blocked'])]), [
    'loosened role clerk includes now: role boss; no longer includes: scope read'
  ])
  t.same(changes([summary(60), summary(120)], []), ['note the route is gone', 'note the route is gone'])
})
