import { fileURLToPath } from 'node:url'
import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import gatehouse, { memoryStore, session, withDeadline, type Finding } from '../../lib/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { createApplication, type SetUp } from '../doctor/set-ups.js'
import { withEnvironment } from '../fixtures/production.js'
import { secretOf } from '../fixtures/tokens.js'
import { noRedisServer, redisServer } from '../stores/fixtures/outages.js'

const factory = fileURLToPath(new URL('./apps/factory.ts', import.meta.url))

async function ran (...args: string[]) {
  const written = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr') => ({ write (text: string) { written[name] += text } })
  const terminal = { stdin: null as unknown as Terminal['stdin'], stdout: into('stdout'), stderr: into('stderr') }
  return { code: await run(['doctor', ...args], terminal), ...written }
}

/** Runs the command with an application. */
async function runDoctor (create: () => Promise<FastifyInstance>, ...args: string[]) {
  Object.assign(globalThis, { audited: create })
  return await ran(factory, ...args)
}

async function findings (setUp: SetUp): Promise<readonly Finding[]> {
  return JSON.parse((await runDoctor(() => createApplication(setUp), '--json')).stdout) as Finding[]
}

const insecure: SetUp = {
  options: { schemes: { web: session({ secret: secretOf(), secure: false }) } }, fastify: { trustProxy: true }
}

t.test('prints what is refused, warned and ignored, and exits with 1 while something is refused', async t => {
  const text = [
    'Refused in production (1)',
    '  insecure-cookies: session cookies are sent without Secure and __Host-, because secure is false',
    '    - schemes.web.secure',
    '    Over plain HTTP, everybody on the way can read them and become the person.',
    '    Leave secure out. Chrome, Edge and Firefox accept the cookies on http://localhost; Safari needs https.',
    '',
    'Ignored (1)',
    '  trust-proxy-all: trustProxy is true',
    '    - trustProxy: true',
    '    Reason: nobody guesses',
    ''
  ].join('\n')
  const app = () => createApplication(insecure, { ignore: { 'trust-proxy-all': 'nobody guesses' } })
  for (const environment of ['development', 'production']) {
    const result = await withEnvironment(environment, async () => await runDoctor(app))
    t.same(result, { code: 1, stdout: text, stderr: '' }, environment)
  }
})

t.test('exits with 0 for warnings, for what is ignored, and where all is well', async t => {
  const warned = await runDoctor(() => createApplication({ fastify: { trustProxy: true } }))
  t.match(warned, { code: 0, stdout: /^Warned \(1\)\n {2}trust-proxy-all: trustProxy is true\n/ })
  const ignore = { 'insecure-cookies': 'TLS ends in front', 'trust-proxy-all': 'nobody guesses' }
  t.match(await runDoctor(() => createApplication(insecure, { ignore })), { code: 0, stdout: /^Ignored \(2\)\n/ })
  t.same(await runDoctor(() => createApplication({})), { code: 0, stdout: 'Nothing was found.\n', stderr: '' })
})

t.test('prints JSON', async t => {
  t.match(await findings(insecure), [
    { id: 'insecure-cookies', severity: 'refused', where: ['schemes.web.secure'], ignored: null },
    { id: 'trust-proxy-all', severity: 'warned', where: ['trustProxy: true'] }
  ])
  t.same(await findings({}), [])
})

t.test('exits with 2 for wrong arguments, and with 3 for an application that cannot be loaded', async t => {
  for (const args of [[], ['a.js', 'b.js'], ['a.js', '--text']]) {
    t.match(await ran(...args), { code: 2, stdout: '', stderr: /Usage: fastify-gatehouse/ }, args.join(' '))
  }
  const weak = () => createApplication({ options: { schemes: { web: session({ secret: 'short' }) } } })
  const message = /^The application could not be loaded: The option schemes\.web\.secret is too short/
  t.match(await runDoctor(weak), { code: 3, stdout: '', stderr: message })
})

t.test('finds CORS that allows credentials to every origin, on protected routes', async t => {
  const routes = (options: object): SetUp => ({
    declare: async app => {
      await app.register(cors, options)
      app.get('/prices', { config: { auth: { public: 'for everybody' } } }, async () => [])
      app.post('/orders/:id/lines/*', async () => [])
      app.get('/people', async () => [])
    }
  })
  for (const origin of [true, '*', /./]) {
    const found = await findings(routes({ origin, credentials: true }))
    t.match(found, [{ id: 'cors-credentials', where: ['POST /orders/:id/lines/*', 'GET /people'] }], String(origin))
    t.equal(found[0]?.where.length, 2)
    t.same(await findings(routes({ origin })), [], `${String(origin)} without credentials`)
  }
  t.same(await findings(routes({ origin: 'https://app.example.com', credentials: true })), [])
  const inner: SetUp = {
    declare: async app => {
      app.get('/people', async () => [])
      await app.register(async api => {
        await api.register(cors, { origin: true, credentials: true })
        api.get('/orders', async () => [])
      }, { prefix: '/api' })
    }
  }
  t.match(await findings(inner), [{ id: 'cors-credentials', where: ['GET /api/orders'] }])
})

t.test('finds Redis that evicts', { skip: await noRedisServer() }, async t => {
  const server = await redisServer()
  t.teardown(() => server.end())
  const client = new Redis(server.port)
  t.teardown(() => { client.disconnect() })
  await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const store = redisStore({ client })
  t.teardown(() => store.close())
  t.match(await findings({ options: { store: withDeadline(store), limits: { redis: client } } }), [
    { id: 'redis-eviction', where: ['store: allkeys-lru', 'limits.redis: allkeys-lru'] }
  ])
  for (const policy of ['allkeys-lru', 'allkeys-random', 'volatile-lru', 'volatile-ttl']) {
    await client.config('SET', 'maxmemory-policy', policy)
    t.match(await findings({ options: { store } }), [{ id: 'redis-eviction', where: [`store: ${policy}`] }])
  }
  await client.config('SET', 'maxmemory-policy', 'noeviction')
  t.same(await findings({ options: { store, limits: { redis: client } } }), [])
  await client.call('ACL', 'SETUSER', 'default', '-info')
  t.same(await findings({ options: { store } }), [], 'a server that forbids INFO is not a finding')
})

t.test('recognises the memory store behind a deadline', async t => {
  const web = session({ secret: secretOf() })
  const found = await findings({ options: { schemes: { web }, store: withDeadline(memoryStore()) } })
  t.match(found, [{ id: 'memory-store', where: ['sessions of schemes.web'] }])
})

t.test('judges the options that a plugin exports for its server, as fastify start --options takes them', async t => {
  const given: object[] = []
  const audited = async (app: FastifyInstance, options: object): Promise<void> => {
    given.push(options)
    const schemes = { web: session({ secret: secretOf() }) }
    await app.register(gatehouse, { schemes, store: memoryStore(), outside: 'allow' })
    app.get('/orders', async () => [])
  }
  for (const name of ['proxied.ts', 'proxied.cjs']) {
    Object.assign(globalThis, { audited })
    const { stdout } = await ran(fileURLToPath(new URL(`./apps/${name}`, import.meta.url)), '--json')
    t.match((JSON.parse(stdout) as Finding[]).map(({ id }) => id), ['memory-store', 'trust-proxy-all'], name)
  }
  t.match(given, [{ trustProxy: true }, { trustProxy: true }])
})
