import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { withDeadline } from '../../lib/stores/deadline.js'
import { StoreUnavailable } from '../../lib/stores/operations.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import type { Store, StoreChange } from '../../types/store.js'
import { timeLimit, until } from '../fixtures/time-limit.js'
import {
  load, noRedisServer, proxyTo, redisServer, silentServer, type Endable, type LoadResults
} from './fixtures/outages.js'
import { databaseUrl, dropTables, noPostgres, prefix } from './fixtures/services.js'

/** Seconds. */
const timeout = 0.5
const unhandled: unknown[] = []
process.on('unhandledRejection', error => { unhandled.push(error) })

const [withoutPostgres, withoutRedis] = await Promise.all([noPostgres(), noRedisServer()])

/** Checks a store under load while its server is killed and restarted. */
async function checkOutage (t: Test, store: Store, server: Endable): Promise<void> {
  const { results, end } = load(store)
  t.ok(await until(() => results.answered > 50), 'it answers')
  await server.end()
  // lets answers arrive that were sent before the kill
  await sleep(timeLimit(100))
  const [answered, unavailable] = [results.answered, results.unavailable]
  t.ok(await until(() => results.unavailable > unavailable + 50), 'it is unavailable')
  t.equal(results.answered, answered, 'without a server nothing is answered')
  await server.begin()
  const began = performance.now()
  t.ok(await until(() => results.answered > answered), 'it is back')
  t.comment(`back after ${Math.round(performance.now() - began)} ms`)
  // new calls begin before all connections are open again
  t.ok(await until(async () => await staysAvailable(results)), 'the store stays available')
  await end()
  t.same(results.other, [], 'every failure is named')
  const slowest = Math.round(results.slowest)
  t.comment(`${results.answered} answered, ${results.unavailable} unavailable, the slowest call took ${slowest} ms`)
}

/** Returns true if nothing is unavailable while a hundred calls are answered. */
async function staysAvailable (results: LoadResults): Promise<boolean> {
  const { answered, unavailable } = results
  return await until(() => results.answered > answered + 100) && results.unavailable === unavailable
}

t.test('reports a Redis killed under load as unavailable until it is back', { skip: withoutRedis }, async t => {
  const server = await redisServer()
  const store = withDeadline(redisStore({ url: `redis://127.0.0.1:${server.port}`, timeout }), { timeout })
  t.teardown(async () => { await store.close(); await server.end() })
  await until(() => store.migrate().then(() => true, () => false), 30_000)
  await checkOutage(t, store, server)
})

t.test('reports a hanging Redis as unavailable within the deadline, then at once, and probes it', {
  skip: withoutRedis
}, async t => {
  const server = await redisServer()
  const store = withDeadline(redisStore({ url: `redis://127.0.0.1:${server.port}`, timeout: 5 }), { timeout: 0.2 })
  t.teardown(async () => {
    server.signal('SIGCONT')
    await store.close()
    await server.end()
  })
  await until(() => store.migrate().then(() => true, () => false), 30_000)
  t.equal(await store.get('a', 'b'), null)
  server.signal('SIGSTOP')
  const details: string[] = []
  for (let n = 0; n < 40; n++) {
    await store.get('a', 'b').catch((error: StoreUnavailable) => { details.push(`${error.reason}: ${error.detail}`) })
  }
  t.equal(details[0], 'unanswered: store: get timed out after 200 ms')
  t.ok(details.filter(detail => detail === details[0]).length < 4, 'the deadline is not waited for again and again')
  t.equal(details[1], 'unanswered: store: get was not tried: the store timed out before')
  server.signal('SIGCONT')
  t.ok(await until(() => store.get('a', 'b').then(() => true, () => false)), 'it comes back')
  t.equal((await store.increment('a', 'b', { window: 60 })).counted, true)
})

t.test('notifies listeners of a killed Redis that changes may be missing, and resubscribes', {
  skip: withoutRedis
}, async t => {
  const server = await redisServer()
  const [store, other] = [1, 2].map(
    () => redisStore({ url: `redis://127.0.0.1:${server.port}`, timeout })
  ) as [Store, Store]
  t.teardown(async () => { await store.close(); await other.close(); await server.end() })
  const changes: StoreChange[] = []
  const end = other.subscribe?.('race', change => { changes.push(change) })
  const checkReported = async (id: string): Promise<void> => {
    t.ok(await until(async () => {
      await store.take('race', id).catch(() => {})
      await store.add({ kind: 'race', id, owner: null, value: {}, expiresAt: null }).catch(() => {})
      return changes.some(change => change?.id === id)
    }), `${id} is heard of`)
  }
  await checkReported('a')
  // the order is not defined: ioredis emits a message before it resolves the subscription of the same packet
  t.ok(changes.includes(null), 'changes may have been missed')
  await server.end()
  changes.length = 0
  await server.begin()
  await checkReported('b')
  t.ok(changes.includes(null), 'also after an interruption')
  end?.()
})

t.test('reports a PostgreSQL that is gone under load as unavailable until it is back', {
  skip: withoutPostgres
}, async t => {
  const url = new URL(databaseUrl)
  const server = await proxyTo(Number(url.port || 5432))
  const tablePrefix = prefix()
  url.host = `127.0.0.1:${server.port}`
  const store = withDeadline(sqlStore({ connectionString: url.href, tablePrefix, timeout }), { timeout })
  t.teardown(async () => { await store.close(); await server.end(); await dropTables(tablePrefix) })
  await until(() => store.migrate().then(() => true, () => false), 30_000)
  await checkOutage(t, store, server)
})

for (const [name, make] of [
  ['Redis', (port: number) => redisStore({ url: `redis://someone:S3cretPassw0rd@127.0.0.1:${port}`, timeout })],
  [
    'PostgreSQL',
    (port: number) => sqlStore({ connectionString: `postgres://someone:S3cretPassw0rd@127.0.0.1:${port}/x`, timeout })
  ]
] as const) {
  t.test(`reports a ${name} that never answers as unavailable within the deadline`, async t => {
    const server = await silentServer()
    for (const store of [make(server.port), withDeadline(make(server.port), { timeout })]) {
      const errors = await Promise.all(
        Array.from({ length: 30 }, () => store.get('a', 'b').then(() => null, (error: unknown) => error))
      )
      t.ok(errors.every(error => error instanceof StoreUnavailable), 'every error is a StoreUnavailable')
      t.notMatch(String((errors[0] as StoreUnavailable).detail), /S3cret|someone/)
      t.comment((errors[0] as StoreUnavailable).detail)
      await store.close()
    }
    await server.end()
  })

  t.test(`reports a missing ${name} as unavailable at once, without the connection string`, async t => {
    const { port, end } = await silentServer()
    await end()
    const store = make(port)
    const error: unknown = await store.increment('a', 'b', { window: 1 }).catch((error: unknown) => error)
    t.ok(error instanceof StoreUnavailable)
    t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /S3cret|someone/)
    t.comment((error as StoreUnavailable).detail)
    await store.close()
  })
}

t.test('leaves no unhandled rejection', async t => {
  t.same(unhandled, [])
})
