import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { createTokenCache, TtlCache } from '../../lib/util/cache.js'
import { clock } from '../schemes/session/bare-app.js'

const memo = (staleness: number, size = 10) => new TtlCache<string | null>({
  ttlMs: staleness, maxEntries: size, isNegative: answer => answer === null
})

t.test('uses an answer for the staleness after its look-up began, even if the clock is set back', async t => {
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

t.test('shares one look-up between concurrent callers, and does not cache failures or forgotten entries', async t => {
  const known = memo(5_000)
  let calls = 0
  const ask = async () => { await pause(1); return `answer ${++calls}` }
  t.same(await Promise.all([known.get('a', ask), known.get('a', ask)]), ['answer 1', 'answer 1'])
  await t.rejects(async () => known.get('b', async () => { throw new Error('down') }), /down/)
  t.equal(await known.get('b', ask), 'answer 2')
  const old = known.get('c', ask)
  known.delete('c')
  t.equal(await known.get('c', ask), 'answer 4')
  t.equal(await old, 'answer 3')
  t.equal(known.get('c', () => 'five'), 'answer 4')
  known.clear()
  t.equal(known.get('c', () => 'five'), 'five')
})

t.test('keeps a bounded number of answers, and evicts negative ones first', t => {
  const known = memo(5_000, 2)
  known.get('good', () => 'yes')
  for (const key of ['x', 'y', 'z']) known.get(key, () => null)
  t.equal(known.get('good', () => 'asked'), 'yes')
  t.same([known.get('x', () => 'asked'), known.get('z', () => 'asked')], ['asked', null], 'the oldest goes first')
  t.end()
})

t.test('forgets a negative answer and one that is being loaded', async t => {
  const ways: ReadonlyArray<(known: ReturnType<typeof memo>) => void> = [
    known => { known.delete('a') }, known => { known.clear() }
  ]
  for (const forget of ways) {
    const known = memo(5_000)
    known.get('a', () => null)
    forget(known)
    t.equal(known.get('a', () => 'yes'), 'yes')
    forget(known)
    const old = known.get('a', async () => { await pause(1); return 'old' })
    forget(known)
    t.equal(await old, 'old')
    t.equal(known.get('a', () => 'new'), 'new', 'an answer from before is not kept')
  }
})

t.test('counts the lifetime from the start of a load, also for those who wait for it', async t => {
  const time = clock(t)
  const known = memo(5_000)
  known.get('slow', () => { time.advance(5); return 'one' })
  t.equal(known.get('slow', () => 'two'), 'two')
  const first = known.get('a', async () => { await pause(1); return 'one' })
  time.advance(4.999)
  t.equal(known.get('a', () => 'two'), first)
  time.advance(0.001)
  const second = known.get('a', async () => 'two')
  t.equal(await second, 'two', 'the first answer may be from before a change')
  t.equal(await first, 'one')
  t.equal(known.get('a', () => 'three'), 'two')
})

t.test('keeps one answer for a key, and evicts none to renew it', t => {
  const time = clock(t)
  const known = memo(5_000, 2)
  for (const key of ['a', 'b']) known.get(key, () => 'yes')
  time.advance(5)
  known.get('b', () => 'yes')
  t.ok(known.has('a'))
  known.get('a', () => null)
  t.equal(known.get('a', () => 'asked'), null)
  time.advance(5)
  known.get('a', () => 'yes')
  t.equal(known.get('a', () => 'asked'), 'yes')
  t.end()
})

t.test('finds a token only by its whole text, and keeps the tokens that are used', t => {
  const tokens = createTokenCache(4)
  const text = (name: string): string => `${name}.the same end`
  const add = (...names: readonly string[]): void => {
    for (const name of names) tokens.add({ token: `${name}.${name.repeat(12)}` })
  }
  tokens.add({ token: text('one') })
  t.same(tokens.get(text('one')), { token: text('one') })
  t.equal(tokens.get(text('two')), undefined)
  add('a', 'b')
  t.equal(tokens.get(text('two')), undefined, 'nor in the old generation')
  t.same(tokens.get(text('one')), { token: text('one') })
  add('c', 'd')
  t.same(tokens.get(text('one')), { token: text('one') }, 'it was used since')
  add('e', 'f', 'g', 'h')
  t.equal(tokens.get(text('one')), undefined)
  const two = createTokenCache(2)
  const all = ['one.............', 'two..............', 'three............'].map(token => ({ token }))
  for (const [n, { token }] of all.entries()) two.add({ token: `${token}${n}` })
  t.same(
    all.map(({ token }, n) => two.get(`${token}${n}`) !== undefined), [false, true, true],
    'the cache holds no more tokens than its size'
  )
  t.end()
})
