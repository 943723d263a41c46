import t from 'tap'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { storeContract } from '../../lib/stores/testing/index.js'
import type { Store } from '../../types/store.js'

const pause = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Returns the titles of the tests that a store fails, among those that match. */
async function failures (careless: (store: Store) => Partial<Store>, titles = /^/): Promise<readonly string[]> {
  const runs: Array<Promise<string | null>> = []
  let last: Store = memoryStore()
  const make = (): Store => {
    const store = memoryStore()
    last = { ...store, ...careless(store) }
    return last
  }
  storeContract({
    make,
    another: () => last,
    test (title, run) {
      if (titles.test(title)) runs.push(run().then(() => null, () => title))
    },
    rounds: 10
  })
  return (await Promise.all(runs)).filter(title => title !== null)
}

t.test('names a wrong option, which would test nothing', async t => {
  const whole = { test: () => {}, make: memoryStore }
  for (const [options, message] of [
    [{ anohter: memoryStore }, /^The options of storeContract have an .* 'anohter'\. Did you mean 'another'\?/],
    [{ make: memoryStore() }, /^The option storeContract\.make must be a function \(\) => store\. Got an object/],
    [{ test: null }, /^The option storeContract\.test must be a function/],
    [{ rounds: 0 }, /^The option storeContract\.rounds must be a whole number, 1 or more/]
  ] as const) {
    t.throws(() => { storeContract({ ...whole, ...options } as never) }, { code: 'AUTH_MISCONFIGURED', message })
  }
})

/** Common mistakes, with the title of the test that has to find each. */
const mistakes: ReadonlyArray<readonly [found: RegExp, careless: (store: Store) => Partial<Store>]> = [
  [/of 50 parallel calls of take, one returns the record/, store => ({
    async take (kind, id) {
      const record = await store.get(kind, id)
      await pause()
      await store.take(kind, id)
      return record
    }
  })],
  [/of 50 parallel swaps of one version, one succeeds/, store => ({
    async swap (record) {
      const now = await store.get(record.kind, record.id)
      await pause()
      const later = await store.get(record.kind, record.id)
      return now?.version === record.version && later !== null && await store.swap({
        ...record, version: later.version
      })
    }
  })],
  [/one of 50 parallel adds of a free or expired id succeeds/, store => ({
    async add (entry) {
      if (await store.get(entry.kind, entry.id) !== null) return false
      await pause()
      await store.take(entry.kind, entry.id)
      return await store.add(entry)
    }
  })],
  [/50 parallel increments do not exceed the ceiling/, store => ({
    async increment (kind, id, { window, ceiling = Infinity }) {
      const counter = await store.increment(kind, id, { window, ceiling: 0 })
      await pause()
      return counter.count < ceiling ? await store.increment(kind, id, { window }) : counter
    }
  })],
  [/parallel calls of takeAll and take return each record once/, store => ({
    async takeAll (kind, owner, except) {
      const found = await store.find(kind, owner)
      await pause()
      await store.takeAll(kind, owner, except)
      return found
    }
  })],
  [/takeAll leaves no record that is renewed/, store => ({
    async takeAll (kind, owner, except) {
      const found = await store.find(kind, owner)
      await pause()
      const taken = await Promise.all(found.flatMap(({ id }) => id === except ? [] : store.take(kind, id)))
      return taken.filter(record => record !== null)
    }
  })],
  [/find returns a record that is being renewed/, store => ({
    async find (kind, owner) {
      const found = await store.find(kind, owner)
      await pause()
      const read = await Promise.all(found.map(({ id }) => store.get(kind, id)))
      return read.filter(record => record !== null)
    }
  })],
  [/swaps each version once/, store => ({
    async swap (record) {
      const now = await store.get(record.kind, record.id)
      return now !== null && await store.swap({ ...record, version: now.version })
    }
  })],
  [/finds the records of an owner by the exact realm and id/, store => ({
    add: entry => store.add({ ...entry, owner: entry.owner === null ? null : { realm: 'r', id: entry.owner.id } }),
    find: (kind, owner) => store.find(kind, { realm: 'r', id: owner.id })
  })],
  [
    /does not add a record that has already expired/,
    store => ({ add: async entry => await store.add(entry) || (entry.expiresAt ?? new Date()).getTime() < Date.now() })
  ],
  [
    /refuses names that contain NUL/,
    store => ({ take: (kind, id) => store.take(kind, id.replace(/\0|\p{Cs}/gu, '') || 'a') })
  ],
  [
    /names that look alike are different records/,
    store => ({
      get: (kind, id) => store.get(kind, id.normalize()),
      take: (kind, id) => store.take(kind, id.normalize()),
      add: entry => store.add({ ...entry, id: entry.id.normalize() })
    })
  ],
  [/decrement subtracts only from the window/, store => ({
    async decrement (kind, id) {
      const { expiresAt } = await store.increment(kind, id, { window: 1, ceiling: 0 })
      if (expiresAt !== null) await store.decrement(kind, id, expiresAt)
    }
  })],
  [
    /takeAll leaves the record with the id `except`/,
    store => ({ takeAll: (kind, owner) => store.takeAll(kind, owner) })
  ],
  [/a closed store is unavailable/, () => ({ close: async () => {} })]
]

t.test('passes for a store that implements the contract', async t => {
  t.same(await failures(() => ({})), [])
})

t.test('finds common mistakes of implementers', async t => {
  const found = await Promise.all(mistakes.map(([title, careless]) => failures(careless, title)))
  for (const [index, [title]] of mistakes.entries()) t.equal(found[index]?.length, 1, title.source)
})

t.test('a store that is slow, and writes some records later than others, keeps the contract', async t => {
  const wait = async (ms: number) => { await new Promise(resolve => setTimeout(resolve, ms)) }
  const failed = await failures(store => {
    let added = 0
    return {
      async add (entry) {
        if (++added % 4 === 0) await wait(50)
        return await store.add(entry)
      },
      async get (kind, id) {
        await wait(200)
        return await store.get(kind, id)
      },
      async take (kind, id) {
        await wait(5)
        return await store.take(kind, id)
      }
    }
  }, /leaves no record|being renewed|not found by any method|extended or removed/)
  t.same(failed, [])
})
