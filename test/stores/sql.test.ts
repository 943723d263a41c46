import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CamelCasePlugin, Kysely, MysqlDialect, ParseJSONResultsPlugin, PostgresDialect, SqliteDialect, sql
} from 'kysely'
import Libsql from 'libsql'
import pg from 'pg'
import t from 'tap'
import { StoreUnavailable } from '../../lib/index.js'
import { sqlStore, type SqlStoreOptions } from '../../lib/stores/sql/index.js'
import { createPurge, createQuery } from '../../lib/stores/sql/statements.js'
import type { Store, StoreEntry } from '../../types/store.js'
import { movableClock } from '../fixtures/clock.js'
import { databaseUrl, dropTables, noPostgres, prefix, query } from './fixtures/services.js'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
const withoutPostgres = await noPostgres()
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

function entry (id: string, expiresAt: Date | null = null): StoreEntry {
  return { kind: 'sql', id, owner: { realm: 'r', id: 'o' }, value: { id }, expiresAt }
}

async function works (store: Store): Promise<boolean> {
  await store.migrate()
  await store.add(entry('works'))
  const record = await store.take('sql', 'works')
  return record?.value['id'] === 'works' && (await store.increment('sql', 'works', { window: 60 })).count > 0
}

t.test('stops the boot for invalid options, without showing a connection string', async t => {
  const secret = 'postgres://u:S3cretPassw0rd@h/d'
  const dialect = new SqliteDialect({ database: new Libsql(':memory:') })
  const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [{}, /exactly one/], [{ sqlite: 'a', connectionString: secret }, /exactly one/], [
      { connectionString: undefined }, /'connectionString' set to undefined/
    ],
    [{ connectionString: `mysql${secret}` }, /must begin with/], [{ connectionString: 5 }, /must begin with/],
    [{ sqlite: '' }, /path of a file/], [{ sqlite: 5 }, /path of a file/], [{ sqlite: 'file:a.sqlite' }, /not a URL/],
    [{ sqlite: 'libsql://h/d' }, /not a URL/],
    [{ dialect: {} }, /a Kysely dialect/], [{ kysely: 'x' }, /an instance of Kysely/], [
      { connectionString: secret, password: secret }, /unknown key 'password'/
    ],
    [{ sqlite: 'a', tablePrefix: 'A-' }, /tablePrefix/], [
      { sqlite: 'a', tablePrefix: 5 }, /tablePrefix/
    ], [{ sqlite: 'a', timeout: 0 }, /more than 0/], [{ dialect, timeout: '1d' }, /at most 10 minutes/],
    [{ dialect: new MysqlDialect({ pool: async () => { throw new Error('never') } }) }, /SQLite and PostgreSQL/]
  ]
  for (const [options, message] of wrong) {
    t.throws(() => sqlStore(options as SqlStoreOptions), { code: 'AUTH_MISCONFIGURED', message })
    try { sqlStore(options as SqlStoreOptions) } catch (error) { t.notMatch(String(error), /S3cret/) }
  }
})

t.test('works with a dialect, and with the Kysely of the application, which it does not close', async t => {
  const own = new Kysely<{
    orders: { id: number }
  }>({ dialect: new SqliteDialect({ database: new Libsql(':memory:') }) })
  const [a, b] = [
    sqlStore({ kysely: own }), sqlStore({ dialect: new SqliteDialect({ database: new Libsql(':memory:') }) })
  ]
  t.equal(await works(a), true)
  t.equal(await works(b), true)
  await a.close()
  await b.close()
  t.same((await sql`select 1 as one`.execute(own)).rows, [{ one: 1 }])
  await own.destroy()
})

t.test('works with a dialect for PostgreSQL, and with the Kysely of the application', {
  skip: withoutPostgres
}, async t => {
  const tablePrefix = prefix()
  const pool = () => new pg.Pool({ connectionString: databaseUrl })
  const own = new Kysely<{ orders: { id: number } }>({ dialect: new PostgresDialect({ pool: pool() }) })
  const [a, b] = [
    sqlStore({ kysely: own, tablePrefix }), sqlStore({ dialect: new PostgresDialect({ pool: pool() }), tablePrefix })
  ]
  t.teardown(() => dropTables(tablePrefix))
  t.equal(await works(a), true)
  t.equal(await works(b), true)
  await a.close()
  await b.close()
  await own.destroy()
})

t.test('names the command that creates missing tables', async t => {
  const store = sqlStore({ sqlite: join(folder, 'empty.sqlite') })
  await t.rejects(
    store.get('a', 'b'),
    { code: 'AUTH_UNAVAILABLE', detail: /SQLITE_ERROR \(a table is missing: was migrate\(\) called\?\)/ }
  )
  await store.migrate()
  t.equal(await store.get('a', 'b'), null)
  await store.close()
  await t.rejects(sqlStore({ sqlite: join(folder, 'no/such/folder.sqlite') }).migrate(), { code: 'AUTH_UNAVAILABLE' })
})

t.test('keeps its state in a file', async t => {
  const make = (): Store => sqlStore({ sqlite: join(folder, 'kept.sqlite') })
  const first = make()
  await first.migrate()
  await first.add(entry('kept'))
  const record = await first.get('sql', 'kept')
  await first.close()
  const second = make()
  await second.migrate()
  t.same(await second.take('sql', 'kept'), record)
  await second.close()
})

t.test('waits for a file that another process writes to, and is then unavailable', async t => {
  const file = join(folder, 'locked.sqlite')
  const store = sqlStore({ sqlite: file, timeout: 0.05 })
  await store.migrate()
  const other = new Libsql(file)
  other.exec('begin immediate')
  await t.rejects(store.add(entry('a')), { code: 'AUTH_UNAVAILABLE', detail: /SQLITE_BUSY/ })
  t.equal(await store.get('sql', 'a'), null, 'reading does not wait')
  other.exec('commit')
  t.equal(await store.add(entry('a')), true)
  other.close()
  await store.close()
})

t.test("reads its rows past the plugins of the application's Kysely", async t => {
  for (const plugin of [new CamelCasePlugin(), new ParseJSONResultsPlugin()]) {
    const own = new Kysely<unknown>({
      dialect: new SqliteDialect({ database: new Libsql(':memory:') }), plugins: [plugin]
    })
    const store = sqlStore({ kysely: own })
    await store.migrate()
    const expiresAt = new Date(Date.now() + 60_000)
    await store.add({ ...entry('one', expiresAt), value: { snake_case: 1, list: '[1]' } })
    t.match(await store.get('sql', 'one'), { value: { snake_case: 1, list: '[1]' }, expiresAt })
    const { expiresAt: end } = await store.increment('sql', 'one', { window: 60 })
    await store.decrement('sql', 'one', end ?? new Date(0))
    t.match(await store.increment('sql', 'one', { window: 60 }), { count: 1 }, 'a count can be taken back')
    await store.close()
    await own.destroy()
  }
})

t.test('does not report a count whose window is over, even before its row is removed', async t => {
  const time = movableClock(t)
  const store = sqlStore({ sqlite: join(folder, 'windows.sqlite') })
  await store.migrate()
  await store.increment('sql', 'over', { window: 60 })
  time.offset = 61_000
  t.same(
    await store.increment('sql', 'over', { window: 60, ceiling: 0 }), { counted: false, count: 0, expiresAt: null }
  )
  await store.close()
})

t.test('takes the successor of a record that PostgreSQL was waiting for', { skip: withoutPostgres }, async t => {
  const tablePrefix = prefix()
  const store = sqlStore({ connectionString: databaseUrl, tablePrefix, timeout: 60 })
  await store.migrate()
  t.teardown(() => dropTables(tablePrefix))
  await store.add(entry('old'))
  const other = new pg.Client({ connectionString: databaseUrl })
  await other.connect()
  const records = `${tablePrefix}records`
  await other.query(`begin; select 1 from ${records} for update`)
  const taking = store.takeAll('sql', { realm: 'r', id: 'o' })
  const isWaiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%${records}%'`
  while ((await query(isWaiting)).length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  await other.query(`
    insert into ${records} select kind, 'new', realm, owner, value, version, expires_at from ${records};
    delete from ${records} where id = 'old';
    commit`)
  await other.end()
  t.same((await taking).map(({ id }) => id), ['new'])
  await store.close()
})

/** Adds records that expire, keeps writing, and waits until their rows are removed. */
async function purged (store: Store, rows: () => Promise<number>): Promise<number> {
  await store.migrate()
  for (let n = 0; n < 100; n++) {
    await store.add(entry(`n${n}`, new Date(Date.now() + 20)))
    await store.increment('sql', `n${n}`, { window: 0.02 })
  }
  await store.add(entry('kept'))
  for (let n = 0; n < 5_000 && await rows() > 2; n++) await store.increment('sql', 'kept', { window: 600 })
  return rows()
}

t.test('removes expired rows in the background', async t => {
  const own = new Kysely<unknown>({ dialect: new SqliteDialect({ database: new Libsql(':memory:') }) })
  const store = sqlStore({ kysely: own })
  const count = sql<{ n: number }>`
    select (select count(*) from gatehouse_records) + (select count(*) from gatehouse_counters) as n
  `
  const left = await purged(store, async () => (await count.execute(own)).rows[0]?.n ?? 0)
  t.equal(left, 2, 'a record and a counter that are alive')
  await store.close()
  await own.destroy()
})

t.test('removes expired rows in the background in PostgreSQL', { skip: withoutPostgres }, async t => {
  const tablePrefix = prefix()
  const own = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: databaseUrl }) })
  })
  const store = sqlStore({ kysely: own, tablePrefix })
  t.teardown(() => dropTables(tablePrefix))
  const [records, counters] = [sql.table(`${tablePrefix}records`), sql.table(`${tablePrefix}counters`)]
  const count = sql<{ n: number }>`
    select ((select count(*) from ${records}) + (select count(*) from ${counters}))::int as n
  `
  t.equal(await purged(store, async () => (await count.execute(own)).rows[0]?.n ?? 0), 2)
  await store.close()
  await own.destroy()
})

t.test('keeps purging after a failure, one at a time, and waits for it on close', async t => {
  const batches: number[] = []
  let end: () => void = () => {}
  const { noteWrite, finish } = createPurge(maxRows => {
    batches.push(maxRows)
    return batches.length === 1 ? Promise.reject(new Error('no')) : new Promise(resolve => { end = resolve })
  })
  for (let n = 0; n < 250; n++) noteWrite()
  await finish()
  for (let n = 0; n < 1_000; n++) noteWrite()
  t.same(batches, [500, 500])
  let waited = false
  const closing = finish().then(() => { waited = true })
  await Promise.resolve()
  t.equal(waited, false)
  end()
  await closing
  await finish()
})

t.test('retries a few times if PostgreSQL aborts a conflicting transaction', {
  skip: withoutPostgres
}, async t => {
  const own = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: databaseUrl, max: 1 }) })
  })
  const retried = createQuery(own)
  const sequence = prefix()
  await query(`create sequence ${sequence}`)
  await query(
    `create function ${sequence}f (n int, state text) returns int language plpgsql as $$
    begin
      if nextval('${sequence}') < n then raise exception using errcode = state; end if;
      return 1;
    end $$`
  )
  t.teardown(() => query(`drop function ${sequence}f; drop sequence ${sequence}`))
  const call = (n: number, state: string) => retried(sql`select ${sql.raw(`${sequence}f(${n}, '${state}')`)} as f`)
  t.same(await call(3, '40001'), [{ f: 1 }], 'a serialization failure')
  t.same(await call(5, '40P01'), [{ f: 1 }], 'a deadlock')
  await t.rejects(call(100, '40001'), { code: '40001' })
  t.same(await query(`select last_value::int as n from ${sequence}`), [{ n: 10 }])
  await t.rejects(call(100, '23505'), { code: '23505' })
  t.same(await query(`select last_value::int as n from ${sequence}`), [{ n: 11 }], 'another error is not retried')
  await own.destroy()
})

t.test('uses the clock of PostgreSQL, and allows concurrent migrations', {
  skip: withoutPostgres
}, async t => {
  const tablePrefix = prefix()
  const stores = Array.from({ length: 6 }, () => sqlStore({ connectionString: databaseUrl, tablePrefix }))
  t.teardown(() => dropTables(tablePrefix))
  await Promise.all(stores.map(store => store.migrate()))
  const real = Date.now
  Date.now = () => real() + 3_600_000
  const [store] = stores
  try {
    await store?.add(entry('a', new Date(real() + 60_000)))
    t.not(await store?.get('sql', 'a'), null, 'a clock that is wrong here ends nothing there')
  } finally {
    Date.now = real
  }
  await Promise.all(stores.map(store => store.close()))
})

t.test('survives idle and busy connections that PostgreSQL closes', { skip: withoutPostgres }, async t => {
  const tablePrefix = prefix()
  const url = new URL(databaseUrl)
  url.searchParams.set('application_name', tablePrefix)
  const store = sqlStore({ connectionString: url.href, tablePrefix })
  t.teardown(() => dropTables(tablePrefix))
  await store.migrate()
  const kill = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${tablePrefix}'`
  await query(kill)
  const calls = Promise.allSettled(Array.from({ length: 500 }, (_, n) => store.get('sql', `n${n}`)))
  await query(kill)
  for (const call of await calls) if (call.status === 'rejected') t.ok(call.reason instanceof StoreUnavailable)
  t.equal(await works(store), true)
  await store.close()
})
