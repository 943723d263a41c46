import { on, once } from 'node:events'
import http2 from 'node:http2'
import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  absent,
  authenticated,
  type GatehouseOptions,
  type Principal,
  type Scheme
} from '../../lib/index.js'
import type { GuardAuth } from '../../types/route-auth.js'
import { alice, counted, guarded, portOf, tokenScheme, wire, wrong } from '../fixtures/routes.js'

const json = { 'content-type': 'application/json' }
const schema = {
  body: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
  querystring: { type: 'object', properties: { page: { type: 'integer' } } }
}

/** Requests that Fastify refuses itself, each at a different point of reading the body. */
const malformed = [
  { title: 'a body that is not JSON', status: 400, url: '/orders', headers: json, payload: '{"name":' },
  {
    title: 'a body over the limit',
    status: 413,
    url: '/orders',
    headers: json,
    payload: JSON.stringify({ name: 'x'.repeat(500) })
  },
  {
    title: 'a content type without a parser',
    status: 415,
    url: '/orders',
    headers: { 'content-type': 'application/x-unheard-of' },
    payload: 'x'
  },
  { title: 'a body that does not match its schema', status: 400, url: '/orders', headers: json, payload: '{}' },
  {
    title: 'a query that does not match its schema',
    status: 400,
    url: '/orders?page=no',
    headers: json,
    payload: '{"name":"a"}'
  }
]

t.test('guards before the body is read: an anonymous caller never gets 400, 413 or 415', async t => {
  for (const async of [false, true]) {
    const orders = counted()
    const app = await guarded({ schemes: { user: tokenScheme({ async }) } }, { bodyLimit: 200 })
    app.post('/orders', { schema }, orders.handler)
    app.get('/list', { schema: { querystring: schema.querystring } }, orders.handler)
    for (const { title, status, url, headers, payload } of malformed) {
      const anonymous = await app.inject({ method: 'POST', url, headers, payload })
      t.equal(anonymous.statusCode, 401, `anonymous: ${title}`)
      t.equal(anonymous.json().code, 'AUTH_REQUIRED')
      t.equal(
        (await app.inject({ method: 'POST', url, headers: { ...headers, ...wrong }, payload })).statusCode,
        401,
        `a bad credential: ${title}`
      )
      t.equal(
        (await app.inject({ method: 'POST', url, headers: { ...headers, ...alice }, payload })).statusCode,
        status,
        `authenticated: ${title}`
      )
    }
    t.equal((await app.inject('/list?page=no')).statusCode, 401)
    t.equal(orders.reached, 0, 'no handler ran')
    const good = await app.inject({
      method: 'POST',
      url: '/orders?page=2',
      headers: { ...json, ...alice },
      payload: { name: 'a' }
    })
    t.same([good.statusCode, good.json()], [200, { who: 'alice', body: { name: 'a' } }])
  }
})

t.test('checks static scopes before the body is read, and functions in preHandler after validation', async t => {
  const app = await guarded()
  const calls: unknown[] = []
  const orders = counted()
  app.post('/static', { schema, config: { auth: { scopes: 'orders:write' } } }, orders.handler)
  app.post(
    '/when',
    {
      schema,
      config: {
        auth: {
          when (principal, request) {
            calls.push(request.body, request.query)
            return principal.id === 'boss'
          }
        }
      }
    },
    orders.handler
  )
  const post = async (url: string, who: string, payload: string) =>
    (await app.inject({ method: 'POST', url, headers: { ...json, 'x-user': who }, payload })).statusCode
  t.equal(
    await post('/static', 'alice', '{"name":'),
    403,
    'a principal without the scope does not learn that the body is bad'
  )
  t.equal(await post('/static', 'boss', '{"name":'), 400)
  t.equal(await post('/when', 'alice', '{"name":'), 400, 'the function waits for validation')
  t.equal(await post('/when', 'alice', '{}'), 400)
  t.same(calls, [], 'and was not asked of a request that did not pass it')
  t.equal(await post('/when?page=3', 'alice', '{"name":"a"}'), 403)
  t.same(calls, [{ name: 'a' }, { page: 3 }], 'it sees the request as the handler will')
  t.equal(orders.reached, 0)
  t.equal(await post('/when', 'boss', '{"name":"a"}'), 200)
  t.equal(orders.reached, 1)
})

t.test('guards after every onRequest hook, registered in any order', async t => {
  for (const order of ['before', 'after']) {
    const app = Fastify()
    const calls: string[] = []
    const scheme: Scheme = {
      ...tokenScheme(),
      authenticate (request) {
        calls.push('guard')
        const { name } = request.cookies
        return name === undefined ? absent : authenticated({ id: name } as unknown as Principal)
      }
    }
    const others = async () => {
      await app.register(cookie)
      app.addHook('onRequest', async () => { calls.push('instance onRequest') })
    }
    if (order === 'before') await others()
    await app.register(gatehouse, { schemes: { user: scheme } })
    if (order === 'after') await others()
    const page = counted()
    app.get('/', { onRequest: async () => { calls.push('route onRequest') } }, page.handler)
    const answer = await app.inject({ url: '/', headers: { cookie: 'name=alice' } })
    t.same([answer.statusCode, answer.json().who], [200, 'alice'], `cookies registered ${order}`)
    t.same(calls, ['instance onRequest', 'route onRequest', 'guard'])
  }
})

t.test("counts refused requests in the application's rate limit, per route and globally, in any order", async t => {
  for (const order of ['before', 'after'] as const) {
    for (const global of [false, true]) {
      const app = Fastify()
      const page = counted()
      if (order === 'before') await app.register(rateLimit, { global, max: 2 })
      await app.register(gatehouse, { schemes: { user: tokenScheme() } })
      if (order === 'after') await app.register(rateLimit, { global, max: 2 })
      app.get('/', global ? {} : { config: { rateLimit: { max: 2 } } }, page.handler)
      const statuses: number[] = []
      for (let i = 0; i < 5; i++) statuses.push((await app.inject({ url: '/', headers: wrong })).statusCode)
      t.same(statuses, [401, 401, 429, 429, 429], `registered ${order}, ${global ? 'global' : 'on the route'}`)
      t.equal(page.reached, 0)
    }
  }
})

t.test('is anonymous before the guard and authenticated after it', async t => {
  const app = await guarded()
  const states: unknown[] = []
  const look = async (request: FastifyRequest): Promise<void> => {
    states.push([request.auth.authenticated, request.auth.scheme, request.principal?.id ?? null])
  }
  app.addHook('onRequest', look)
  app.addHook('preParsing', look)
  app.addHook('preHandler', look)
  app.get('/', async () => ({}))
  await app.inject({ url: '/', headers: alice })
  t.same(states, [[false, null, null], [true, 'user', 'alice'], [true, 'user', 'alice']])
})

t.test('resolves hooks to undefined, which keeps the payload', async t => {
  for (const async of [false, true]) {
    const app = await guarded({ schemes: { user: tokenScheme({ async }) } })
    const orders = counted()
    app.post('/echo', { preParsing: app.gatehouse.guard(true) }, orders.handler)
    app.addContentTypeParser('application/octet-stream', { parseAs: 'string' }, (_request, body, done) => {
      done(null, body)
    })
    const sent = await app.inject({
      method: 'POST',
      url: '/echo',
      headers: { ...json, ...alice },
      payload: { a: [1, 2, 3] }
    })
    t.same([sent.statusCode, sent.json().body], [200, { a: [1, 2, 3] }])
    const raw = await app.inject({
      method: 'POST',
      url: '/echo',
      headers: { 'content-type': 'application/octet-stream', ...alice },
      payload: 'x'.repeat(100_000)
    })
    t.equal(raw.json().body, 'x'.repeat(100_000))
    const request = { is404: false, raw: { headers: {}, rawHeaders: [] }, server: app } as unknown as FastifyRequest
    t.equal(await app.gatehouse.guard({ mode: 'optional' })(request, { request } as never), undefined)
  }
})

t.test("runs after parsing and validation with stage: 'preHandler'", async t => {
  for (const async of [false, true]) {
    const orders = counted()
    const app = await guarded({ schemes: { user: tokenScheme({ async }) }, stage: 'preHandler' }, { bodyLimit: 200 })
    app.post(
      '/orders',
      {
        schema,
        config: {
          auth: {
            scopes: 'orders:write',
            when: (_principal, request) => (request.body as { name: string }).name !== 'no'
          }
        }
      },
      orders.handler
    )
    app.post('/open', { config: { auth: false } }, orders.handler)
    for (const { title, status, url, headers, payload } of malformed) {
      t.equal((await app.inject({ method: 'POST', url, headers, payload })).statusCode, status, `anonymous: ${title}`)
    }
    const post = async (headers: Record<string, string>, name = 'a') =>
      (await app.inject({ method: 'POST', url: '/orders', headers: { ...json, ...headers }, payload: { name } }))
        .statusCode
    t.same(
      [await post({}), await post(wrong), await post(alice), await post({ 'x-user': 'boss' }, 'no')],
      [401, 401, 403, 403]
    )
    t.equal(orders.reached, 0)
    t.equal(await post({ 'x-user': 'boss' }), 200)
    t.equal(orders.reached, 1)
    t.equal((await app.inject({ method: 'POST', url: '/open', headers: json, payload: {} })).statusCode, 200)
    t.same(app.gatehouse.audit().map(row => row.stage), ['none', 'preHandler'])
  }
})

t.test('checks private state before the handler, which other code cannot forge', async t => {
  for (const stage of ['preParsing', 'preHandler'] as const) {
    const app = await guarded({ stage })
    const page = counted()
    let lent: FastifyRequest | undefined
    app.addHook('onRequest', async request => {
      const trick = request.headers['x-trick']
      if (trick === 'lend') lent = request
      if (trick === 'symbols') {
        for (const key of Reflect.ownKeys(lent ?? {})) {
          if (typeof key === 'symbol' && !String(key).includes('fastify')) {
            Object.assign(request, { [key]: (lent as unknown as Record<symbol, unknown>)[key] })
          }
        }
      }
      if (trick === 'auth') Object.assign(request, { auth: { authenticated: true } })
      if (trick === 'principal') Object.assign(request, { principal: { id: 'alice' } })
      if (trick === 'define') Object.defineProperty(request, 'principal', { value: { id: 'alice' } })
    })
    app.get('/', page.handler)
    const get = async (trick: string, headers = {}) =>
      (await app.inject({ url: '/', headers: { 'x-trick': trick, ...headers } })).statusCode
    t.equal(await get('lend', alice), 200)
    t.notOk(Reflect.ownKeys(lent ?? {}).some(key => String(key).includes('gatehouse')), 'there is nothing to copy')
    t.equal(await get('symbols'), 401, 'every symbol was copied from a request which passed')
    t.equal(await get('auth'), 500, 'request.auth cannot be written')
    t.equal(await get('principal'), 500, 'request.principal cannot be written either')
    t.equal(await get('define'), 401, 'and what is defined over it counts for nothing')
    t.equal(page.reached, 1)
  }
})

t.test('answers 500 on a protected route unless the guard passed for exactly its policy', async t => {
  const app = await guarded()
  const page = counted()
  let marks: Record<symbol, unknown> | undefined
  app.addHook('preValidation', async request => {
    const config = request.routeOptions.config as unknown as Record<symbol, unknown>
    const trick = request.headers['x-trick']
    if (trick === 'keep') marks = { ...config }
    if (trick === 'auth') Object.assign(config, { auth: false })
    if (trick === 'mark') for (const key of Object.getOwnPropertySymbols(config)) delete config[key]
    if (trick === 'swap') {
      for (const key of Object.getOwnPropertySymbols(config)) {
        config[key] = { ...(config[key] as object), policy: { access: 'required' } }
      }
    }
  })
  app.get('/open', { config: { auth: false } }, page.handler)
  app.get('/auth', page.handler)
  app.get('/mark', page.handler)
  app.get('/swap', page.handler)
  await app.inject({ url: '/open', headers: { 'x-trick': 'keep' } })
  t.ok(marks !== undefined && page.reached === 1)
  const get = async (trick: string, headers = {}) =>
    await app.inject({ url: `/${trick}`, headers: { 'x-trick': trick, ...headers } })
  t.equal((await get('auth')).statusCode, 401)
  t.equal((await get('auth')).statusCode, 401, 'config.auth written while a request runs is not read')
  const gone = await get('mark', alice)
  t.same(
    [gone.statusCode, gone.json()],
    [500, { statusCode: 500, code: 'AUTH_FAULT', error: 'Internal Server Error', message: 'Internal Server Error' }]
  )
  t.equal((await get('swap', alice)).statusCode, 500, 'a pass under another policy is none')
  t.equal(page.reached, 1)
})

t.test('answers an internal error in the form of the option errors, without running the handler', async t => {
  const app = Fastify()
  const page = counted()
  app.register(gatehouse, { schemes: { user: tokenScheme() }, errors: 'problem' })
  app.options('/blind/*', page.handler)
  app.addHook('onSend', async () => { await new Promise(resolve => { setImmediate(resolve) }) })
  await app.ready()
  const answer = await app.inject({ method: 'OPTIONS', url: '/blind/x', headers: alice })
  t.same(
    [answer.statusCode, answer.headers['content-type'], answer.json()],
    [
      500,
      'application/problem+json; charset=utf-8',
      {
        type: 'about:blank',
        title: 'Internal Server Error',
        status: 500,
        detail: 'Internal Server Error',
        code: 'AUTH_FAULT'
      }
    ]
  )
  t.equal(page.reached, 0)
})

t.test('runs no scheme on a public route, whatever credentials are sent', async t => {
  const scheme = tokenScheme()
  const app = await guarded({ schemes: { user: scheme } })
  const page = counted()
  app.post('/', { config: { auth: { public: 'a test' } } }, page.handler)
  const answer = await app.inject({ method: 'POST', url: '/', headers: wrong })
  t.same([answer.statusCode, answer.json().who, scheme.calls], [200, null, 0])
  t.equal(answer.headers['www-authenticate'], undefined)
})

t.test("runs no later hook and no handler after a scheme's own answer, however long it takes", async t => {
  const answers: ReadonlyArray<readonly [status: number, options: (async: boolean) => Partial<GatehouseOptions>]> = [
    [302, async => ({
      schemes: {
        user: tokenScheme({
          async,
          refuse (_request, reply) {
            reply.redirect('/login')
            return true
          }
        })
      }
    })],
    [401, async => ({ schemes: { user: tokenScheme({ async }) }, errors: 'problem' })],
    [401, async => ({ schemes: { user: tokenScheme({ async }) }, errors: async error => ({ code: error.code }) })]
  ]
  for (const [status, options] of answers) {
    for (const async of [false, true]) {
      for (const stage of ['preParsing', 'preHandler', 'guard'] as const) {
        const app = await guarded({ ...options(async), ...stage === 'guard' ? {} : { stage } })
        const ran: string[] = []
        const page = counted()
        app.addHook('onSend', async () => { await new Promise(resolve => { setImmediate(resolve) }) })
        const later = async (): Promise<void> => { ran.push('a later hook') }
        if (stage === 'preParsing') app.addHook('preParsing', later)
        app.addHook('preHandler', later)
        if (stage === 'guard') {
          const preParsing = [app.gatehouse.guard(true), later]
          app.get('/', { config: { auth: false }, preParsing }, page.handler)
        } else {
          app.get('/', page.handler)
        }
        t.equal((await app.inject('/')).statusCode, status, `${stage}, ${async ? 'asynchronous' : 'synchronous'}`)
        t.same([ran, page.reached], [[], 0])
      }
    }
  }
  for (const stage of ['preParsing', 'preHandler'] as const) {
    const app = await guarded({ stage, errors: 'problem' })
    const ran: string[] = []
    const page = counted()
    app.addHook('onSend', async () => { await new Promise(resolve => { setImmediate(resolve) }) })
    app.addHook('preHandler', async () => { ran.push('a later hook') })
    app.get('/', { config: { auth: { when: () => false } } }, page.handler)
    t.equal((await app.inject({ url: '/', headers: alice })).statusCode, 403)
    t.same([ran, page.reached], [[], 0])
  }
})

/** Registers a route whose only guard is a hook. */
type Place = (app: FastifyInstance, auth: GuardAuth, handler: ReturnType<typeof counted>['handler']) => void
const places: Readonly<Record<string, Place>> = {
  onRequest: (app, auth, handler) => {
    app.post('/x', { config: { auth: false }, onRequest: app.gatehouse.guard(auth) }, handler)
  },
  preParsing: (app, auth, handler) => {
    app.post('/x', { config: { auth: false }, preParsing: app.gatehouse.guard(auth) }, handler)
  },
  preValidation: (app, auth, handler) => {
    app.post('/x', { config: { auth: false }, preValidation: app.gatehouse.guard(auth) }, handler)
  },
  preHandler: (app, auth, handler) => {
    app.post('/x', { config: { auth: false }, preHandler: app.gatehouse.guard(auth) }, handler)
  },
  'instance onRequest': (app, auth, handler) => {
    app.register(async child => {
      child.addHook('onRequest', app.gatehouse.guard(auth))
      child.post('/x', { config: { auth: false } }, handler)
    })
  },
  setNotFoundHandler: (app, auth, handler) => {
    app.setNotFoundHandler({ preHandler: app.gatehouse.guard(auth) }, handler)
  },
  'setNotFoundHandler of a prefix': (app, auth, handler) => {
    app.register(
      async child => {
        child.setNotFoundHandler({ preHandler: child.gatehouse.guard(auth) }, handler)
      },
      { prefix: '/x' }
    )
  },
  'setNotFoundHandler, preValidation': (app, auth, handler) => {
    app.setNotFoundHandler({ preValidation: app.gatehouse.guard(auth) }, handler)
  }
}

async function guardAnywhere (t: Test, place: string, register: Place, errors: 'fastify' | 'problem'): Promise<void> {
  const scheme = tokenScheme({ async: errors === 'problem' })
  const app = await guarded({ schemes: { user: scheme }, errors })
  const page = counted()
  register(
    app,
    { scopes: 'orders:write', when: (_principal, request) => request.query !== null && !request.url.includes('no') },
    page.handler
  )
  const post = async (headers: Record<string, string>, url = '/x') =>
    await app.inject({ method: 'POST', url, headers: { ...json, ...headers }, payload: '{}' })
  const message = `${place}, ${errors}`
  const anonymous = await post({})
  t.same(
    [anonymous.statusCode, anonymous.headers['www-authenticate'], anonymous.json().code],
    [401, 'Token realm="test"', 'AUTH_REQUIRED'],
    message
  )
  t.equal((await post(wrong)).statusCode, 401, message)
  t.equal((await post(alice)).statusCode, 403, message)
  t.equal((await post({ 'x-user': 'boss' }, '/x?no')).statusCode, 403, message)
  t.equal(page.reached, 0, message)
  scheme.calls = 0
  const known = await post({ 'x-user': 'boss' })
  t.same([known.statusCode, known.json()], [200, { who: 'boss', body: {} }], message)
  t.same([page.reached, scheme.calls], [1, 1], message)
}

t.test('app.gatehouse.guard(auth) guards as a hook at every stage, and in setNotFoundHandler', async t => {
  for (const [place, register] of Object.entries(places)) {
    await guardAnywhere(t, place, register, 'fastify')
    await guardAnywhere(t, place, register, 'problem')
  }
})

t.test('authenticates a request once, however many guards it passes', async t => {
  for (const async of [false, true]) {
    const scheme = tokenScheme({ async })
    const other = tokenScheme({ async, from: 'cookie:user' })
    const app = await guarded({ schemes: { user: scheme, other }, default: ['other', 'user'] })
    const page = counted()
    const guard = app.gatehouse.guard('user')
    const ids: unknown[] = []
    app.addHook('onRequest', guard)
    app.get(
      '/',
      {
        preValidation: guard,
        preHandler: [
          guard,
          app.gatehouse.guard(['other', 'user']),
          async request => {
            ids.push(request.principal?.id)
          }
        ]
      },
      page.handler
    )
    const answer = await app.inject({ url: '/', headers: alice })
    t.same([answer.statusCode, scheme.calls, other.calls, ids], [200, 1, 1, ['alice']])
  }
})

t.test("requires the route's own policy even if a guard hook passed", async t => {
  const app = await guarded({
    schemes: { user: tokenScheme(), other: tokenScheme({ from: 'cookie:user' }) },
    default: 'other'
  })
  const page = counted()
  app.get('/', { onRequest: app.gatehouse.guard('user'), preHandler: app.gatehouse.guard('user') }, page.handler)
  t.equal((await app.inject({ url: '/', headers: alice })).statusCode, 401)
  t.equal((await app.inject({ url: '/', headers: { cookie: 'user=bob' } })).statusCode, 401)
  t.equal(page.reached, 0)
  t.equal((await app.inject({ url: '/', headers: { ...alice, cookie: 'user=bob' } })).statusCode, 200)
})

t.test('gives a guard hook the defaults of its context, and refuses a public one', async t => {
  const app = await guarded()
  const page = counted()
  app.register(
    async child => {
      child.gatehouse.default({ scopes: 'orders:write' })
      child.get('/x', { config: { auth: false }, preHandler: child.gatehouse.guard(true) }, page.handler)
      t.throws(() => child.gatehouse.guard(false as never), {
        code: 'AUTH_MISCONFIGURED',
        message: /would guard nothing/
      })
      t.throws(() => child.gatehouse.guard({ public: 'why' } as never), { code: 'AUTH_MISCONFIGURED' })
      t.throws(() => child.gatehouse.guard('usr' as never), { code: 'AUTH_MISCONFIGURED', message: /usr/ })
    },
    { prefix: '/p' }
  )
  await app.ready()
  t.equal((await app.inject({ url: '/p/x', headers: alice })).statusCode, 403)
  t.equal(page.reached, 0)
  t.equal((await app.inject({ url: '/p/x', headers: { 'x-user': 'boss' } })).statusCode, 200)
})

t.test('sends Connection: close only if a refused HTTP/1 request has an unread body', async t => {
  const app = await guarded()
  const orders = counted()
  app.post('/orders', orders.handler)
  app.get('/orders', orders.handler)
  const port = await portOf(app)
  t.teardown(() => app.close())
  const host = `Host: 127.0.0.1:${port}`

  const big = await wire(port)
  big.send(
    `POST /orders HTTP/1.1\r\n${host}\r\nContent-Type: application/json\r\nContent-Length: 200000000\r\n\r\n{"name":"`
  )
  const refused = await big.read()
  t.same([refused.status, refused.headers.connection], [401, 'close'], 'a body of which most is still to come')
  await big.closed

  const chunked = await wire(port)
  chunked.send(
    `POST /orders HTTP/1.1\r\n${host}\r\nContent-Type: application/json\r\n` +
      'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n'
  )
  const streamed = await chunked.read()
  t.same([streamed.status, streamed.headers.connection], [401, 'close'], 'a body without a length')
  await chunked.closed

  const kept = await wire(port)
  kept.send(`GET /orders HTTP/1.1\r\n${host}\r\n\r\n`)
  const first = await kept.read()
  t.same([first.status, first.headers.connection], [401, 'keep-alive'], 'no body')
  kept.send(`POST /orders HTTP/1.1\r\n${host}\r\nContent-Length: 0\r\n\r\n`)
  const second = await kept.read()
  t.same([second.status, second.headers.connection], [401, 'keep-alive'], 'an empty body')
  kept.send(
    `POST /orders HTTP/1.1\r\n${host}\r\nX-User: alice\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`
  )
  const third = await kept.read()
  t.same([third.status, third.headers.connection], [200, 'keep-alive'], 'and the connection still serves')
  kept.end()
  t.equal(orders.reached, 1)
})

t.test('sends no Connection header over HTTP/2', async t => {
  const app = Fastify({ http2: true })
  await app.register(gatehouse, { schemes: { user: tokenScheme() } })
  app.post('/orders', async () => ({}))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = http2.connect(app.listeningOrigin)
  const stream = client.request({ ':method': 'POST', ':path': '/orders', 'content-length': '1000' })
  stream.on('error', () => {})
  const [headers] = await once(stream, 'response') as [Record<string, string>]
  t.same([headers[':status'], headers.connection], [401, undefined])
  stream.close()
  client.destroy()
  await app.close()
})

t.test('keeps the connection of a refused request whose body was read', async t => {
  const app = await guarded({ stage: 'preHandler' })
  const orders = counted()
  app.post('/orders', orders.handler)
  const port = await portOf(app)
  t.teardown(() => app.close())
  const socket = await wire(port)
  for (const status of [401, 401]) {
    socket.send(
      `POST /orders HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
        'Content-Length: 2\r\n\r\n{}'
    )
    const answer = await socket.read()
    t.same([answer.status, answer.headers.connection], [status, 'keep-alive'])
  }
  socket.end()
  t.equal(orders.reached, 0)
})

t.test('survives a client that disconnects during the check of its credential', async t => {
  const app = Fastify()
  const entered = on(app.server, 'entered')
  let go = (): void => {}
  const gate = new Promise<void>(resolve => { go = resolve })
  const scheme = tokenScheme()
  const slow: Scheme = {
    ...scheme,
    async authenticate (request) {
      app.server.emit('entered')
      if (request.headers['x-user'] === 'slow') await gate
      return await scheme.authenticate(request)
    }
  }
  await app.register(gatehouse, { schemes: { user: slow } })
  const page = counted()
  app.get('/', page.handler)
  const port = await portOf(app)
  t.teardown(() => app.close())
  const leaving = await wire(port)
  leaving.send(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-User: slow\r\n\r\n`)
  await entered.next()
  leaving.end()
  await leaving.closed
  go()
  const staying = await wire(port)
  staying.send(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-User: alice\r\n\r\n`)
  const answer = await staying.read()
  t.same([answer.status, JSON.parse(answer.body).who], [200, 'alice'])
  staying.end()
})
