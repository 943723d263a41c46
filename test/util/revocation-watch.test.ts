import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { StoreUnavailable } from '../../lib/stores/errors.js'
import { TtlCache } from '../../lib/util/cache.js'
import { RevocationWatch } from '../../lib/util/revocation-watch.js'
import { clock } from '../schemes/session/bare-app.js'

const memo = (staleness: number, size = 10) => new TtlCache<string | null>({
  ttl: staleness, maxEntries: size, isNegative: answer => answer === null
})

t.test('trusts an answer for the staleness after the question, also if the clock is set back', async t => {
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
  let asked = 0
  const ask = async () => { await pause(1); return `answer ${++asked}` }
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

/** Ignores what is logged. */
const silent = { error: () => {} }

t.test('notifies each watcher once, none that stopped, and keeps checking while one waits', async t => {
  const asked: string[] = []
  const told: string[] = []
  const watchers = new RevocationWatch({ interval: 20, lookUp: async id => { asked.push(id) }, log: silent })
  const tell = () => { told.push('a') }
  watchers.add('a', tell)
  watchers.add('a', tell)
  watchers.add('a', () => { told.push('never') })()
  t.same(asked, ['a', 'a', 'a'], 'each may have ended since it was looked up')
  while (asked.length < 6) await pause(10)
  watchers.notify('a')
  watchers.notify('a')
  t.same(told, ['a', 'a'])
  watchers.check('a')
  const { length } = asked
  await pause(50)
  t.equal(asked.length, length, 'nobody waits')
  watchers.add('b', tell)
  watchers.close()
  watchers.notify('b')
  t.same(told, ['a', 'a'])
})

t.test('stops checking an entry without watchers, even if the store did not answer', async t => {
  const set = t.capture(globalThis, 'setTimeout', globalThis.setTimeout)
  const cleared = t.capture(globalThis, 'clearTimeout', globalThis.clearTimeout)
  const watchers = new RevocationWatch({
    interval: 60_000, lookUp: async () => { throw new StoreUnavailable('failed', 'down') }, log: silent
  })
  const early = watchers.add('a', () => {})
  early()
  await new Promise(resolve => setImmediate(resolve))
  t.same(set(), [], 'gone before the store failed')
  const late = watchers.add('b', () => {})
  await new Promise(resolve => setImmediate(resolve))
  const retries = set().flatMap(call => 'returned' in call ? [call.returned] : [])
  late()
  t.ok(cleared().some(({ args: [timer] }) => timer === retries[0]), 'gone after it')
  t.equal(retries.length, 1)
})

/** RevocationWatch of many ids whose look-ups are answered by the test. */
function many (t: Test, count: number, every: number) {
  const waiting: Array<{ readonly id: string, readonly answer: (error?: Error) => void }> = []
  const errors: unknown[] = []
  const ask = (id: string): Promise<void> => new Promise((resolve, reject) => {
    waiting.push({ id, answer: error => { if (error === undefined) resolve(); else reject(error) } })
  })
  const watchers = new RevocationWatch({
    interval: every, lookUp: ask, log: { error: (line: unknown) => { errors.push(line) } }
  })
  t.teardown(() => { watchers.close() })
  const ids = Array.from({ length: count }, (_, n) => `n${n}`)
  for (const id of ids) watchers.add(id, () => {})
  /** Answers what is asked until nothing is. Returns the ids, in order. */
  async function answerAll (): Promise<readonly string[]> {
    const asked: string[] = []
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      asked.push(next.id)
      next.answer()
      await new Promise(resolve => setImmediate(resolve))
    }
    return asked
  }
  return { watchers, ids, waiting, errors, answerAll }
}

t.test('looks up a few at a time, starting with entries that changed', async t => {
  const { watchers, ids, waiting, answerAll } = many(t, 50, 600_000)
  t.equal(waiting.length, 4)
  t.same(await answerAll(), ids)
  watchers.checkAll()
  watchers.checkAll()
  watchers.check('n40')
  watchers.check('nobody')
  t.equal(waiting.length, 4)
  const [asked, others] = [ids.slice(0, 4), ids.slice(4).filter(id => id !== 'n40')]
  t.same(
    await answerAll(),
    [...asked, 'n40', ...others, ...asked],
    'what is being asked is asked again: the answer may be from before'
  )
})

t.test('spreads the look-ups of a round, so that each entry has its turn', async t => {
  const { ids, waiting, answerAll } = many(t, 60, 400)
  await answerAll()
  while (waiting.length === 0) await pause(1)
  const first = await answerAll()
  t.ok(first.length < 60, 'not all of them at once')
  const seen = new Set(first)
  while (seen.size < 60) {
    await pause(5)
    for (const id of await answerAll()) seen.add(id)
  }
  t.same([...seen].sort(), [...ids].sort())
})

t.test('retries some time after the store was unavailable, and logs another failure without retrying', async t => {
  const { waiting, errors, answerAll } = many(t, 10, 600_000)
  const held = waiting.splice(0)
  for (const { answer } of held) answer(new StoreUnavailable('failed', 'down'))
  await new Promise(resolve => setImmediate(resolve))
  t.equal(waiting.length, 0, 'nothing is asked meanwhile')
  while (waiting.length === 0) await pause(20)
  t.equal(waiting.length, 4)
  waiting.shift()?.answer(new Error('mixed up'))
  t.same((await answerAll()).length, 9)
  t.match(errors, [{ err: { message: 'mixed up' } }])
})
