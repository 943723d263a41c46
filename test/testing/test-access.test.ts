import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { runInThisContext } from 'node:vm'
import middie from '@fastify/middie'
import cors from '@fastify/cors'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  absent, apiKey, authenticated, basic, jwt, session, type AuthError, type GatehouseOptions, type Scheme
} from '../../lib/index.js'
import { testAccess, type TestAccessOptions } from '../../lib/testing/index.js'
import { size } from '../fixtures/size.js'

const secret = randomBytes(32).toString('base64url')
const schemes = () => ({
  user: jwt({ keys: secret, issuer: 'https://id.test', audience: 'api' }),
  web: session({ secret, secure: false, loginPath: '/login' }),
  service: apiKey({ keys: { [secret]: { id: 'billing' } }, from: ['header:x-api-key', 'query:key', 'bearer'] }),
  ops: basic({ users: { ada: { password: 'correct horse battery' } } })
})
const ok = async () => 'ok'

async function appWith (
  t: Test, options: Partial<GatehouseOptions> = {}, before: (app: FastifyInstance) => unknown = () => {}
): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  await before(app)
  await app.register(gatehouse, {
    schemes: schemes(), default: ['user', 'web', 'service', 'ops'], publicPaths: ['/login'], ...options
  } as GatehouseOptions)
  app.get('/login', ok)
  return app
}

/** Runs the tests without a runner. Returns each title with its error, `''` if it passed. */
async function results (app: FastifyInstance, options: TestAccessOptions = {}) {
  const found = new Map<string, string>()
  const report = await testAccess(app, async (title, run) => {
    found.set(title, await run().then(() => '', error => (error as Error).message))
  }, options)
  return { found, report, failures: [...found.values()].filter(each => each !== '') }
}

t.test('registers a test for each route that is not public', async t => {
  const app = await appWith(t)
  app.get('/orders', ok)
  app.route({ method: ['PUT', 'POST'], url: '/orders', handler: ok })
  app.get('/feed', { config: { auth: { mode: 'optional' } } }, ok)
  app.get('/tried', { config: { auth: { mode: 'try' } } }, ok)
  app.head('/own-head', ok)
  const { found, report } = await results(app)
  t.same(Object.fromEntries(found), Object.fromEntries(
    ['GET /orders', 'PUT, POST /orders', 'GET /feed', 'GET /tried', 'HEAD /own-head'].map(
      route => [`${route} lets in exactly whom its policy names`, '']
    )
  ))
  t.same(report, { tests: 5, unproven: [] })
})

t.test('tests every kind of rule with a principal that meets it, and one that just misses it', async t => {
  const roles = { admin: { roles: ['clerk'], scopes: ['a'] }, clerk: {}, guest: {} }
  const app = await appWith(t, { roles })
  const declared = [
    { scopes: 'a' },
    { scopes: { all: ['a', 'b'], any: ['c', 'd'] }, roles: { any: ['clerk', 'guest'] } },
    { schemes: ['web', 'user'], roles: { all: ['admin'], none: ['guest'] } },
    { schemes: ['web', 'user'], maxAge: '5m', scopes: 'b' },
    { schemes: { all: ['web', 'service'] }, scopes: 'a' },
    { schemes: [{ all: ['web', 'service'] }, 'service'] },
    { anyOf: [{ scopes: 'b' }, { schemes: 'web', roles: 'clerk' }] },
    { scopes: { all: ['b'], none: ['c'] }, schemes: 'web' },
    { schemes: 'web', rateLimit: { max: 1, window: '1m' } }
  ] as const
  for (const [i, auth] of declared.entries()) app.post(`/${i}`, { config: { auth: auth as { scopes: 'a' } } }, ok)
  const { failures, report } = await results(app)
  t.same(failures, [])
  t.same(report, { tests: declared.length, unproven: [] })
})

t.test('tests each entry of anyOf with a principal that just misses it', async t => {
  const app = await appWith(t)
  app.setErrorHandler(async (_error, _request, reply) => await reply.code(200).send())
  const anyOf = [{ scopes: { all: ['a', 'b'] } }, { scopes: 'b', roles: 'clerk' }, { schemes: 'web' }] as const
  app.get('/entries', { config: { auth: { schemes: ['ops', 'web'], scopes: 'c', anyOf } } }, ok)
  const { failures: [failure] } = await results(app)
  t.same([...String(failure).matchAll(/a principal (.*), by 'ops', GET: answered 200/g)].map(([, caller]) => caller), [
    "without the scope 'c'",
    'that meets no entry of anyOf',
    "without the scope 'a'",
    "without the scope 'b'",
    "without the scope 'b'",
    "without the role 'clerk'"
  ])
  t.match(failure, /a principal without the scope 'c', by 'web'/)
  t.notMatch(failure, /'a', by 'web'/)
})

t.test('reports what it cannot prove', async t => {
  const app = await appWith(t)
  const owns = (): boolean => true
  const byRegion = (): string => 'a'
  app.get('/when', { config: { auth: { scopes: 'a', when: owns } } }, ok)
  app.get('/anonymous', { config: { auth: { when: () => true } } }, ok)
  app.get('/function', { config: { auth: { roles: byRegion } } }, ok)
  app.get('/entry', { config: { auth: { anyOf: [{ when: owns }, { schemes: 'web', when: owns, roles: 'a' }] } } }, ok)
  app.get('/static', { config: { auth: { anyOf: [{ when: owns }, { scopes: 'a' }] } } }, ok)
  app.get('/expression/:id(^x{20}$)', ok)
  app.get('/host', { constraints: { host: /example/ } }, ok)
  app.get('/nobody', { config: { auth: { schemes: 'web', roles: { all: ['a'], none: ['a'] } } } }, ok)
  const { failures, found, report } = await results(app)
  t.same(failures, [])
  t.same([...report.unproven].sort(), [
    'GET /anonymous: when',
    'GET /entry: when owns',
    'GET /expression/:id(^x{20}$): its URL cannot be made up; write examples',
    'GET /function: roles byRegion',
    'GET /host (host /example/): its constraints cannot be met',
    "GET /nobody: no principal that the scheme 'web' may let in was found",
    'GET /when: when owns'
  ])
  t.equal(report.tests, 6)
  const last = [...found.keys()].find(title => title.startsWith('not'))
  t.match(last, /^not proven by testAccess, 7 in all: GET \/when: when owns; /)
})

t.test('sends bad credentials to every place where schemes look for them', async t => {
  const sources = new Set<string>()
  const open: Scheme = {
    openapi: { type: 'openIdConnect', openIdConnectUrl: 'https://id.test' }, authenticate: () => absent
  }
  const mutual: Scheme = { openapi: { type: 'mutualTLS' }, authenticate: () => absent }
  const tokens: Scheme = { openapi: { type: 'http', scheme: 'token' }, authenticate: () => absent }
  const many = apiKey({
    verify: () => null, from: ['authorization:Token', 'basic:username', 'cookie:key', 'query:key', 'header:x-key']
  })
  const all = { open, mutual, tokens, many }
  const app = await appWith(t, { schemes: all, default: Object.keys(all) as ['open'] })
  app.addHook('onRequest', async ({ headers, url }) => {
    const other = headers['x-key'] === undefined ? url : 'x-key'
    sources.add(headers.authorization?.split(' ', 1)[0] ?? headers.cookie ?? other)
  })
  app.register(async child => { child.get('*', ok) })
  t.same((await results(app)).failures, [])
  const bad = 'test-access-bad-credential'
  t.same(
    [...sources].sort(),
    ['/test', `/test?key=${bad}`, 'Basic', 'Bearer', 'Token', `key=${bad}`, 'token', 'x-key'].sort()
  )
})

t.test('generates the path, the host and the version of a route', async t => {
  const urls: string[] = []
  const app = await appWith(t)
  const remember = async (request: { url: string }) => { urls.push(request.url); return 'ok' }
  const auth = { auth: 'service' as const }
  const properties = { id: { type: 'integer', minimum: 6.5 }, at: { const: 'x' } }
  const schema = { params: { type: 'object', properties } }
  app.get('/a/:id', { config: auth, schema }, remember)
  app.get('/b/:id(^\\d{4}$)/:at-:to.:ext', { config: auth, schema }, remember)
  app.get('/c/*', { config: auth }, remember)
  app.get('/d/:id?', { config: auth }, remember)
  app.get('/e/:id', { config: auth }, remember)
  app.get('/f::g', { config: auth }, remember)
  app.get('/h', { config: auth, constraints: { host: 'one.test' } }, remember)
  app.get('/h', { config: auth, constraints: { host: 'two.test', version: '1.2.0' } }, remember)
  const formats = {
    u: { type: 'string', format: 'uuid' },
    d: { type: 'string', format: 'date' },
    t: { type: 'string', format: 'date-time' },
    b: { type: 'boolean' },
    n: { type: 'number' },
    l: { type: 'string', minLength: 3 }
  }
  const byFormat = { params: { type: 'object', properties: formats } }
  app.get('/i/:u/:d/:t/:b/:n/:l', { config: auth, schema: byFormat }, remember)
  const { failures } = await results(app, { reach: true, examples: { '/e/:id': { id: 'näh/1' } } })
  t.same(failures, [])
  t.same([...new Set(urls)].sort(), [
    '/a/7', '/b/2030/x-test.test', '/c/test', '/d/test', '/e/n%C3%A4h%2F1', '/f:g', '/h',
    '/i/00000000-0000-4000-8000-000000000000/2030-01-01/2030-01-01T00%3A00%3A00Z/true/1/aaa'
  ])
})

t.test('names the constraints of a route, which tell it from others of the same pattern', async t => {
  const app = await appWith(t)
  app.get('/v', { constraints: { version: '1.0.0' }, exposeHeadRoute: false }, ok)
  app.get('/v', { constraints: { version: '2.0.0', host: 'two.test' }, exposeHeadRoute: false }, ok)
  t.same([...(await results(app)).found.keys()], [
    'GET /v (version 1.0.0) lets in exactly whom its policy names',
    'GET /v (host two.test, version 2.0.0) lets in exactly whom its policy names'
  ])
})

t.test('reports a generated path that leads to another route', async t => {
  const app = await appWith(t)
  app.get('/orders/:id', { config: { auth: 'service' } }, ok)
  app.get('/orders/test', { config: { auth: 'service' } }, ok)
  const { failures } = await results(app)
  t.equal(failures.length, 1)
  t.match(failures[0], /\/orders\/test leads to the route \/orders\/test; write examples for \/orders\/:id/)
  t.same((await results(app, { examples: { '/orders/:id': { id: 7 } } })).failures, [])
})

t.test('calls handlers only if asked to', async t => {
  let reached = 0
  // a response that takes longer than the hooks before the handler
  const app = await appWith(t, {}, app => {
    app.addHook('onSend', async (_request, _reply, payload) => await nextTurn(payload))
  })
  app.get('/orders', { config: { auth: { schemes: 'service', scopes: 'a' } } }, async () => ++reached)
  t.same((await results(app)).failures, [])
  t.equal(reached, 0)
  t.same((await results(app, { reach: true })).failures, [])
  t.equal(reached, 1, 'by a principal with everything')
})

t.test('works for a guard in preHandler, where bodies are validated first', async t => {
  const app = await appWith(t, { stage: 'preHandler' })
  const body = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } }
  app.post('/orders', { schema: { body }, config: { auth: { scopes: 'a' } } }, ok)
  app.get('/orders', { config: { auth: { scopes: 'a' } } }, ok)
  t.same((await results(app)).failures, [])
})

/** Five ways to bypass the guard, with what the tests must find. */
const departures: Readonly<Record<string, (t: Test) => Promise<FastifyInstance>>> = {
  'a response cache in onRequest': t => appWith(t, {}, app => {
    const cache = new Map<string, unknown>()
    app.addHook('onRequest', async (request, reply) => {
      if (cache.has(request.url)) return await reply.send(cache.get(request.url))
    })
    app.addHook('onSend', async (request, reply, payload) => {
      if (reply.statusCode === 200) cache.set(request.url, payload)
    })
  }),
  'an error handler that answers 200': t => appWith(t, {}, app => {
    app.setErrorHandler(async (_error, _request, reply) => await reply.code(200).send({ ok: false }))
  }),
  'an errors function that answers 200': t => appWith(t, {
    errors: (_error, _request, reply) => { reply.code(200); return { ok: false } }
  }),
  'a scheme that accepts anything': t => {
    const any: Scheme = {
      openapi: { type: 'http', scheme: 'bearer' }, authenticate: () => authenticated({ id: 'anybody', scopes: ['a'] })
    }
    return appWith(t, { schemes: { any }, default: 'any' })
  },
  'a @fastify/middie mount over a route': t => appWith(t, {}, async app => {
    await app.register(middie)
    app.use('/orders', (_request: unknown, response: { end: (text: string) => void }) => { response.end('all orders') })
  })
}

for (const [name, create] of Object.entries(departures)) {
  t.test(`finds ${name}`, async t => {
    const app = await create(t)
    app.get('/orders', { config: { auth: { scopes: 'a' } } }, ok)
    const { failures } = await results(app)
    t.equal(failures.length, 1)
    t.match(failures[0], /^GET \/orders \(.*test-access\.test\.ts\) does not keep to its policy:\n- .*: answered 200/)
    t.match(failures[0], /a program without a credential, GET: answered 200/)
  })
}

t.test('finds redirects, faults and handlers that refused callers reach', async t => {
  const app = await appWith(t, { schemes: { service: schemes().service }, default: 'service' })
  const elsewhere = Fastify() as unknown as FastifyInstance
  t.teardown(() => elsewhere.close())
  const own: Scheme = {
    openapi: { type: 'mutualTLS' },
    authenticate: () => { throw new Error('broken') },
    refuse: () => false
  }
  await elsewhere.register(gatehouse, { schemes: { own } })
  elsewhere.get('/', ok)
  t.match((await results(elsewhere)).failures[0], /a program without a credential, GET: answered 500/)
  app.setErrorHandler(async (_error, _request, reply) => await reply.redirect('https://id.test/login?a=b', 302))
  app.get('/', ok)
  const expected = /without a credential, GET: answered 302 to https:\/\/id\.test\/login\?a=b/
  t.match((await results(app)).failures[0], expected)
  t.same((await results(app, { loginPages: ['https://id.test/login'] })).failures, [])
})

t.test('finds a guard that refuses a principal with everything', async t => {
  const app = await appWith(t)
  app.addHook('preHandler', async (_request, reply) => { await reply.forbid() })
  app.register(async child => {
    child.addHook('onRequest', async (_request, reply) => { await reply.code(403).send('closed') })
    child.get('/orders', { config: { auth: 'service' } }, ok)
  })
  t.match((await results(app)).failures[0], /a principal with everything, by 'service', GET: refused, answered 403/)
})

t.test('calls no handler where the guard fails after authentication, and says so without a file', async t => {
  const limits = { plans: { free: { max: 5, window: 60 } } }
  const app = await appWith(t, { schemes: { service: schemes().service }, default: 'service', limits })
  let calls = 0
  const handler = async () => { calls++ }
  app.get('/fails', { config: { auth: { rateLimit: () => 'no such plan' } } }, handler)
  t.same((await results(app)).failures, [], 'a 500 is neither 401 nor 403')
  t.equal(calls, 0)
  const open = await appWith(t, { schemes: { service: schemes().service }, default: 'service' }, app => {
    app.addHook('onRequest', async (_request, reply) => { await reply.send('cached') })
  })
  open.register(runInThisContext('async app => { app.get("/orders", () => "ok") }', { filename: 'evaluated' }))
  t.match((await results(open)).failures.at(-1), /^GET \/orders does not keep to its policy:\n/)
})

t.test('finds a handler that an earlier hook calls for everybody', async t => {
  const app = await appWith(t, { schemes: { service: schemes().service }, default: 'service' })
  app.get('/orders', { config: { auth: { scopes: 'a' } } }, async (_request, reply) => await reply.code(404).send())
  app.addHook('onSend', async (_request, reply) => { reply.code(404) })
  const { failures } = await results(app, { reach: true })
  t.match(failures[0], /a principal without the scope 'a', by 'service', GET: answered 404/)
})

t.test('finds a handler that callers with bad credentials reach, whatever it answers', async t => {
  const any: Scheme = { openapi: { type: 'http', scheme: 'bearer' }, authenticate: () => authenticated({ id: 'any' }) }
  const app = await appWith(t, { schemes: { any }, default: 'any' })
  app.get('/orders', async (_request, reply) => await reply.code(404).send())
  t.match((await results(app, { reach: true })).failures[0], /scheme 'any', GET: reached the handler, answered 404/)
})

t.test('reports a 404 from something in front of the guard', async t => {
  const app = await appWith(t, {}, app => {
    app.addHook('onRequest', async (_request, reply) => { await reply.code(404).send() })
  })
  app.get('/orders', ok)
  t.match((await results(app)).failures[0], /\/orders leads to no route; write examples for \/orders/)
})

t.test('reports routes with constraints of the application', async t => {
  const stored = new Map<unknown, never>()
  const tenant = {
    name: 'tenant',
    storage: () => ({ get: (key: unknown) => stored.get(key) ?? null, set: stored.set.bind(stored) }),
    deriveConstraint: (request: { readonly headers: Readonly<Record<string, unknown>> }) => request.headers['tenant'],
    validate: () => true
  }
  const app = Fastify({ routerOptions: { constraints: { tenant } } } as object) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { service: schemes().service } })
  app.get('/orders', { constraints: { tenant: 'acme' } }, ok)
  const unproven = ['GET /orders (tenant acme): its constraints cannot be met']
  t.same((await results(app)).report, { tests: 0, unproven })
})

t.test('leaves the preflight route of @fastify/cors alone', async t => {
  const app = await appWith(t)
  await app.register(cors, { origin: 'https://app.test' })
  app.get('/orders', ok)
  const { report, failures } = await results(app)
  t.same([report.tests, failures], [1, []])
})

t.test('names what is wrong with its arguments', async t => {
  const app = await appWith(t)
  app.get('/orders/:id', ok)
  const rejection = async (run: Promise<unknown>): Promise<string> => {
    const [{ reason }] = await Promise.allSettled([run]) as [{ reason?: AuthError }]
    return `${reason?.code}: ${reason?.message}`
  }
  const test = async (): Promise<void> => {}
  const wrong: ReadonlyArray<readonly [Promise<unknown>, RegExp]> = [
    [testAccess(app, undefined as never), /The argument test of testAccess\(\) must be a function/],
    [testAccess(app, test, { examples: { '/orders/:id': { id: true as never } } }), /examples must be an object of/],
    [testAccess(app, test, { examples: [] as never }), /examples has the pattern|must be an object of/],
    [testAccess(app, test, { examples: { '/order/:id': { id: 1 } } }), /has the pattern .*, which no protected/],
    [testAccess(app, test, { reach: 'yes' as never }), /The option testAccess\(\)\.reach must be true or false/],
    [testAccess(Fastify(), test), /got an application without fastify-gatehouse/]
  ]
  for (const [run, message] of wrong) t.match(await rejection(run), message)
})

const routes = size({ test: 100, short: 1000, full: 1000 })

t.test(`reports the time of ${routes} routes`, async t => {
  const app = await appWith(t, { default: ['web', 'service'] })
  for (let i = 0; i < routes; i++) app.get(`/r${i}/:id`, { config: { auth: { scopes: { all: ['a', 'b'] } } } }, ok)
  const before = process.cpuUsage()
  const { failures, report } = await results(app)
  const { user, system } = process.cpuUsage(before)
  // CPU time, because other tests run at the same time
  const seconds = (user + system) / 1e6
  t.same([failures, report.tests], [[], routes])
  t.comment(`${seconds.toFixed(1)} s of the processor`)
})
