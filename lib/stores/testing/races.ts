import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setImmediate as pause } from 'node:timers/promises'
import type { Store, StoreOwner } from '../../../types/store.js'
import { entry, held, ids, kind, soon, testStore, type StoreContract } from './fixtures.js'

/** The number of parallel callers in each round. */
const callers = 50
/** The number of parallel rounds, so that callers of one round also wait for those of another. */
const parallelRounds = 10

/** Runs rounds of a race and returns the number of winners of each. */
async function winners<T> (
  rounds: readonly T[], caller: (round: T, n: number) => Promise<boolean>
): Promise<readonly number[]> {
  const won: number[] = []
  for (let from = 0; from < rounds.length; from += parallelRounds) {
    const answers = await Promise.all(
      rounds.slice(from, from + parallelRounds).map(
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

/** A record of an owner. */
interface Owned { readonly id: string, readonly owner: StoreOwner }

/** Adds a record without reading it back: other callers may have taken it by then. */
async function put (store: Store, owner: StoreOwner): Promise<Owned> {
  const given = entry({ owner })
  assert.equal(await store.add(given), true, 'it is added')
  return { id: given.id, owner }
}

/**
 * Replaces a record again and again, as a session is renewed: adds the next record, takes the previous one, and takes
 * the next one back if the previous one was gone.
 */
async function renew (store: Store, { id, owner }: Owned, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const next = await put(store, owner)
    if (await store.take(kind, id) === null) {
      await store.take(kind, next.id)
      return
    }
    id = next.id
    // Without a pause, a store in memory would never let other callers run.
    await pause()
  }
}

/** Writes a record again and again until it is gone. */
async function rewrite (store: Store, { id }: Owned, isOver: () => boolean): Promise<void> {
  for (let n = 0; !isOver(); n++) {
    const record = await store.get(kind, id)
    if (record === null) return
    await store.swap({ ...record, value: { n } })
    await pause()
  }
}

/** Changes a record and those that replace it, until `isOver` returns true. */
type Change = (store: Store, first: Owned, isOver: () => boolean) => Promise<void>

/** Runs `work` while each of the changes runs on a record of the owner, all of which were added before. */
async function during<T> (
  store: Store, changes: readonly Change[], work: (owner: StoreOwner) => Promise<T>
): Promise<T> {
  const owner = { realm: 'r', id: randomUUID() }
  let over = false
  const begun = await Promise.all(changes.map(async change => ({ change, first: await put(store, owner) })))
  const ended = Promise.allSettled(begun.map(({ change, first }) => change(store, first, () => over)))
  try {
    // Lets every change get past its first step.
    await store.find(kind, owner)
    await pause()
    await pause()
    return await work(owner)
  } finally {
    over = true
    for (const end of await ended) assert.equal(end.status, 'fulfilled', 'the changes did not fail')
  }
}

/** Takes all records of an owner while they are renewed and written. Returns the ids of those that are left. */
async function leftOver (store: Store): Promise<readonly string[]> {
  const owner = await during(store, [renew, renew, renew, rewrite], async owner => {
    await store.takeAll(kind, owner)
    return owner
  })
  return ids(await store.find(kind, owner))
}

/** Registers the tests of parallel calls. */
export function testRaces (contract: StoreContract): void {
  const { rounds = 1_000 } = contract
  const few = Math.ceil(rounds / 10)

  testStore(contract, `of ${callers} parallel calls of take, one returns the record, ${rounds} times`, async store => {
    const names = await records(store, rounds)
    assert.deepEqual(await winners(names, async id => await store.take(kind, id) !== null), each(rounds, 1))
  })

  testStore(contract, `of ${callers} parallel swaps of one version, one succeeds, ${rounds} times`, async store => {
    const names = await records(store, rounds)
    const read = await Promise.all(names.map(id => held(store, id)))
    const last = new Map<string, number>()
    assert.deepEqual(await winners(read, async (record, n) => {
      const won = await store.swap({ ...record, value: { n } })
      if (won) last.set(record.id, n)
      return won
    }), each(rounds, 1))
    const values = await Promise.all(names.map(async id => (await store.take(kind, id))?.value['n']))
    assert.deepEqual(values, names.map(id => last.get(id)), 'the value is that of the winner')
  })

  testStore(contract, `one of ${callers} parallel adds of a free or expired id succeeds, ${few} times`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    const race = (): Promise<readonly number[]> => winners(names, (id, n) => store.add(entry({ id, value: { n } })))
    assert.deepEqual(await race(), each(few, 1))
    await Promise.all(names.map(async id => store.swap({ ...await held(store, id), expiresAt: new Date(0) })))
    assert.deepEqual(await race(), each(few, 1))
  })

  testStore(contract, `${callers} parallel increments do not exceed the ceiling, ${few} times`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    assert.deepEqual(
      await winners(names, async id => (await store.increment(kind, id, { window: 120, ceiling: 5 })).counted),
      each(few, 5)
    )
  })

  testStore(contract, 'parallel calls of takeAll and take return each record once', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const mine = Array.from({ length: 120 }, () => entry({ owner }))
    await Promise.all(mine.map(given => store.add(given)))
    const all = await Promise.all([
      ...Array.from({ length: 8 }, () => store.takeAll(kind, owner)),
      ...mine.map(async ({ id }) => { const taken = await store.take(kind, id); return taken === null ? [] : [taken] })
    ])
    assert.deepEqual(ids(all.flat()), ids(mine))
  })

  testStore(contract, `takeAll leaves no record that is renewed or written meanwhile, ${few} times`, async store => {
    for (let from = 0; from < few; from += parallelRounds) {
      const left = await Promise.all(
        Array.from({ length: Math.min(parallelRounds, few - from) }, () => leftOver(store))
      )
      assert.deepEqual(left.flat(), [])
    }
  })

  testStore(contract, `find returns a record that is being renewed, ${few} times`, async store => {
    const found = await during(store, [renew], async owner => {
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
