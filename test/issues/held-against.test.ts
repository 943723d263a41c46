import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, {
  absent,
  apiKey,
  authenticated,
  session,
  type GatehouseOptions,
  type RouteAuth,
  type Scheme
} from '../../lib/index.js'
import { exactly } from '../fixtures/exactly.js'

/** A key with fewer roles than its owner has fewer rights, and `none` rules still see all roles of the owner. */

const secret = randomBytes(32).toString('base64url')
const owner = { realm: 'web', id: 'ann' }
const rule = { all: ['clerk'], none: ['suspended'] }

async function application (
  t: Test,
  options: Partial<GatehouseOptions>,
  routes: Readonly<Record<string, RouteAuth>> = {}
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  const schemes = { web: session({ secret }), service: apiKey({ managed: { prefix: 'acme', staleness: 0 } }) }
  await app.register(authPlugin, { schemes, default: ['web', 'service'], publicPaths: ['/login'], ...options })
  app.post('/login', async (_request, reply) => { await reply.login({ id: 'ann' }); return '' })
  for (const [path, auth] of Object.entries(routes)) app.get(path, { config: { auth } }, async () => 'reached')
  return app
}

async function clients (app: FastifyInstance, input: { roles?: string[], scopes?: string[] }) {
  const { key } = await app.gatehouse.apiKeys.of(owner).create({ name: 'laptop', ...input })
  const login = await app.inject({ method: 'POST', url: '/login' })
  const cookie = String(login.headers['set-cookie']).split(';', 1)[0] ?? ''
  return {
    byKey: async (url: string) => app.inject({ url, headers: { 'x-api-key': key } }),
    bySession: async (url: string) => app.inject({ url, headers: { cookie } })
  }
}

t.test('applies a none rule to the owner of a managed key, even if the key lacks the role', async t => {
  const person = { id: 'ann', roles: ['clerk', 'suspended'], scopes: ['orders', 'frozen'] }
  const routes: Record<string, RouteAuth> = {
    '/roles': { roles: rule },
    '/scopes': { scopes: { all: ['orders'], none: ['frozen'] } },
    '/function': { roles: () => rule },
    '/entry': { anyOf: [{ roles: rule }, { roles: 'nobody' }] },
    '/entry-function': { anyOf: [{ roles: () => rule }, { roles: 'nobody' }] },
    '/group': { roles: 'clerk' }
  }
  const app = await application(t, { load: () => person }, routes)
  app.get('/allows', async request => [
    request.auth.allows({ roles: rule }),
    request.auth.allows({ roles: 'clerk' }),
    request.principal?.roles
  ])
  const { byKey, bySession } = await clients(app, { roles: ['clerk'], scopes: ['orders'] })
  for (const path of Object.keys(routes)) {
    const statuses = [(await bySession(path)).statusCode, (await byKey(path)).statusCode]
    t.same(statuses, path === '/group' ? [200, 200] : [403, 403], path)
  }
  t.same((await byKey('/allows')).json(), [false, true, ['clerk']], 'the principal of the key has the roles of the key')
})

t.test('refuses a key while its owner is suspended, and accepts it again afterwards', async t => {
  let roles = ['clerk']
  const app = await application(t, { load: () => ({ id: 'ann', roles }) }, { '/': { roles: rule } })
  const { byKey } = await clients(app, { roles: ['clerk'] })
  t.equal((await byKey('/')).statusCode, 200)
  roles = ['clerk', 'suspended']
  t.equal((await byKey('/')).statusCode, 403)
  roles = ['clerk']
  t.equal((await byKey('/')).statusCode, 200)
})

t.test('expands the roles of the owner for a none rule', async t => {
  const app = await application(
    t,
    {
      load: () => ({ id: 'ann', roles: ['clerk', 'trainee'] }),
      roles: { clerk: {}, trainee: { roles: ['restricted'] }, restricted: {} }
    },
    { '/': { roles: { none: ['restricted'] } } }
  )
  const { byKey } = await clients(app, { roles: ['clerk'] })
  t.equal((await byKey('/')).statusCode, 403)
})

t.test('stops the boot if a none rule meets a key with an unknown owner', async t => {
  for (const auth of [
    { roles: rule },
    { scopes: { none: ['x'] } },
    { anyOf: [{ roles: rule }, { roles: 'a' }] },
    { anyOf: [{ schemes: 'service', roles: rule }] }
  ] as const) {
    const app = await application(t, {})
    t.throws(() => app.get('/', { config: { auth } }, async () => ''), {
      code: 'AUTH_MISCONFIGURED',
      message: /none rule.* the scheme 'service' does not know the owners.* Give the scheme or the plugin a load/
    })
  }
  await application(t, {}, {
    '/session': { schemes: 'web', roles: rule },
    '/entry': { anyOf: [{ schemes: 'web', roles: rule }, { schemes: 'service', roles: 'clerk' }] },
    '/second': { schemes: { all: ['web', 'service'] }, roles: rule }
  })
})

t.test('refuses if a function returns a none rule for an unknown owner', async t => {
  const app = await application(t, {}, { '/': { roles: () => rule }, '/all': { roles: () => 'clerk' } })
  app.get('/allows', async request => [
    request.auth.allows({ roles: { none: ['suspended'] } }),
    request.auth.allows({ roles: 'clerk' })
  ])
  const { byKey } = await clients(app, { roles: ['clerk'] })
  t.same([(await byKey('/')).statusCode, (await byKey('/all')).statusCode], [403, 200])
  t.same((await byKey('/allows')).json(), [false, true])
})

t.test('accepts and completes the owner that a custom scheme returns', async t => {
  const own: Scheme = {
    openapi: { type: 'http', scheme: 'bearer' },
    authenticate: ({ headers }) =>
      headers['x-delegated'] === undefined
        ? absent
        : authenticated(
            { id: 'ann', roles: ['clerk'] },
            { owner: { id: 'ann', roles: [String(headers['x-delegated'])] } as never }
          )
  }
  const app = await application(t, { schemes: { own }, default: 'own', publicPaths: [] }, { '/': { roles: rule } })
  const ask = async (role: string) => (await app.inject({ url: '/', headers: { 'x-delegated': role } })).statusCode
  t.same([await ask('clerk'), await ask('suspended')], [200, 403])
})

t.test('never widens a managed key by the owner that load returns', async t => {
  const app = await application(
    t,
    { load: () => ({ id: 'ann', roles: ['clerk', 'admin'], team: 7 }) },
    { '/': { roles: 'admin' } }
  )
  app.get('/me', async request => request.principal)
  const { byKey, bySession } = await clients(app, { roles: ['clerk'] })
  t.same([(await bySession('/')).statusCode, (await byKey('/')).statusCode], [200, 403])
  t.match((await byKey('/me')).json(), { ...owner, roles: exactly('clerk'), team: 7 })
})
