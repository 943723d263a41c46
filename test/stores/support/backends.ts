import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import type { Test } from 'tap'
import { memoryStore } from '../../../lib/stores/memory/memory.js'
import { redisStore } from '../../../lib/stores/redis/index.js'
import { sqlStore } from '../../../lib/stores/sql/index.js'
import type { Store } from '../../../types/store.js'
import { databaseUrl, dropKeys, dropTables, noPostgres, noRedis, prefix, query, redisUrl, withRedis } from './services.js'

/** State of its own for one test, and what instances of an application open on it. */
export interface State {
  /** One instance's store. It is closed when the test ends. */
  open (): Store
  /** Everything that rests there, by place: what somebody has who stole it. */
  dump (): Promise<Readonly<Record<string, string | Buffer>>>
  /** What is asked from now on fails, and says what it was asked. */
  break (): Promise<void>
  /** A password in the address of the server, `null` where there is no server. */
  readonly password: string | null
}

export interface Backend {
  readonly name: string
  /** Why it cannot be tested here. */
  readonly skip: string | false
  /** Instances hear of changes at once. */
  readonly tells: boolean
  make (t: Test, password?: string): State
}

/** Every store of the package. One in memory has one instance's state: there, all who open it get the same. */
export async function backends (): Promise<readonly Backend[]> {
  const [postgresSkip, redisSkip] = await Promise.all([noPostgres(), noRedis()])
  return [
    { name: 'memory', skip: false, tells: true, make: memory },
    { name: 'a SQLite file', skip: false, tells: false, make: sqlite },
    { name: 'PostgreSQL', skip: postgresSkip, tells: false, make: postgres },
    { name: 'Redis', skip: redisSkip, tells: true, make: redis }
  ]
}

function opener (t: Test, make: () => Store): () => Store {
  return () => {
    const store = make()
    t.teardown(() => store.close())
    return store
  }
}

function memory (t: Test): State {
  const only = memoryStore()
  t.teardown(() => only.close())
  return { open: () => only, dump: async () => ({}), break: () => only.close(), password: null }
}

function sqlite (t: Test): State {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  const file = join(folder, 'state.sqlite')
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  return {
    open: opener(t, () => sqlStore({ sqlite: file, timeout: 30 })),
    async dump () {
      // in the log before the file are deleted rows as well
      return Object.fromEntries([file, `${file}-wal`].filter(each => existsSync(each)).map(each => [`the file ${each.slice(folder.length + 1)}`, readFileSync(each)]))
    },
    async break () {
      const database = new Database(file)
      database.exec('drop table gatehouse_records; drop table gatehouse_counters')
      database.close()
    },
    password: null
  }
}

/** An address with a password. Servers that trust this machine take any. */
function withPassword (url: string, user: string, password: string): string {
  const parsed = new URL(url)
  if (parsed.username === '') parsed.username = user
  if (password !== '') parsed.password = password
  return parsed.href
}

function postgres (t: Test, password = ''): State {
  const tablePrefix = prefix()
  t.teardown(() => dropTables(tablePrefix))
  const tables = [`${tablePrefix}records`, `${tablePrefix}counters`]
  return {
    open: opener(t, () => sqlStore({ connectionString: withPassword(databaseUrl, 'postgres', password), tablePrefix, timeout: 30 })),
    async dump () {
      const rows = await Promise.all(tables.map(table => query(`select t::text as row, * from ${table} t`)))
      return Object.fromEntries(tables.map((table, i) => [`the table ${table.slice(tablePrefix.length)}`, JSON.stringify(rows[i])]))
    },
    break: () => dropTables(tablePrefix),
    password: password === '' ? null : password
  }
}

function redis (t: Test, password = ''): State {
  const own = prefix()
  t.teardown(() => dropKeys(own))
  return {
    open: opener(t, () => redisStore({ url: password === '' ? redisUrl : withPassword(redisUrl, 'default', password), prefix: own, timeout: 30 })),
    dump: async () => ({ 'Redis, KEYS and values': await keysAndValues(own) }),
    async break () {
      // every key has the wrong type from now on, and new ones meet a server that takes no writes from us
      await withRedis(async client => { for (const key of await keysOf(own)) await client.multi().del(key).lpush(key, 'broken').exec() })
    },
    password: password === '' ? null : password
  }
}

async function keysOf (own: string): Promise<readonly string[]> {
  const found = new Set<string>()
  await withRedis(async client => {
    for await (const keys of client.scanStream({ match: `*${own}*`, count: 1_000 }) as AsyncIterable<string[]>) for (const key of keys) found.add(key)
  })
  return [...found]
}

/** Each key with its type, what it holds read by its type, and its bytes as Redis would write them to a file. */
async function keysAndValues (own: string): Promise<string> {
  const keys = await keysOf(own)
  return withRedis(async client => {
    const lines = await Promise.all(keys.map(async key => {
      const type = await client.type(key)
      const held = type === 'hash' ? await client.hgetall(key) : type === 'zset' ? await client.zrange(key, 0, -1, 'WITHSCORES') : type === 'list' ? await client.lrange(key, 0, -1) : await client.get(key)
      return `${key} ${type} ${JSON.stringify(held)} ${await client.pttl(key)} ${(await client.dumpBuffer(key))?.toString('latin1')}`
    }))
    return lines.join('\n')
  })
}
