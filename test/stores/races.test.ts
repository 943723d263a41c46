import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { size } from '../fixtures/size.js'
import { racers } from './fixtures/processes.js'
import { sharedServers } from './fixtures/shared.js'

const servers = await sharedServers()
const { race, end } = racers()
t.teardown(end)

const rounds = size({ test: 20, short: 300, full: 1_000 })

for (const { name, skip, open } of servers) {
  t.test(`lets one of four processes on one ${name} win each race`, { skip }, async t => {
    const { store, where } = open(t)
    await store.migrate()
    await race(t, store, where, rounds)
  })
}

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
