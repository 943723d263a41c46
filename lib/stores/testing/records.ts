import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { JsonObject, Store, StoreOwner } from '../../../types/store.js'
import {
  added, changed, entry, held, ids, kind, shortly, soon, testStore, until, type StoreContract
} from './fixtures.js'

/** Registers the tests of records: their names and values, their expiry, and their owners. */
export function testRecords (contract: StoreContract): void {
  testIdentity(contract)
  testExpiry(contract)
  testOwners(contract)
}

/** JSON values that databases tend to change. */
const values: readonly JsonObject[] = [
  {},
  { empty: {}, list: [], nested: [[[]], [{}], { a: [null, false, true] }] },
  {
    numbers: [
      0, 1.5, -1e-7, 1e21, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0.1 + 0.2, Number.MIN_VALUE,
      Number.MAX_VALUE
    ]
  },
  { texts: ['', ' ', '1', 'null', 'é', 'e\u0301', '𝒳', '\u0000', '\ud800', '\u2028', '"\\', "';--", '\r\n\t'] },
  { '': 1, é: 2, 'a.b': 3, $c: 4, 'd:e': 5, '\u0000': 6 },
  JSON.parse('{"__proto__":{"admin":true},"constructor":1,"toString":2}') as JsonObject,
  { long: 'ü'.repeat(30_000) }
]

/** Names that look alike, or that databases tend to treat as equal. */
const names: readonly string[] = [
  'a', 'A', 'a ', ' a', 'ａ', 'é', 'e\u0301', 'ß', 'ss', 'ı', 'i', '0', '00', 'null', 'undefined', '__proto__',
  'constructor', '*', '?', '[a]', '%', '_', '{a}', '}{',
  'a:b', 'a\\b', 'a\\\\b', '\\0', '\ufffd', '\\d800', '\ud83d\ude00', "'", '"', '--', '\n', '\r\n', '\t', '\u200b',
  '\ufeff',
  'x'.repeat(1_024), `${'x'.repeat(1_023)}y`, 'é'.repeat(512), '\\'.repeat(1_024)
]

function testIdentity (contract: StoreContract): void {
  testStore(contract, 'returns a record as it was added', async store => {
    for (const value of values) {
      const given = entry({ value })
      const record = await added(store, given)
      assert.deepEqual(JSON.parse(JSON.stringify(record.value)), JSON.parse(JSON.stringify(value)))
      assert.deepEqual({ ...record, value: null, version: null }, { ...given, value: null, version: null })
      assert.equal(typeof record.version, 'string')
      assert.equal(await store.swap(record), true, 'a record that was read can be written')
      assert.deepEqual(
        JSON.parse(JSON.stringify((await held(store, given.id)).value)), JSON.parse(JSON.stringify(value))
      )
    }
  })

  testStore(contract, 'later changes to an entry do not change its record', async store => {
    const value = { list: [1] }
    const expiresAt = new Date(Date.now() + 60_000)
    const given = entry({ value, expiresAt, owner: { realm: 'r', id: randomUUID() } })
    await added(store, given)
    value.list.push(2)
    expiresAt.setTime(0)
    assert.deepEqual((await held(store, given.id)).value, { list: [1] })
  })

  testStore(contract, 'adds a record once, and keeps the first', async store => {
    const first = entry({ value: { n: 1 } })
    const record = await added(store, first)
    assert.equal(await store.add({ ...first, value: { n: 2 }, expiresAt: null, owner: { realm: 'r', id: 'o' } }), false)
    assert.deepEqual(await held(store, first.id), record)
  })

  testStore(contract, 'names that look alike are different records', async store => {
    await Promise.all(names.map(id => store.take(kind, id)))
    for (const id of names) {
      assert.equal(await store.add(entry({ id, value: { id } })), true, JSON.stringify(id.slice(0, 20)))
    }
    for (const id of names) assert.equal((await held(store, id)).value['id'], id)
    for (const id of names) assert.equal((await store.take(kind, id))?.id, id)
    assert.deepEqual(await Promise.all(names.map(id => store.get(kind, id))), names.map(() => null))
  })

  testStore(contract, 'refuses names that contain NUL or a lone surrogate', async store => {
    for (const name of unstorable) for (const call of callsWith(store, name)) await assert.rejects(call)
  })

  testStore(contract, 'kinds are independent', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const given = entry({ owner })
    const other = { ...given, kind: 'contract-2' }
    await added(store, given)
    assert.equal(await store.get(other.kind, given.id), null)
    assert.equal(await store.add(other), true)
    for (const each of [given, other]) {
      assert.deepEqual((await store.find(each.kind, owner)).map(record => record.kind), [each.kind])
    }
    assert.deepEqual((await store.takeAll(other.kind, owner)).map(record => record.kind), [other.kind])
    await held(store, given.id)
    assert.equal(await store.add(other), true)
    assert.notEqual(await store.take(other.kind, given.id), null)
    assert.deepEqual(await store.takeAll(other.kind, owner), [])
    await held(store, given.id)
  })

  testStore(contract, 'swaps each version once, and never reuses the version of an earlier record', async store => {
    const given = entry({ value: { n: 0 } })
    const first = await added(store, given)
    assert.equal(await store.swap(changed(first, { n: 1 })), true)
    assert.equal(await store.swap(changed(first, { n: 2 })), false, 'another swap was first')
    const second = await held(store, given.id)
    assert.deepEqual(second.value, { n: 1 })
    assert.notEqual(second.version, first.version)
    await store.take(kind, given.id)
    assert.equal(await store.swap(changed(second, { n: 3 })), false, 'the record was taken')
    assert.equal(await store.get(kind, given.id), null)
    await added(store, given)
    for (const old of [first, second]) {
      assert.equal(await store.swap(changed(old, { n: 4 })), false, 'the record was added again')
    }
    assert.deepEqual((await held(store, given.id)).value, { n: 0 })
  })

  testStore(contract, 'returns null or an empty list for records that do not exist', async store => {
    const id = randomUUID()
    assert.equal(await store.get(kind, id), null)
    assert.equal(await store.take(kind, id), null)
    assert.deepEqual(await store.find(kind, { realm: 'r', id }), [])
    assert.deepEqual(await store.takeAll(kind, { realm: 'r', id }), [])
  })
}

/** Names that not every database can store: text in PostgreSQL has no NUL, and UTF-8 no lone surrogate. */
const unstorable: readonly string[] = ['\u0000', 'a\u0000b', '\ud800', 'a\udfff', '\ude00\ud83d']

/** Returns a call for every parameter that takes a name, with this name in it. */
function callsWith (store: Store, name: string): ReadonlyArray<() => Promise<unknown>> {
  const [ownerId, ownerRealm] = [{ realm: 'r', id: name }, { realm: name, id: 'a' }]
  return [
    () => store.add(entry({ id: name })),
    () => store.add(entry({ owner: ownerId })),
    () => store.add(entry({ owner: ownerRealm })),
    () => store.swap({ ...entry({ id: name }), version: 'v' }),
    () => store.get(kind, name),
    () => store.take(kind, name),
    () => store.find(kind, ownerId),
    () => store.find(kind, ownerRealm),
    () => store.takeAll(kind, ownerId),
    () => store.takeAll(kind, { realm: 'r', id: 'a' }, name),
    () => store.increment(kind, name, { window: 60 }),
    () => store.decrement(kind, name, soon())
  ]
}

function testExpiry (contract: StoreContract): void {
  testStore(contract, 'an expired record is not found by any method, and its name is free', async store => {
    const [owner, other] = [{ realm: 'r', id: randomUUID() }, { realm: 'r', id: randomUUID() }]
    const given = entry({ owner })
    const record = await added(store, given)
    assert.equal(await store.swap({ ...record, expiresAt: shortly() }), true)
    // a slow machine may be too late, and proves less then
    const last = await store.get(kind, given.id) ?? record
    await until(async () => await store.get(kind, given.id) === null)
    for (const { version } of [record, last]) assert.equal(await store.swap({ ...record, version }), false)
    assert.equal(await store.take(kind, given.id), null)
    assert.deepEqual(await store.find(kind, owner), [])
    assert.deepEqual(await store.takeAll(kind, owner), [])
    const next = await added(store, { ...given, owner: other, value: { n: 2 } })
    for (const { version } of [record, last]) assert.notEqual(next.version, version)
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

  testStore(contract, 'a record whose expiry was extended or removed is kept', async store => {
    const [extended, endless, guard] = Array.from({ length: 3 }, () => entry({ expiresAt: new Date(Date.now() + 150) }))
    assert.ok(extended !== undefined && endless !== undefined && guard !== undefined)
    await Promise.all([extended, endless, guard].map(each => store.add(each)))
    const changes = [[extended, soon()], [endless, null]] as const
    const kept = await Promise.all(changes.map(async ([{ id }, expiresAt]) => {
      const record = await store.get(kind, id)
      // a slow machine may be too late, and proves nothing then
      return record !== null && await store.swap({ ...record, expiresAt }) ? [id] : []
    }))
    await until(async () => await store.get(kind, guard.id) === null)
    for (const id of kept.flat()) await held(store, id)
  })
}

/** Returns different owners that a careless encoding would confuse. */
function owners (): readonly StoreOwner[] {
  const one = randomUUID()
  return [
    { realm: 'https://a.example', id: one }, { realm: 'https://b.example', id: one },
    { realm: one, id: 'https://a.example' },
    { realm: `${one}a`, id: 'b' }, { realm: one, id: 'ab' }, { realm: `${one}:a`, id: 'b' }, { realm: one, id: 'a:b' },
    { realm: `${one}","`, id: 'x' }, { realm: one, id: '","x' },
    { realm: one, id: 'é' }, { realm: one, id: 'e\u0301' }, { realm: one, id: 'A' }, { realm: one, id: 'a' },
    { realm: one, id: 'x'.repeat(988) }, { realm: one, id: '\\'.repeat(988) }
  ]
}

function testOwners (contract: StoreContract): void {
  testStore(contract, 'finds the records of an owner by the exact realm and id', async store => {
    const all = owners()
    const entries = all.map(owner => entry({ owner }))
    for (const given of entries) await added(store, given)
    for (const [index, owner] of all.entries()) {
      const [found, ...others] = await store.find(kind, owner)
      assert.deepEqual([found?.id, found?.owner, others], [entries[index]?.id, owner, []])
    }
    for (const [index, owner] of all.entries()) {
      assert.deepEqual(ids(await store.takeAll(kind, owner)), [entries[index]?.id])
    }
  })

  testStore(contract, 'takeAll takes all records of an owner, and no others', async store => {
    const [owner, other] = [{ realm: 'r', id: randomUUID() }, { realm: 'r', id: randomUUID() }]
    const mine = Array.from(
      { length: 250 }, (_, n) => entry({ owner, value: { n }, expiresAt: n % 2 === 0 ? null : soon() })
    )
    const theirs = entry({ owner: other })
    const nobodys = entry()
    await Promise.all([...mine, theirs, nobodys].map(each => store.add(each)))
    assert.deepEqual(ids(await store.find(kind, owner)), ids(mine))
    const taken = await store.takeAll(kind, owner)
    assert.deepEqual(ids(taken), ids(mine))
    assert.deepEqual(
      taken.map(
        record => record.value['n']
      ).sort(), mine.map(each => each.value['n']).sort(), 'the values are unchanged'
    )
    assert.deepEqual(await store.find(kind, owner), [])
    assert.deepEqual(await store.takeAll(kind, owner), [])
    assert.deepEqual(
      await Promise.all(mine.slice(0, 5).map(each => store.get(kind, each.id))), [null, null, null, null, null]
    )
    await held(store, theirs.id)
    await held(store, nobodys.id)
  })

  testStore(contract, 'takeAll leaves the record with the id `except`', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const mine = Array.from({ length: 3 }, () => entry({ owner }))
    const [kept, ...gone] = mine
    await Promise.all(mine.map(each => store.add(each)))
    assert.deepEqual(ids(await store.takeAll(kind, owner, kept?.id)), ids(gone))
    assert.deepEqual(ids(await store.find(kind, owner)), [kept?.id])
    assert.deepEqual(ids(await store.takeAll(kind, owner, randomUUID())), [kept?.id], 'an unknown id excepts nothing')
  })

  testStore(contract, 'swap does not change the owner of a record', async store => {
    const [owner, other] = [{ realm: 'r', id: randomUUID() }, { realm: 'r', id: randomUUID() }]
    for (const [from, to] of [[owner, other], [owner, null], [null, other]] as const) {
      const record = await added(store, entry({ owner: from }))
      // a store may refuse it, or write the other fields
      await store.swap({ ...record, owner: to })
      assert.deepEqual((await held(store, record.id)).owner, from)
      assert.deepEqual(ids(await store.find(kind, owner)), from === null ? [] : [record.id])
      assert.deepEqual(await store.find(kind, other), [])
      await store.take(kind, record.id)
    }
  })

  testStore(contract, 'take removes the record from the records of its owner', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const [one, two] = [entry({ owner, expiresAt: null }), entry({ owner, expiresAt: null })]
    const record = await added(store, one)
    await added(store, two)
    assert.deepEqual(await store.take(kind, one.id), record)
    assert.deepEqual(ids(await store.find(kind, owner)), [two.id])
    await added(store, { ...one, owner: null })
    assert.deepEqual(ids(await store.takeAll(kind, owner)), [two.id], 'the record was added again without an owner')
    await store.take(kind, one.id)
  })
}
