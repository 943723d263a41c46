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

/** Compares routes of one name, and returns the changes. */
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

t.test('alarms of a new route that lets anonymous callers in', async t => {
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
