import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'

/** What `storeContract` takes. */
export interface StoreContract {
  /** Makes a store; all of them may share their state. It is asked to migrate before it is used. */
  make (): Store | Promise<Store>
  /**
   * Makes another instance on the state of the one that `make` made last. Left out, changes made elsewhere are not
   * tried.
   */
  another? (): Store | Promise<Store>
  /** Registers a test: `test` of `node:test`, of tap, `it` of others. */
  test (title: string, run: () => Promise<void>): unknown
  /** How often each race is run. Default 1,000. */
  readonly rounds?: number
}

/** A kind of its own for these tests. */
export const kind = 'contract'

/** A test with a store that is ready, closed in any case. */
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

/** An entry that nobody else has, and that does not stay for long if the test leaves it. */
export function entry (changes: Partial<StoreEntry> = {}): StoreEntry {
  return { kind, id: randomUUID(), owner: null, value: {}, expiresAt: soon(), ...changes }
}

/** Beyond the end of every test. */
export function soon (): Date {
  return new Date(Date.now() + 120_000)
}

/** An end that comes within the test. */
export function shortly (): Date {
  return new Date(Date.now() + 40)
}

/** Waits until a question is answered with yes. */
export async function until (question: () => Promise<boolean> | boolean): Promise<void> {
  for (let waited = 0; !await question(); waited += 10) {
    assert.ok(waited < 10_000, 'it did not happen within ten seconds')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** The record that an entry became. */
export async function added (store: Store, given: StoreEntry): Promise<StoreRecord> {
  assert.equal(await store.add(given), true, 'it is added')
  return await held(store, given.id)
}

/** A record that is there. */
export async function held (store: Store, id: string): Promise<StoreRecord> {
  const record = await store.get(kind, id)
  assert.ok(record !== null, 'it is there')
  return record
}

/** A record with another value. */
export function changed (record: StoreRecord, value: JsonObject): StoreRecord {
  return { ...record, value }
}

/** The ids of records, in order. */
export function ids (records: ReadonlyArray<{ readonly id: string }>): readonly string[] {
  return records.map(record => record.id).sort()
}
