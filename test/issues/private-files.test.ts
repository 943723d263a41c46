import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { sqlStore } from '../../lib/stores/sql/index.js'

/** The files of SQLite were readable by every user of the machine. */

/** Returns the modes of the files of an open store, by their names. */
async function modesOf (t: Test, folder: string): Promise<Record<string, string>> {
  const store = sqlStore({ sqlite: join(folder, 'state.sqlite') })
  t.teardown(() => store.close())
  await store.migrate()
  await store.add({ kind: 'a', id: 'b', owner: null, value: {}, expiresAt: null })
  return Object.fromEntries(
    readdirSync(folder).map(name => [name, (statSync(join(folder, name)).mode & 0o777).toString(8)])
  )
}

const skip = process.platform === 'win32' ? 'Windows has no modes' : false

t.test('creates SQLite files with access for their owner only, in a public folder', { skip }, async t => {
  const folder = t.testdir({})
  chmodSync(folder, 0o755)
  t.same(await modesOf(t, folder), { 'state.sqlite': '600', 'state.sqlite-shm': '600', 'state.sqlite-wal': '600' })
})

t.test('leaves the mode of an existing file unchanged', { skip }, async t => {
  const folder = t.testdir({})
  writeFileSync(join(folder, 'state.sqlite'), '')
  chmodSync(join(folder, 'state.sqlite'), 0o640)
  t.same(await modesOf(t, folder), { 'state.sqlite': '640', 'state.sqlite-shm': '640', 'state.sqlite-wal': '640' })
})

t.test('creates no file for a database in memory', async t => {
  const store = sqlStore({ sqlite: ':memory:' })
  await store.migrate()
  await store.close()
  t.notOk(readdirSync('.').includes(':memory:'))
})
