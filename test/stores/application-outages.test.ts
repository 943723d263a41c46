import t from 'tap'
import { onlyInSoak, size } from '../fixtures/size.js'
import { checkOutage } from './fixtures/application-outage.js'
import { noRedisServer, redisServer } from './fixtures/outages.js'
import { postgresServer } from './fixtures/postgres-server.js'
import { missing } from './fixtures/services.js'

type PostgresServer = Awaited<ReturnType<typeof postgresServer>>

const skipMoreOutages = onlyInSoak('has more outages')
const withoutRedis = await noRedisServer()
let postgres: PostgresServer | undefined
t.teardown(() => postgres?.remove())
const withoutPostgres = skipMoreOutages || await missing('A PostgreSQL of the test\'s own', async () => {
  postgres = await postgresServer()
})

/** The rate in requests a second, and durations in seconds. */
const long = size({
  test: { rate: 100, healthy: 1, down: 4, after: 1 },
  short: { rate: 500, healthy: 3, down: 10, after: 3 },
  full: { rate: 500, healthy: 5, down: 30, after: 5 }
})
const brief = { ...long, healthy: 1, down: 2.5 }

t.test('two applications with Redis killed under load refuse within the staleness, answer in time, and recover', {
  skip: withoutRedis
}, async t => {
  const server = await redisServer('--appendonly', 'yes', '--appendfsync', 'always', '--dir', t.testdir())
  t.teardown(server.end)
  const redis = `redis://127.0.0.1:${server.port}`
  await checkOutage(t, { store: { redis }, limits: redis, persistent: true, server, ...long })
})

t.test('two applications with an emptied Redis refuse what it does not know, and accept new logins', {
  skip: skipMoreOutages || withoutRedis
}, async t => {
  const server = await redisServer()
  t.teardown(server.end)
  await checkOutage(
    t, { store: { redis: `redis://127.0.0.1:${server.port}` }, limits: null, persistent: false, server, ...brief }
  )
})

t.test('two applications with PostgreSQL killed under load refuse within the staleness, and recover', {
  skip: withoutPostgres
}, async t => {
  const server = postgres as PostgresServer
  await checkOutage(
    t,
    {
      store: { postgres: `postgres://postgres@127.0.0.1:${server.port}/postgres` },
      limits: null,
      persistent: true,
      server,
      ...long
    }
  )
})
