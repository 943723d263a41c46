import t from 'tap'
import type { Session } from '../../../lib/schemes/session/session.js'
import { Revocations } from '../../../lib/schemes/session/revocations.js'
import { clock } from './bare-app.js'

const hour = 3_600_000

function sessionOf (id: string, owner: string, begunAt: number, endsAt = begunAt + hour): Session {
  return {
    secret: id,
    id,
    principal: { realm: 'web', id: owner, scopes: [], roles: [] },
    authenticatedAt: begunAt,
    createdAt: begunAt,
    begunAt,
    seenAt: begunAt,
    endsAt,
    kept: false,
    data: {},
    provider: null
  }
}

function revocations (limit?: number) {
  const counts = { folds: 0 }
  return { counts, list: new Revocations(hour, () => { counts.folds++ }, limit) }
}

t.test('remembers an ended session until its expiry, and then removes it', t => {
  const time = clock(t)
  const { list } = revocations()
  const long = sessionOf('long', 'alice', time.now())
  const short = sessionOf('short', 'alice', time.now(), time.now() + 1_000)
  list.end(long)
  list.end(short)
  t.equal(list.denies(long), true)
  t.equal(list.denies(short), true)
  t.equal(list.denies(sessionOf('other', 'alice', time.now())), false)
  for (let n = 0; n < 1_022; n++) list.end(sessionOf(`s${n}`, 'bob', time.now(), time.now() + 1_000))
  time.advance(30)
  list.end(sessionOf('next', 'bob', time.now()))
  t.equal(list.denies(short), false, 'an entry is dropped after its lifetime')
  t.equal(list.denies(long), true)
  t.end()
})

t.test('remembers ended sessions for the longest lifetime of all schemes that share the list', t => {
  const time = clock(t)
  const begun = time.now()
  for (const [lives, over] of [[undefined, false], [2 * hour, true], [hour / 2, false]] as const) {
    const { list } = revocations()
    if (lives !== undefined) list.extendTo(lives)
    const owner = sessionOf('long', 'alice', begun)
    list.endAll(owner.principal, null)
    for (let n = 0; n < 1_023; n++) list.endAll({ realm: 'web', id: `p${n}` }, null)
    const session = sessionOf('long', 'alice', time.now())
    t.equal(list.denies(session), true)
    time.advance(3_601)
    list.endAll({ realm: 'web', id: 'next' }, null)
    t.equal(list.denies(session), over, `${lives}`)
  }
  t.end()
})

t.test('ends a session by id for the given owner, or for anybody', t => {
  const time = clock(t)
  const { list } = revocations()
  list.endOwned('a', { realm: 'web', id: 'mallory' })
  t.equal(list.denies(sessionOf('a', 'alice', time.now())), false, 'somebody else named it')
  t.equal(
    list.denies({
      ...sessionOf('a', 'mallory', time.now()),
      principal: { realm: 'elsewhere', id: 'mallory', scopes: [], roles: [] }
    }),
    false,
    'of another realm'
  )
  list.endOwned('a', { realm: 'web', id: 'mallory' })
  list.endOwned('a', { realm: 'web', id: 'alice' })
  t.equal(list.denies(sessionOf('a', 'alice', time.now())), true, 'the second of two owners of one id counts too')
  list.endOfAnyOwner('b')
  list.endOwned('b', { realm: 'web', id: 'mallory' })
  t.equal(list.denies(sessionOf('b', 'alice', time.now())), true, 'an end for any owner remains')
  t.end()
})

t.test('an end of all spares the given session and later ones, but none that ended before', t => {
  const time = clock(t)
  const { list } = revocations()
  const [a, b] = [sessionOf('a', 'alice', time.now()), sessionOf('b', 'alice', time.now())]
  list.endAll(a.principal, 'a')
  t.same([list.denies(a), list.denies(b)], [false, true])
  t.equal(list.denies(sessionOf('c', 'bob', time.now())), false)
  const next = sessionOf('d', 'alice', list.after(a.principal))
  list.begin(next)
  t.equal(list.denies(next), false, 'the next login, in the same millisecond')
  list.endAll(a.principal, 'b')
  t.same(
    [list.denies(a), list.denies(b)], [true, true], 'a session that has ended stays ended, even if it is the exception'
  )
  list.endAll(a.principal, 'a')
  t.equal(list.denies(a), true)

  const e = sessionOf('e', 'alice', list.after(a.principal))
  list.endAll(a.principal, 'e')
  time.advance(10)
  list.endAll(a.principal, 'e')
  t.equal(list.denies(e), false, 'a session that is the exception twice stays alive')
  list.end(e)
  t.equal(list.denies(e), true, 'the spared one ends like any other')
  list.endAll(a.principal, null)
  t.equal(list.denies(sessionOf('f', 'alice', time.now())), true)
  t.end()
})

t.test('compacts the entries of an owner with too many of them, without affecting others', t => {
  const time = clock(t)
  const { list, counts } = revocations(2_000)
  const begun = time.now()
  const spared = sessionOf('spared', 'spared', begun)
  list.endAll(spared.principal, 'spared')
  list.end(sessionOf('old', 'spared', begun - 1_000))
  const others = Array.from({ length: 50 }, (_, n) => sessionOf(`other${n}`, `other${n}`, begun))
  for (const each of others) list.end(each)
  const shared = sessionOf('shared', 'other0', begun + 10_000)
  list.endOwned('shared', { realm: 'web', id: 'busy' })
  list.endOwned('shared', shared.principal)
  const ended = Array.from({ length: 5_000 }, (_, n) => sessionOf(`s${n}`, 'busy', begun + n))
  for (const each of ended) list.end(each)
  t.ok(counts.folds > 0)
  t.equal(ended.every(each => list.denies(each)), true, 'all sessions that ended stay ended')
  t.equal(others.every(each => list.denies(each)), true)
  t.equal(list.denies(shared), true, 'an id with two owners has ended for the second')
  t.equal(list.denies(spared), false)
  t.equal(
    others.some(({ principal }) => list.denies(sessionOf('x', principal.id, begun))),
    false,
    'other sessions of others'
  )
  t.equal(
    list.denies(sessionOf('x', 'busy', begun)),
    true,
    'an earlier session of the same person ends too'
  )
  time.advance(20)
  t.equal(list.denies(sessionOf('x', 'busy', begun + 5_000)), false, 'a later session goes on')
  t.equal(
    list.denies(sessionOf('x', 'busy', list.after({ realm: 'web', id: 'busy' }))), false, 'a new session is alive'
  )
  t.end()
})

t.test('keeps the spared session when entries are compacted, unless it was ended', t => {
  const time = clock(t)
  const { list } = revocations(2_000)
  const [begun, owner] = [time.now(), { realm: 'web', id: 'busy' }]
  const [spared, wasSpared] = [sessionOf('spared', 'busy', begun), sessionOf('was', 'other', begun)]
  list.endAll(owner, 'spared')
  list.endAll(wasSpared.principal, 'was')
  list.end(wasSpared)
  for (let n = 0; n < 3_000; n++) {
    list.end(sessionOf(`s${n}`, 'busy', begun + n))
    list.end(sessionOf(`o${n}`, 'other', begun + n))
  }
  t.equal(list.denies(spared), false)
  t.equal(list.denies(wasSpared), true)
  t.end()
})

t.test('compacts nothing of people with few entries, however many people there are', t => {
  const time = clock(t)
  const { list } = revocations(2_000)
  const begun = time.now()
  const ended = Array.from({ length: 9_000 }, (_, n) => sessionOf(`s${n}`, `p${n % 3_000}`, begun))
  for (const each of ended) list.end(each)
  t.equal(ended.every(each => list.denies(each)), true)
  t.equal(Array.from({ length: 3_000 }, (_, n) => list.denies(sessionOf('x', `p${n}`, begun))).some(Boolean), false)
  t.end()
})

t.test('replaces the ends of too many people by one timestamp for everybody, the oldest first', t => {
  const time = clock(t)
  const { list, counts } = revocations(2_000)
  const begun = time.now()
  for (let n = 0; n < 3_000; n++) {
    list.endAll({ realm: 'web', id: `p${n}` }, null)
    time.advance(0.001)
  }
  t.ok(counts.folds > 0)
  t.equal(Array.from({ length: 3_000 }, (_, n) => list.denies(sessionOf('x', `p${n}`, begun))).every(Boolean), true)
  t.equal(list.denies(sessionOf('x', 'q', begun)), true, 'an old session of another person ends too')
  t.equal(list.denies(sessionOf('x', 'q', time.now() + 1)), false, 'a later session is still valid')
  t.ok(list.after({ realm: 'web', id: 'q' }) > begun, 'and so does a new login')
  t.end()
})

t.test('forgets the end of all sessions when none of them can be alive', t => {
  const time = clock(t)
  const { list, counts } = revocations(2_000)
  for (let n = 0; n < 1_024; n++) list.endAll({ realm: 'web', id: `p${n}` }, null)
  time.advance(3_600)
  list.endAll({ realm: 'web', id: 'last' }, null)
  t.equal(list.after({ realm: 'web', id: 'p0' }), -Infinity, 'an entry is dropped after its lifetime')
  t.equal(counts.folds, 0)
  t.end()
})

t.test('refuses ids without an owner beyond a maximum, until the earliest expire', t => {
  const time = clock(t)
  const { list } = revocations(500)
  for (let n = 0; n < 1_000; n++) {
    list.endOfAnyOwner(`s${n}`)
    time.advance(1)
  }
  t.throws(() => { list.endOfAnyOwner('more') }, { code: 'AUTH_UNAVAILABLE' })
  t.doesNotThrow(() => { list.endOfAnyOwner('s0') }, 'a known one is ended again')
  t.equal(list.denies(sessionOf('s999', 'alice', time.now())), true)
  t.equal(list.denies(sessionOf('x', 'alice', time.now())), false, 'other sessions go on')
  time.advance(3_600 - 1_000 + 1)
  t.doesNotThrow(() => {
    list.endOfAnyOwner('more')
  })
  t.equal(
    list.denies(sessionOf('s0', 'alice', time.now())),
    true,
    'the one that was ended again is remembered from then on'
  )
  t.equal(list.denies(sessionOf('s1', 'alice', time.now())), false, 'an entry that was replaced is forgotten')
  t.end()
})

t.test('ends sessions that began before the clock was set back', t => {
  const time = clock(t)
  const { list } = revocations()
  const [begunHere, seenHere, unseen] = ['here', 'seen', 'unseen'].map(id => sessionOf(id, 'alice', time.now())) as [
    Session,
    Session,
    Session
  ]
  list.begin(sessionOf('first', 'bob', time.now() - 10_000))
  time.advance(-5)
  t.equal(list.denies(seenHere), false)
  list.endAll(seenHere.principal, null)
  t.equal(list.denies(seenHere), true)

  const { list: other } = revocations()
  other.begin(begunHere)
  other.endAll(begunHere.principal, null)
  t.equal(other.denies(begunHere), true)
  const next = sessionOf('next', 'alice', other.after(begunHere.principal))
  other.begin(next)
  t.equal(other.denies(next), false, 'a new session is alive')

  const { list: third } = revocations()
  third.endAll(unseen.principal, 'spared')
  t.equal(third.denies(sessionOf('spared', 'alice', unseen.begunAt)), false)
  t.equal(third.denies(unseen), true, 'one that began by a clock that was ahead')
  time.advance(6)
  t.equal(third.denies(unseen), true, 'and does not come back')
  t.equal(third.denies(sessionOf('later', 'alice', time.now())), false)
  t.end()
})
