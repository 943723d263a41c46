import { type RawBuilder, sql } from 'kysely'
import type { Database } from './connect.js'

/** Any constant: who migrates waits for who migrates. */
const lock = 7_331_942_101

/** Makes the tables and indexes that are missing. */
export async function migrate ({ kysely, engine }: Database, prefix: string): Promise<void> {
  if (engine === 'sqlite') {
    // each is atomic, and waits for other processes by itself; a transaction that began by reading could not
    for (const statement of schema(prefix)) await statement.execute(kysely)
    return
  }
  await kysely.transaction().execute(async transaction => {
    await sql`select pg_advisory_xact_lock(${lock})`.execute(transaction)
    for (const statement of schema(prefix)) await statement.execute(transaction)
  })
}

function schema (prefix: string): ReadonlyArray<RawBuilder<unknown>> {
  const table = (name: string): RawBuilder<unknown> => sql.table(prefix + name)
  const index = (name: string): RawBuilder<unknown> => sql.id(prefix + name)
  return [
    sql`create table if not exists ${table('records')} (
      kind text not null,
      id text not null,
      realm text,
      owner text,
      value text not null,
      version text not null,
      expires_at bigint,
      primary key (kind, id)
    )`,
    sql`create index if not exists ${index('records_owner')} on ${table('records')} (kind, realm, owner) where owner is not null`,
    sql`create index if not exists ${index('records_expiry')} on ${table('records')} (expires_at) where expires_at is not null`,
    sql`create table if not exists ${table('counters')} (
      kind text not null,
      id text not null,
      count bigint not null,
      expires_at bigint not null,
      primary key (kind, id)
    )`,
    sql`create index if not exists ${index('counters_expiry')} on ${table('counters')} (expires_at)`
  ]
}

/**
 * Writes after which expired rows are looked for, and how many are removed at once: more than can have been written
 * since.
 */
const everyWrites = 250
const batch = 500
/** Milliseconds after which they are looked for also where little is written. */
const everyMilliseconds = 60_000

/** Removes expired rows beside other work, in batches, one at a time. */
interface Purge {
  /** Notes a write. */
  wrote (): void
  /** Waits for the batch that is under way. */
  settled (): Promise<void>
}

export function purge (remove: (most: number) => Promise<void>): Purge {
  let writes = 0
  let lastAt = performance.now()
  let running: Promise<void> | null = null
  return {
    wrote () {
      if (running !== null || (++writes < everyWrites && performance.now() - lastAt < everyMilliseconds)) return
      writes = 0
      lastAt = performance.now()
      // what fails is tried again next time; it is nobody's request
      running = remove(batch).catch(() => {}).finally(() => { running = null })
    },
    async settled () {
      await running
    }
  }
}
