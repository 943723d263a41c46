import t from 'tap'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { passesStoreContract } from '../contract/store.js'
import { size } from '../support/size.js'
import { databaseUrl, dropTables, noPostgres, prefix } from './support/services.js'

const skip = await noPostgres()
const tablePrefix = prefix()
const make = () => sqlStore({ connectionString: databaseUrl, tablePrefix, timeout: 30 })

if (skip !== false) {
  t.plan(0, skip)
} else {
  t.teardown(() => dropTables(tablePrefix))
  passesStoreContract(t, { make, another: make, rounds: size({ test: 50, short: 100, full: 1_000 }) })
}
