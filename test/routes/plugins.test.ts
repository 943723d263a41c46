import { randomBytes } from 'node:crypto'
import middie from '@fastify/middie'
import staticFiles, { type FastifyStaticOptions } from '@fastify/static'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, { apiKey, type GatehouseOptions } from '../../lib/index.js'
import { alice, counted, guarded, portOf, stopsTheBoot, tokenScheme, wire, wrong } from '../fixtures/routes.js'

const orders = ['before', 'after'] as const

/** Creates an application with another plugin, registered before or after this one. */
async function appWith (
  order: 'before' | 'after',
  register: (app: FastifyInstance) => Promise<unknown>,
  options: Partial<GatehouseOptions> = {}
): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  if (order === 'before') await register(app)
  await app.register(gatehouse, { schemes: { user: tokenScheme() }, ...options })
  if (order === 'after') await register(app)
  return app
}

async function get (app: FastifyInstance, url: string, headers: Record<string, string> = {}): Promise<number> {
  return (await app.inject({ url, headers })).statusCode
}

/** Opens a WebSocket, up to the response to its handshake. */
async function upgrade (port: number, url: string, headers: Record<string, string> = {}) {
  const socket = await wire(port)
  const lines = Object.entries({
    Host: `127.0.0.1:${port}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers
  })
  socket.send([`GET ${url} HTTP/1.1`, ...lines.map(line => line.join(': ')), '', ''].join('\r\n'))
  return { socket, ...await socket.read() }
}

t.test('guards WebSockets with @fastify/websocket registered before or after the plugin', async t => {
  for (const order of orders) {
    for (const stage of ['preParsing', 'preHandler'] as const) {
      const opened: unknown[] = []
      const page = counted()
      const app = await appWith(order, async app => await app.register(websocket), { stage })
      app.get('/live', { websocket: true }, (socket, request) => {
        opened.push(request.principal?.id ?? null)
        socket.send(`hello ${request.principal?.id ?? 'stranger'}`)
      })
      app.route({
        method: 'GET', url: '/both', handler: page.handler, wsHandler: socket => { socket.send('hello both') }
      })
      app.get('/open', { websocket: true, config: { auth: false } }, socket => { socket.send('hello stranger') })
      app.get('/page', page.handler)
      const port = await portOf(app)
      const message = `registered ${order}, in ${stage}`
      for (const headers of [{}, { 'X-User': 'wrong' }] as ReadonlyArray<Record<string, string>>) {
        for (const url of ['/live', '/both', '/page']) {
          const refused = await upgrade(port, url, headers)
          const { 'www-authenticate': challenge } = refused.headers
          t.same([refused.status, challenge], [401, 'Token realm="test"'], `${message}: ${url}`)
          await refused.socket.closed
        }
      }
      t.same([opened, page.reached], [[], 0], `${message}: no handler ran`)
      for (const [url, hello] of [['/live', 'hello alice'], ['/both', 'hello both']] as const) {
        const entered = await upgrade(port, url, { 'X-User': 'alice' })
        t.equal(entered.status, 101, message)
        t.match(await entered.socket.until(hello), hello)
        entered.socket.end()
      }
      t.same(opened, ['alice'])
      const stranger = await upgrade(port, '/open')
      t.match(await stranger.socket.until('hello stranger'), 'hello stranger', 'a public one is for everyone')
      stranger.socket.end()
      const nowhere = await upgrade(port, '/nowhere')
      t.equal(nowhere.status, 404)
      t.same(
        [
          await get(app, '/live'), await get(app, '/live', alice),
          (await app.inject({ method: 'HEAD', url: '/live' })).statusCode
        ],
        [401, 404, 401],
        'without an upgrade'
      )
      t.same([await get(app, '/both'), await get(app, '/both', alice)], [401, 200])
      await app.close()
    }
  }
})

t.test('refuses a cross-site upgrade with an ambient credential, but not with a header of its own', async t => {
  for (const mode of ['required', 'optional', 'try'] as const) {
    const app = await appWith('after', async app => await app.register(websocket), {
      schemes: { cookie: tokenScheme({ from: 'cookie:user', ambient: true }), header: tokenScheme() },
      default: { schemes: ['cookie', 'header'], mode },
      origins: ['https://app.example.com']
    })
    let opened = 0
    app.get('/live', { websocket: true }, () => { opened++ })
    const port = await portOf(app)
    const own = `http://127.0.0.1:${port}`
    const cookie = { Cookie: 'user=alice' }
    const table: ReadonlyArray<readonly [number, Record<string, string>]> = [
      [403, { ...cookie, Origin: 'https://evil.example.com' }],
      [403, { ...cookie, Origin: 'null' }],
      [403, { ...cookie, Origin: `https://127.0.0.1:${port}` }],
      [403, { ...cookie, 'Sec-Fetch-Site': 'cross-site' }],
      [403, { ...cookie, 'Sec-Fetch-Site': 'same-site', Origin: 'http://other.127.0.0.1' }],
      [101, { ...cookie, Origin: own }],
      [101, { ...cookie, Origin: 'https://app.example.com', 'Sec-Fetch-Site': 'cross-site' }],
      [101, { ...cookie, 'Sec-Fetch-Site': 'same-origin', Origin: own }],
      [101, cookie],
      [101, { 'X-User': 'alice', Origin: 'https://evil.example.com', 'Sec-Fetch-Site': 'cross-site' }]
    ]
    for (const [status, headers] of table) {
      const answer = await upgrade(port, '/live', headers)
      t.equal(answer.status, status, `${mode}: ${JSON.stringify(headers)}`)
      if (status === 403) t.equal(JSON.parse(answer.body).code, 'AUTH_CROSS_SITE')
      answer.socket.end()
    }
    t.equal(opened, table.filter(([status]) => status === 101).length)
    await app.close()
  }
})

t.test('compares the origin of a WebSocket that app.injectWS opens, which has no socket', async t => {
  const app = await appWith('after', async app => await app.register(websocket), {
    schemes: { cookie: tokenScheme({ from: 'cookie:user', ambient: true }) }
  })
  app.get('/live', { websocket: true }, () => {})
  await app.ready()
  const open = async (origin: string) =>
    await app.injectWS('/live', { headers: { host: 'gate.test', cookie: 'user=alice', origin } })
  const client = await open('http://gate.test')
  client.terminate()
  await t.rejects(open('https://gate.test'), /403/)
  await app.close()
})

const files = t.testdir({ 'index.html': '<p>index</p>', 'a.txt': 'a file', deep: { 'b.txt': 'a deep file' } })

t.test('protects @fastify/static after the plugin like any route, or opens it by a public path', async t => {
  const served: ReadonlyArray<readonly [title: string, options: Partial<FastifyStaticOptions>]> = [
    ['with a wildcard', {}],
    ['a route for each file', { wildcard: false }],
    ['with redirects', { redirect: true }]
  ]
  for (const [title, options] of served) {
    const open = async (more: Partial<GatehouseOptions>): Promise<FastifyInstance> => await appWith(
      'after',
      async app => await app.register(
        staticFiles, { root: files, prefix: '/public/', ...options } as FastifyStaticOptions
      ),
      more
    )
    const closed = await open({})
    for (const url of ['/public/a.txt', '/public/deep/b.txt', '/public/', '/public/index.html']) {
      t.same(
        [await get(closed, url), await get(closed, url, wrong), await get(closed, url, alice)],
        [401, 401, 200],
        `${title}: ${url}`
      )
      t.same(
        [
          (await closed.inject({ method: 'HEAD', url })).statusCode,
          (await closed.inject({ method: 'HEAD', url, headers: alice })).statusCode
        ],
        [401, 200],
        `${title}: HEAD ${url}`
      )
    }
    const { headers: { etag } } = await closed.inject({ url: '/public/a.txt', headers: alice })
    const known = { 'if-none-match': String(etag) }
    t.same(
      [await get(closed, '/public/a.txt', known), await get(closed, '/public/a.txt', { ...known, ...alice })],
      [401, 304],
      `${title}: what a cache knows is behind the guard too`
    )
    t.equal(await get(closed, '/public/a.txt', { range: 'bytes=0-1' }), 401)
    const publicly = await open({ publicPaths: ['/public/*'] })
    for (const url of ['/public/a.txt', '/public/deep/b.txt', '/public/']) {
      t.equal(await get(publicly, url), 200, `${title}: ${url} is public`)
    }
  }
})

t.test('guards static files at the root, from a child, and by reply.sendFile', async t => {
  const app = await appWith('after', async app => await app.register(staticFiles, { root: files }))
  app.get('/file', async (_request, reply) => await reply.sendFile('a.txt'))
  for (const url of ['/', '/a.txt', '/deep/b.txt', '/file']) {
    t.same([await get(app, url), await get(app, url, alice)], [401, 200], url)
  }
  const child = await guarded()
  child.register(async inner => {
    inner.gatehouse.default({ scopes: 'orders:write' })
    await inner.register(staticFiles, { root: files })
  }, { prefix: '/admin' })
  t.same(
    [
      await get(child, '/admin/a.txt'), await get(child, '/admin/a.txt', alice),
      await get(child, '/admin/a.txt', { 'x-user': 'boss' })
    ],
    [401, 403, 200]
  )
})

t.test('keeps protected files out of shared caches if @fastify/static has cacheControl: false', async t => {
  const key = randomBytes(32).toString('base64url')
  for (const [value, options] of [
    ['public, max-age=0', {}],
    ['private', { cacheControl: false }]
  ] as const) {
    const app = await appWith('after', async app => await app.register(staticFiles, { root: files, ...options }), {
      schemes: { service: apiKey({ keys: { [key]: { id: 'ann' } } }) }
    })
    const { statusCode, headers } = await app.inject({ url: '/a.txt', headers: { 'x-api-key': key } })
    t.same([statusCode, headers['cache-control']], [200, value])
  }
})

t.test('serves static files at the root from a public group, beside a protected API', async t => {
  const app = await appWith('after', async app => {
    await app.register(async spa => {
      spa.gatehouse.default({ public: 'the browser application' })
      await spa.register(staticFiles, { root: files })
    })
    app.get('/api/orders', async () => [])
  })
  for (const url of ['/', '/a.txt', '/deep/b.txt']) t.equal(await get(app, url), 200, url)
  t.equal(await get(app, '/missing.js'), 404)
  t.same([await get(app, '/api/orders'), await get(app, '/api/orders', alice)], [401, 200])
})

t.test('stops the boot for @fastify/static and @fastify/swagger-ui before the plugin', async t => {
  const swap = new RegExp(
    'declared before fastify-gatehouse was loaded.*' +
    'register @fastify/static and @fastify/swagger-ui after fastify-gatehouse'
  )
  for (const options of [{ prefix: '/public/' }, { prefix: '/public/', wildcard: false }, {}]) {
    const app = await appWith(
      'before', async app => await app.register(staticFiles, { root: files, ...options } as FastifyStaticOptions)
    )
    app.get('/x', counted().handler)
    app.all('/seen/*', counted().handler)
    await stopsTheBoot(t, () => app.ready(), swap, options.prefix ?? '/*')
  }
  const docs = await appWith('before', async app => {
    await app.register(swagger)
    await app.register(swaggerUi, { routePrefix: '/docs' })
  })
  await stopsTheBoot(t, () => docs.ready(), swap, '/docs')
})

const pages = [
  '/docs', '/docs/', '/docs/json', '/docs/yaml', '/docs/static/index.html', '/docs/static/swagger-ui.css',
  '/docs/static/swagger-initializer.js'
]

t.test("protects @fastify/swagger-ui after the plugin, or opens it by '/docs/*'", async t => {
  for (const order of orders) {
    const closed = await appWith(order, async app => await app.register(swagger), {})
    await closed.register(swaggerUi, { routePrefix: '/docs' })
    closed.get('/x', counted().handler)
    for (const url of pages) {
      const anonymous = await closed.inject(url)
      t.equal(anonymous.statusCode, 401, url)
      t.notMatch(anonymous.body, /openapi|swagger/i)
      t.ok([200, 302].includes(await get(closed, url, alice)), `${url} is there for a principal`)
    }
    t.ok('/x' in (closed.swagger().paths ?? {}), 'and the routes are documented')
    const open = await appWith(order, async app => await app.register(swagger), { publicPaths: ['/docs/*'] })
    await open.register(swaggerUi, { routePrefix: '/docs' })
    open.get('/x', counted().handler)
    for (const url of pages) t.ok([200, 302].includes(await get(open, url)), `${url} is public`)
    t.equal(await get(open, '/x'), 401)
    t.same(
      open.gatehouse.audit().filter(row => row.access === 'public' && !row.url.startsWith('/docs')),
      [],
      'and nothing else is'
    )
  }
})

t.test('does not guard what app.use mounts with @fastify/middie, in any order', async t => {
  for (const order of orders) {
    const page = counted()
    const app = await appWith(order, async app => await app.register(middie))
    app.use(
      '/mounted',
      (_request: unknown, response: { end: (body: string) => void }) => { response.end('from a middleware') }
    )
    app.get('/mounted', page.handler)
    app.get('/x', page.handler)
    const answer = await app.inject('/mounted')
    t.same(
      [answer.statusCode, answer.body],
      [200, 'from a middleware'],
      `registered ${order}: nobody was asked for a credential`
    )
    t.equal(await get(app, '/x'), 401, 'a request that the middleware passes on is guarded')
    t.equal(page.reached, 0)
    t.notOk(app.gatehouse.audit().some(row => row.url === '/mounted' && row.access === 'public'))
  }
  const late = await appWith('after', async app => await app.register(middie, { hook: 'preHandler' }))
  late.use(
    '/mounted', (_request: unknown, response: { end: (body: string) => void }) => { response.end('from a middleware') }
  )
  late.get('/mounted', counted().handler)
  t.same(
    [await get(late, '/mounted'), (await late.inject({ url: '/mounted', headers: alice })).body],
    [401, 'from a middleware'],
    "with hook: 'preHandler', after the plugin, a mount on a route is behind its guard"
  )
})

t.test('does not guard a response cache that replies in onRequest, but guards one in preHandler', async t => {
  for (const order of orders) {
    for (const hook of ['onRequest', 'preHandler'] as const) {
      const cache = new Map<string, unknown>()
      const page = counted()
      const app = await appWith(order, async app => {
        app.addHook(hook as 'preHandler', async (request, reply) => {
          const known = cache.get(request.url)
          if (known !== undefined) return await reply.send(known)
        })
        app.addHook('preSerialization', async (request, reply, payload) => {
          if (reply.statusCode === 200) cache.set(request.url, payload)
          return payload
        })
      })
      app.get('/me', page.handler)
      t.same([await get(app, '/me'), await get(app, '/me', alice)], [401, 200])
      const after = await app.inject('/me')
      if (hook === 'onRequest') {
        t.same(
          [after.statusCode, after.json().who],
          [200, 'alice'],
        `registered ${order}: the next caller, whoever it is, gets what was cached`
        )
      } else t.equal(after.statusCode, 401, `registered ${order}, in preHandler: the guard has run before it`)
      t.equal(page.reached, 1)
    }
  }
})
