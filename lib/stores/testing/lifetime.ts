import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store, StoreChange } from '../../../types/store.js'
import { isError } from '../../errors.js'
import {
  added, changed, entry, held, ids, kind, shortly, soon, testStore, type StoreContract, until
} from './fixtures.js'

export function lifetime (contract: StoreContract): void {
  testStore(contract, 'an expired record is not found by any method, and its name is free', async store => {
    const [owner, other] = [{ realm: 'r', id: randomUUID() }, { realm: 'r', id: randomUUID() }]
    const given = entry({ owner })
    const record = await added(store, given)
    assert.equal(await store.swap({ ...record, expiresAt: shortly() }), true)
    await until(async () => await store.get(kind, given.id) === null)
    assert.equal(await store.swap(record), false)
    assert.equal(await store.take(kind, given.id), null)
    assert.deepEqual(await store.find(kind, owner), [])
    assert.deepEqual(await store.takeAll(kind, owner), [])
    const next = await added(store, { ...given, owner: other, value: { n: 2 } })
    assert.notEqual(next.version, record.version)
    assert.deepEqual(await store.find(kind, owner), [], 'the new record has another owner')
    assert.deepEqual(await store.takeAll(kind, owner), [])
    assert.deepEqual(await store.find(kind, other), [next])
  })

  testStore(contract, 'a record is gone at the instant that it expires', async store => {
    const expiresAt = new Date(Date.now() + 100)
    const given = entry({ expiresAt })
    await store.add(given)
    await until(async () => {
      const record = await store.get(kind, given.id)
      return record === null
    })
    // The clock of the store may be a little ahead.
    assert.ok(Date.now() > expiresAt.getTime() - 1_000)
  })

  testStore(contract, 'does not add a record that has already expired', async store => {
    for (const at of [0, Date.now() - 60_000]) {
      const owner = { realm: 'r', id: randomUUID() }
      const given = entry({ expiresAt: new Date(at), owner })
      assert.equal(await store.add(given), false)
      assert.equal(await store.get(kind, given.id), null)
      assert.deepEqual(await store.find(kind, owner), [])
    }
  })

  testStore(contract, 'a swap can extend, shorten, remove and pass the expiry', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const given = entry({ owner, expiresAt: new Date(Date.now() + 30_000) })
    await added(store, given)
    for (const expiresAt of [new Date(Date.now() + 60_000), new Date(Date.now() + 20_000), null, soon(), null]) {
      assert.equal(await store.swap({ ...await held(store, given.id), expiresAt }), true)
      assert.deepEqual((await held(store, given.id)).expiresAt, expiresAt)
      assert.deepEqual(ids(await store.find(kind, owner)), [given.id])
    }
    assert.equal(await store.swap({ ...await held(store, given.id), expiresAt: new Date(Date.now() - 1_000) }), true)
    assert.equal(await store.get(kind, given.id), null)
    assert.deepEqual(await store.find(kind, owner), [])
    await added(store, { ...given, expiresAt: soon() })
  })

  testStore(contract, 'a record whose expiry was extended is kept', async store => {
    const given = entry({ expiresAt: new Date(Date.now() + 150) })
    const guard = entry({ expiresAt: new Date(Date.now() + 150) })
    await Promise.all([store.add(given), store.add(guard)])
    const record = await store.get(kind, given.id)
    // On a machine as slow as this the test proves nothing.
    if (record === null || !await store.swap({ ...record, expiresAt: soon() })) return
    await until(async () => await store.get(kind, guard.id) === null)
    await held(store, given.id)
  })
}

export function upkeep (contract: StoreContract): void {
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
