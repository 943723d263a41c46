import t from 'tap'
import { Denials } from '../../lib/sessions/denials.js'
import type { Session } from '../../lib/sessions/payload.js'
import { clock } from './desk.js'

const hour = 3_600_000

function sessionOf (id: string, owner: string, begunAt: number, endsAt = begunAt + hour): Session {
  return { secret: id, id, principal: { realm: 'web', id: owner, scopes: [], roles: [] }, authenticatedAt: begunAt, begunAt, seenAt: begunAt, endsAt, kept: false, data: {} }
}

function denials (limit?: number) {
  const told = { folds: 0 }
  return { told, list: new Denials(hour, () => { told.folds++ }, limit) }
}

t.test('a session that was ended is over until its end, and then it is swept', t => {
  const time = clock(t)
  const { list } = denials()
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
  t.equal(list.denies(short), false, 'swept')
  t.equal(list.denies(long), true)
  t.end()
})

t.test('where sessions of another scheme live longer, ends are remembered for as long as those, and a shorter one changes nothing', t => {
  const time = clock(t)
  const begun = time.now()
  for (const [lives, over] of [[undefined, false], [2 * hour, true], [hour / 2, false]] as const) {
    const { list } = denials()
    if (lives !== undefined) list.outlast(lives)
    const owner = sessionOf('long', 'alice', begun)
    list.endAll(owner.principal, null)
    for (let n = 0; n < 1_023; n++) list.endAll({ realm: 'web', id: `p${n}` }, null)
    const seen = sessionOf('long', 'alice', time.now())
    t.equal(list.denies(seen), true)
    time.advance(3_601)
    list.endAll({ realm: 'web', id: 'next' }, null)
    t.equal(list.denies(seen), over, `${lives}`)
  }
  t.end()
})

t.test('an end by id counts for the owner that was named, or for anybody', t => {
  const time = clock(t)
  const { list } = denials()
  list.endById('a', { realm: 'web', id: 'mallory' })
  t.equal(list.denies(sessionOf('a', 'alice', time.now())), false, 'somebody else named it')
  t.equal(list.denies({ ...sessionOf('a', 'mallory', time.now()), principal: { realm: 'elsewhere', id: 'mallory', scopes: [], roles: [] } }), false, 'of another realm')
  list.endById('a', { realm: 'web', id: 'mallory' })
  list.endById('a', { realm: 'web', id: 'alice' })
  t.equal(list.denies(sessionOf('a', 'alice', time.now())), true, 'the second of two who name it is heard too')
  list.endById('b', null)
  list.endById('b', { realm: 'web', id: 'mallory' })
  t.equal(list.denies(sessionOf('b', 'alice', time.now())), true, 'what is over for anybody stays so')
  t.end()
})

t.test('an end of all spares the one that is named and what begins afterwards, and nothing that an earlier one ended', t => {
  const time = clock(t)
  const { list } = denials()
  const [a, b] = [sessionOf('a', 'alice', time.now()), sessionOf('b', 'alice', time.now())]
  list.endAll(a.principal, 'a')
  t.same([list.denies(a), list.denies(b)], [false, true])
  t.equal(list.denies(sessionOf('c', 'bob', time.now())), false)
  t.equal(list.denies(sessionOf('d', 'alice', list.after(a.principal))), false, 'the next login, in the same millisecond')
  list.endAll(a.principal, 'b')
  t.same([list.denies(a), list.denies(b)], [true, true], 'the dead are not raised')
  list.endAll(a.principal, 'a')
  t.equal(list.denies(a), true)

  const e = sessionOf('e', 'alice', list.after(a.principal))
  list.endAll(a.principal, 'e')
  time.advance(10)
  list.endAll(a.principal, 'e')
  t.equal(list.denies(e), false, 'spared twice')
  list.end(e)
  t.equal(list.denies(e), true, 'the spared one ends like any other')
  list.endAll(a.principal, null)
  t.equal(list.denies(sessionOf('f', 'alice', time.now())), true)
  t.end()
})

t.test('very many ends fold into an instant for each principal: nothing that ended comes back, and others go on', t => {
  const time = clock(t)
  const { list, told } = denials(2_000)
  const begun = time.now()
  const spared = sessionOf('spared', 'spared', begun)
  const wasSpared = sessionOf('was', 'was', begun)
  list.endAll(spared.principal, 'spared')
  list.endAll(wasSpared.principal, 'was')
  list.end(sessionOf('old', 'spared', begun - 1_000))
  list.end(wasSpared)
  const ended = Array.from({ length: 5_000 }, (_, n) => sessionOf(`s${n}`, `p${n % 10}`, begun + n))
  for (const each of ended) list.end(each)
  t.ok(told.folds > 0)
  t.equal(ended.every(each => list.denies(each)), true)
  t.equal(list.denies(wasSpared), true)
  t.equal(list.denies(spared), false)
  t.equal(list.denies(sessionOf('x', 'q', begun)), false, 'another principal')
  t.equal(list.denies(sessionOf('x', 'p0', begun)), true, 'an earlier session of theirs, which nobody ended: the price')
  t.equal(list.denies(sessionOf('x', 'p0', list.after({ realm: 'web', id: 'p0' }))), false, 'a new login')
  t.end()
})

t.test('very many principals fold too, the oldest first, into an instant for everybody', t => {
  const time = clock(t)
  const { list, told } = denials(2_000)
  const begun = time.now()
  const ended = Array.from({ length: 9_000 }, (_, n) => sessionOf(`s${n}`, `p${n}`, begun + n))
  for (const each of ended) list.end(each)
  t.ok(told.folds > 1)
  t.equal(ended.every(each => list.denies(each)), true)
  t.equal(list.denies(sessionOf('x', 'q', begun)), true, 'an old session of somebody else: the price')
  t.equal(list.denies(sessionOf('x', 'q', begun + 9_000)), false, 'a young one goes on')
  t.ok(list.after({ realm: 'web', id: 'q' }) > begun, 'and so does a new login')

  const { list: all } = denials(2_000)
  for (let n = 0; n < 3_000; n++) all.endAll({ realm: 'web', id: `p${n}` }, null)
  t.equal(Array.from({ length: 3_000 }, (_, n) => all.denies(sessionOf('x', `p${n}`, begun))).every(Boolean), true)
  t.end()
})

t.test('ends of ids that may be anybody\'s fold into the instant for everybody, and ends of all are swept when no session can be left', t => {
  const time = clock(t)
  const { list } = denials(2_000)
  for (let n = 0; n < 2_001; n++) list.endById(`s${n}`, null)
  t.equal(list.denies(sessionOf('s0', 'alice', time.now())), true)
  t.equal(list.denies(sessionOf('x', 'alice', time.now() + 1)), false)

  const { list: all, told } = denials(2_000)
  for (let n = 0; n < 1_024; n++) all.endAll({ realm: 'web', id: `p${n}` }, null)
  time.advance(3_600)
  all.endAll({ realm: 'web', id: 'last' }, null)
  t.equal(all.after({ realm: 'web', id: 'p0' }), -Infinity, 'swept')
  t.equal(told.folds, 0)
  t.end()
})
