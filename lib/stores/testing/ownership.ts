import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { StoreOwner } from '../../../types/store.js'
import { added, entry, held, ids, kind, soon, stage, type StoreContract } from './stage.js'

/** Owners of whom no two are one. */
function owners (): readonly StoreOwner[] {
  const one = randomUUID()
  return [
    { realm: 'https://a.example', id: one }, { realm: 'https://b.example', id: one }, { realm: one, id: 'https://a.example' },
    { realm: `${one}a`, id: 'b' }, { realm: one, id: 'ab' }, { realm: `${one}:a`, id: 'b' }, { realm: one, id: 'a:b' },
    { realm: `${one}","`, id: 'x' }, { realm: one, id: '","x' },
    { realm: one, id: 'é' }, { realm: one, id: 'e\u0301' }, { realm: one, id: '\u0000' }, { realm: one, id: '\ud800' }, { realm: one, id: '\udc00' }, { realm: one, id: 'A' }, { realm: one, id: 'a' },
    { realm: one, id: 'x'.repeat(988) }, { realm: one, id: '\\'.repeat(988) }
  ]
}

export function ownership (contract: StoreContract): void {
  stage(contract, 'an owner is a realm and an id, both exactly', async store => {
    const all = owners()
    const entries = all.map(owner => entry({ owner }))
    for (const given of entries) await added(store, given)
    for (const [index, owner] of all.entries()) {
      const [found, ...others] = await store.find(kind, owner)
      assert.deepEqual([found?.id, found?.owner, others], [entries[index]?.id, owner, []])
    }
    for (const [index, owner] of all.entries()) assert.deepEqual(ids(await store.takeAll(kind, owner)), [entries[index]?.id])
  })

  stage(contract, 'taking all of an owner takes all of them, and nothing else', async store => {
    const [owner, other] = [{ realm: 'r', id: randomUUID() }, { realm: 'r', id: randomUUID() }]
    const mine = Array.from({ length: 250 }, (_, n) => entry({ owner, value: { n }, expiresAt: n % 2 === 0 ? null : soon() }))
    const theirs = entry({ owner: other })
    const nobodys = entry()
    await Promise.all([...mine, theirs, nobodys].map(each => store.add(each)))
    assert.deepEqual(ids(await store.find(kind, owner)), ids(mine))
    const taken = await store.takeAll(kind, owner)
    assert.deepEqual(ids(taken), ids(mine))
    assert.deepEqual(taken.map(record => record.value['n']).sort(), mine.map(each => each.value['n']).sort(), 'as they were')
    assert.deepEqual(await store.find(kind, owner), [])
    assert.deepEqual(await store.takeAll(kind, owner), [])
    assert.deepEqual(await Promise.all(mine.slice(0, 5).map(each => store.get(kind, each.id))), [null, null, null, null, null])
    await held(store, theirs.id)
    await held(store, nobodys.id)
  })

  stage(contract, 'taking all of an owner leaves the one that is excepted', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const mine = Array.from({ length: 3 }, () => entry({ owner }))
    const [kept, ...gone] = mine
    await Promise.all(mine.map(each => store.add(each)))
    assert.deepEqual(ids(await store.takeAll(kind, owner, kept?.id)), ids(gone))
    assert.deepEqual(ids(await store.find(kind, owner)), [kept?.id])
    assert.deepEqual(ids(await store.takeAll(kind, owner, randomUUID())), [kept?.id], 'the id of another excepts none')
  })

  stage(contract, 'who takes one of an owner takes it from the list', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const [one, two] = [entry({ owner, expiresAt: null }), entry({ owner, expiresAt: null })]
    const record = await added(store, one)
    await added(store, two)
    assert.deepEqual(await store.take(kind, one.id), record)
    assert.deepEqual(ids(await store.find(kind, owner)), [two.id])
    await added(store, { ...one, owner: null })
    assert.deepEqual(ids(await store.takeAll(kind, owner)), [two.id], 'it came back without its owner')
    await store.take(kind, one.id)
  })
}
