import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store } from '../../../types/store.js'
import { entry, held, ids, kind, soon, stage, type StoreContract } from './stage.js'

/** Callers at once. */
const callers = 50
/** Rounds that run beside each other, so that callers of one also wait behind callers of another. */
const abreast = 10

/** Runs rounds of a race and says how many winners each had. */
async function winners<T> (rounds: readonly T[], caller: (round: T, n: number) => Promise<boolean>): Promise<readonly number[]> {
  const won: number[] = []
  for (let from = 0; from < rounds.length; from += abreast) {
    const answers = await Promise.all(rounds.slice(from, from + abreast).map(round => Promise.all(Array.from({ length: callers }, (_, n) => caller(round, n)))))
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

export function races (contract: StoreContract): void {
  const { rounds = 1_000 } = contract
  const few = Math.ceil(rounds / 10)

  stage(contract, `of ${callers} who take, one gets it, ${rounds} times`, async store => {
    const names = await records(store, rounds)
    assert.deepEqual(await winners(names, async id => await store.take(kind, id) !== null), each(rounds, 1))
  })

  stage(contract, `of ${callers} who swap one version, one does, ${rounds} times`, async store => {
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

  stage(contract, `of ${callers} who add one name, one does, ${few} times, also where an expired one was`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    const race = (): Promise<readonly number[]> => winners(names, (id, n) => store.add(entry({ id, value: { n } })))
    assert.deepEqual(await race(), each(few, 1))
    await Promise.all(names.map(async id => store.swap({ ...await held(store, id), expiresAt: new Date(0) })))
    assert.deepEqual(await race(), each(few, 1))
  })

  stage(contract, `of ${callers} who count, as many are counted as there are slots, ${few} times`, async store => {
    const names = Array.from({ length: few }, () => randomUUID())
    assert.deepEqual(await winners(names, async id => (await store.increment(kind, id, { window: 120, ceiling: 5 })).counted), each(few, 5))
  })

  stage(contract, 'of many who take all of an owner, each record goes to one, and of those who take them one by one as well', async store => {
    const owner = { realm: 'r', id: randomUUID() }
    const mine = Array.from({ length: 120 }, () => entry({ owner }))
    await Promise.all(mine.map(given => store.add(given)))
    const all = await Promise.all([
      ...Array.from({ length: 8 }, () => store.takeAll(kind, owner)),
      ...mine.map(async ({ id }) => { const taken = await store.take(kind, id); return taken === null ? [] : [taken] })
    ])
    assert.deepEqual(ids(all.flat()), ids(mine))
  })
}
