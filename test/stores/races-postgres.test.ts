import t from 'tap'
import { sqlStore } from '../../lib/stores/sql.js'
import { race } from './support/processes.js'
import { databaseUrl, dropTables, noPostgres, prefix } from './support/services.js'

const skip = await noPostgres()

t.test('four processes on one PostgreSQL never win one thing twice', { skip }, async t => {
  const where = { connectionString: databaseUrl, tablePrefix: prefix(), timeout: 60 }
  const store = sqlStore(where)
  t.teardown(async () => {
    await store.close()
    await dropTables(where.tablePrefix)
  })
  await store.migrate()
  await race(t, store, { sql: where }, 1_000)
})
