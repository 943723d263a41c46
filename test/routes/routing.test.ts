import cors from '@fastify/cors'
import Fastify, {
  type FastifyInstance,
  type FastifyServerOptions,
  type HTTPMethods,
  type InjectOptions,
  type RouteShorthandOptions
} from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { type GatehouseOptions } from '../../lib/index.js'
import { alice, ask, counted, guarded, portOf, stopsTheBoot, tokenScheme, wire, wrong } from '../fixtures/routes.js'

/** Asserts that a URL refuses callers without a credential, and that the handler answers those with one. */
async function isProtected (
  t: Test,
  app: FastifyInstance,
  request: InjectOptions & { readonly method?: HTTPMethods; readonly url: string },
  message = ''
): Promise<void> {
  const what = `${request.method ?? 'GET'} ${request.url} ${message}`
  t.equal((await app.inject(request)).statusCode, 401, `${what} is 401 for an anonymous caller`)
  t.equal(
    (await app.inject({ ...request, headers: { ...request.headers, ...wrong } })).statusCode,
    401,
    `${what} is 401 for a bad credential`
  )
  t.equal(
    (await app.inject({ ...request, headers: { ...request.headers, ...alice } })).statusCode,
    200,
    `${what} is open to a principal`
  )
}

async function status (app: FastifyInstance, request: InjectOptions | string): Promise<number> {
  return (await app.inject(request)).statusCode
}

t.test('answers 404 to everyone on unknown URLs and wrong methods, without calling a scheme', async t => {
  const scheme = tokenScheme()
  const app = await guarded({ schemes: { user: scheme } })
  const page = counted()
  app.get('/here', page.handler)
  for (const headers of [{}, alice, wrong]) {
    for (const [method, url] of [
      ['GET', '/nowhere'],
      ['POST', '/here'],
      ['DELETE', '/here'],
      ['OPTIONS', '/here'],
      ['GET', '/here/'],
      ['GET', '//here'],
      ['GET', '/HERE'],
      ['GET', '/here;x']
    ] as const) {
      const answer = await app.inject({ method, url, headers })
      t.same([answer.statusCode, answer.headers['www-authenticate']], [404, undefined], `${method} ${url}`)
    }
  }
  t.same([page.reached, scheme.calls], [0, 0])
})

t.test('answers 400 on a malformed URL before any hook, and 404 on a parameter that is too long', async t => {
  const scheme = tokenScheme()
  const app = await guarded({ schemes: { user: scheme } }, { routerOptions: { maxParamLength: 10 } })
  const page = counted()
  app.get('/x/:id', page.handler)
  t.equal(await status(app, '/x/%zz'), 400)
  t.equal(await status(app, `/x/${'a'.repeat(11)}`), 414)
  const port = await portOf(app)
  t.teardown(() => app.close())
  t.equal((await ask(port, ['GET /x/%zz HTTP/1.1'])).status, 400)
  t.equal((await ask(port, ['GET /x/%zz HTTP/1.1', 'X-User: alice'])).status, 400)
  t.same([page.reached, scheme.calls], [0, 0])
})

t.test('leaves a not-found handler open unless app.gatehouse.guard is its preHandler', async t => {
  const app = await guarded()
  const root = counted()
  const open = counted()
  const closed = counted()
  app.setNotFoundHandler(root.handler)
  app.register(
    async child => {
      child.setNotFoundHandler(open.handler)
    },
    { prefix: '/open' }
  )
  app.register(
    async child => {
      child.gatehouse.default({ scopes: 'orders:write' })
      child.setNotFoundHandler({ preHandler: child.gatehouse.guard(true) }, closed.handler)
    },
    { prefix: '/closed' }
  )
  t.same(
    [await status(app, '/nowhere'), await status(app, { url: '/nowhere', headers: wrong }), root.reached],
    [200, 200, 2]
  )
  t.same([await status(app, '/open/nowhere'), open.reached], [200, 1])
  t.same(
    [
      await status(app, '/closed/nowhere'),
      await status(app, { url: '/closed/nowhere', headers: wrong }),
      await status(app, { url: '/closed/nowhere', headers: alice })
    ],
    [401, 401, 403]
  )
  t.same([await status(app, { method: 'POST', url: '/closed' }), closed.reached], [401, 0])
  t.same([await status(app, { url: '/closed/nowhere', headers: { 'x-user': 'boss' } }), closed.reached], [200, 1])
})

t.test('refuses config.auth on a not-found handler, where it has no effect', async t => {
  for (const auth of [true, false, 'user']) {
    const app = await guarded()
    const page = counted()
    app.setNotFoundHandler({ config: { auth } } as never, page.handler)
    t.same(
      [await status(app, '/nowhere'), await status(app, { url: '/nowhere', headers: alice }), page.reached],
      [500, 500, 0]
    )
  }
})

t.test('callNotFound in onRequest runs only the preHandler of the not-found handler', async t => {
  for (const guard of [false, true]) {
    const app = await guarded()
    const page = counted()
    const lost = counted()
    app.addHook('onRequest', async (request, reply) => {
      if (request.headers['x-lost'] !== undefined) return reply.callNotFound()
    })
    app.setNotFoundHandler(guard ? { preHandler: app.gatehouse.guard(true) } : {}, lost.handler)
    app.get('/page', page.handler)
    t.equal(
      await status(app, { url: '/page', headers: { 'x-lost': '1' } }),
      guard ? 401 : 200,
      guard ? 'guarded' : 'without one it is for everyone'
    )
    t.same([page.reached, lost.reached], [0, guard ? 0 : 1])
    t.equal(await status(app, { url: '/page', headers: { 'x-lost': '1', ...alice } }), 200)
    t.equal(lost.reached, guard ? 1 : 2)
    t.equal(await status(app, '/page'), 401)
    t.equal(page.reached, 0, 'and never reaches the route')
  }
})

t.test('a refusal that leads to the not-found handler is behind the guard of that handler', async t => {
  const app = await guarded({ errors: (_error, _request, reply) => reply.callNotFound() })
  const page = counted()
  const lost = counted()
  app.get('/page', { config: { auth: { scopes: 'unobtainable' } } }, page.handler)
  app.setNotFoundHandler({ preHandler: app.gatehouse.guard(true) }, lost.handler)
  t.equal(await status(app, '/page'), 404)
  t.equal(await status(app, { url: '/page', headers: wrong }), 404)
  t.equal(lost.reached, 0, 'no request reaches the handler')
  t.equal(await status(app, { url: '/page', headers: alice }), 200)
  t.same([lost.reached, page.reached], [1, 0], 'a caller whom that guard accepts')
})

t.test('callNotFound in a handler is behind the guard of its route', async t => {
  for (const own of [false, true]) {
    const scheme = tokenScheme()
    const app = await guarded({ schemes: { user: scheme } })
    const lost = counted()
    if (own) app.setNotFoundHandler({ preHandler: app.gatehouse.guard(true) }, lost.handler)
    app.get('/page', (_request, reply) => { reply.callNotFound() })
    t.equal(await status(app, '/page'), 401)
    t.same([lost.reached, scheme.calls], [0, 1])
    const found = await app.inject({ url: '/page', headers: alice })
    t.same([found.statusCode, scheme.calls], [own ? 200 : 404, 2])
    if (own) t.equal(found.json().who, 'alice')
  }
})

t.test('callNotFound between the stages does not run the second stage of the route that was left', async t => {
  const app = await guarded()
  let calls = 0
  app.addHook('preValidation', async (request, reply) => {
    if (request.headers['x-lost'] !== undefined) return reply.callNotFound()
  })
  app.setNotFoundHandler(async () => 'lost')
  app.get('/page', { config: { auth: { when: () => { calls++; return false } } } }, async () => 'page')
  t.equal(await status(app, { url: '/page', headers: alice }), 403)
  t.equal(calls, 1)
  const lost = await app.inject({ url: '/page', headers: { 'x-lost': '1', ...alice } })
  t.same([lost.body, calls], ['lost', 1])
})

t.test('gives an automatic HEAD the policy of its GET, and a declared one its own', async t => {
  const app = await guarded()
  const page = counted()
  app.get('/auto', page.handler)
  app.get('/open', { config: { auth: false } }, page.handler)
  app.get('/scoped', { config: { auth: { scopes: 'orders:write' } } }, page.handler)
  app.head('/own', page.handler)
  app.get('/own', { config: { auth: false } }, page.handler)
  app.head('/free', { config: { auth: false } }, page.handler)
  app.get('/free', page.handler)
  app.get('/none', { exposeHeadRoute: false }, page.handler)
  app.route({ method: ['GET', 'HEAD'], url: '/both', handler: page.handler })
  const head = async (url: string, headers = {}) => await app.inject({ method: 'HEAD', url, headers })
  const refused = await head('/auto')
  t.same([refused.statusCode, refused.headers['www-authenticate'], refused.body], [401, 'Token realm="test"', ''])
  t.equal((await head('/auto', wrong)).statusCode, 401)
  t.same(
    [
      (await head('/open')).statusCode,
      (await head('/own')).statusCode,
      (await head('/free')).statusCode,
      (await head('/none', alice)).statusCode
    ],
    [200, 401, 200, 404]
  )
  t.same(
    [
      (await head('/scoped')).statusCode,
      (await head('/scoped', alice)).statusCode,
      (await head('/scoped', { 'x-user': 'boss' })).statusCode
    ],
    [401, 403, 200]
  )
  t.same([await status(app, '/own'), await status(app, '/free'), await status(app, '/none')], [200, 401, 401])
  await isProtected(t, app, { method: 'HEAD', url: '/both' })
  await isProtected(t, app, { method: 'HEAD', url: '/auto' })
  const few = await guarded({}, { exposeHeadRoutes: false })
  few.get('/', page.handler)
  for (const headers of [{}, alice]) t.equal(await status(few, { method: 'HEAD', url: '/', headers }), 404)
  await isProtected(t, few, { url: '/' })
})

t.test('protects an OPTIONS route unless it is declared public', async t => {
  const app = await guarded()
  const page = counted()
  app.options('/x', page.handler)
  app.options('/open', { config: { auth: false } }, page.handler)
  app.options('/files/*', { schema: { hide: true } as never }, page.handler)
  await isProtected(t, app, { method: 'OPTIONS', url: '/x' })
  await isProtected(t, app, { method: 'OPTIONS', url: '/files/a' })
  t.equal(await status(app, { method: 'OPTIONS', url: '/open' }), 200)
})

const preflight = {
  method: 'OPTIONS',
  headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
} as const

t.test('answers a CORS preflight without a credential, with @fastify/cors before or after the plugin', async t => {
  for (const order of ['before', 'after']) {
    for (const hook of ['onRequest', 'preParsing', 'preHandler'] as const) {
      const app = Fastify()
      const page = counted()
      if (order === 'before') await app.register(cors, { hook, origin: true })
      await app.register(gatehouse, { schemes: { user: tokenScheme() } })
      if (order === 'after') await app.register(cors, { hook, origin: true })
      app.get('/x', page.handler)
      app.options('/files/*', { schema: { hide: true } as never }, page.handler)
      const message = `registered ${order}, in ${hook}`
      const answer = await app.inject({ ...preflight, url: '/x' })
      t.same(
        [answer.statusCode, answer.headers['access-control-allow-origin'], answer.headers['www-authenticate']],
        [204, 'https://app.example.com', undefined],
        message
      )
      const origin = preflight.headers.origin
      const refused = await app.inject({ url: '/x', headers: { origin } })
      const late = order === 'after' ? hook !== 'onRequest' : hook === 'preHandler'
      t.same(
        [refused.statusCode, refused.headers['access-control-allow-origin']],
        [401, late ? undefined : origin],
        `${message}: a refusal ${late ? 'comes before the CORS headers' : 'is readable for the page that asked'}`
      )
      t.equal(
        (await app.inject({ url: '/x', headers: { origin, ...alice } })).headers['access-control-allow-origin'],
        origin,
        message
      )
      t.equal(
        await status(app, { method: 'OPTIONS', url: '/files/a' }),
        hook === 'onRequest' || (order === 'before' && hook === 'preParsing') ? 400 : 401,
        `${message}: another OPTIONS route is not exempt`
      )
      t.equal(page.reached, 1)
    }
  }
})

t.test('supports @fastify/cors in a child, with a prefix or another hook, before or after the plugin', async t => {
  for (const order of ['before', 'after']) {
    const app = Fastify()
    const page = counted()
    const child = async (inner: FastifyInstance) => { await inner.register(cors, { origin: true }) }
    if (order === 'before') await app.register(child, { prefix: '/api' })
    await app.register(gatehouse, { schemes: { user: tokenScheme() } })
    if (order === 'after') await app.register(child, { prefix: '/api' })
    app.get('/api/x', page.handler)
    t.equal(await status(app, { ...preflight, url: '/api/x' }), 204, `registered ${order}`)
    t.equal(await status(app, { ...preflight, url: '/x' }), 404)
    t.equal(await status(app, '/api/x'), 401)
    t.equal(page.reached, 0)
  }
})

t.test('treats OPTIONS of @fastify/cors as an ordinary route where CORS is off, also in the audit', async t => {
  const app = await guarded()
  await app.register(cors, { origin: false })
  app.get('/x', counted().handler)
  t.equal(await status(app, { method: 'OPTIONS', url: '/x' }), 401)
  t.equal(await status(app, { method: 'OPTIONS', url: '/x', headers: alice }), 404)
  t.match(
    app.gatehouse.audit().find(row => row.method === 'OPTIONS'),
    { url: '*', access: 'required', from: 'default', stage: 'preHandler', reason: null }
  )
})

t.test('protects a route of several methods, or of all, in each of them', async t => {
  const app = await guarded()
  const page = counted()
  app.all('/all', page.handler)
  app.route({ method: ['GET', 'POST', 'PUT'], url: '/some', handler: page.handler })
  app.route({ method: ['get', 'delete'] as never, url: '/lower', handler: page.handler })
  app.all('/wild/*', page.handler)
  app.all('/open', { config: { auth: false } }, page.handler)
  for (const method of app.supportedMethods as HTTPMethods[]) {
    // Fastify requires a body and its type for QUERY
    const payload = method === 'QUERY' ? { payload: {} } : {}
    await isProtected(t, app, { method, url: '/all', ...payload })
    await isProtected(t, app, { method, url: '/wild/a/b', ...payload })
    t.equal(await status(app, { method, url: '/open', ...payload }), 200)
  }
  for (const method of ['GET', 'POST', 'PUT', 'HEAD'] as const) await isProtected(t, app, { method, url: '/some' })
  for (const method of ['GET', 'DELETE', 'HEAD'] as const) await isProtected(t, app, { method, url: '/lower' })
  t.equal(await status(app, { method: 'PATCH', url: '/some' }), 404)
})

t.test('protects a method that the application adds', async t => {
  const app = await guarded()
  const page = counted()
  app.addHttpMethod('MKCOL')
  app.route({ method: 'MKCOL', url: '/x', handler: page.handler })
  await isProtected(t, app, { method: 'MKCOL' as HTTPMethods, url: '/x' })
})

/** The router option in an object of a wider type, because its own type lacks it. */
const useSemicolonDelimiter: object = { useSemicolonDelimiter: true }

const prefixes: ReadonlyArray<{
  title: string
  prefix: string
  server?: FastifyServerOptions
  route?: RouteShorthandOptions
  urls: readonly string[]
  heads?: readonly string[]
  not?: readonly string[]
}> = [
  { title: 'both', prefix: '/p', urls: ['/p', '/p/'] },
  { title: 'no-slash', prefix: '/p', route: { prefixTrailingSlash: 'no-slash' }, urls: ['/p'], not: ['/p/'] },
  { title: 'slash', prefix: '/p', route: { prefixTrailingSlash: 'slash' }, urls: ['/p/'], not: ['/p'] },
  {
    title: 'both, ignoring trailing slashes',
    prefix: '/p',
    server: { routerOptions: { ignoreTrailingSlash: true } },
    urls: ['/p', '/p/']
  },
  {
    title: 'slash, ignoring trailing slashes',
    prefix: '/p',
    server: { routerOptions: { ignoreTrailingSlash: true } },
    route: { prefixTrailingSlash: 'slash' },
    urls: ['/p', '/p/']
  },
  { title: 'a prefix that ends with a slash', prefix: '/p/', urls: ['/p/', '/p//'], heads: ['/p/'], not: ['/p'] },
  {
    title: 'the same, ignoring duplicate slashes',
    prefix: '/p/',
    server: { routerOptions: { ignoreDuplicateSlashes: true } },
    urls: ['/p/', '/p//', '//p/'],
    not: ['/p']
  },
  { title: 'a prefix with duplicate slashes', prefix: '/a//b', urls: ['/a//b', '/a//b/'], not: ['/a/b'] },
  {
    title: 'the same, ignored',
    prefix: '/a//b',
    server: { routerOptions: { ignoreDuplicateSlashes: true } },
    urls: ['/a//b', '/a/b', '/a/b/', '//a//b//']
  },
  {
    title: 'the same, in the older spelling of the option',
    prefix: '/a//b',
    server: { ignoreDuplicateSlashes: true },
    urls: ['/a//b', '/a/b', '/a/b/']
  },
  {
    title: 'the same, with everything that a router may ignore',
    prefix: '/a//B',
    server: {
      routerOptions: {
        ignoreDuplicateSlashes: true,
        caseSensitive: false,
        ignoreTrailingSlash: true,
        ...useSemicolonDelimiter
      }
    },
    urls: ['/a//B', '/A/b/', '//a//b//', '/a/b;x']
  },
  { title: 'a parametric prefix', prefix: '/p/:tenant', urls: ['/p/acme', '/p/acme/'], not: ['/p'] },
  { title: 'without HEAD routes', prefix: '/p', server: { exposeHeadRoutes: false }, urls: ['/p', '/p/'], heads: [] }
]

t.test("protects the route '/' of a child with a prefix under every URL that reaches it", async t => {
  for (const { title, prefix, server = {}, route = {}, urls, heads = urls, not = [] } of prefixes) {
    for (const method of ['GET', 'POST'] as const) {
      const app = await guarded({}, server)
      const page = counted()
      app.register(async child => { child.route({ ...route, method, url: '/', handler: page.handler }) }, { prefix })
      await app.ready()
      for (const url of urls) await isProtected(t, app, { method, url }, title)
      for (const url of method === 'GET' ? heads : []) await isProtected(t, app, { method: 'HEAD', url }, title)
      for (const url of not) {
        t.equal(await status(app, { method, url, headers: alice }), 404, `${title}: ${url} is not there`)
      }
    }
  }
})

t.test('protects nested children registered after the plugin, and stops the boot for those before it', async t => {
  const page = counted()
  const nested = async (child: FastifyInstance) => {
    child.get('/', page.handler)
    child.get('/a', page.handler)
    child.register(async inner => { inner.get('/', page.handler) }, { prefix: '/inner' })
  }
  const after = await guarded()
  after.register(nested, { prefix: '/p' })
  for (const url of ['/p', '/p/', '/p/a', '/p/inner', '/p/inner/']) await isProtected(t, after, { url })

  const unawaited = Fastify() as unknown as FastifyInstance
  unawaited.register(gatehouse, { schemes: { user: tokenScheme() } })
  unawaited.register(nested, { prefix: '/p' })
  for (const url of ['/p', '/p/', '/p/a', '/p/inner', '/p/inner/']) await isProtected(t, unawaited, { url })

  const before = Fastify() as unknown as FastifyInstance
  before.register(nested, { prefix: '/p' })
  before.register(gatehouse, { schemes: { user: tokenScheme() } })
  await stopsTheBoot(
    t,
    () => before.ready(),
    /GET, HEAD \/p;/,
    /GET, HEAD \/p\/a/,
    /\/p\/inner/,
    /before fastify-gatehouse was loaded/,
    /await app\.register\(authPlugin/
  )
})

t.test('stops the boot for routes hidden in a child that was loaded before the plugin', async t => {
  const app = Fastify() as unknown as FastifyInstance
  let early: FastifyInstance | undefined
  await app.register(async child => { early = child }, { prefix: '/early' })
  await app.register(gatehouse, { schemes: { user: tokenScheme() } })
  early?.get('/', counted().handler)
  await stopsTheBoot(t, () => app.ready(), /\/early/, /before fastify-gatehouse was loaded/)
})

t.test('gives routes with one pattern and several constraints their own policies', async t => {
  const app = await guarded({
    schemes: { user: tokenScheme(), other: tokenScheme({ from: 'cookie:user' }) },
    default: 'user'
  })
  const page = counted()
  app.get('/x', { constraints: { host: 'open.example.com' }, config: { auth: { public: 'a test' } } }, page.handler)
  app.get('/x', { constraints: { host: 'closed.example.com' } }, page.handler)
  app.get('/x', { constraints: { host: /^other/ }, config: { auth: 'other' } }, page.handler)
  app.get('/v', { constraints: { version: '1.2.0' }, config: { auth: { public: 'a test' } } }, page.handler)
  app.get('/v', { constraints: { version: '2.0.0' } }, page.handler)
  const at = async (url: string, headers: Record<string, string>) => await status(app, { url, headers })
  t.same(
    [
      await at('/x', { host: 'open.example.com' }),
      await at('/x', { host: 'closed.example.com' }),
      await at('/x', { host: 'other.example.com' }),
      await at('/x', { host: 'none.example.com' })
    ],
    [200, 401, 401, 404]
  )
  t.same(
    [
      await at('/x', { host: 'closed.example.com', ...alice }),
      await at('/x', { host: 'other.example.com', ...alice }),
      await at('/x', { host: 'other.example.com', cookie: 'user=a' })
    ],
    [200, 401, 200]
  )
  t.same(
    [
      await at('/v', { 'accept-version': '1.x' }),
      await at('/v', { 'accept-version': '2.x' }),
      await at('/v', { 'accept-version': '2.x', ...alice })
    ],
    [200, 401, 200]
  )
  const port = await portOf(app)
  t.teardown(() => app.close())
  const socket = await wire(port)
  socket.send('GET /x HTTP/1.1\r\nHost: closed.example.com\r\n\r\n')
  t.equal((await socket.read()).status, 401)
  socket.end()
})

t.test('guards routes with asynchronous constraints', async t => {
  const app = Fastify() as unknown as FastifyInstance
  app.addConstraintStrategy({
    name: 'secret',
    storage () {
      const handlers = new Map<unknown, unknown>()
      return {
        get: (key: unknown) => (handlers.get(key) ?? null) as never,
        set: (key: unknown, value: unknown) => { handlers.set(key, value) }
      }
    },
    deriveConstraint (
      request: { headers: Record<string, unknown> },
      _context: unknown,
      done: (error: null, value: unknown) => void
    ) {
      setImmediate(done, null, request.headers.secret)
    }
  } as never)
  await app.register(gatehouse, { schemes: { user: tokenScheme() } })
  const page = counted()
  app.get('/x', { constraints: { secret: 'alpha' } }, page.handler)
  app.get('/x', { constraints: { secret: 'beta' }, config: { auth: false } }, page.handler)
  await isProtected(t, app, { url: '/x', headers: { secret: 'alpha' } })
  t.equal(await status(app, { url: '/x', headers: { secret: 'beta' } }), 200)
})

const loose: ReadonlyArray<{
  title: string
  routerOptions: FastifyServerOptions['routerOptions']
  urls: readonly string[]
}> = [
  { title: 'ignoreTrailingSlash', routerOptions: { ignoreTrailingSlash: true }, urls: ['/private', '/private/'] },
  {
    title: 'ignoreDuplicateSlashes',
    routerOptions: { ignoreDuplicateSlashes: true },
    urls: ['/private', '//private', '///private']
  },
  {
    title: 'caseSensitive: false',
    routerOptions: { caseSensitive: false },
    urls: ['/private', '/PRIVATE', '/pRiVaTe']
  },
  {
    title: 'useSemicolonDelimiter',
    routerOptions: { ...useSemicolonDelimiter },
    urls: ['/private', '/private;x', '/private;/health']
  },
  {
    title: 'all of them',
    routerOptions: {
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      caseSensitive: false,
      ...useSemicolonDelimiter
    },
    urls: ['//Private/', '/PRIVATE/;/health', '/private//']
  }
]

t.test('guards every URL that lenient router options lead to a route, and opens none by a public path', async t => {
  for (const { title, routerOptions, urls } of loose) {
    const app = await guarded({ publicPaths: ['/health', '/docs/*'] }, { routerOptions })
    const page = counted()
    app.get('/private', page.handler)
    app.get('/health', page.handler)
    for (const url of urls) {
      await isProtected(t, app, { url }, title)
      await isProtected(t, app, { url: `${url}?/health` }, title)
    }
    t.equal(await status(app, '/health'), 200)
  }
})

t.test('compares public paths with patterns literally, whatever the router ignores', async t => {
  const everything = {
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    caseSensitive: false,
    ...useSemicolonDelimiter
  }
  const app = await guarded({ publicPaths: ['/docs/*', '/a//b', '/Open', '/trail'] }, { routerOptions: everything })
  const page = counted()
  app.register(async child => { child.get('/', page.handler) }, { prefix: '/a//b' })
  for (const url of ['/Docs/x', '/docs/y', '/open', '/trail/', '//docs/z', '/docs//w']) app.get(url, page.handler)
  await app.ready()
  for (const url of ['/a//b', '/A/b/', '/docs/y', '/DOCS//y/', '/docs/w', '/docs/y;x']) {
    t.equal(await status(app, url), 200, url)
  }
  for (const url of ['/docs/x', '/Docs/x', '/Open', '/open', '/trail', '/docs/z', '//docs/z']) {
    t.equal(await status(app, url), 401, url)
  }
})

t.test('applies the policy of the route to absolute forms, escapes, dots and rewritten URLs', async t => {
  const app = await guarded(
    { publicPaths: ['/health', '/docs/*'] },
    { rewriteUrl: request => request.url?.replace(/^\/v1\//, '/') ?? '/' }
  )
  const page = counted()
  app.get('/private', page.handler)
  app.get('/health', page.handler)
  app.get('/docs/*', page.handler)
  app.get('/items/:id', page.handler)
  const port = await portOf(app)
  t.teardown(() => app.close())
  const reaching = [
    '/private',
    '/%70rivate',
    '/%70%72%69%76%61%74%65',
    'http://evil.example/private',
    `http://127.0.0.1:${port}/private`,
    'http://evil.example/%70rivate?x=/health',
    '/private?',
    '/private#/health',
    '/v1/private',
    '/items/..',
    '/items/%2e%2e',
    '/items/%2Fhealth',
    '/items/health%2F..%2F'
  ]
  for (const url of reaching) {
    t.equal((await ask(port, [`GET ${url} HTTP/1.1`])).status, 401, `${url} is 401 for an anonymous caller`)
    t.equal((await ask(port, [`GET ${url} HTTP/1.1`, 'X-User: alice'])).status, 200, `${url} is open to a principal`)
  }
  for (const url of [
    '/docs/../private',
    '/docs/%2e%2e/private',
    '/docs/..%2fprivate',
    '/health',
    'http://evil.example/health'
  ]) {
    const answer = await ask(port, [`GET ${url} HTTP/1.1`])
    t.same(
      [answer.status, JSON.parse(answer.body).who],
      [200, null],
      `${url} reaches the public route that its pattern says, and not the other`
    )
  }
  const before = page.reached
  for (const url of [
    '//private',
    '/private/',
    '/PRIVATE',
    '/private;x',
    '/./private',
    '/%2570rivate',
    '/private%00',
    '/private%20'
  ]) {
    for (const credential of [[], ['X-User: alice']]) {
      t.equal((await ask(port, [`GET ${url} HTTP/1.1`, ...credential])).status, 404, `${url} is not a route`)
    }
  }
  t.equal(page.reached, before)
})

t.test('keeps separate policies for a static route, a parameter and a wildcard at one position', async t => {
  const options: Partial<GatehouseOptions> = { publicPaths: ['/x/static'] }
  const app = await guarded(options)
  const page = counted()
  app.get('/x/static', page.handler)
  app.get('/x/:id', page.handler)
  app.get('/x/*', { config: { auth: { scopes: 'orders:write' } } }, page.handler)
  app.get('/x/:id(^\\d+$)', { config: { auth: false } }, page.handler)
  app.get('/opt/:id?', page.handler)
  t.same([await status(app, '/x/static'), await status(app, '/x/12')], [200, 200])
  await isProtected(t, app, { url: '/x/other' })
  await isProtected(t, app, { url: '/x/%73tatic2' })
  await isProtected(t, app, { url: '/opt' })
  await isProtected(t, app, { url: '/opt/1' })
  t.same(
    [
      await status(app, '/x/a/b'),
      await status(app, { url: '/x/a/b', headers: alice }),
      await status(app, { url: '/x/a/b', headers: { 'x-user': 'boss' } })
    ],
    [401, 403, 200]
  )
})
