import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setImmediate as pause } from 'node:timers/promises'
import type { Store, StoreEntry, StoreOwner } from '../../../types/store.js'
import { entry, held, ids, kind, soon, testStore, until, type StoreContract } from './fixtures.js'

/** Callers at once. */
const callers = 50
/** Rounds that run beside each other, so that callers of one also wait behind callers of another. */
const abreast = 10

/** Runs rounds of a race and says how many winners each had. */
async function winners<T> (
  rounds: readonly T[], caller: (round: T, n: number) => Promise<boolean>
): Promise<readonly number[]> {
  const won: number[] = []
  for (let from = 0; from < rounds.length; from += abreast) {
    const answers = await Promise.all(
      rounds.slice(from, from + abreast).map(
        round => Promise.all(Array.from({ length: callers }, (_, n) => caller(round, n)))
      )
    )
    won.push(...answers.map(each => each.filter(Boolean).length))
  }
  return won
}

function each (rounds: number, winners: number): readonly number[] {
  return Array.from({ length: rounds }, () => winners)
}

async function records (store: Store, rounds: number): Promise<readonly string[]> {
  const entries = Array.from({ length: rounds }, () => entry({ expiresAt: soon() }))
  await Promise.all(entries.map(given => store.add(given)))
  return entries.map(given => given.id)
}

/** Adds a record that others may take at once. */
async function put (store: Store, owner: StoreOwner): Promise<StoreEntry> {
  const given = entry({ owner })
  assert.equal(await store.add(given), true, 'it is added')
  return given
}

/**
 * Renews a record as a session is renewed, again and again: adds the next one, takes the last one, and takes the next
 * one back if the last one was gone.
 */
async function renew (store: Store, owner: StoreOwner, isOver: () => boolean): Promise<void> {
  let { id } = await put(store, owner)
  while (!isOver()) {
    const next = await put(store, owner)
    if (await store.take(kind, id) === null) {
      await store.take(kind, next.id)
      return
    }
    id = next.id
    // a store in memory would keep everybody else waiting
    await pause()
  }
}

/** Writes a record again and again, until it is gone. */
async function rewrite (store: Store, owner: StoreOwner, isOver: () => boolean): Promise<void> {
  const { id } = await put(store, owner)
  for (let n = 0; !isOver(); n++) {
    const record = await store.get(kind, id)
    if (record === null) return
    await store.swap({ ...record, value: { n } })
    await pause()
  }
}

/** Something that goes on with records of an owner until it is over. */
type Change = (store: Store, owner: StoreOwner, isOver: () => boolean) => Promise<void>

/** Runs `look` for an owner whose records are changed at that moment, each by one of the changes. */
async function amid<T> (store: Store, changes: readonly Change[], look: (owner: StoreOwner) => Promise<T>): Promise<T> {
  const owner = { realm: 'r', id: randomUUID() }
  let over = false
  const ended = Promise.allSettled(changes.map(change => change(store, owner, () => over)))
  try {
    await until(async () => (await store.find(kind, owner)).length >= changes.length)
    // they are under way, and not only begun
    await pause()
    await pause()
    return await look(owner)
  } finally {
    over = true
    for (const end of await ended) assert.equal(end.status, 'fulfilled', 'the changes did not fail')
  }
}

/** Takes all of an owner whose records are renewed and written at that moment. Returns what is left. */
async function leftOver (store: Store): Promise<readonly string[]> {
  const owner = await amid(store, [renew, renew, renew, rewrite], async owner => {
    await store.takeAll(kind, owner)
    return owner
  })
  return ids(await store.find(kind, owner))
}

export function races (contract: StoreContract): void {
  const { rounds = 1_000 } = contract
  const few = Math.ceil(rounds / 10)

  testStore(contract, `of ${callers} who take, one gets it, ${rounds} times`, async store => {
    const names = await records(store, rounds)
    assert.deepEqual(await winners(names, async id => await store.take(kind, id) !== null), each(rounds, 1))
  })

  testStore(contract, `of ${callers} who swap one version, one does, ${rounds} times`, async store => {
    const names = await records(store, rounds)
    const read = await Promise.all(names.map(id => held(store, id)))
    const last = new Map<string, number>()
    assert.deepEqual(await winners(read, async (record, n) => {
      const won = await store.swap({ ...record, value: { n } })
      if (won) last.set(record.id, n)
      return won
    }), each(rounds, 1))
    const values = await Promise.all(names.map(async id => (await store.take(kind, id))?.value['n']))
    assert.deepEqual(values, names.map(id => last.get(id)), 'what the winner wrote is what is there')
  })

  testStore(contract, `of ${callers} who add one name, one does, ${few} times, also where an expired one was`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    const race = (): Promise<readonly number[]> => winners(names, (id, n) => store.add(entry({ id, value: { n } })))
    assert.deepEqual(await race(), each(few, 1))
    await Promise.all(names.map(async id => store.swap({ ...await held(store, id), expiresAt: new Date(0) })))
    assert.deepEqual(await race(), each(few, 1))
  })

  testStore(contract, `of ${callers} who count, as many are counted as there are slots, ${few} times`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    assert.deepEqual(
      await winners(names, async id => (await store.increment(kind, id, { window: 120, ceiling: 5 })).counted),
      each(few, 5)
    )
  })

  testStore(contract, 'of many who take all of an owner, each record goes to one, and of those who take them one by one as well', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const mine = Array.from({ length: 120 }, () => entry({ owner }))
    await Promise.all(mine.map(given => store.add(given)))
    const all = await Promise.all([
      ...Array.from({ length: 8 }, () => store.takeAll(kind, owner)),
      ...mine.map(async ({ id }) => { const taken = await store.take(kind, id); return taken === null ? [] : [taken] })
    ])
    assert.deepEqual(ids(all.flat()), ids(mine))
  })

  testStore(contract, `takeAll leaves no record that is renewed or written at that moment, ${few} times`, async store => {
    for (let from = 0; from < few; from += abreast) {
      const left = await Promise.all(Array.from({ length: Math.min(abreast, few - from) }, () => leftOver(store)))
      assert.deepEqual(left.flat(), [])
    }
  })

  testStore(contract, `find returns a record of an owner who always has one, ${few} times`, async store => {
    const found = await amid(store, [renew], async owner => {
      const lengths: number[] = []
      while (lengths.length < few) {
        lengths.push((await store.find(kind, owner)).length)
        await pause()
      }
      return lengths
    })
    assert.deepEqual(found.filter(length => length === 0), [])
  })
}
