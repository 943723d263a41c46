import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store, StoreChange, StoreCount } from '../../../types/store.js'
import { isError } from '../../errors.js'
import { functionOf, object, optional, wholeNumber, type Parser } from '../../util/options.js'
import { added, changed, entry, held, kind, testStore, until, type StoreContract } from './fixtures.js'
import { testRaces } from './races.js'
import { testRecords } from './records.js'

export type { StoreContract } from './fixtures.js'

const checkContract = object({
  make: functionOf('() => store'),
  another: optional(functionOf('() => store'), null),
  test: functionOf('(title, run) that registers a test'),
  rounds: optional(wholeNumber(), null)
} satisfies Record<keyof StoreContract, Parser<unknown>>)

/**
 * Registers tests of everything that the contract of {@link Store} demands, with any test runner. Each test creates a
 * store and closes it.
 *
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong option.
 * @example
 * import { test } from 'node:test'
 * import { storeContract } from 'fastify-gatehouse/stores/testing'
 *
 * storeContract({ test, make: () => new MyStore(url), another: () => new MyStore(url) })
 */
export function storeContract (contract: StoreContract): void {
  checkContract(contract, 'The options of storeContract')
  testRecords(contract)
  testCounters(contract)
  testRaces(contract)
  testMaintenance(contract)
}

const read = { window: 60, ceiling: 0 }

/** Returns the end of the window that a count belongs to. */
function endOf ({ expiresAt }: StoreCount): Date {
  assert.ok(expiresAt !== null, 'there is a window')
  return expiresAt
}

/** Counts several times, one after another. */
async function countTimes (
  store: Store, id: string, { times, ceiling }: { readonly times: number, readonly ceiling: number }
): Promise<readonly StoreCount[]> {
  const answers: StoreCount[] = []
  for (let n = 0; n < times; n++) answers.push(await store.increment(kind, id, { window: 60, ceiling }))
  return answers
}

/** Registers the tests of counters. */
function testCounters (contract: StoreContract): void {
  testStore(contract, 'a counter counts up to its ceiling', async store => {
    const id = randomUUID()
    assert.deepEqual(await store.increment(kind, id, read), { counted: false, count: 0, expiresAt: null })
    const answers = await countTimes(store, id, { times: 5, ceiling: 3 })
    assert.deepEqual(
      answers.map(({ counted, count }) => [counted, count]), [[true, 1], [true, 2], [true, 3], [false, 3], [false, 3]]
    )
    const more = await store.increment(kind, id, { window: 5 })
    assert.deepEqual([more.counted, more.count], [true, 4], 'a call without a ceiling is always counted')
    assert.deepEqual(await store.increment(kind, id, read), { ...more, counted: false })
    assert.deepEqual(
      [...answers, more].map(answer => answer.expiresAt),
      Array.from({ length: 6 }, () => more.expiresAt),
      'the window does not move'
    )
  })

  testStore(contract, 'a window has the length of the option', async store => {
    const before = Date.now()
    const end = endOf(await store.increment(kind, randomUUID(), { window: 90.5 })).getTime()
    // The clock of the store may differ a little.
    assert.ok(Math.abs(end - before - 90_500) < 5_000)
  })

  testStore(contract, 'decrement subtracts only from the window that the count belongs to', async store => {
    const id = randomUUID()
    const end = endOf(await store.increment(kind, id, { window: 60 }))
    await store.increment(kind, id, { window: 60 })
    await store.decrement(kind, id, new Date(end.getTime() - 1))
    await store.decrement(kind, id, new Date(end.getTime() + 1))
    assert.equal((await store.increment(kind, id, read)).count, 2)
    for (let n = 0; n < 4; n++) await store.decrement(kind, id, end)
    assert.deepEqual(
      await store.increment(kind, id, read),
      { counted: false, count: 0, expiresAt: end },
      'never below 0, and the window stays'
    )
    assert.deepEqual(
      await store.increment(kind, id, { window: 5, ceiling: 1 }), { counted: true, count: 1, expiresAt: end }
    )
    await store.decrement(kind, randomUUID(), end)
  })

  testStore(contract, 'a window forgets its count, and a late decrement leaves the next window alone', async store => {
    const id = randomUUID()
    const first = await store.increment(kind, id, { window: 0.05, ceiling: 1 })
    await until(async () => (await store.increment(kind, id, read)).expiresAt === null)
    const second = await store.increment(kind, id, { window: 60, ceiling: 1 })
    assert.deepEqual([first.counted, second.counted, second.count], [true, true, 1])
    await store.decrement(kind, id, endOf(first))
    assert.deepEqual(await store.increment(kind, id, { window: 60, ceiling: 1 }), { ...second, counted: false })
  })

  testStore(contract, 'counters and records of one name are independent', async store => {
    const given = entry()
    const record = await added(store, given)
    const count = await store.increment(kind, given.id, { window: 60 })
    assert.deepEqual(await held(store, given.id), record)
    await store.take(kind, given.id)
    assert.deepEqual(await store.increment(kind, given.id, read), { ...count, counted: false })
    assert.deepEqual(await store.increment('contract-2', given.id, read), { counted: false, count: 0, expiresAt: null })
  })

  testStore(contract, 'names that look alike are different counters', async store => {
    const one = randomUUID()
    const names = ['a', 'A', 'é', 'e\u0301', '\\0', '}', '{x}', 'x'.repeat(900)].map(name => one + name)
    for (const id of names) assert.equal((await store.increment(kind, id, { window: 60 })).count, 1)
  })
}

/** Registers the tests of migrations, of the end of a store, and of notifications between instances. */
function testMaintenance (contract: StoreContract): void {
  testStore(contract, 'migrating again, also in parallel, loses nothing', async store => {
    const given = entry()
    const record = await added(store, given)
    await Promise.all(Array.from({ length: 5 }, () => store.migrate()))
    assert.deepEqual(await store.take(kind, given.id), record)
  })

  testStore(contract, 'a closed store is unavailable, and can be closed again', async store => {
    await Promise.all([store.close(), store.close()])
    await store.close()
    const owner = { realm: 'r', id: 'o' }
    const calls = [
      store.add(entry()), store.get(kind, 'a'), store.take(kind, 'a'), store.swap({ ...entry(), version: 'v' }),
      store.find(kind, owner), store.takeAll(kind, owner),
      store.increment(kind, 'a', { window: 1 }), store.decrement(kind, 'a', new Date()), store.migrate()
    ]
    const codes = (await Promise.allSettled(calls)).map(
      call => call.status === 'rejected' && isError(call.reason) && 'code' in call.reason
        ? call.reason.code
        : call.status
    )
    assert.deepEqual(codes, calls.map(() => 'AUTH_UNAVAILABLE'))
  })

  const { another } = contract
  if (another !== undefined) testChanges(contract, another)
}

function testChanges (contract: StoreContract, another: NonNullable<StoreContract['another']>): void {
  testStore(contract, 'an instance sees the changes of another, and notifies listeners of them', async store => {
    const other = await another()
    try {
      await checkChanges(store, other)
    } finally {
      await other.close()
    }
  })
}

async function checkChanges (store: Store, other: Store): Promise<void> {
  const changes: StoreChange[] = []
  const end = other.subscribe?.(kind, change => { changes.push(change) })
  const isNotified = async (id: string): Promise<void> => {
    if (end !== undefined) await until(() => changes.splice(0).some(change => change?.id === id))
  }
  // Changes before the subscription has begun are missed; it begins with `null`.
  if (end !== undefined) {
    await until(async () => {
      await store.add(entry())
      return changes.some(change => change !== null)
    })
  }
  const owner = { realm: 'r', id: randomUUID() }
  const given = entry({ id: `é\\${randomUUID()}`, owner })
  const record = await added(store, given)
  await isNotified(given.id)
  assert.deepEqual(await other.get(kind, given.id), record)
  await store.swap(changed(record, { n: 1 }))
  await isNotified(given.id)
  await store.take(kind, given.id)
  await isNotified(given.id)
  await store.add(given)
  await isNotified(given.id)
  await store.takeAll(kind, owner)
  await isNotified(given.id)
  end?.()
}
