import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store, StoreChange } from '../../../types/store.js'
import { added, changed, entry, kind, stage, until, type StoreContract } from './stage.js'

export function upkeep (contract: StoreContract): void {
  stage(contract, 'migrating again, also at once, loses nothing', async store => {
    const given = entry()
    const record = await added(store, given)
    await Promise.all(Array.from({ length: 5 }, () => store.migrate()))
    assert.deepEqual(await store.take(kind, given.id), record)
  })

  stage(contract, 'a store that was closed is unavailable, and may be closed again', async store => {
    await Promise.all([store.close(), store.close()])
    await store.close()
    const owner = { realm: 'r', id: 'o' }
    const calls = [
      store.add(entry()), store.get(kind, 'a'), store.take(kind, 'a'), store.swap({ ...entry(), version: 'v' }), store.find(kind, owner), store.takeAll(kind, owner),
      store.increment(kind, 'a', { window: 1 }), store.decrement(kind, 'a', new Date()), store.migrate()
    ]
    const codes = (await Promise.allSettled(calls)).map(call => call.status === 'rejected' && call.reason instanceof Error && 'code' in call.reason ? call.reason.code : call.status)
    assert.deepEqual(codes, calls.map(() => 'AUTH_UNAVAILABLE'))
  })

  const { another } = contract
  if (another !== undefined) heard(contract, another)
}

function heard (contract: StoreContract, another: NonNullable<StoreContract['another']>): void {
  stage(contract, 'an instance sees what another did, and hears of it if it can', async store => {
    const other = await another()
    try {
      await tells(store, other)
    } finally {
      await other.close()
    }
  })
}

async function tells (store: Store, other: Store): Promise<void> {
  const changes: StoreChange[] = []
  const end = other.subscribe?.(kind, change => { changes.push(change) })
  const told = async (id: string): Promise<void> => {
    if (end !== undefined) await until(() => changes.splice(0).some(change => change?.id === id))
  }
  // until listening has begun, nothing is heard; it begins with a null where something may have been missed
  if (end !== undefined) {
    await until(async () => {
      await store.add(entry())
      return changes.some(change => change !== null)
    })
  }
  const owner = { realm: 'r', id: randomUUID() }
  const given = entry({ id: `é\u0000\ud800\\${randomUUID()}`, owner })
  const record = await added(store, given)
  await told(given.id)
  assert.deepEqual(await other.get(kind, given.id), record)
  await store.swap(changed(record, { n: 1 }))
  await told(given.id)
  await store.take(kind, given.id)
  await told(given.id)
  await store.add(given)
  await told(given.id)
  await store.takeAll(kind, owner)
  await told(given.id)
  end?.()
}
