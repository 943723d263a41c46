import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'

/** Options of `storeContract`. */
export interface StoreContract {
  /** Creates a store. All of them may share their state. Each is migrated before it is used. */
  make (): Store | Promise<Store>
  /**
   * Creates another instance on the state of the store that `make` created last. If it is left out, changes made by
   * other instances are not tested.
   */
  another? (): Store | Promise<Store>
  /** Registers a test: `test` of `node:test` or tap, or `it` of other runners. */
  test (title: string, run: () => Promise<void>): unknown
  /** The number of times that each race is run. Default 1,000. */
  readonly rounds?: number
}

/** The kind of the records and counters of these tests. */
export const kind = 'contract'

/** Registers a test with a migrated store, which is closed afterwards. */
export function testStore ({ make, test }: StoreContract, title: string, run: (store: Store) => Promise<void>): void {
  test(title, async () => {
    const store = await make()
    try {
      await store.migrate()
      await run(store)
    } finally {
      await store.close()
    }
  })
}

/** Returns an entry with an id of its own. It expires after two minutes, in case the test does not remove it. */
export function entry (changes: Partial<StoreEntry> = {}): StoreEntry {
  return { kind, id: randomUUID(), owner: null, value: {}, expiresAt: soon(), ...changes }
}

/** Returns an instant after the end of every test. */
export function soon (): Date {
  return new Date(Date.now() + 120_000)
}

/** Returns an instant within the test. */
export function shortly (): Date {
  return new Date(Date.now() + 40)
}

/** Waits until a condition is true, for at most ten seconds. */
export async function until (condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let waited = 0; !await condition(); waited += 10) {
    assert.ok(waited < 10_000, 'it did not happen within ten seconds')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** Adds an entry and returns its record. */
export async function added (store: Store, given: StoreEntry): Promise<StoreRecord> {
  assert.equal(await store.add(given), true, 'it is added')
  return await held(store, given.id)
}

/** Returns a record that must exist. */
export async function held (store: Store, id: string): Promise<StoreRecord> {
  const record = await store.get(kind, id)
  assert.ok(record !== null, 'it is there')
  return record
}

/** Returns a record with another value. */
export function changed (record: StoreRecord, value: JsonObject): StoreRecord {
  return { ...record, value }
}

/** Returns the ids of records, sorted. */
export function ids (records: ReadonlyArray<{ readonly id: string }>): readonly string[] {
  return records.map(record => record.id).sort()
}
