import { type RawBuilder, sql } from 'kysely'
import type { Database } from './connect.js'

/** The key of the advisory lock that serialises migrations. Any constant will do. */
const lockKey = 7_331_942_101

/** Creates the tables and indexes that are missing. */
export async function migrate ({ kysely, engine }: Database, prefix: string): Promise<void> {
  if (engine === 'sqlite') {
    // Each statement is atomic and waits for other processes. A transaction that begins with a read would fail with
    // SQLITE_BUSY instead.
    for (const statement of schema(prefix)) await statement.execute(kysely)
    return
  }
  await kysely.transaction().execute(async transaction => {
    await sql`select pg_advisory_xact_lock(${lockKey})`.execute(transaction)
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
    sql`create index if not exists ${index('records_owner')}
      on ${table('records')} (kind, realm, owner) where owner is not null`,
    sql`create index if not exists ${index('records_expiry')}
      on ${table('records')} (expires_at) where expires_at is not null`,
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

/** The number of writes after which expired rows are removed. */
const purgeEveryWrites = 250
/** The maximum number of rows of each table that are removed at once: more than were written since the last time. */
const batchSize = 500
/** The time after which a write removes expired rows even if there were few, in milliseconds. */
const purgeInterval = 60_000

/** Removes expired rows in the background, one batch at a time. */
interface Purge {
  /** Counts a write, and starts a batch if it is due. */
  noteWrite (): void
  /** Waits for a running batch. */
  finish (): Promise<void>
}

export function createPurge (remove: (maxRows: number) => Promise<void>): Purge {
  let writes = 0
  let lastAt = performance.now()
  let running: Promise<void> | null = null
  return {
    noteWrite () {
      if (running !== null || (++writes < purgeEveryWrites && performance.now() - lastAt < purgeInterval)) return
      writes = 0
      lastAt = performance.now()
      // No request waits for this; a batch that fails is tried again next time.
      running = remove(batchSize).catch(() => {}).finally(() => { running = null })
    },
    async finish () {
      await running
    }
  }
}
