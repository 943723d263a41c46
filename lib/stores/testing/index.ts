import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store, StoreChange } from '../../../types/store.js'
import { isError } from '../../errors.js'
import { testCounters } from './counters.js'
import { added, changed, entry, kind, testStore, until, type StoreContract } from './fixtures.js'
import { testRaces } from './races.js'
import { testRecords } from './records.js'

export type { StoreContract } from './fixtures.js'

/**
 * Registers tests of everything that the contract of {@link Store} demands, with any test runner. Each test creates a
 * store and closes it.
 *
 * @example
 * import { test } from 'node:test'
 * import { storeContract } from 'fastify-gatehouse/stores/testing'
 *
 * storeContract({ test, make: () => new MyStore(url), another: () => new MyStore(url) })
 */
export function storeContract (contract: StoreContract): void {
  testRecords(contract)
  testCounters(contract)
  testRaces(contract)
  testMaintenance(contract)
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
