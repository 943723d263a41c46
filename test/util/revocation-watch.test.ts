import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { StoreUnavailable } from '../../lib/stores/operations.js'
import { RevocationWatch, WatchedCache } from '../../lib/util/revocation-watch.js'
import type { StoreChange } from '../../types/store.js'

/** A logger that drops everything. */
const silent = { error: () => {} }

t.test('notifies each watcher once, none that stopped, and keeps checking while one waits', async t => {
  const lookUps: string[] = []
  const notified: string[] = []
  const watchers = new RevocationWatch({ interval: 20, lookUp: async id => { lookUps.push(id) }, log: silent })
  const notify = () => { notified.push('a') }
  watchers.add('a', notify)
  watchers.add('a', notify)
  watchers.add('a', () => { notified.push('never') })()
  t.same(lookUps, ['a', 'a', 'a'], 'each may have ended since it was looked up')
  while (lookUps.length < 6) await pause(10)
  watchers.notify('a')
  watchers.notify('a')
  t.same(notified, ['a', 'a'])
  watchers.check('a')
  const { length } = lookUps
  await pause(50)
  t.equal(lookUps.length, length, 'no id is looked up if nobody waits')
  watchers.add('b', notify)
  watchers.close()
  watchers.notify('b')
  t.same(notified, ['a', 'a'])
})

t.test('a watcher that was notified and then stops leaves later watchers of the same entry alone', async t => {
  const notified: string[] = []
  const watchers = new RevocationWatch({ interval: 60_000, lookUp: async () => {}, log: silent })
  const stop = watchers.add('a', () => { notified.push('first') })
  watchers.notify('a')
  watchers.add('a', () => { notified.push('second') })
  stop()
  watchers.notify('a')
  t.same(notified, ['first', 'second'])
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
  t.same(set(), [], 'no timer is set for a listener that left before the failure')
  const late = watchers.add('b', () => {})
  await new Promise(resolve => setImmediate(resolve))
  const retries = set().flatMap(call => 'returned' in call ? [call.returned] : [])
  late()
  t.ok(
    cleared().some(({ args: [timer] }) => timer === retries[0]), 'the timer is cleared when the last listener leaves'
  )
  t.equal(retries.length, 1)
})

/** Creates a RevocationWatch of many ids whose look-ups the test answers. */
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
  /** Answers look-ups until there are none. Returns the ids in order. */
  async function answerAll (): Promise<readonly string[]> {
    const lookedUp: string[] = []
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      lookedUp.push(next.id)
      next.answer()
      await new Promise(resolve => setImmediate(resolve))
    }
    return lookedUp
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
  const [pending, others] = [ids.slice(0, 4), ids.slice(4).filter(id => id !== 'n40')]
  t.same(
    await answerAll(),
    [...pending, 'n40', ...others, ...pending],
    'what is being asked is asked again: the answer may be from before'
  )
})

t.test('spreads the look-ups of a round, so that each entry has its turn', async t => {
  const { ids, waiting, answerAll } = many(t, 60, 400)
  await answerAll()
  while (waiting.length === 0) await pause(1)
  const first = await answerAll()
  t.ok(first.length < 60, 'not all of them at once')
  const lookedUp = new Set(first)
  while (lookedUp.size < 60) {
    await pause(5)
    for (const id of await answerAll()) lookedUp.add(id)
  }
  t.same([...lookedUp].sort(), [...ids].sort())
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

t.test('ends the pause when the store reports a change, or that it may have missed some', async t => {
  for (const report of ['check', 'checkAll'] as const) {
    const { watchers, waiting } = many(t, 10, 600_000)
    for (const { answer } of waiting.splice(0)) answer(new StoreUnavailable('failed', 'down'))
    await new Promise(resolve => setImmediate(resolve))
    t.equal(waiting.length, 0)
    if (report === 'check') watchers.check('n9')
    else watchers.checkAll()
    t.equal(waiting.length, 4, report)
  }
})

t.test('looks up every remaining id in a round in which others are no longer watched', async t => {
  let takeTurns = (): void => {}
  const timer = setTimeout(() => {}, 0)
  t.intercept(globalThis, 'setInterval', {
    value: (turn: () => void) => {
      takeTurns = turn
      return timer
    }
  })
  const { watchers, ids, answerAll } = many(t, 40, 600_000)
  await answerAll()
  for (let part = 0; part < 10; part++) takeTurns()
  const first = await answerAll()
  t.same(first, ids.slice(0, 20))
  for (const id of first) watchers.notify(id)
  for (let part = 10; part < 20; part++) takeTurns()
  t.same(await answerAll(), ids.slice(20))
})

t.test('does not look up an entry that was queued when its last watcher left', async t => {
  const { watchers, ids, waiting, answerAll } = many(t, 10, 600_000)
  watchers.notify('n5')
  t.same(await answerAll(), ids.filter(id => id !== 'n5'))
  watchers.checkAll()
  watchers.notify('n9')
  t.same(await answerAll(), ids.slice(0, 9).filter(id => id !== 'n5'))
  t.same(waiting, [])
})

t.test('begins anew after all watchers left, with one timer', async t => {
  const set = t.capture(globalThis, 'setInterval', globalThis.setInterval)
  const cleared = t.capture(globalThis, 'clearInterval', globalThis.clearInterval)
  const lookUps: string[] = []
  const watchers = new RevocationWatch({
    interval: 20,
    lookUp: async id => {
      lookUps.push(id)
      if (id === 'a') throw new StoreUnavailable('failed', 'down')
    },
    log: silent
  })
  t.teardown(() => { watchers.close() })
  const stop = watchers.add('a', () => {})
  await new Promise(resolve => setImmediate(resolve))
  stop()
  watchers.add('b', () => {})
  t.same(lookUps, ['a', 'b'], 'the pause is over')
  while (lookUps.length < 4) await pause(5)
  t.same([...new Set(lookUps.slice(1))], ['b'])
  const timers = set().map(call => 'returned' in call ? call.returned : null)
  const ended = cleared().map(({ args: [timer] }) => timer)
  t.same(timers.map(timer => ended.some(each => each === timer)), [true, false])
})

t.test('drops a record that a store reports from the cache, and looks it up', async t => {
  const lookUps: string[] = []
  const ids = ['n1', 'n2', 'n3']
  let report = (_change: StoreChange): void => {}
  const cache = new WatchedCache<string>({
    store: { ...memoryStore(), subscribe: (_kind, listener) => { report = listener; return () => {} } },
    kind: 'test',
    stalenessMs: 5_000,
    hasEnded: async id => { lookUps.push(id); return false },
    idOf: name => name === 'foreign' ? null : name,
    isNegative: () => false,
    log: silent
  })
  t.teardown(() => { cache.close() })
  for (const id of ids) {
    cache.get(id, () => 'old')
    cache.watch(id, () => {})
  }
  const lookedUp = async (): Promise<readonly string[]> => {
    await new Promise(resolve => setImmediate(resolve))
    return lookUps.splice(0)
  }
  await lookedUp()
  report({ id: 'n1' })
  t.same(ids.map(id => cache.has(id)), [false, true, true])
  t.same(await lookedUp(), ['n1'])
  report({ id: 'foreign' })
  t.same([ids.map(id => cache.has(id)), await lookedUp()], [[false, true, true], []])
  report(null)
  t.same(ids.map(id => cache.has(id)), [false, false, false], 'changes may have been missed')
  t.same(await lookedUp(), ids)
})
