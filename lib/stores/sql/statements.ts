import { sql, type QueryExecutorProvider, type RawBuilder } from 'kysely'
import type { StoreOwner } from '../../../types/store.js'
import { isError } from '../../errors.js'
import type { CounterLimits } from '../operations.js'
import type { Database } from './connect.js'

/** A row of the table of records. PostgreSQL returns `bigint` as a string. */
export interface RecordRow {
  readonly kind: string
  readonly id: string
  readonly realm: string | null
  readonly owner: string | null
  readonly value: string
  readonly version: string
  readonly expires_at: number | string | null
}

export interface CounterRow {
  readonly count: number
  readonly expires_at: number | string
}

/** A row to write. */
export interface NewRow extends RecordRow {
  readonly expires_at: number | null
}

/** Runs one statement. */
export type Query = <R>(statement: RawBuilder<R>) => Promise<readonly R[]>

/**
 * The statements of a store. Each is atomic by itself, so that none needs a transaction. Times are milliseconds
 * since 1970, by the database's clock. The casts tell PostgreSQL the types of parameters that are not assigned to a
 * column.
 */
export interface Statements {
  add (row: NewRow): RawBuilder<unknown>
  get (kind: string, id: string): RawBuilder<RecordRow>
  swap (row: NewRow, before: string): RawBuilder<unknown>
  take (kind: string, id: string): RawBuilder<RecordRow>
  find (kind: string, owner: StoreOwner): RawBuilder<RecordRow>
  takeAll (kind: string, owner: StoreOwner, except: string): RawBuilder<RecordRow>
  /** Returns a row if the owner has a record other than `except`. */
  isOwning (kind: string, owner: StoreOwner, except: string): RawBuilder<unknown>
  increment (kind: string, id: string, limits: CounterLimits): RawBuilder<CounterRow>
  decrement (kind: string, id: string, end: number): RawBuilder<unknown>
  count (kind: string, id: string): RawBuilder<CounterRow>
  /** Removes up to `maxRows` expired rows of each table. */
  purge (maxRows: number): ReadonlyArray<RawBuilder<unknown>>
}

export function createStatements (engine: Database['engine'], prefix: string): Statements {
  const tables = [sql.table(`${prefix}records`), sql.table(`${prefix}counters`)] as const
  const [records, counters] = tables
  const unlocked = engine === 'postgres' ? sql`for update skip locked` : sql``
  // One instant for the whole statement, unlike clock_timestamp(), and not that of the transaction, unlike now().
  const now = (): RawBuilder<number> => engine === 'postgres'
    ? sql`floor(extract(epoch from statement_timestamp()) * 1000)::bigint`
    : sql`cast(${Date.now()} as bigint)`

  return {
    ...createRecordStatements(engine, records, now),
    ...createCounterStatements(counters, now),
    purge: maxRows => tables.map(table => sql`
      delete from ${table} where (kind, id) in (
        select kind, id from ${table} where expires_at <= ${now()} limit ${maxRows} ${unlocked}
      ) and expires_at <= ${now()}`)
  }
}

type Table = RawBuilder<unknown>
type CounterStatements = Pick<Statements, 'increment' | 'decrement' | 'count'>

function createRecordStatements (
  engine: Database['engine'], records: Table, now: () => RawBuilder<number>
): Omit<Statements, keyof CounterStatements | 'purge'> {
  const alive = (): RawBuilder<boolean> => sql`(expires_at is null or expires_at > ${now()})`
  const columns = sql`kind, id, realm, owner, value, version, expires_at`
  // Locks rows in one order, so that two statements do not deadlock.
  const ordered = engine === 'postgres' ? sql`order by id for update` : sql``

  return {
    add: ({ kind, id, realm, owner, value, version, expires_at: at }) => sql`
      insert into ${records} as held (kind, id, realm, owner, value, version, expires_at)
      select cast(${kind} as text), cast(${id} as text), cast(${realm} as text), cast(${owner} as text),
        cast(${value} as text), cast(${version} as text), cast(${at} as bigint)
      where cast(${at} as bigint) is null or cast(${at} as bigint) > ${now()}
      on conflict (kind, id) do update set realm = excluded.realm, owner = excluded.owner, value = excluded.value,
        version = excluded.version, expires_at = excluded.expires_at
      where held.expires_at <= ${now()}
      returning 1 as done`,

    get: (kind, id) => sql`select ${columns} from ${records} where kind = ${kind} and id = ${id} and ${alive()}`,

    swap: ({ kind, id, value, version, expires_at: at }, before) => sql`
      update ${records} set value = ${value}, version = ${version}, expires_at = ${at}
      where kind = ${kind} and id = ${id} and version = ${before} and ${alive()} returning 1 as done`,

    take: (kind, id) => sql`delete from ${records}
      where kind = ${kind} and id = ${id} and ${alive()} returning ${columns}`,

    find: (kind, { realm, id: owner }) => sql`select ${columns} from ${records}
      where kind = ${kind} and realm = ${realm} and owner = ${owner} and ${alive()}`,

    takeAll: (kind, { realm, id: owner }, except) => sql`
      delete from ${records} where kind = ${kind} and id in (
        select id from ${records}
        where kind = ${kind} and realm = ${realm} and owner = ${owner} and id <> ${except} ${ordered}
      ) and realm = ${realm} and owner = ${owner} and ${alive()} returning ${columns}`,

    isOwning: (kind, { realm, id: owner }, except) => sql`select 1 as one from ${records}
      where kind = ${kind} and realm = ${realm} and owner = ${owner} and id <> ${except} and ${alive()} limit 1`
  }
}

function createCounterStatements (counters: Table, now: () => RawBuilder<number>): CounterStatements {
  return {
    increment: (kind, id, { windowMs, ceiling }) => sql`
      insert into ${counters} as held (kind, id, count, expires_at)
      select cast(${kind} as text), cast(${id} as text), 1, ${now()} + cast(${windowMs} as bigint)
      where cast(${ceiling} as bigint) > 0
      on conflict (kind, id) do update set
        count = case when held.expires_at <= ${now()} then 1 else held.count + 1 end,
        expires_at = case when held.expires_at <= ${now()} then excluded.expires_at else held.expires_at end
      where held.expires_at <= ${now()} or held.count < cast(${ceiling} as bigint)
      returning count, expires_at`,

    decrement: (kind, id, end) => sql`
      update ${counters} set count = count - 1
      where kind = ${kind} and id = ${id} and expires_at = ${end} and count > 0 and expires_at > ${now()}
      returning 1 as done`,

    count: (kind, id) => sql`select count, expires_at from ${counters}
      where kind = ${kind} and id = ${id} and expires_at > ${now()}`
  }
}

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
/** The time after which a write removes expired rows even if there were few. */
const purgeIntervalMs = 60_000

/** Removes expired rows in the background, one batch at a time. */
interface Purge {
  /** Counts a write, and starts a batch if it is due. */
  noteWrite (): void
  /** Waits for a running batch. */
  finish (): Promise<void>
}

/** Creates a {@link Purge}. @param remove removes up to `maxRows` expired rows of each table. */
export function createPurge (remove: (maxRows: number) => Promise<void>): Purge {
  let writes = 0
  let lastAt = performance.now()
  let running: Promise<void> | null = null
  return {
    noteWrite () {
      if (running !== null || (++writes < purgeEveryWrites && performance.now() - lastAt < purgeIntervalMs)) return
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

/** SQLSTATEs of statements that PostgreSQL rolled back (serialization failure, deadlock), which are safe to retry. */
const retryable = new Set(['40001', '40P01'])

/**
 * Returns a function that runs a statement, up to five times if the database rolls it back. Plugins of an application's
 * Kysely do not see the rows: some rename the columns, or parse the values.
 */
export function createQuery (kysely: QueryExecutorProvider): Query {
  const executor = kysely.getExecutor().withoutPlugins()
  return async statement => {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await executor.executeQuery(statement.compile(kysely))).rows
      } catch (error) {
        if (attempt === 5 || !(isError(error) && 'code' in error && retryable.has(String(error.code)))) {
          throw error
        }
      }
    }
  }
}
