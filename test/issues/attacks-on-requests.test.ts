import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fastifyAuth from '@fastify/auth'
import formbody from '@fastify/formbody'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, { apiKey, basic, invalid, jwt, session, type Scheme } from '../../lib/index.js'

/** Faults that a security review of requests reported. */

const key = randomBytes(32).toString('base64url')
const secret = randomBytes(32).toString('base64url')
const credential = { 'x-api-key': key }

async function desk (t: Test, options: object = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(formbody)
  await app.register(fastifyAuth)
  await app.register(authPlugin, {
    schemes: {
      service: apiKey({ keys: { [key]: { id: 'svc' } } }),
      user: jwt({ keys: secret, issuer: 'https://issuer.test', audience: 'https://api.test', sign: true }),
      web: session({ secret, loginPath: '/login' })
    },
    default: 'service',
    publicPaths: ['/login'],
    ...options
  })
  app.get('/login', async () => 'page')
  return app
}

t.test('concurrent guards do not share their passes', async t => {
  const app = await desk(t)
  const strict = app.gatehouse.guard({ schemes: 'service', when: () => false })
  const loose = app.gatehouse.guard('service')
  let reached = 0
  for (const [url, guards] of [
    ['/a', [strict, loose]],
    ['/b', [loose, strict]]
  ] as const) {
    app.get(
      url,
      {
        config: { auth: false },
        preHandler: async (request, reply) => {
          await Promise.all(guards.map(guard => guard(request, reply)))
        }
      },
      async () => ++reached
    )
  }
  for (const url of ['/a', '/b']) t.equal((await app.inject({ url, headers: credential })).statusCode, 403)
  t.equal(reached, 0)
})

t.test('a guard hook that refuses in its late stage leaves no identity behind', async t => {
  const app = await desk(t)
  const strict = app.gatehouse.guard({ schemes: 'service', when: () => false })
  app.get('/', { config: { auth: false } }, async (request, reply) => {
    await strict(request, reply).catch(() => {})
    reply.code(200)
    return { principal: request.principal, authenticated: request.auth.authenticated }
  })
  t.same((await app.inject({ url: '/', headers: credential })).json(), { principal: null, authenticated: false })
})

t.test('leaves no trace of a refusal when another guard of the request admits the caller', async t => {
  const app = await desk(t)
  app.get(
    '/',
    {
      config: { auth: false },
      preHandler: app.auth([app.gatehouse.guard('user'), app.gatehouse.guard('service')] as never)
    },
    async (_request, reply) => ({ status: reply.statusCode })
  )
  const answer = await app.inject({ url: '/', headers: credential })
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['www-authenticate'], undefined)
  t.equal(answer.headers['cache-control'], 'private')
})

t.test('a function that awaits a guard ends with a refusal, in every form of it', async t => {
  for (const errors of ['fastify', 'problem', 'oauth', () => ({ refused: true })]) {
    const app = await desk(t, { errors })
    let responses = 0
    app.addHook('onSend', async (_request, _reply, payload) => {
      responses++
      await nextTurn()
      return payload
    })
    const guards = [app.gatehouse.guard(['web', 'service']), app.gatehouse.guard('service')] as const
    const reached: string[] = []
    const check = async (request: FastifyRequest, reply: FastifyReply) => {
      await t.rejects(guards[0](request, reply), { code: 'AUTH_REQUIRED' })
      await guards[0](request, reply)
      reached.push(`${request.url} after the guard`)
    }
    const all = async (request: FastifyRequest, reply: FastifyReply) => {
      await Promise.all(guards.map(guard => guard(request, reply)))
      reached.push(`${request.url} after the guard`)
    }
    const any = async (request: FastifyRequest, reply: FastifyReply) => {
      await Promise.any(guards.map(guard => guard(request, reply)))
      reached.push(`${request.url} after the guard`)
    }
    const handler = async ({ url }: FastifyRequest) => { reached.push(url) }
    const config = { auth: false } as const
    app.get('/handler', { config }, check)
    app.get('/hook', { config, onRequest: check }, handler)
    app.get('/either', { config, preHandler: app.auth([check, check], { relation: 'or' }) }, handler)
    app.get('/all', { config, onRequest: all }, handler)
    app.get('/any', { config, preHandler: any }, handler)
    for (const url of ['/handler', '/hook', '/either', '/all', '/any']) {
      for (const accept of ['application/json', 'text/html']) {
        responses = 0
        const { statusCode } = await app.inject({ url, headers: { accept } })
        if (url === '/handler' || url === '/hook') t.equal(responses, 1, `${url} ${accept}: answered once`)
        t.ok(statusCode === 401 || statusCode === 302 || url === '/any', `${url} ${accept}: ${statusCode}`)
      }
    }
    t.same(reached, [])
  }
})

t.test('a guard after the handler ends a request once', async t => {
  const app = await desk(t, { errors: 'problem' })
  const guard = app.gatehouse.guard('service')
  app.get(
    '/',
    {
      config: { auth: false },
      preSerialization: async (request, reply, payload) => {
        await guard(request, reply)
        return payload
      }
    },
    async () => ({ secret: 1 })
  )
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 401)
  t.notMatch(answer.body, /secret/)
})

t.test('refuses a sparse array as a rule', async t => {
  const sparse = [
    { scopes: { all: new Array(1) } },
    { roles: { none: new Array(1) } },
    { anyOf: [{ scopes: { any: new Array(3) } }] },
    { anyOf: new Array(1) },
    { schemes: new Array(1) },
    { schemes: { all: new Array(1) } },
    new Array(1)
  ]
  for (const auth of sparse) {
    const app = await desk(t)
    t.throws(
      () => app.get('/', { config: { auth: auth as never } }, async () => ''),
      { code: 'AUTH_MISCONFIGURED' },
      JSON.stringify(auth)
    )
  }
})

t.test('applies rules that an options object inherits', async t => {
  const app = await desk(t)
  const auth = Object.assign(Object.create({ roles: 'admin' }) as object, { schemes: 'service' })
  t.throws(() => app.get('/', { config: { auth: auth as never } }, async () => ''), {
    code: 'AUTH_MISCONFIGURED',
    message: /plain object/
  })
})

t.test('refuses a Basic credential by its length before decoding it', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  let calls = 0
  await app.register(authPlugin, { schemes: { ops: basic({ verify: () => { calls++; return null } }) } })
  app.get('/', async () => '')
  const get = async (text: string) =>
    (await app.inject({ url: '/', headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` } }))
      .statusCode
  t.equal(await get(`a:a${'\u0f73'.repeat(4000)}`), 401)
  t.equal(calls, 0)
  t.equal(await get(`a:${'x'.repeat(1024)}`), 401)
  t.equal(calls, 1)
})

t.test("does not read the body after a scheme's own answer", async t => {
  const app = await desk(t)
  app.post('/orders', { config: { auth: 'web' } }, async () => '')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  client.write(
    'POST /orders HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n' +
    'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 200000000\r\n\r\na=b'
  )
  let answer = ''
  client.on('data', chunk => { answer += String(chunk) })
  await once(client, 'close')
  t.match(answer, /^HTTP\/1\.1 303 /)
  t.match(answer, /connection: close/i)
})

t.test('shows no key in the place of a kid in a boot error', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const error = await app
    .register(authPlugin, { schemes: { user: jwt({ keys: { [key]: 'short' }, issuer: false, audience: false }) } })
    .then(
      () => null,
      (cause: Error) => cause
    )
  t.match(error, { code: 'AUTH_MISCONFIGURED', message: /key 1 of schemes\.user\.keys/ })
  t.notOk(error?.message.includes(key.slice(0, 8)))
})

t.test('parses a cookie header of separators in linear time', async t => {
  const app = await desk(t)
  app.get('/me', { config: { auth: 'web' } }, async () => '')
  t.equal((await app.inject({ url: '/me', headers: { cookie: ';'.repeat(15_000) } })).statusCode, 401)
})

t.test('restores headers that the application set before a refusal when another guard admits the caller', async t => {
  const own: Scheme = {
    openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
    authenticate: () => invalid('refuses everybody', { headers: { 'X-Answer': 'of the scheme', 'X-More': 'too' } })
  }
  const app = await desk(t, { schemes: { service: apiKey({ keys: { [key]: { id: 'svc' } } }), own } })
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({ 'cache-control': 'max-age=1', 'x-answer': 'of the application' }).code(202)
  })
  app.get(
    '/',
    {
      config: { auth: false },
      preHandler: app.auth([app.gatehouse.guard('own'), app.gatehouse.guard('service')] as never)
    },
    async () => 'ok'
  )
  const answer = await app.inject({ url: '/', headers: credential })
  t.equal(answer.statusCode, 202)
  t.equal(answer.headers['cache-control'], 'max-age=1, private')
  t.equal(answer.headers['x-answer'], 'of the application')
  t.equal(answer.headers['x-more'], undefined)
})

t.test('reply.challenge in onRequest names the schemes of the route, or of the default without a policy', async t => {
  const app = await desk(t, { default: ['user', 'service'] })
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers['x-stop'] !== undefined) return reply.challenge()
  })
  app.get('/', { config: { auth: 'service' } }, async () => 'ok')
  app.setNotFoundHandler({ config: { auth: true } } as never, async () => 'nothing')
  const ask = async (url: string) => (await app.inject({ url, headers: { 'x-stop': '1' } })).headers['www-authenticate']
  t.equal(await ask('/'), 'APIKey realm="service"')
  t.equal(await ask('/nowhere'), 'Bearer realm="user", APIKey realm="service"')
})

t.test('uses the only scheme if a default names none', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, {
    schemes: { service: apiKey({ keys: { [key]: { id: 'svc' } } }) },
    default: { mode: 'optional' }
  })
  app.get('/', async request => ({ id: request.principal?.id ?? null }))
  t.same((await app.inject('/')).json(), { id: null })
  t.same((await app.inject({ url: '/', headers: credential })).json(), { id: 'svc' })
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': `${key}x` } })).statusCode, 401)
})

t.test('rethrows what a config of the application throws on access', async t => {
  const app = await desk(t)
  const config = Object.defineProperty({}, 'auth', { enumerable: true, get () { throw new RangeError('own') } })
  t.throws(() => app.get('/', { config }, async () => ''), { message: 'own' })
})

t.test('reads a mock request without raw header lines by its headers', async t => {
  const app = await desk(t)
  app.addHook('onRequest', async request => { Object.assign(request.raw, { rawHeaders: undefined }) })
  app.get('/', async request => request.principal?.id)
  t.equal((await app.inject({ url: '/', headers: credential })).body, 'svc')
})

t.test('freezes a copy of nested data, so that no request changes the principal of the next', async t => {
  const since = new Date(0)
  const plan = { name: 'free', limits: [{ orders: 1 }], since, self: null as unknown }
  plan.self = plan
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, {
    schemes: {
      service: apiKey({ keys: { [key]: { id: 'svc', plan } } }),
      ops: basic({ users: { ann: { password: 'correct horse battery', plan } as { password: string } } }),
      managed: apiKey({ managed: { prefix: 'acme' }, from: 'bearer', load: () => ({ id: 'x', plan }) })
    },
    default: ['service', 'ops', 'managed']
  })
  const outcomes: unknown[] = []
  app.get('/', async ({ principal }) => {
    const { plan: found } = principal as unknown as { plan: typeof plan }
    for (const change of [
      () => {
        found.name = 'gold'
      },
      () => {
        Object.assign(found.limits[0] ?? {}, { orders: 99 })
      },
      () => {
        found.limits.push({ orders: 2 })
      }
    ]) { outcomes.push(t.throws(change, TypeError)) }
    return [found.name, found.limits, found.self === found, found.since === since]
  })
  await app.ready()
  const managed = (await app.gatehouse.apiKeys.of({ realm: 'managed', id: 'x' }).create({ name: 'k' })).key
  const callers = [
    credential,
    { authorization: `Basic ${Buffer.from('ann:correct horse battery').toString('base64')}` },
    { authorization: `Bearer ${managed}` }
  ]
  for (const headers of callers) {
    for (const time of ['first', 'second']) {
      t.same((await app.inject({ url: '/', headers })).json(), ['free', [{ orders: 1 }], true, true], time)
    }
  }
  t.equal(outcomes.length, 18)
  t.notOk(
    [plan, plan.limits, plan.limits[0]].some(Object.isFrozen),
    "what was given is the application's, and stays as it was"
  )
})
