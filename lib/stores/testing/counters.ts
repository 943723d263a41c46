import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Store, StoreCount } from '../../../types/store.js'
import { added, entry, held, kind, testStore, until, type StoreContract } from './fixtures.js'

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
export function testCounters (contract: StoreContract): void {
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
