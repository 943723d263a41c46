import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import authPlugin, {
  apiKey,
  apiKeyRoutes,
  basic,
  memoryStore,
  session,
  type GatehouseOptions
} from '../../lib/index.js'
import { hashPassword, verifyPassword } from '../../lib/passwords/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { timeLimit } from '../fixtures/time-limit.js'
import { dropKeys, noRedis, prefix, redisUrl } from '../stores/fixtures/services.js'

/** Faults of sessions, keys, passwords and counters that a security review reported. */

const secret = randomBytes(32).toString('base64url')
const password = 'correct horse'
const hash = await hashPassword(password)

async function application (t: Test, options: GatehouseOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, options)
  return app
}

const cookieOf = (answer: { headers: Record<string, unknown> }, name: string): string =>
  [answer.headers['set-cookie'] ?? []]
    .flat()
    .map(String)
    .map(line => line.split(';', 1)[0] ?? '')
    .find(pair => pair.startsWith(`${name}=`)) ?? ''

t.test('the cache of basic answers no guesses while the account is locked', async t => {
  const app = await application(t, { schemes: { ops: basic({ users: { deploy: { hash } }, cache: { ttl: '1m' } }) } })
  app.get('/', async () => '')
  const ask = async (given: string, remoteAddress: string) =>
    (
      await app.inject({
        url: '/',
        remoteAddress,
        headers: { authorization: `Basic ${Buffer.from(`deploy:${given}`).toString('base64')}` }
      })
    ).statusCode
  t.equal(await ask(password, '192.0.2.1'), 200, 'the service is remembered')
  for (let i = 0; i < 5; i++) t.equal(await ask(`wrong ${i}`, '198.51.100.1'), 401)
  t.equal(await ask('wrong again', '203.0.113.1'), 429)
  t.equal(await ask(password, '203.0.113.1'), 429, 'the attacker does not learn that this one is right')
  t.equal(await ask(password, '192.0.2.1'), 200, 'the service still works')
  for (let i = 0; i < 20; i++) await ask(`more ${i}`, '192.0.2.1')
  t.equal(await ask(password, '192.0.2.1'), 429, 'nor does an attacker at the address of the service')
})

t.test('counts a guess as wrong if a check returns the falsy result of verifyPassword', async t => {
  const app = await application(t, { schemes: { web: session({ secret }) }, publicPaths: ['/login'] })
  app.post<{ Body: { password: string } }>('/login', async (request, reply) => {
    const right = await app.gatehouse.guesses.attempt(reply, 'ann', () => verifyPassword(request.body.password, hash))
    return reply.code(right === null ? 401 : 200).send()
  })
  const answers = []
  for (let i = 0; i < 6; i++) {
    answers.push(await app.inject({ method: 'POST', url: '/login', payload: { password: `wrong ${i}` } }))
  }
  t.same(
    answers.map(answer => answer.statusCode),
    [401, 401, 401, 401, 401, 429]
  )
  t.same(
    answers.flatMap(answer => answer.headers['set-cookie'] ?? []),
    [],
    'and no device is known by it'
  )
})

t.test('distinguishes a cookie name with a leading invisible space', async t => {
  const app = await application(t, { schemes: { web: session({ secret }) }, publicPaths: ['/login'] })
  app.post('/login', async (_request, reply) => { await reply.login({ id: 'mallory' }); return '' })
  app.get('/', async request => request.principal?.id)
  const cookie = cookieOf(await app.inject({ method: 'POST', url: '/login' }), '__Host-web')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const status = async (line: string): Promise<string> => {
    const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    client.end(Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: ${line}\r\n\r\n`, 'latin1'))
    let answer = ''
    client.on('data', chunk => { answer += String(chunk) })
    await once(client, 'close')
    return answer.slice(9, 12)
  }
  t.equal(await status(cookie), '200')
  t.equal(await status(` \t${cookie}`), '200')
  // Safari stores these for a subdomain and sends them, because it sees no __Host- at the beginning
  for (const space of ['\u00a0', '\u0085', '\u000c', '\u000b']) {
    t.not(await status(space + cookie), '200', escape(space))
  }
})

async function desk (t: Test, maxKeys: number) {
  const store = memoryStore()
  const app = await application(t, {
    store,
    schemes: { web: session({ secret }), service: apiKey({ managed: { prefix: 'acme' } }) },
    default: ['web', 'service'],
    publicPaths: ['/login']
  })
  app.post('/login', async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return ''
  })
  await app.register(apiKeyRoutes, { prefix: '/keys', maxKeys })
  const cookie = cookieOf(await app.inject({ method: 'POST', url: '/login' }), '__Host-web')
  const send = async (url: string, payload: object) => app.inject({ method: 'POST', url, headers: { cookie }, payload })
  return { app, store, send, kept: async () => (await store.find('api-key', { realm: 'web', id: 'ann' })).length }
}

t.test('bounds the keys from repeated rotation', async t => {
  const { send, kept } = await desk(t, 3)
  const { record } = (await send('/keys', { name: 'one' })).json()
  const rotate = async (overlap: number) => (await send(`/keys/${record.id}/rotate`, { overlap })).statusCode
  const answers = []
  for (let i = 0; i < 8; i++) answers.push(await rotate(3600))
  t.same(answers, [201, 201, 201, 201, 201, 409, 409, 409])
  t.equal(await kept(), 6)
  t.equal(await rotate(0), 201, 'a rotation that adds no key still works')
})

t.test('bounds the number of ended keys', async t => {
  const { send, kept } = await desk(t, 3)
  const now = Date.now
  t.teardown(() => { Date.now = now })
  for (let i = 0; i < 50; i++) {
    t.equal(
      (await send('/keys', { name: 'short', expiresAt: new Date(Date.now() + 1000).toISOString() })).statusCode,
      201
    )
    Date.now = () => now() + (i + 1) * 1001
  }
  t.equal(await kept(), 3)
})

t.test('bounds the sessions of one person in the store', async t => {
  const store = memoryStore({ maxRecords: 500 })
  const app = await application(t, { store, schemes: { web: session({ secret }) }, publicPaths: ['/login'] })
  app.post<{ Body: { id: string } }>('/login', async (request, reply) => {
    await reply.login({ id: request.body.id })
    return ''
  })
  app.get('/', async request => request.principal?.id)
  const login = async (id: string) => app.inject({ method: 'POST', url: '/login', payload: { id } })
  const first = cookieOf(await login('mallory'), '__Host-web')
  for (let i = 0; i < 600; i++) await login('mallory')
  const bob = await login('bob')
  t.equal(bob.statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { cookie: cookieOf(bob, '__Host-web') } })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { cookie: first } })).statusCode, 401, 'the oldest session ended')
})

t.test('stops watching a request whose upgrade is ignored with its response', async t => {
  const app = await application(t, {
    store: memoryStore(),
    schemes: { web: session({ secret }) },
    publicPaths: ['/login']
  })
  app.post('/login', async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return ''
  })
  app.get('/', async request => String(request.auth.signal?.aborted))
  const cookie = cookieOf(await app.inject({ method: 'POST', url: '/login' }), '__Host-web')
  let socket: Socket | undefined
  app.server.on('connection', (connection: Socket) => { socket = connection })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let answers = ''
  client.on('data', chunk => { answers += String(chunk) })
  const ask = `GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: none\r\nCookie: ${cookie}\r\n\r\n`
  client.write(ask)
  await once(client, 'data')
  const before = socket?.listenerCount('close')
  client.write(ask.repeat(50))
  while (answers.split('HTTP/1.1 200').length < 52) await once(client, 'data')
  t.equal(socket?.listenerCount('close'), before)
  client.destroy()
})

t.test('waits for the check of another guess no longer than the window', async t => {
  const app = await application(t, {
    schemes: { web: session({ secret }) },
    limits: { guesses: { perAccount: 1, window: 1, longestWindow: 1 } },
    publicPaths: ['/login']
  })
  let checks = 0
  app.post('/login', async (_request, reply) =>
    app.gatehouse.guesses.attempt(
      reply,
      'ann',
      () =>
        new Promise(() => {
          checks++
        })
    )
  )
  const login = async () => (await app.inject({ method: 'POST', url: '/login' })).statusCode
  const late = new Promise(resolve => { setTimeout(() => { resolve('nobody was answered') }, timeLimit(5_000)) })
  t.equal(await Promise.race([login(), login(), login(), late]), 429)
  t.equal(checks, 2, 'the next window had a slot of its own')
})

t.test('gives no extra guesses per day to those who leave one of each window', async t => {
  const now = Date.now
  let later = 0
  Date.now = () => now() + later
  t.teardown(() => { Date.now = now })
  const guessed = async (atOnce: number): Promise<number> => {
    let [checks, sent] = [0, 0]
    const app = await application(t, { schemes: { ops: basic({ verify: () => { checks++; return null } }) } })
    app.get('/', async () => '')
    const guess = async () =>
      app.inject({
        url: '/',
        remoteAddress: `10.0.${sent >> 8}.${sent++ & 255}`,
        headers: { authorization: `Basic ${Buffer.from(`ann:guess ${sent}`).toString('base64')}` }
      })
    for (const end = later + 86_000_000; later < end;) {
      const answers = await Promise.all(Array.from({ length: atOnce }, guess))
      later += 1_000 + 1_000 * Math.max(60, ...answers.map(answer => Number(answer.headers['retry-after'] ?? 0)))
    }
    return checks
  }
  t.ok(await guessed(4) <= 600)
  t.ok(await guessed(5) <= 600)
})

t.test(
  'ends all sessions in Redis including one that is renewed at the same time',
  { skip: await noRedis() },
  async t => {
    const own = prefix()
    const client = new Redis(redisUrl)
    const other = redisStore({ url: redisUrl, prefix: own })
    const store = redisStore({ client, prefix: own })
    t.teardown(async () => {
      client.disconnect()
      await other.close()
      await dropKeys(own)
    })
    const owner = { realm: 'web', id: 'ann' }
    const session = (id: string) => ({ kind: 'session', id, owner, value: {}, expiresAt: null })
    await store.add(session('first'))
    const { zrange } = client
    let renewed = 0
    // another instance renews the session after the ids were read and before they are taken: it adds the new session,
    // then ends the old one
    client.zrange = (async (...args: Parameters<typeof zrange>) => {
      const ids = (await Reflect.apply(zrange, client, args)) as string[]
      if (renewed++ === 0) {
        await other.add(session('second'))
        t.not(await other.take('session', 'first'), null)
      }
      return ids
    }) as typeof zrange
    await store.takeAll('session', owner)
    t.same(await store.find('session', owner), [])
  }
)
