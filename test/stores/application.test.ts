import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, basic, type GatehouseOptions, type Store } from '../../lib/index.js'
import type { GuessLimits } from '../../types/limits.js'
import { hashPassword } from '../../lib/passwords/index.js'
import { random } from '../fixtures/secrets.js'
import { until } from '../fixtures/time-limit.js'
import { backends } from './fixtures/backends.js'
import { redisServer, silentServer } from './fixtures/outages.js'
import { dropKeys, missing, noRedis, prefix, redisUrl } from './fixtures/services.js'
import { exactly } from '../fixtures/exactly.js'

const owner = { realm: 'web', id: 'ann' }
const right = random(16)
const hash = await hashPassword(right)
const deviceSecret = random()

async function started (
  t: Test, options: GatehouseOptions, more: (app: FastifyInstance) => void = () => {}
): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  await app.register(gatehouse, options)
  app.get('/', async ({ principal }) => principal)
  more(app)
  await app.ready()
  t.teardown(() => app.close())
  return app
}

/** Creates an instance with managed keys. */
async function keyInstance (t: Test, store: Store, staleness: number) {
  const app = await started(t, { schemes: { service: apiKey({ managed: { prefix: 'acme', staleness } }) }, store })
  const ask = async (key: string) => app.inject({ url: '/', headers: { 'x-api-key': key } })
  return { app, ask, keys: app.gatehouse.apiKeys, status: async (key: string) => (await ask(key)).statusCode }
}

/** Creates an instance that checks passwords, with Basic and a login, and counts the checks. */
async function passwordInstance (t: Test, store: Store, guesses: GuessLimits = {}) {
  const counts = { checks: 0 }
  const schemes = {
    ops: basic({
      find: name => {
        counts.checks++
        return name === 'ann' ? { hash, principal: { id: 'ann' } } : null
      },
      cache: { ttl: '1m' }
    })
  }
  const app = await started(t, {
    schemes, store, publicPaths: ['/login'], limits: { guesses: { perAddress: 1_000, deviceSecret, ...guesses } }
  }, app => {
    app.post<{ Body: { user: string, password: string } }>('/login', async (request, reply) => {
      const { user, password } = request.body
      const person = await app.gatehouse.guesses.attempt(reply, user, async () => {
        counts.checks++
        await sleep(1)
        return password === right ? { id: user } : null
      })
      return person ?? reply.code(401).send({ wrong: true })
    })
  })
  return {
    counts,
    login: async (password: string, user = 'ann') => app.inject({
      method: 'POST', url: '/login', payload: { user, password }
    }),
    ask: async (password: string) => app.inject({
      url: '/', headers: { authorization: `Basic ${Buffer.from(`ann:${password}`).toString('base64')}` }
    })
  }
}

for (const { name, skip, reportsChanges, make } of await backends()) {
  t.test(`keys of two instances over ${name}`, { skip }, async t => {
    const state = make(t)
    // seconds; an instance that is notified never needs to ask again
    const staleness = reportsChanges ? 60 : 0.3
    const [a, b] = [await keyInstance(t, state.open(), staleness), await keyInstance(t, state.open(), staleness)]

    await t.test('are accepted on both, for their owner only', async t => {
      const { key, record } = await a.keys.of(owner).create({ name: 'one', scopes: ['a'] })
      t.same(await b.keys.ofAnyOwner().get(record.id), record)
      t.match((await b.ask(key)).json(), { ...owner, scopes: exactly('a') })
      for (const stranger of [{ ...owner, realm: 'staff' }, { ...owner, id: 'bob' }, { realm: 'web ann', id: 'ann' }]) {
        t.same(await b.keys.of(stranger).list(), [])
        t.equal(await b.keys.of(stranger).get(record.id), null)
        t.equal(await b.keys.of(stranger).update(record.id, { name: 'theirs' }), null)
        t.equal(await b.keys.of(stranger).rotate(record.id, { overlap: 60 }), null)
        t.equal(await b.keys.of(stranger).revoke(record.id), false)
      }
      t.equal(await a.status(key), 200)
    })

    const when = reportsChanges ? 'on notification' : 'within the staleness'
    await t.test(`are refused after revocation on the other ${when}`, async t => {
      const { key, record } = await a.keys.of(owner).create({ name: 'two' })
      t.same([await a.status(key), await b.status(key)], [200, 200])
      t.equal(await a.keys.of(owner).revoke(record.id), true)
      t.equal(await a.status(key), 401, 'at once where it was revoked')
      t.ok(await until(async () => await b.status(key) === 401))
      await sleep(reportsChanges ? 0 : staleness * 1_000)
      t.same([await a.status(key), await b.status(key)], [401, 401], 'revoked keys stay revoked')
      t.equal(await b.keys.of(owner).revoke(record.id), false, 'a key can be revoked once')
    })

    await t.test('are both accepted during an overlap, and then one', async t => {
      const { key, record } = await a.keys.of(owner).create({ name: 'three' })
      t.equal(await b.status(key), 200)
      const next = await b.keys.ofAnyOwner().rotate(record.id, { overlap: 2 })
      if (next === null) return t.fail('nothing was rotated')
      t.same([await a.status(key), await a.status(next.key), await b.status(next.key)], [200, 200, 200])
      t.ok(
        await until(async () => (await a.ask(key)).headers.sunset !== undefined),
        'the other instance announces the end of the replaced key'
      )
      t.ok(await until(async () => (await a.ask(key)).json<{ code?: string }>().code === 'AUTH_TOKEN_EXPIRED'))
      t.same([await b.status(key), await a.status(next.key), await b.status(next.key)], [401, 200, 200])
    })

    await t.test('have one successor after 20 concurrent rotations on suspicion', async t => {
      const { record } = await a.keys.of({ ...owner, id: 'cid' }).create({ name: 'four' })
      const made = await Promise.all(
        Array.from(
          { length: 20 }, async (_, i) => (i % 2 === 0 ? a : b).keys.ofAnyOwner().rotate(record.id, { overlap: 0 })
        )
      )
      const [only, ...others] = made.filter(each => each !== null)
      t.same(
        [others.length, await a.status(only?.key ?? ''), (await b.keys.of({ ...owner, id: 'cid' }).list()).length],
        [0, 200, 1]
      )
    })

    await t.test('share when they were last used', async t => {
      const { key, record } = await b.keys.of(owner).create({ name: 'five' })
      await a.status(key)
      t.equal((await b.keys.ofAnyOwner().get(record.id))?.lastUsedAt, null, 'a use is written later')
      await a.app.close()
      t.ok(Math.abs(Date.parse((await b.keys.ofAnyOwner().get(record.id))?.lastUsedAt ?? '') - Date.now()) < 60_000)
    })
  })

  t.test(`guesses of two instances over ${name}`, { skip }, async t => {
    const state = make(t)
    const [a, b] = [await passwordInstance(t, state.open()), await passwordInstance(t, state.open())]
    const wrong = (): string => random(16)

    await t.test('cause at most limit + 1 checks of 200 concurrent ones', async t => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, async (_, i) => (i % 2 === 0 ? a : b).login(wrong(), 'eve'))
      )
      const checks = a.counts.checks + b.counts.checks
      // on a busy machine the store may time out for some or all of them
      const unavailable = answers.filter(each => each.statusCode === 503).length
      t.ok(checks <= 6 && (checks >= 5 || unavailable > 0), `${checks} were checked, ${unavailable} unavailable`)
      t.equal(answers.filter(each => each.statusCode === 401).length, checks)
      t.same(answers.filter(each => ![401, 429, 503].includes(each.statusCode)), [])
    })

    await t.test('answer a right password like a wrong one while the account is locked', async t => {
      t.equal((await a.ask(right)).statusCode, 200)
      for (let i = 0; i < 5; i++) t.equal((await (i % 2 === 0 ? a : b).login(wrong(), 'ann')).statusCode, 401)
      for (let i = 0; i < 5; i++) t.equal((await b.ask(wrong())).statusCode, 401, 'the accounts of Basic are others')
      const before = b.counts.checks
      for (const guess of ['login', 'ask'] as const) {
        const [good, bad] = [await b[guess](right), await b[guess](wrong())]
        t.same(
          [good.statusCode, good.body, Object.keys(good.headers)],
          [bad.statusCode, bad.body, Object.keys(bad.headers)],
          guess
        )
        t.equal(good.statusCode, 429)
        t.ok(Number(good.headers['retry-after']) > 0)
      }
      t.ok(b.counts.checks - before <= 2, 'no password is checked while the account is locked')
      t.equal((await a.ask(right)).statusCode, 200, 'a password in the cache is still accepted')
      t.equal((await a.ask(wrong())).statusCode, 429)
    })

    await t.test('wait longer each time', async t => {
      const [one, two] = [
        await passwordInstance(t, state.open(), { perAccount: 2, window: 1, longestWindow: 4 }),
        await passwordInstance(t, state.open(), { perAccount: 2, window: 1, longestWindow: 4 })
      ]
      const windows: number[] = []
      for (let round = 0; round < 3; round++) {
        for (const each of [one, two]) t.equal((await each.login(wrong(), 'dan')).statusCode, 401)
        t.equal((await one.login(right, 'dan')).statusCode, 429)
        const wait = Number((await two.login(right, 'dan')).headers['retry-after'])
        windows.push(wait)
        if (round < 2) await sleep(wait * 1_000 + 20)
      }
      t.ok(windows.every((each, i) => i === 0 || each > (windows[i - 1] ?? 0)), windows.join(', '))
    })
  })
}

const redisSkip = await noRedis()

async function limited (t: Test, redis: Redis) {
  t.teardown(() => { redis.disconnect() })
  redis.on('error', () => {})
  const key = 'kX3vQ0b9Xh2mT7rKcW5sZpLdAfGjUe8oIiVxRtB4nM1'
  const app = await started(
    t,
    {
      schemes: { service: apiKey({ keys: { [key]: { id: 'client' } } }) },
      limits: { redis, requests: { max: 3, window: 60 } }
    }
  )
  return async () => app.inject({ url: '/', headers: { 'x-api-key': key } })
}

t.test('counts requests in Redis for all instances, and sends what remains', { skip: redisSkip }, async t => {
  const own = prefix()
  t.teardown(() => dropKeys(own))
  const asks = [
    await limited(t, new Redis(redisUrl, { keyPrefix: own })), await limited(t, new Redis(redisUrl, { keyPrefix: own }))
  ]
  const answers = []
  for (let i = 0; i < 5; i++) answers.push(await asks[i % 2]?.())
  t.same(answers.map(each => each?.statusCode), [200, 200, 200, 429, 429])
  t.same(
    answers.map(each => each?.headers.ratelimit?.toString().replace(/t=.*/, '')),
    [2, 1, 0, 0, 0].map(left => `"default";r=${left};`)
  )
  t.same(answers.map(each => each?.headers['ratelimit-policy']), Array(5).fill('"default";q=3;w=60'))
  const wait = Number(answers[3]?.headers['retry-after'])
  t.ok(wait > 0 && wait <= 60, `${wait} s`)
  t.match(answers[3]?.json(), { code: 'AUTH_RATE_LIMITED' })
})

t.test('admits as many of 100 concurrent requests on two instances as the limit', { skip: redisSkip }, async t => {
  const own = prefix()
  t.teardown(() => dropKeys(own))
  const asks = [
    await limited(t, new Redis(redisUrl, { keyPrefix: own })), await limited(t, new Redis(redisUrl, { keyPrefix: own }))
  ]
  const answers = await Promise.all(Array.from({ length: 100 }, async (_, i) => asks[i % 2]?.()))
  t.equal(answers.filter(each => each?.statusCode === 200).length, 3)
})

async function unavailable (t: Test, ask: Awaited<ReturnType<typeof limited>>, what: string): Promise<void> {
  const began = performance.now()
  const answer = await ask()
  t.same([answer.statusCode, answer.headers['retry-after']], [503, '5'], what)
  t.comment(`${what}: after ${Math.round(performance.now() - began)} ms`)
}

t.test('answers 503 if Redis never responds', async t => {
  const server = await silentServer()
  t.teardown(() => server.end())
  await unavailable(t, await limited(t, new Redis(server.port, '127.0.0.1')), 'silent')
})

const withoutServer = await missing('redis-server', async () => { await (await redisServer()).end() })

t.test('answers 503 if Redis hangs, is gone or refuses, and counts again afterwards', {
  skip: withoutServer
}, async t => {
  const server = await redisServer()
  t.teardown(() => server.end())
  const ask = await limited(t, new Redis(server.port, '127.0.0.1', { retryStrategy: () => 50 }))
  t.equal((await ask()).statusCode, 200)
  server.signal('SIGSTOP')
  await unavailable(t, ask, 'stands still')
  server.signal('SIGCONT')
  t.ok(await until(async () => [200, 429].includes((await ask()).statusCode)))
  await server.end()
  await unavailable(t, ask, 'gone')
  await server.begin()
  t.ok(await until(async () => (await ask()).statusCode === 200), 'requests succeed again when the server is back')
})
