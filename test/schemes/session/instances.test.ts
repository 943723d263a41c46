import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Store, StoreChange } from '../../../lib/index.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'
import { redisStore } from '../../../lib/stores/redis/index.js'
import { sqlStore } from '../../../lib/stores/sql/index.js'
import { alice, createInstance } from './app.js'
import { clock, bareApp, secret } from './bare-app.js'
import { withoutSubscribe, switchableStore } from './stores.js'

const get = (cookie: string) => ({ method: 'GET' as const, cookie })
const mark = randomBytes(6).toString('hex')

/** For each database, opens the stores of two instances on shared state; `null` if it is not available. */
const databases: Record<
  string,
  {
    readonly staleness: number
    readonly reportsChanges: boolean
    readonly open: (t: Test) => Promise<readonly [Store, Store] | null>
  }
> = {
  memory: {
    staleness: 5,
    reportsChanges: true,
    open: async () => {
      const store = memoryStore()
      return [store, store]
    }
  },
  SQLite: {
    staleness: 0,
    reportsChanges: false,
    open: async t => {
      const sqlite = `${t.testdir()}/sessions.sqlite`
      return [sqlStore({ sqlite, timeout: 30 }), sqlStore({ sqlite, timeout: 30 })]
    }
  },
  PostgreSQL: {
    staleness: 0,
    reportsChanges: false,
    open: async t => {
      const open = () =>
        sqlStore({
          connectionString: process.env['DATABASE_URL'] ?? 'postgres://root@127.0.0.1:5432/test',
          tablePrefix: `s${mark}_`,
          timeout: 30
        })
      const stores = await reachable(t, [open(), open()])
      if (stores !== null) t.after(async () => { await dropTables(`s${mark}_`) })
      return stores
    }
  },
  Redis: {
    staleness: 5,
    reportsChanges: true,
    open: async t => {
      const open = () =>
        redisStore({ url: process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', prefix: `s${mark}`, timeout: 30 })
      const stores = await reachable(t, [open(), open()])
      if (stores !== null) t.after(async () => { await dropKeys(`s${mark}`) })
      return stores
    }
  }
}

/**
 * Returns the stores if the database is available. If it is not, the tests fail in CI, and are reported as skipped
 * elsewhere.
 */
async function reachable (t: Test, stores: readonly [Store, Store]): Promise<readonly [Store, Store] | null> {
  try {
    await stores[0].migrate()
    await stores[0].get('session', 'x')
    return stores
  } catch (error) {
    await Promise.all(stores.map(async store => { await store.close() }))
    if (process.env['CI'] === 'true') throw error
    t.comment('SKIPPED: the database does not answer')
    return null
  }
}

async function dropTables (prefix: string): Promise<void> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    connectionString: process.env['DATABASE_URL'] ?? 'postgres://root@127.0.0.1:5432/test'
  })
  await client.connect()
  const { rows } = await client.query<{ tablename: string }>(
    'select tablename from pg_tables where tablename like $1',
    [`${prefix}%`]
  )
  for (const { tablename } of rows) await client.query(`drop table if exists "${tablename}"`)
  await client.end()
}

async function dropKeys (prefix: string): Promise<void> {
  const { Redis } = await import('ioredis')
  const client = new Redis(process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379')
  const keys = await client.keys(`*${prefix}*`)
  if (keys.length > 0) await client.del(...keys)
  await client.quit()
}

/** Waits until another instance was notified. */
async function soon (condition: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    if (await condition()) return true
    await sleep(5)
  }
  return false
}

for (const [name, { staleness, reportsChanges, open }] of Object.entries(databases)) {
  t.test(`two instances over ${name} share sessions, and refuse what ended on the other`, async t => {
    const stores = await open(t)
    if (stores === null) return
    const key = secret()
    const [a, b] = await Promise.all(
      stores.map(async store => await createInstance({ store, session: { secret: key, staleness } }))
    )
    if (a === undefined || b === undefined) throw new Error('two')
    t.after(async () => {
      await Promise.all([a.app.close(), b.app.close()])
      await Promise.all(stores.map(async store => { await store.close() }))
    })
    const refused = async (cookie: string) => await soon(async () => await b.status(cookie) === 401)

    const one = await a.enter({ keep: true })
    t.equal(await b.status(one.cookie), 200)
    await a.ask('/logout', { cookie: one.cookie })
    t.equal(await a.status(one.cookie), 401, 'at once on the same instance')
    t.equal(
      reportsChanges ? await refused(one.cookie) : await b.status(one.cookie) === 401, true,
      'the copy of the cookie is refused by the other instance'
    )

    const [two, three, four] = [await a.enter(), await b.enter(), await b.enter()]
    t.same((await b.sessions.of(alice).list()).map(each => each.id).sort(), [two.id, three.id, four.id].sort())
    t.equal(await b.status(two.cookie), 200)
    t.equal(await a.sessions.of(alice).revoke(two.id), true)
    t.equal(await refused(two.cookie), true)
    t.equal(await b.status(four.cookie), 200)
    await a.sessions.of(alice).revokeAll({ except: three.id })
    t.equal(await refused(four.cookie), true)
    t.same([await a.status(three.cookie), await b.status(three.cookie)], [200, 200])
    const renewed = await b.ask('/login', { cookie: three.cookie, body: { renew: true } })
    t.equal(
      await soon(async () => await a.status(three.cookie) === 401), true,
      'the cookie from before the renewal is refused'
    )
    t.equal(await a.status(renewed.cookie), 200)

    await t.test('50 concurrent logins, logouts and ends leave exactly the expected sessions', async t => {
      await a.sessions.of(alice).revokeAll()
      const people = await Promise.all(
        Array.from({ length: 50 }, async (_, n) => await (n % 2 === 0 ? a : b).enter())
      )
      await Promise.all(
        people.map(async ({ cookie, id }, n) => {
          const on = n % 4 < 2 ? a : b
          if (n % 5 === 0) await on.ask('/logout', { cookie })
          if (n % 5 === 1) await on.sessions.of(alice).revoke(id)
          if (n % 5 === 2) await on.ask('/login', { cookie, body: { id: 'bob' } })
          if (n % 5 === 3) {
            await Promise.all([
              on.ask('/logout', { cookie }),
              a.ask('/logout', { cookie }),
              b.sessions.ofAnyOwner().revoke(id)
            ])
          }
        })
      )
      const expected = people
        .filter((_, n) => n % 5 === 4)
        .map(each => each.id)
        .sort()
      t.same((await a.sessions.of(alice).list()).map(each => each.id).sort(), expected)
      t.equal((await b.sessions.of({ realm: 'web', id: 'bob' }).list()).length, 10)
      const all = await Promise.all(
        people.map(async ({ cookie }, n) => (n % 5 === 4 ? (await b.status(cookie)) === 200 : await refused(cookie)))
      )
      t.equal(all.every(Boolean), true)
    })
  })
}

t.test('refuses a revoked session within the staleness without notifications, and at once with them', async t => {
  const time = clock(t)
  const key = secret()
  const { store, state } = switchableStore()
  const a = await createInstance({ store: withoutSubscribe(store), session: { secret: key } })
  const b = await createInstance({ store: withoutSubscribe(store), session: { secret: key } })
  const { cookie, id } = await a.enter()
  t.equal(await b.status(cookie), 200)
  const calls = state.calls.length
  t.equal(await b.status(cookie), 200)
  t.equal(state.calls.length, calls, 'a recent answer is used, without a store call')
  await a.sessions.ofAnyOwner().revoke(id)
  time.advance(4.9)
  t.equal(await b.status(cookie), 200)
  time.advance(0.1)
  t.equal(await b.status(cookie), 401)
  const refused = state.calls.length
  t.equal(await b.status(cookie), 401)
  t.equal(state.calls.length, refused, 'the refusal is cached too')
  time.advance(-100)
  t.equal(await b.status(cookie), 401, 'a clock that was set back opens nothing')
})

t.test('answers 503 while the store hangs, except from the cache, and recovers', async t => {
  const time = clock(t)
  const { store, state } = switchableStore()
  const key = secret()
  const a = await createInstance({ store: withoutSubscribe(store), session: { secret: key } })
  const b = await createInstance({ store: withoutSubscribe(store), session: { secret: key } })
  const { cookie } = await a.enter()
  state.down.add('all')
  t.equal(await a.status(cookie), 200, 'a recent answer of the store is still used')
  const unknown = await b.ask('/me', get(cookie))
  t.equal(unknown.status, 503)
  t.equal(unknown.body.code, 'AUTH_UNAVAILABLE')
  t.match(unknown.headers['retry-after'], /^\d+$/)
  t.same(unknown.setCookies, [], 'the cookie is kept')
  time.advance(5)
  t.equal(await a.status(cookie), 503)
  const login = await a.ask('/login')
  t.equal(login.status, 503)
  t.match(login.headers['retry-after'], /^\d+$/)
  t.same(login.setCookies, [], 'no login without a record')
  for (const ask of [
    () => a.sessions.of(alice).list(),
    () => a.sessions.of(alice).revoke('x'.repeat(22)),
    () => a.sessions.ofAnyOwner().revoke('x'.repeat(22)),
    () => a.sessions.of(alice).revokeAll()
  ]) {
    await t.rejects(
      async () => {
        await ask()
      },
      { code: 'AUTH_UNAVAILABLE' }
    )
  }
  state.down.clear()
  t.same([await a.status(cookie), await b.status(cookie)], [200, 200])
})

t.test(
  'reports a logout that did not reach the store as failed, removes the cookie, and applies it locally',
  async t => {
    const time = clock(t)
    const { store, state } = switchableStore()
    const a = await createInstance({ store: withoutSubscribe(store) })
    const { cookie } = await a.enter()
    state.down.add('take')
    const answer = await a.ask('/logout', { cookie })
    t.equal(answer.status, 503)
    t.match(answer.setCookies, [/Max-Age=0$/])
    t.equal(await a.status(cookie), 401)
    state.down.clear()
    time.advance(60)
    t.equal(await a.status(cookie), 401)
  }
)

t.test('ends the second session of a logout even if the store fails on the first', async t => {
  const { store, state } = switchableStore()
  let failing = ''
  const take: typeof store.take = async (kind, id) => {
    if (id === failing) state.down.add('take')
    try {
      return await store.take(kind, id)
    } finally {
      state.down.delete('take')
    }
  }
  const { ask, enter, status } = await createInstance({ store: { ...store, take } })
  for (const first of [true, false]) {
    const [one, two] = [await enter(), await enter()]
    failing = `web ${(first ? one : two).id}`
    t.equal((await ask('/logout', { cookie: `${one.cookie}; ${two.cookie}` })).status, 503)
    t.same([await status(one.cookie), await status(two.cookie)], [401, 401], 'on this instance both are over')
    failing = ''
  }
})

t.test('a login that cannot end the previous session changes nothing', async t => {
  clock(t)
  const { store, state } = switchableStore()
  const a = await createInstance({ store })
  const { cookie, id } = await a.enter()
  const take = store.take
  let first = true
  Object.assign(store, {
    take: async (kind: string, name: string) => {
      if (first) {
        first = false
        state.down.add('take')
      } else {
        state.down.delete('take')
      }
      return await take(kind, name)
    }
  })
  const answer = await a.ask('/login', { cookie, body: { id: 'bob' } })
  t.equal(answer.status, 503)
  t.same(answer.setCookies, [])
  t.same(await a.sessions.of({ realm: 'web', id: 'bob' }).list(), [])
  t.same((await a.sessions.of(alice).list()).map(each => each.id), [id])

  const { cookie: second } = await a.enter()
  state.down.clear()
  Object.assign(store, { take: async () => { throw new Error('for good') } })
  t.equal((await a.ask('/login', { cookie: second, body: { id: 'bob' } })).status, 503)
})

t.test('discards a look-up that was running when the session ended', async t => {
  clock(t)
  const inner = memoryStore()
  let slow: Promise<unknown> | null = null
  const store: Store = withoutSubscribe({
    ...inner,
    get: async (kind, id) => {
      const found = await inner.get(kind, id)
      await slow
      return found
    }
  })
  const key = secret()
  const a = await createInstance({ store, session: { secret: key } })
  const { cookie } = await (await createInstance({ store, session: { secret: key } })).enter()
  let go = (): void => {}
  slow = new Promise<void>(resolve => { go = resolve })
  const early = a.status(cookie)
  await sleep(5)
  slow = null
  await a.ask('/logout', { cookie })
  t.equal(await a.status(cookie), 401)
  go()
  t.equal(await early, 200, 'a request from before the end is accepted')
  t.equal(await a.status(cookie), 401, 'the late answer is not cached')
})

t.test('refuses a session without a store record once there is a store', async t => {
  const key = secret()
  const without = await createInstance({ session: { secret: key } })
  const { cookie } = await without.enter()
  const withOne = await createInstance({ session: { secret: key }, store: memoryStore() })
  const answer = await withOne.ask('/me', get(cookie))
  t.equal(answer.status, 401)
  t.match(answer.setCookies, [/Max-Age=0$/])
})

t.test('does not renew a cookie if the store is unavailable at the end of the request', async t => {
  const time = clock(t)
  const { store, state } = switchableStore()
  const a = await createInstance({ store: withoutSubscribe(store), session: { staleness: 0 } })
  a.app.addHook('preHandler', async request => { if (request.url === '/me?break') state.down.add('get') })
  const { cookie } = await a.enter()
  time.advance(100)
  const broken = await a.ask('/me?break', get(cookie))
  t.equal(broken.status, 200)
  t.same(broken.setCookies, [])
  state.down.clear()
  t.equal((await a.ask('/me', get(cookie))).setCookies.length, 1)
})

t.test('answers 500 for an unexpected error of the store', async t => {
  const inner = memoryStore()
  let broken = false
  const { ask } = await bareApp(
    { staleness: 0 },
    {
      store: {
        ...withoutSubscribe(inner), get: async (kind, id) => (broken ? JSON.parse('{') : await inner.get(kind, id))
      }
    }
  )
  const { cookie } = await ask('/login')
  broken = true
  t.equal((await ask('/me', get(cookie))).status, 500)
})

t.test('drops the cache and re-checks watched sessions if the store may have missed changes', async t => {
  clock(t)
  const { store: inner, state } = switchableStore()
  let report: (change: StoreChange) => void = () => {}
  const { app, ask, scheme } = await bareApp(
    {},
    {
      store: {
        ...inner,
        subscribe: (_kind, listener) => {
          report = listener
          return () => {}
        }
      }
    }
  )
  let notified = 0
  app.get('/watch', async request => {
    const outcome = await scheme.authenticate(request)
    if (outcome.kind === 'authenticated') outcome.onRevoked?.(() => { notified++ })
    return {}
  })
  const [one, two] = [await ask('/login'), await ask('/login')]
  await Promise.all([one, two].map(async ({ cookie }) => await ask('/watch', get(cookie))))
  const id = (await ask('/me', get(one.cookie))).body.credential.id
  await inner.take('session', `web ${id}`)
  t.match((await ask('/me', get(one.cookie))).body, { kind: 'authenticated' }, 'the answer of the store is cached')
  report({ id: 'web of-no-interest' })
  state.down.add('all')
  report(null)
  await sleep(5)
  t.equal(notified, 0, 'a store that does not answer says nothing of an end')
  state.down.clear()
  report(null)
  t.same((await ask('/me', get(one.cookie))).body, { kind: 'absent' })
  await sleep(5)
  t.equal(notified, 1)
  await app.close()
})

t.test('gives the same answer to concurrent questions about a session', async t => {
  const { app, ask, scheme } = await bareApp({ staleness: 0 }, { store: memoryStore() })
  app.get('/twice', async request => {
    const [one, two] = await Promise.all([scheme.authenticate(request), scheme.authenticate(request)])
    return { same: one === two, kind: one.kind }
  })
  t.same((await ask('/twice', get((await ask('/login')).cookie))).body, { same: true, kind: 'authenticated' })
})

t.test('without a store, notifies all remaining watchers once about a session that ended before', async t => {
  const { app, ask, scheme, sessions } = await bareApp()
  const notified: string[] = []
  app.get('/late', async (request, reply) => {
    const outcome = await scheme.authenticate(request)
    await sessions?.logout(request, reply)
    if (outcome.kind !== 'authenticated') return {}
    outcome.onRevoked?.(() => { notified.push('a') })
    outcome.onRevoked?.(() => { notified.push('b') })
    outcome.onRevoked?.(() => { notified.push('c') })?.()
    notified.push('never before it returns')
    return {}
  })
  await ask('/late', get((await ask('/login')).cookie))
  await sleep(5)
  t.same(notified, ['never before it returns', 'a', 'b'])
})
