import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { SignJWT } from 'jose'
import t from 'tap'
import plugin, { apiKey, AuthError, jwt, type GatehouseOptions, type RouteAuth } from '../../lib/index.js'
import { readChallenges } from '../fixtures/challenges.js'
import { createApplication, handler, listen, scripted, send } from '../fixtures/schemes.js'

const secret = randomBytes(32)
const now = Math.floor(Date.now() / 1000)
const token = (claims: Record<string, unknown>, key: Uint8Array = secret) =>
  new SignJWT({ sub: 'ann', iss: 'https://id.test', aud: 'api', iat: now - 900, exp: now + 300, ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(key)
const bearer = async (claims: Record<string, unknown> = {}, key?: Uint8Array) => ({
  authorization: `Bearer ${await token(claims, key)}`
})

type Errors = NonNullable<GatehouseOptions['errors']>

interface Row {
  readonly status: number
  readonly code: string
  readonly message: string
  /** The error code with `errors: 'oauth'` (RFC 6749, 5.2; RFC 6750, 3.1). */
  readonly oauth: string
  readonly url: string
  readonly method?: 'GET' | 'POST'
  readonly headers: () => Promise<Record<string, string>>
  readonly challenge?: ReadonlyArray<Record<string, string>>
  readonly retryAfter?: string | RegExp
  /** The number of requests that are sent first. */
  readonly first?: number
}

const nothing = async () => ({})
const bad = { realm: 'user', error: 'invalid_token' }
const denied = { status: 403, code: 'AUTH_ACCESS_DENIED', message: 'Access denied', oauth: 'insufficient_scope' }

/** The expected responses, one row for each error. */
const rows: readonly Row[] = [
  {
    status: 401,
    code: 'AUTH_REQUIRED',
    message: 'Authentication required',
    oauth: 'invalid_request',
    url: '/',
    headers: nothing,
    challenge: [{ realm: 'user' }, { realm: 'web' }]
  },
  {
    status: 401,
    code: 'AUTH_INVALID_CREDENTIALS',
    message: 'Invalid credentials',
    oauth: 'invalid_token',
    url: '/',
    headers: () => bearer({}, randomBytes(32)),
    challenge: [{ ...bad, error_description: 'The token is invalid' }]
  },
  {
    status: 401,
    code: 'AUTH_TOKEN_EXPIRED',
    message: 'Credentials expired',
    oauth: 'invalid_token',
    url: '/',
    headers: () => bearer({ exp: now - 1 }),
    challenge: [{ ...bad, error_description: 'The token expired' }]
  },
  {
    ...denied,
    url: '/scopes',
    headers: () => bearer({ scope: 'orders:read' }),
    challenge: [{ realm: 'user', error: 'insufficient_scope', scope: 'orders:write orders:read other' }]
  },
  {
    ...denied,
    url: '/function',
    headers: () => bearer({ scope: 'orders:read' }),
    challenge: [{ realm: 'user', error: 'insufficient_scope', scope: 'orders:read orders:write other' }]
  },
  ...['/roles', '/when', '/anyOf', '/child-roles'].map(url => ({
    ...denied,
    url,
    headers: () => bearer({ scope: 'orders:read' }),
    challenge: [{ realm: 'user', error: 'insufficient_scope' }]
  })),
  {
    status: 403,
    code: 'AUTH_CROSS_SITE',
    message: 'Cross-site request refused',
    oauth: 'access_denied',
    url: '/',
    method: 'POST',
    headers: async () => ({ 'x-web': 'ann', 'sec-fetch-site': 'cross-site' })
  },
  {
    status: 401,
    code: 'AUTH_STEP_UP_REQUIRED',
    message: 'A more recent authentication is required',
    oauth: 'insufficient_user_authentication',
    url: '/recent',
    headers: () => bearer({ auth_time: now - 120 }),
    challenge: [
      {
        realm: 'user',
        error: 'insufficient_user_authentication',
        error_description: 'A more recent authentication is required',
        max_age: '60'
      }
    ]
  },
  {
    status: 429,
    code: 'AUTH_RATE_LIMITED',
    message: 'Too many requests',
    oauth: 'temporarily_unavailable',
    url: '/limited',
    headers: () => bearer(),
    retryAfter: /^(?:59|60)$/,
    first: 2
  },
  {
    status: 503,
    code: 'AUTH_UNAVAILABLE',
    message: 'Authentication is temporarily unavailable',
    oauth: 'temporarily_unavailable',
    url: '/',
    headers: async () => ({ 'x-web': 'unavailable' }),
    retryAfter: '17'
  },
  {
    status: 500,
    code: 'AUTH_FAULT',
    message: 'Internal Server Error',
    oauth: 'server_error',
    url: '/',
    headers: async () => ({ 'x-web': 'throw' })
  }
]

async function build (
  errors?: Errors,
  stage: GatehouseOptions['stage'] = 'preParsing',
  before?: (app: FastifyInstance) => unknown
) {
  const schemes = {
    user: jwt({ keys: secret, issuer: 'https://id.test', audience: 'api' }),
    web: scripted('web', { ambient: true })
  }
  const { app, log } = await createApplication(
    { schemes, default: ['user', 'web'], stage, ...(errors === undefined ? {} : { errors }) },
    {},
    before
  )
  const route = handler()
  app.route({ method: ['GET', 'POST'], url: '/', handler: route.handler })
  app.get(
    '/scopes',
    { config: { auth: { scopes: { all: ['orders:write', 'orders:read'], any: ['other'] } } } },
    route.handler
  )
  app.register(async child => {
    child.gatehouse.default({ scopes: 'orders:read' })
    const scopes = () => ({ all: ['orders:write'], any: ['other', 'x'] })
    child.get('/function', { config: { auth: { scopes } } }, route.handler)
    child.get('/child-roles', { config: { auth: { roles: 'admin' } } }, route.handler)
  })
  app.get('/roles', { config: { auth: { roles: 'admin' } } }, route.handler)
  app.get('/when', { config: { auth: { when: () => false } } }, route.handler)
  app.get('/anyOf', { config: { auth: { anyOf: [{ scopes: 'x' }, { roles: 'y' }] } } }, route.handler)
  app.get('/recent', { config: { auth: { schemes: 'user', maxAge: '1m' } } }, route.handler)
  app.get('/limited', { config: { auth: { rateLimit: { max: 2, window: '1m' } } } }, route.handler)
  return { app, log, route }
}

async function ask (app: FastifyInstance, { url, method = 'GET', headers, first = 0 }: Row) {
  const request = { url, method, headers: await headers() }
  for (let i = 0; i < first; i++) await app.inject(request)
  return app.inject(request)
}

/** Checks the status, the challenge and the headers, which are the same in every format. */
function checkHead (t: Tap, row: Row, answer: Awaited<ReturnType<typeof ask>>, title: string): void {
  t.equal(answer.statusCode, row.status, title)
  t.equal(answer.headers['cache-control'], 'no-store', `${title}: not stored`)
  const challenge = answer.headers['www-authenticate'] as string | undefined
  if (row.challenge === undefined) t.equal(challenge, undefined, `${title}: no challenge`)
  else t.same(readChallenges(challenge ?? '').map(each => each.params), row.challenge, `${title}: the challenge`)
  if (row.retryAfter === undefined) t.notOk('retry-after' in answer.headers)
  else t.match(answer.headers['retry-after'], row.retryAfter)
  t.notMatch(answer.body, /secret|stack|cause|reason|\.ts/, `${title}: says no more than the code does`)
}

type Tap = Pick<typeof t, 'equal' | 'same' | 'match' | 'notOk' | 'notMatch'>

const bodies: Readonly<Record<string, (row: Row) => { readonly type: RegExp; readonly body: unknown }>> = {
  fastify: ({ status, code, message }) => ({
    type: /^application\/json/,
    body: { statusCode: status, code, error: STATUS_CODES[status], message }
  }),
  problem: ({ status, code, message }) => ({
    type: /^application\/problem\+json/,
    body: { type: 'about:blank', title: STATUS_CODES[status], status, detail: message, code }
  }),
  oauth: ({ oauth, message }) => ({ type: /^application\/json/, body: { error: oauth, error_description: message } }),
  function: ({ status, code, message }) => ({ type: /^application\/json/, body: { own: code, status, message } })
}

for (const [form, bodyOf] of Object.entries(bodies)) {
  t.test(
    `answers every row of the error table with its status, code and challenge, with errors: ${form}`,
    async t => {
      const errors =
        form === 'function'
          ? (error: AuthError) => ({ own: error.code, status: error.statusCode, message: error.message })
          : (form as 'problem')
      for (const stage of ['preParsing', 'preHandler'] as const) {
        const { app, route } = await build(errors, stage)
        for (const row of rows) {
          const before = route.reached
          const answer = await ask(app, row)
          const { type, body } = bodyOf(row)
          checkHead(t, row, answer, `${row.code} at ${row.url}, ${stage}`)
          t.same(answer.json(), body)
          t.match(answer.headers['content-type'], type)
          t.equal(route.reached - before, row.first ?? 0, 'the handler did not run')
        }
        const ok = await app.inject({ url: '/', headers: await bearer() })
        t.equal(ok.statusCode, 200)
        t.notOk('www-authenticate' in ok.headers)
      }
    }
  )
}

t.test("uses the application's own error handler by default", async t => {
  const { app } = await build()
  t.same((await app.inject('/')).json(), {
    statusCode: 401,
    code: 'AUTH_REQUIRED',
    error: 'Unauthorized',
    message: 'Authentication required'
  })
  await t.rejects(build('json' as 'oauth'), {
    code: 'AUTH_MISCONFIGURED',
    message: /errors must be 'fastify', 'problem' or 'oauth', or a function/
  })
})

t.test('keeps status, challenge and Retry-After, and hides detail and cause, under a custom error handler', async t => {
  type Handler = (error: Error & { statusCode?: number }, request: FastifyRequest, reply: FastifyReply) => unknown
  const handlers: Record<string, Handler> = {
    spreads: (error, _request, reply) => { reply.code(error.statusCode ?? 500).send({ ...error, own: true }) },
    'says nothing of the status': (error, _request, reply) => { reply.send({ ...error, own: true }) },
    'spreads and returns': (error, _request, reply) => {
      reply.code(error.statusCode ?? 500)
      return { ...error, own: true }
    },
    'writes JSON of it': async (error, _request, reply) => {
      const body = JSON.stringify({ ...JSON.parse(JSON.stringify(error)), own: true })
      return reply.code(error.statusCode ?? 500).type('application/json').send(body)
    },
    'copies every property that can be listed': (error, _request, reply) => {
      const all: Record<string, unknown> = { own: true }
      for (const key in error) all[key] = error[key as keyof Error]
      reply.code(error.statusCode ?? 500).send(all)
    }
  }
  for (const [name, own] of Object.entries(handlers)) {
    const { app } = await build('fastify', 'preParsing', app => app.setErrorHandler(own))
    for (const row of rows) {
      const answer = await ask(app, row)
      checkHead(t, row, answer, `${name}: ${row.code} at ${row.url}`)
      t.same(answer.json(), { own: true, name: 'AuthError', code: row.code, statusCode: row.status })
    }
  }
})

t.test('uses the error handler of a child, and still refuses if that handler throws', async t => {
  const { app } = await createApplication({ schemes: { one: scripted('one') } })
  const route = handler()
  await app.register(async child => {
    child.setErrorHandler((error: Error & { code?: string }, _request, reply) => {
      reply.code(401).send({ child: error.code })
    })
    child.get('/child', route.handler)
  })
  await app.register(async child => {
    child.setErrorHandler(() => { throw new Error('of the handler') })
    child.get('/throws', route.handler)
  })
  const answer = await app.inject('/child')
  t.same([answer.statusCode, answer.json()], [401, { child: 'AUTH_REQUIRED' }])
  t.match(answer.headers['www-authenticate'], 'Test realm="one"')
  t.equal((await app.inject('/throws')).statusCode, 401)
  t.equal(route.reached, 0)
})

t.test('lets a function answer freely, and still refuses if the function fails', async t => {
  const none: unknown = undefined
  const refusal = {
    statusCode: 401,
    code: 'AUTH_REQUIRED',
    error: 'Unauthorized',
    message: 'Authentication required'
  }
  const forms: Record<
    string,
    {
      form: (error: AuthError, request: FastifyRequest, reply: FastifyReply) => unknown
      body: unknown
      status?: number
      failed?: boolean
    }
  > = {
    'returns an object': { form: error => ({ code: error.code }), body: { code: 'AUTH_REQUIRED' } },
    'returns a promise': { form: async error => ({ code: error.code }), body: { code: 'AUTH_REQUIRED' } },
    'returns what can be waited for': {
      form: () => ({ then: (done: (value: unknown) => void) => { done({ later: true }) } }),
      body: { later: true }
    },
    'sends by itself': { form: (_error, _request, reply) => { reply.send({ sent: true }) }, body: { sent: true } },
    'sends by itself and returns the reply': {
      form: (_error, _request, reply) => reply.send({ sent: true }),
      body: { sent: true }
    },
    'returns the reply and sends later': {
      form: (_error, _request, reply) => {
        setImmediate(() => { reply.send({ sent: 'later' }) })
        return reply
      },
      body: { sent: 'later' }
    },
    'sends by itself, async': {
      form: async (_error, _request, reply) => {
        await null
        await reply.send({ sent: true })
      },
      body: { sent: true }
    },
    'is async, returns the reply and sends later': {
      form: async (_error, _request, reply) => {
        setImmediate(() => { reply.send({ sent: 'later' }) })
        return reply
      },
      body: { sent: 'later' }
    },
    'writes another status': {
      form: (_error, _request, reply) => {
        reply.code(404)
        return { hidden: true }
      },
      body: { hidden: true },
      status: 404
    },
    throws: { form: () => { throw new Error('secret of the function') }, body: refusal, failed: true },
    'throws nothing': { form: () => { throw none }, body: refusal, failed: true },
    rejects: { form: async () => { throw new Error('secret of the function') }, body: refusal, failed: true },
    'rejects with an error that cannot be read': {
      form: async () => {
        throw Object.defineProperty(new Error(), 'code', { get () { throw new Error('secret of the function') } })
      },
      body: refusal,
      failed: true
    },
    'writes another status and throws': {
      form: (_error, _request, reply) => {
        reply.code(200).type('text/plain')
        throw new Error('secret of the function')
      },
      body: refusal,
      failed: true
    },
    'sends and throws': {
      form: (_error, _request, reply) => {
        reply.send({ sent: true })
        throw new Error('secret of the function')
      },
      body: { sent: true },
      failed: true
    },
    'sends and rejects': {
      form: async (_error, _request, reply) => {
        await reply.send({ sent: true })
        throw new Error('secret of the function')
      },
      body: { sent: true },
      failed: true
    }
  }
  for (const [name, { form, body, status = 401, failed = false }] of Object.entries(forms)) {
    const { app, log, route } = await build(form)
    const answer = await app.inject('/')
    t.same([answer.statusCode, answer.json()], [status, body], name)
    t.match(answer.headers['www-authenticate'], /Bearer realm="user"/)
    t.equal(answer.headers['cache-control'], 'no-store')
    t.equal(log.some(line => line.msg === 'the errors function failed'), failed, `${name}: the log`)
    t.notOk(log.some(line => /already sent/i.test(line.msg)), `${name}: nothing is sent twice`)
    t.equal(route.reached, 0)
  }
  const circle: Record<string, unknown> = {}
  circle['circle'] = circle
  for (const form of [() => circle, async () => circle]) {
    const { app, route } = await build(form)
    t.equal((await app.inject('/')).statusCode, 401, 'a circular body does not prevent the refusal')
    t.equal(route.reached, 0)
  }
  const { app } = await build(() => undefined)
  const answer = await app.inject('/')
  t.same([answer.statusCode, answer.body], [401, ''], 'nothing is an empty body')
})

t.test('passes the error, the request and the reply to a function', async t => {
  const calls: unknown[] = []
  const { app } = await build((error, request, reply) => {
    calls.push([
      error.code,
      error.statusCode,
      error.message,
      error.detail,
      error instanceof AuthError,
      request.url,
      reply.statusCode,
      reply.getHeader('www-authenticate')
    ])
    return {}
  })
  await app.inject('/roles')
  t.same(calls, [
    [
      'AUTH_REQUIRED',
      401,
      'Authentication required',
      'no credential was sent',
      true,
      '/roles',
      401,
      'Bearer realm="user", Test realm="web"'
    ]
  ])
})

t.test('names in the log the rule that a caller does not meet', async t => {
  const key = randomBytes(16).toString('base64url')
  const reasons: unknown[] = []
  const stream = { write: (line: string) => { reasons.push(JSON.parse(line).auth?.reason) } }
  const app = Fastify({ logger: { level: 'info', stream } })
  t.teardown(async () => { await app.close() })
  await app.register(plugin, {
    schemes: { service: apiKey({ keys: { [key]: { id: 'ann', scopes: ['orders:read'] } } }) },
    default: { scopes: 'orders:read' }
  })
  const isOwner = () => false
  const policies: ReadonlyArray<readonly [RouteAuth, string]> = [
    [{ scopes: { all: ['orders:read', 'orders:write'] } }, 'scope orders:read and orders:write'],
    [{ roles: { any: ['clerk', 'admin'] } }, 'role clerk or admin'],
    [{ scopes: { none: ['orders:read'] } }, 'not scope orders:read'],
    [{ anyOf: [{ roles: 'clerk' }, { scopes: 'a', roles: 'b' }] }, '(role clerk) or (scope a, role b)'],
    [{ scopes: 'orders:read', when: isOwner }, 'scope orders:read; when isOwner'],
    [{ scopes: () => 'orders:write' }, 'scope orders:write'],
    [{ scopes: () => 'long'.repeat(1_000) }, `scope ${'long'.repeat(1_000)}`.slice(0, 500)],
    [{ roles: () => 'clerk' }, 'roles that a function names']
  ]
  for (const [i, [auth]] of policies.entries()) app.get(`/${i}`, { config: { auth } }, handler)
  for (const [i, [, words]] of policies.entries()) {
    for (const round of ['first', 'again']) {
      reasons.length = 0
      const refused = await app.inject({ url: `/${i}`, headers: { 'x-api-key': key } })
      t.equal(refused.statusCode, 403)
      t.notMatch(refused.body, 'rule')
      t.ok(reasons.includes(`the principal ann does not meet the rule: ${words}`), `${words} (${round})`)
    }
  }
})

t.test('logs reasons without sending them to the client, and the credential to neither', async t => {
  const { app, log } = await build()
  for (const row of rows) {
    log.length = 0
    const headers = await row.headers()
    await ask(app, row)
    const refused = log.filter(line => line.msg === 'request refused' || line.msg === 'authentication fault')
    t.equal(refused.length, 1, `${row.code} is logged once`)
    t.match(refused[0], { level: row.status === 500 ? 50 : 30, auth: { code: row.code, reason: /./ } })
    for (const value of Object.values(headers)) {
      if (value.startsWith('Bearer')) t.notOk(JSON.stringify(log).includes(value.slice(7, 60)))
    }
  }
})

t.test('shows the code, status and constant message of an AuthError, and hides detail, cause and stack', async t => {
  const { app } = await build('fastify', 'preParsing', app => {
    app.setErrorHandler((error: AuthError, _request, reply) => {
      t.ok(error instanceof AuthError && error instanceof Error)
      t.same(Object.keys(error).sort(), ['code', 'name', 'statusCode'])
      t.same(JSON.parse(JSON.stringify(error)), { name: 'AuthError', code: error.code, statusCode: 401 })
      t.equal(error.detail, 'no credential was sent')
      t.equal(error.stack?.includes('\n'), false, 'a refusal takes no stack')
      reply.code(401).send()
    })
  })
  const limit = Error.stackTraceLimit
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal(Error.stackTraceLimit, limit)
})

t.test('closes the connection only if the request has an unread body', async t => {
  for (const errors of ['fastify', 'problem'] as const) {
    const { app } = await build(errors)
    const port = await listen(t, app)
    const connection = async (lines: readonly string[]) =>
      (await send(port, 'POST', '/', lines, 'keep-alive')).headers['connection']
    t.equal(await connection(['Content-Length: 100000']), 'close')
    t.equal(await connection(['Transfer-Encoding: chunked']), 'close')
    t.equal(await connection(['Content-Length: 100000', 'X-Web: throw']), 'close')
    t.not((await app.inject({ method: 'POST', url: '/' })).headers.connection, 'close')
    t.not((await app.inject('/')).headers.connection, 'close')
  }
})

t.test('answers HEAD with the status and headers of GET, without a body', async t => {
  for (const errors of ['fastify', 'problem', 'oauth'] as const) {
    const { app } = await build(errors)
    const port = await listen(t, app)
    for (const method of ['HEAD', 'GET']) {
      const answer = await send(port, method, '/roles')
      t.equal(answer.status, 401)
      t.match(answer.headers, {
        'www-authenticate': 'Bearer realm="user", Test realm="web"',
        'cache-control': 'no-store'
      })
      t.equal(answer.body === '', method === 'HEAD')
    }
  }
})

t.test('stops the boot with AUTH_MISCONFIGURED for wrong options', async t => {
  const { app } = await createApplication({ schemes: { one: scripted('one') } })
  t.throws(() => app.get('/x', { config: { auth: { scopes: [] as unknown as string } } }, handler().handler), {
    code: 'AUTH_MISCONFIGURED',
    statusCode: 500,
    message: /GET \/x: config\.auth\.scopes/
  })
})

t.test('gives an AuthError the properties that handlers for http-errors read, and the scheme', async t => {
  const errors: AuthError[] = []
  const { app } = await build('fastify', 'preParsing', app => {
    app.setErrorHandler((error: AuthError, _request, reply) => {
      errors.push(error)
      reply.code(error.status).send()
    })
  })
  app.get('/one', { config: { auth: 'web' } }, () => ({}))
  await app.inject('/')
  await app.inject('/one')
  await app.inject({ url: '/', headers: { 'x-web': 'unavailable' } })
  await app.inject({ url: '/', headers: { 'x-web': 'throw' } })
  const fields = errors.map(({ status, expose, scheme, headers }) => ({ status, expose, scheme, headers }))
  const noStore = { 'cache-control': 'no-store' }
  t.match(fields, [
    {
      status: 401,
      expose: true,
      scheme: null,
      headers: { ...noStore, 'www-authenticate': /^Bearer realm="user".*Test realm="web"/ }
    },
    { status: 401, expose: true, scheme: 'web', headers: { ...noStore, 'www-authenticate': 'Test realm="web"' } },
    { status: 503, expose: false, scheme: 'web', headers: { ...noStore, 'retry-after': '17' } },
    { status: 500, expose: false, scheme: 'web', headers: {} }
  ])
})
