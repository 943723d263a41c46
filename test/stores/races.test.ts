import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { size } from '../fixtures/size.js'
import { racers } from './fixtures/processes.js'
import { databaseUrl, dropKeys, dropTables, noPostgres, noRedis, prefix, redisUrl } from './fixtures/services.js'

const [withoutRedis, withoutPostgres] = await Promise.all([noRedis(), noPostgres()])
const { race, end } = racers()
t.teardown(end)

const rounds = size({ test: 50, short: 300, full: 1_000 })

t.test('lets one of four processes on one Redis win each race', { skip: withoutRedis }, async t => {
  const where = { url: redisUrl, prefix: prefix(), timeout: 60 }
  const store = redisStore(where)
  t.teardown(async () => {
    await store.close()
    await dropKeys(where.prefix)
  })
  await race(t, store, { redis: where }, rounds)
})

t.test('lets one of four processes on one PostgreSQL win each race', { skip: withoutPostgres }, async t => {
  const where = { connectionString: databaseUrl, tablePrefix: prefix(), timeout: 60 }
  const store = sqlStore(where)
  t.teardown(async () => {
    await store.close()
    await dropTables(where.tablePrefix)
  })
  await store.migrate()
  await race(t, store, { sql: where }, rounds)
})

t.test('lets one of four processes on one SQLite file win each race', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  const where = { sqlite: join(folder, 'state.sqlite'), timeout: 30 }
  const store = sqlStore(where)
  t.teardown(async () => {
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  await store.migrate()
  await race(t, store, { sql: where }, 20)
})
