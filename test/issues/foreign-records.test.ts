import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import { Kysely, PostgresDialect, SqliteDialect, type Dialect } from 'kysely'
import Libsql from 'libsql'
import pg from 'pg'
import t from 'tap'
import authPlugin, {
  memoryStore, session, withDeadline, type Store, type StoreChange, type StoreRecord
} from '../../lib/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { ann, bob, createInstance, type LogLine } from '../schemes/api-key/app.js'
import {
  databaseUrl,
  dropKeys,
  dropTables,
  noPostgres,
  noRedis,
  prefix,
  redisUrl,
  withRedis
} from '../stores/fixtures/services.js'

/** One API key acted as another when a store answered with the record of another key. */

// before the first test, which blocks the process for longer than the databases wait
const [withoutPostgres, withoutRedis] = await Promise.all([noPostgres(), noRedis()])
const mixedUp = /answered with a record of another kind, id or owner/

/** Returns true if a line of the level error or above reports an answer with the wrong record. */
function isLogged (log: readonly LogLine[]): boolean {
  return log.some(line => line.level >= 50 && mixedUp.test(JSON.stringify(line)))
}

t.test('answers 500 and logs if a store returns the record of another key', async t => {
  const inner = memoryStore()
  let other: string | null = null
  const store: Store = { ...inner, get: (kind, id) => inner.get(kind, other ?? id) }
  const { keys, log, ask } = await createInstance(t, { managed: { prefix: 'acme', staleness: 0 } }, { store })
  const [mine, theirs] = [await keys.of(ann).create({ name: 'mine' }), await keys.of(bob).create({ name: 'theirs' })]
  t.same((await ask(mine.key)).json().principal.id, 'ann')
  other = theirs.record.id
  const answer = await ask(mine.key)
  t.same([answer.statusCode, answer.json().code], [500, 'AUTH_FAULT'])
  t.ok(isLogged(log))
  await t.rejects(keys.ofAnyOwner().get(mine.record.id), { code: 'AUTH_FAULT', detail: mixedUp })
  await t.rejects(keys.ofAnyOwner().revoke(mine.record.id), { code: 'AUTH_FAULT' })
  other = null
  t.same((await ask(mine.key)).json().principal.id, 'ann')
})

t.test('answers 500 if a store returns the record of another session for an ended one', async t => {
  const inner = memoryStore()
  const log: LogLine[] = []
  let anybody: StoreRecord | null = null
  const store: Store = { ...inner, get: async (kind, id) => anybody ?? await inner.get(kind, id) }
  const app = Fastify({ logger: { stream: { write: (line: string) => { log.push(JSON.parse(line) as LogLine) } } } })
  t.teardown(() => app.close())
  await app.register(authPlugin, {
    schemes: { web: session({ secret: randomBytes(32).toString('base64url'), staleness: 0 }) },
    store
  })
  app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  app.get('/me', async ({ principal }) => principal)
  const login = async () =>
    String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie']).split(';')[0] ?? ''
  const cookie = await login()
  await app.gatehouse.sessions.of({ realm: 'web', id: 'ann' }).revokeAll()
  t.equal((await app.inject({ url: '/me', headers: { cookie } })).statusCode, 401)
  await login()
  anybody = (await inner.find('session', { realm: 'web web', id: 'ann' }))[0] ?? null
  t.equal((await app.inject({ url: '/me', headers: { cookie } })).statusCode, 500)
  t.ok(isLogged(log))
})

t.test('refuses a record of another kind, id or owner in every method, and shows no id', async t => {
  const owner = { realm: 'r', id: 'o' }
  const good: StoreRecord = { kind: 'a', id: 'mine', owner, value: {}, expiresAt: null, version: 'v' }
  const wrong: readonly StoreRecord[] = [
    { ...good, kind: 'b' },
    { ...good, id: 'theirs' },
    { ...good, owner: { realm: 'r', id: 'other' } },
    { ...good, owner: { realm: 'x', id: 'o' } },
    { ...good, owner: null }
  ]
  for (const [index, record] of wrong.entries()) {
    const lists = async () => [good, record]
    const store = withDeadline({
      ...memoryStore(),
      get: async () => record,
      take: async () => record,
      find: lists,
      takeAll: lists
    })
    if (index < 2) {
      for (const call of [store.get('a', 'mine'), store.take('a', 'mine')]) {
        await t.rejects(call, { code: 'AUTH_FAULT', detail: mixedUp })
      }
    }
    if (index !== 1) {
      for (const call of [store.find('a', owner), store.takeAll('a', owner)]) {
        await t.rejects(call, { code: 'AUTH_FAULT', detail: /^(?!.*theirs).*mixes up answers$/ })
      }
    }
  }
  const kept = withDeadline({ ...memoryStore(), takeAll: async () => [good] })
  t.same(await kept.takeAll('a', owner), [good])
  await t.rejects(kept.takeAll('a', owner, 'mine'), { code: 'AUTH_FAULT' })
})

t.test('treats an undefined record as absent, and only true as success', async t => {
  const odd = {
    ...memoryStore(),
    get: async () => undefined,
    take: async () => undefined,
    add: async () => 1,
    swap: async () => 'OK'
  } as unknown as Store
  const store = withDeadline(odd)
  const record: StoreRecord = { kind: 'a', id: 'b', owner: null, value: {}, expiresAt: null, version: 'v' }
  t.same(
    [await store.get('a', 'b'), await store.take('a', 'b'), await store.add(record), await store.swap(record)],
    [null, null, false, false]
  )
})

t.test('names a result of another form, such as an expiresAt that JSON has made a text', async t => {
  const owner = { realm: 'r', id: 'o' }
  const good: StoreRecord = { kind: 'a', id: 'b', owner, value: {}, expiresAt: null, version: 'v' }
  const instant = 'a record whose expiresAt is a Date or null. Got a value of the type'
  const records: ReadonlyArray<readonly [record: unknown, reason: string]> = [
    [{ ...good, expiresAt: '2030-01-01T00:00:00.000Z' }, `${instant} string`],
    [{ ...good, expiresAt: new Date(NaN) }, `${instant} object`],
    [{ ...good, expiresAt: undefined }, `${instant} undefined`],
    [{ ...good, version: 1 }, 'a record whose version is a text. Got a value of the type number'],
    [[good], 'a record. Got a list'],
    ['record', 'a record. Got a value of the type string']
  ]
  for (const [record, reason] of records) {
    const store = withDeadline({
      ...memoryStore(), get: async () => record, take: async () => record, find: async () => [record]
    } as unknown as Store)
    for (const [call, run] of [
      ['get', () => store.get('a', 'b')], ['take', () => store.take('a', 'b')], ['find', () => store.find('a', owner)]
    ] as const) {
      await t.rejects<unknown>(run(), {
        code: 'AUTH_FAULT', detail: `store: ${call} of the kind 'a' must return ${reason}`
      })
    }
  }
  const noList = withDeadline({ ...memoryStore(), find: async () => null, takeAll: async () => 3 } as unknown as Store)
  await t.rejects(noList.find('a', owner), {
    code: 'AUTH_FAULT', detail: /find of the kind 'a' must return a list of records\. Got null$/
  })
  await t.rejects(noList.takeAll('a', owner), {
    code: 'AUTH_FAULT', detail: /takeAll of .* must return a list of records/
  })
  for (const answer of [undefined, null, 1, { counted: 1, count: 1, expiresAt: null }, { counted: true },
    { counted: true, count: NaN, expiresAt: null }, { counted: true, count: 1, expiresAt: 1_900_000_000_000 }]) {
    const store = withDeadline({ ...memoryStore(), increment: async () => answer } as unknown as Store)
    await t.rejects(store.increment('a', 'b', { window: 1 }), {
      code: 'AUTH_FAULT', detail: /^store: increment of the kind 'a' must return \{ counted, count, expiresAt \}/
    })
  }
})

t.test('a store whose changes have no id is not believed, and one without an end of them stops the boot', async t => {
  let notify: (change: unknown) => void = () => {}
  const subscribed = (end: unknown) => withDeadline({
    ...memoryStore(),
    subscribe: (_kind: string, listener: (change: StoreChange) => void) => {
      notify = listener as typeof notify
      return end
    }
  } as unknown as Store)
  const changes: unknown[] = []
  subscribed(() => {}).subscribe?.('a', change => { changes.push(change) })
  for (const change of [{ id: 'b' }, null, undefined, 'b', { id: 7 }, ['b']]) notify(change)
  t.same(changes, [{ id: 'b' }, null, null, null, null, null])
  for (const end of [undefined, Promise.reject(new Error('lost')), 7]) {
    const store = subscribed(end)
    t.throws(() => store.subscribe?.('a', () => {}), {
      code: 'AUTH_MISCONFIGURED', message: /^The option store has a subscribe\(\) that must return a function/
    })
  }
})

/** Wraps a dialect so that it queries `swap.to` in place of `swap.from`. */
function mixUp (dialect: Dialect, swap: { from: string, to: string | null }): Dialect {
  const proxied = Object.create(dialect) as Dialect
  proxied.createDriver = () => {
    const driver = dialect.createDriver()
    const acquire = driver.acquireConnection.bind(driver)
    driver.acquireConnection = async () => {
      const connection = await acquire()
      const own = Object.create(connection) as typeof connection
      own.executeQuery = query =>
        connection.executeQuery({
          ...query,
          parameters: query.parameters.map(value => (value === swap.from ? (swap.to ?? value) : value))
        })
      return own
    }
    driver.releaseConnection = async connection => {
      await Object.getPrototypeOf(driver).releaseConnection.call(driver, Object.getPrototypeOf(connection))
    }
    return driver
  }
  return proxied
}

const tablePrefix = prefix()
const dialects = [
  { name: 'SQLite', skip: false, make: (): Dialect => new SqliteDialect({ database: new Libsql(':memory:') }) },
  {
    name: 'PostgreSQL',
    skip: withoutPostgres,
    make: (): Dialect => new PostgresDialect({ pool: new pg.Pool({ connectionString: databaseUrl, max: 2 }) })
  }
] as const

for (const { name, skip, make } of dialects) {
  t.test(`detects a proxy before ${name} that mixes up answers`, { skip }, async t => {
    const swap: { from: string, to: string | null } = { from: 'mine', to: null }
    const kysely = new Kysely<unknown>({ dialect: mixUp(make(), swap) })
    const store = withDeadline(sqlStore({ kysely, tablePrefix }))
    t.teardown(async () => {
      await store.close()
      await kysely.destroy()
      if (name === 'PostgreSQL') await dropTables(tablePrefix)
    })
    await store.migrate()
    for (const id of ['mine', 'theirs']) {
      await store.add({ kind: 'a', id, owner: { realm: 'r', id: `${id} owner` }, value: {}, expiresAt: null })
    }
    t.equal((await store.get('a', 'mine'))?.id, 'mine')
    swap.to = 'theirs'
    await t.rejects(store.get('a', 'mine'), { code: 'AUTH_FAULT' })
    await t.rejects(store.take('a', 'mine'), { code: 'AUTH_FAULT' })
    Object.assign(swap, { from: 'b', to: 'a' })
    await t.rejects(
      store.get('b', 'mine'),
      { code: 'AUTH_FAULT' },
      'the kind is what is stored, not what was asked for'
    )
    Object.assign(swap, { from: 'somebody', to: 'mine owner' })
    await t.rejects(store.find('a', { realm: 'r', id: 'somebody' }), { code: 'AUTH_FAULT' })
  })
}

t.test('detects in Redis that a record belongs to another key, or has no owner', { skip: withoutRedis }, async t => {
  const own = prefix()
  const store = withDeadline(redisStore({ url: redisUrl, prefix: own }))
  t.teardown(async () => {
    await store.close()
    await dropKeys(own)
  })
  const owner = { realm: 'r', id: 'o' }
  for (const id of ['mine', 'theirs']) await store.add({ kind: 'a', id, owner, value: {}, expiresAt: null })
  const key = (id: string): string => `{${own}:a}:r:${id}`
  await withRedis(client => client.copy(key('theirs'), key('mine'), 'REPLACE'))
  await t.rejects(store.get('a', 'mine'), { code: 'AUTH_FAULT', detail: mixedUp })
  await t.rejects(store.take('a', 'mine'), { code: 'AUTH_FAULT' })
  await withRedis(client => client.hdel(key('theirs'), 'i'))
  await t.rejects(store.get('a', 'theirs'), { code: 'AUTH_FAULT', detail: /no kind and id/ })
  await t.rejects(store.find('a', owner), { code: 'AUTH_FAULT' })
})
