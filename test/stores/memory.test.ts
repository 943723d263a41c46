import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ExpiringMap, memoryStore } from '../../lib/stores/memory/index.js'
import type { JsonObject, Store, StoreEntry } from '../../types/store.js'
import { size } from '../fixtures/size.js'
import { passesStoreContract } from './contract.js'

let last: Store = memoryStore()
passesStoreContract(
  t,
  {
    make: () => { last = memoryStore(); return last },
    another: () => last,
    rounds: size({ test: 20, short: 300, full: 1_000 })
  }
)

function entry (id: string, expiresAt: Date | null = null): StoreEntry {
  return { kind: 'memory', id, owner: { realm: 'r', id: 'o' }, value: {}, expiresAt }
}

t.test('refuses new entries when full, and evicts nothing alive', async t => {
  const store = memoryStore({ maxRecords: 3, maxCounters: 2 })
  const soon = new Date(Date.now() + 50)
  for (const id of ['a', 'b', 'c']) t.equal(await store.add(entry(id, id === 'b' ? soon : null)), true)
  await t.rejects(store.add(entry('d')), { code: 'AUTH_UNAVAILABLE', statusCode: 503, reason: 'full' })
  t.equal(await store.add(entry('a')), false, 'an existing entry is refused')
  const a = await store.get('memory', 'a')
  t.equal(a !== null && await store.swap({ ...a, value: { n: 1 } }), true, 'an existing entry can be changed')
  t.equal(await store.add({ ...entry('d'), kind: 'another' }), true, 'another kind has room of its own')
  await sleep(soon.getTime() - Date.now() + 1)
  t.equal(await store.add(entry('d')), true, 'expired entries make room')
  await store.take('memory', 'c')
  t.equal(await store.add(entry('e')), true, 'and so do taken ones')
  t.same((await store.find('memory', { realm: 'r', id: 'o' })).map(record => record.id).sort(), ['a', 'd', 'e'])

  for (const id of ['a', 'b']) await store.increment('memory', id, { window: id === 'b' ? 0.02 : 60 })
  await t.rejects(
    store.increment('memory', 'c', { window: 60 }), { code: 'AUTH_UNAVAILABLE', detail: /memory holds 2 counters/ }
  )
  t.equal((await store.increment('memory', 'c', { window: 60, ceiling: 0 })).count, 0)
  t.equal((await store.increment('memory', 'a', { window: 60 })).count, 2)
  await sleep(30)
  t.equal((await store.increment('memory', 'c', { window: 60 })).count, 1)
})

t.test('expires entries in order, however they were moved, replaced and deleted', async t => {
  const map = new ExpiringMap<number>(value => { ended.push(value) })
  const ended: number[] = []
  const ends = new Map<string, number>()
  let seed = 7
  const random = (below: number): number => {
    seed = seed * 48_271 % 2_147_483_647
    return seed % below
  }
  let now = 0
  let wrong = 0
  for (let n = 0; n < 60_000; n++) {
    const key = `k${random(400)}`
    // some expire much later, so that many deleted entries remain in the heap
    const end = random(20) === 0 ? Infinity : now + random(n % 20_000 < 10_000 ? 100 : 100_000)
    if (random(3) === 0) {
      map.delete(key)
      ends.delete(key)
    } else {
      map.set(key, n, end)
      ends.set(key, end)
    }
    if (random(3) === 0) now += random(4)
    for (const [key, end] of ends) if (end <= now) ends.delete(key)
    if (map.sizeAt(now) !== ends.size || (map.get(key, now) === undefined) !== (ends.get(key) === undefined)) wrong++
  }
  t.equal(wrong, 0)
  t.ok(ended.length > 1_000)
  t.equal(new Set(ended).size, ended.length, 'each ends once')
})

t.test('keeps to its bound under a flood of names', async t => {
  const store = memoryStore({ maxRecords: 100, maxCounters: 100 })
  for (let n = 0; n < 20_000; n++) {
    await store.increment('memory', `n${n}`, { window: 60 }).catch(() => {})
    await store.add(entry(`n${n}`, new Date(Date.now() + 60_000))).catch(() => {})
    if (n % 2 === 0) await store.take('memory', `n${n}`)
  }
  t.equal((await store.find('memory', { realm: 'r', id: 'o' })).length, 100)
})

t.test('ends a record at its instant, and takes none that has ended already', async t => {
  let now = Date.now()
  t.intercept(Date, 'now', { value: () => now })
  const store = memoryStore()
  t.equal(await store.add(entry('a', new Date(now))), false)
  t.equal(await store.add(entry('a', new Date(now + 1))), true)
  t.ok(await store.get('memory', 'a'))
  now += 1
  t.equal(await store.get('memory', 'a'), null)
  t.equal(await store.add(entry('a', new Date(now + 1))), true)
})

t.test('holds 100,000 records and 20,000 counters of each kind unless it is told otherwise', async t => {
  const store = memoryStore()
  for (let n = 0; n < 100_000; n++) await store.add({ ...entry(`n${n}`), owner: null })
  await t.rejects(
    store.add(entry('n')), { code: 'AUTH_UNAVAILABLE', detail: /memory holds 100000 records of the kind 'memory'/ }
  )
  for (let n = 0; n < 20_000; n++) await store.increment('memory', `n${n}`, { window: 600 })
  await t.rejects(store.increment('memory', 'n', { window: 600 }), {
    code: 'AUTH_UNAVAILABLE', detail: /20000 counters/
  })
})

t.test('fails on values that cannot be stored, without showing them', async t => {
  const store = memoryStore()
  const secret = 'Secret'.repeat(200)
  const wrong: ReadonlyArray<Partial<StoreEntry>> = [
    { kind: '' }, { kind: 'A' }, { kind: secret }, { id: '' }, { id: secret }, {
      id: 'é'.repeat(513)
    }, { id: 'a\0' }, { id: '\ud800' }, { owner: { realm: 'a', id: 'Secret\0' } },
    { owner: { realm: '', id: 'a' } }, { owner: { realm: 'a', id: '' } },
    {
      owner: { realm: secret, id: 'a' }
    }, { expiresAt: new Date(NaN) }, { value: { a: 'x'.repeat(65_536) } }, { value: { a: 'é'.repeat(32_768) } },
    { value: { a: new Date() } as unknown as JsonObject }, { value: { a: NaN } }
  ]
  for (const changes of wrong) {
    const error = await store.add({ ...entry('a'), ...changes }).catch((error: unknown) => error) as Error & {
      code: string, detail: string
    }
    t.equal(error.code, 'AUTH_FAULT', error.detail)
    t.notMatch(error.detail, /Secret/)
  }
  for (const options of [
    { window: 0 }, { window: NaN }, { window: Infinity }, { window: 1, ceiling: -1 }, { window: 1, ceiling: 0.5 }
  ]) {
    await t.rejects(store.increment('a', 'b', options), { code: 'AUTH_FAULT' })
  }
  await t.rejects(store.find('A', { realm: 'r', id: 'o' }), { code: 'AUTH_FAULT' })
})

t.test('stops the boot for an invalid option', async t => {
  for (const options of [
    { maxRecords: 0 }, { maxCounters: -1 }, { maxRecords: 1.5 }, { maxRecords: '5' as unknown as number }
  ]) {
    t.throws(() => memoryStore(options), { code: 'AUTH_MISCONFIGURED', message: /whole number, 1 or more/ })
  }
  t.throws(() => memoryStore({ max: 5 } as object), { message: /unknown key 'max'/ })
})
