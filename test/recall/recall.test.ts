import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Memo } from '../../lib/recall/memo.js'
import { Watchers } from '../../lib/recall/watchers.js'
import { clock } from '../sessions/desk.js'

const memo = (staleness: number, size = 10) => new Memo<string | null>({ staleness, size, denies: answer => answer === null })

t.test('an answer is believed for the staleness, counted from when it was asked, and no longer when the clock is set back', async t => {
  const time = clock(t)
  const known = memo(5_000)
  t.equal(known.get('a', () => 'one'), 'one')
  time.advance(4.999)
  t.equal(known.get('a', () => 'two'), 'one')
  time.advance(0.001)
  t.equal(known.get('a', () => 'two'), 'two')
  time.advance(-1)
  t.equal(known.get('a', () => 'three'), 'three')
  const never = memo(0)
  t.same([never.get('a', () => 'one'), never.get('a', () => 'two')], ['one', 'two'])
})

t.test('those who ask at once wait for one answer; a failure is nobody\'s, and what was forgotten meanwhile is not remembered', async t => {
  const known = memo(5_000)
  let asked = 0
  const ask = async () => { await pause(1); return `answer ${++asked}` }
  t.same(await Promise.all([known.get('a', ask), known.get('a', ask)]), ['answer 1', 'answer 1'])
  await t.rejects(async () => known.get('b', async () => { throw new Error('down') }), /down/)
  t.equal(await known.get('b', ask), 'answer 2')
  const old = known.get('c', ask)
  known.forget('c')
  t.equal(await known.get('c', ask), 'answer 4')
  t.equal(await old, 'answer 3')
  t.equal(known.get('c', () => 'five'), 'answer 4')
  known.forgetAll()
  t.equal(known.get('c', () => 'five'), 'five')
})

t.test('as many answers are kept as there is room for, and what says no pushes out nothing that says yes', t => {
  const known = memo(5_000, 2)
  known.get('good', () => 'yes')
  for (const key of ['x', 'y', 'z']) known.get(key, () => null)
  t.equal(known.get('good', () => 'asked'), 'yes')
  t.same([known.get('x', () => 'asked'), known.get('z', () => 'asked')], ['asked', null], 'the oldest goes first')
  t.end()
})

t.test('who watches is told once, also twice the same, and whoever stopped is not; while somebody waits it is asked now and then', async t => {
  const asked: string[] = []
  const told: string[] = []
  const watchers = new Watchers(5, async id => { asked.push(id) })
  const tell = () => { told.push('a') }
  watchers.add('a', tell)
  watchers.add('a', tell)
  watchers.add('a', () => { told.push('never') })()
  t.same(asked, ['a', 'a', 'a'], 'each may have ended since it was looked up')
  await pause(40)
  t.ok(asked.length > 3)
  watchers.tell('a')
  watchers.tell('a')
  t.same(told, ['a', 'a'])
  await watchers.check('a')
  const { length } = asked
  await pause(20)
  t.equal(asked.length, length, 'nobody waits')
  watchers.add('b', tell)
  watchers.close()
  watchers.tell('b')
  t.same(told, ['a', 'a'])
})

t.test('whom nobody waits for is asked for no more, although the store did not answer', async t => {
  const set = t.capture(globalThis, 'setTimeout', globalThis.setTimeout)
  const cleared = t.capture(globalThis, 'clearTimeout', globalThis.clearTimeout)
  const watchers = new Watchers(60_000, async () => { throw new Error('down') })
  const early = watchers.add('a', () => {})
  early()
  await watchers.check('a')
  t.same(set(), [], 'gone before the store failed')
  const late = watchers.add('b', () => {})
  await watchers.check('b')
  const retries = set().flatMap(call => 'returned' in call ? [call.returned] : [])
  late()
  t.ok(cleared().some(({ args: [timer] }) => timer === retries[0]), 'gone after it')
  t.equal(retries.length, 1)
})
