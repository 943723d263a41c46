import t from 'tap'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { size } from '../fixtures/size.js'
import { passesStoreContract } from './contract.js'
import { databaseUrl, dropTables, noPostgres, prefix } from './fixtures/services.js'

const skip = await noPostgres()
const tablePrefix = prefix()
const make = () => sqlStore({ connectionString: databaseUrl, tablePrefix, timeout: 30 })

if (skip !== false) {
  t.plan(0, skip)
} else {
  t.teardown(() => dropTables(tablePrefix))
  passesStoreContract(t, { make, another: make, rounds: size({ test: 20, short: 100, full: 1_000 }) })
}
