import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { added, entry, held, ids, kind, shortly, soon, stage, until, type StoreContract } from './stage.js'

export function lifetime (contract: StoreContract): void {
  stage(contract, 'an expired record is nowhere to be found, and its name is free', async store => {
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
    assert.deepEqual(await store.find(kind, owner), [], 'it has another owner now')
    assert.deepEqual(await store.takeAll(kind, owner), [])
    assert.deepEqual(await store.find(kind, other), [next])
  })

  stage(contract, 'nothing is found after its end, at whatever instant it is looked for', async store => {
    const expiresAt = new Date(Date.now() + 100)
    const given = entry({ expiresAt })
    await store.add(given)
    await until(async () => {
      const record = await store.get(kind, given.id)
      return record === null
    })
    // another clock may be a little behind
    assert.ok(Date.now() > expiresAt.getTime() - 1_000)
  })

  stage(contract, 'what has already expired is not added', async store => {
    for (const at of [0, Date.now() - 60_000]) {
      const owner = { realm: 'r', id: randomUUID() }
      const given = entry({ expiresAt: new Date(at), owner })
      assert.equal(await store.add(given), false)
      assert.equal(await store.get(kind, given.id), null)
      assert.deepEqual(await store.find(kind, owner), [])
    }
  })

  stage(contract, 'a swap moves the end: later, sooner, away, and into the past', async store => {
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

  stage(contract, 'what was to end and no longer is stays', async store => {
    const given = entry({ expiresAt: new Date(Date.now() + 150) })
    const guard = entry({ expiresAt: new Date(Date.now() + 150) })
    await Promise.all([store.add(given), store.add(guard)])
    const record = await store.get(kind, given.id)
    // a machine that is this slow has shown nothing, and nothing wrong
    if (record === null || !await store.swap({ ...record, expiresAt: soon() })) return
    await until(async () => await store.get(kind, guard.id) === null)
    await held(store, given.id)
  })
}
