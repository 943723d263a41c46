import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t from 'tap'
import gatehouse, { authenticated, AuthError, type GatehouseOptions, type Scheme } from '../../lib/index.js'
import { readChallenges } from '../fixtures/challenges.js'
import { createApplication, handler, scripted } from '../fixtures/schemes.js'

const when = new Date('2020-01-02T03:04:05.678Z')
const until = new Date('2031-01-02T03:04:05.678Z')

/** Returns a scheme whose outcome has every field. */
const completeScheme = (more: Partial<Scheme> = {}): Scheme =>
  scripted('user', {
    reportsAuthTime: true,
    authenticate: request =>
      request.headers['x-user'] === undefined
        ? { kind: 'absent' }
        : authenticated(
            { id: 'ann', scopes: ['orders:read'], roles: ['clerk'], name: 'Ann' },
            { credential: { kid: 7 }, authenticatedAt: when, expiresAt: until }
          ),
    ...more
  })

const ann = { realm: 'user', id: 'ann', scopes: ['orders:read'], roles: ['clerk'], name: 'Ann' }
const entry = {
  principal: ann,
  credential: { kid: 7 },
  authenticatedAt: when.toISOString(),
  expiresAt: until.toISOString()
}
const nobody = {
  authenticated: false,
  scheme: null,
  principal: null,
  credential: null,
  authenticatedAt: null,
  expiresAt: null,
  error: null
}

t.test('has the scheme, principal, credential, ISO dates and all for an authenticated caller', async t => {
  const { app } = await createApplication({
    schemes: { user: completeScheme(), plain: scripted('plain') },
    default: ['user', 'plain']
  })
  const found: Record<string, unknown> = {}
  app.get('/', async request => {
    const { auth } = request
    if (!auth.authenticated) throw new Error('anonymous')
    const frozen = [auth, auth.all, auth.principal, ...Object.values(auth.all)].every(Object.isFrozen)
    Object.assign(found, { auth, same: auth === request.auth, all: auth.all, spread: { ...auth }, frozen })
    t.throws(() => { (request as unknown as { auth: unknown }).auth = {} }, TypeError)
    t.throws(() => { (request as unknown as { principal: unknown }).principal = { id: 'root' } }, TypeError)
    t.throws(() => { (auth as unknown as { principal: unknown }).principal = { id: 'root' } }, TypeError)
    t.equal(auth.principal, request.principal)
    return auth
  })
  const answer = await app.inject({ url: '/', headers: { 'x-user': '1' } })
  const whole = { authenticated: true, scheme: 'user', ...entry, error: null }
  t.same(answer.json(), whole)
  t.same(found['spread'], whole)
  t.same(found['all'], { user: entry })
  t.match(found, { same: true, frozen: true })
  const plain = (await app.inject({ url: '/', headers: { 'x-plain': 'bob' } })).json()
  t.match(plain, { scheme: 'plain', principal: { id: 'bob' } })
  t.strictSame([plain.credential, plain.authenticatedAt, plain.expiresAt], [null, null, null])
})

t.test('is anonymous for an unauthenticated caller on optional, try, public and unknown routes', async t => {
  const { app } = await createApplication({ schemes: { user: scripted('user') } })
  const show = async (request: FastifyRequest) => ({
    auth: { ...request.auth, error: request.auth.error?.code ?? null },
    principal: request.principal,
    all: request.auth.all,
    frozen: Object.isFrozen(request.auth)
  })
  app.get('/optional', { config: { auth: { mode: 'optional' } } }, show)
  app.get('/try', { config: { auth: { mode: 'try' } } }, async (request: FastifyRequest) => {
    t.equal(request.auth.error instanceof AuthError, request.headers['x-user'] !== undefined)
    return show(request)
  })
  app.get('/public', { config: { auth: false } }, show)
  app.setNotFoundHandler(async (request, reply) => reply.code(404).send(await show(request)))
  for (const url of ['/optional', '/try', '/public', '/nowhere']) {
    t.match((await app.inject(url)).json(), { auth: { ...nobody, all: {} }, principal: null, all: {}, frozen: true })
  }
  t.match((await app.inject({ url: '/try', headers: { 'x-user': 'expired' } })).json(), {
    auth: { ...nobody, error: 'AUTH_TOKEN_EXPIRED' }
  })
  t.match(
    (await app.inject({ url: '/public', headers: { 'x-user': 'ann' } })).json(),
    { auth: nobody },
    'no scheme runs on a public route'
  )
})

t.test('is anonymous before the guard runs and after a refusal, and stays authenticated otherwise', async t => {
  const { app } = await createApplication({ schemes: { user: completeScheme() } }, {}, app => {
    for (const name of [
      'onRequest',
      'preParsing',
      'preValidation',
      'preHandler',
      'preSerialization',
      'onSend',
      'onResponse'
    ] as const) {
      app.addHook(name as 'onRequest', async request => {
        stages.push([name, request.auth.authenticated, request.principal?.id ?? null])
      })
    }
  })
  const stages: unknown[] = []
  app.addHook('onRequest', async request => {
    stages.push(['later onRequest', request.auth.authenticated, request.principal])
  })
  app.get('/', async () => ({}))
  t.equal((await app.inject({ url: '/', headers: { 'x-user': '1' } })).statusCode, 200)
  t.same(stages, [
    ['onRequest', false, null], ['later onRequest', false, null], ['preParsing', false, null],
    ...['preValidation', 'preHandler', 'preSerialization', 'onSend', 'onResponse'].map(name => [name, true, 'ann'])
  ])
  stages.length = 0
  t.equal((await app.inject('/')).statusCode, 401)
  const others = ['onRequest', 'later onRequest', 'preParsing', 'onSend', 'onResponse']
  t.same(stages, others.map(name => [name, false, null]))
})

t.test('reflects the result of a second guard', async t => {
  const { app } = await createApplication({
    schemes: { one: scripted('one'), two: scripted('two') },
    default: { schemes: 'one', mode: 'optional' }
  })
  const hook = app.gatehouse.guard({ schemes: 'two', mode: 'required' })
  const values: unknown[] = []
  const look = async (request: FastifyRequest) => {
    values.push(request.auth.scheme, request.auth.principal?.id ?? null, request.principal?.id ?? null)
  }
  app.get('/', { preHandler: [look, hook, look] }, async () => ({}))
  t.equal((await app.inject({ url: '/', headers: { 'x-two': 'bob' } })).statusCode, 200)
  t.same(values, [null, null, null, 'two', 'bob', 'bob'])
  values.length = 0
  t.equal((await app.inject({ url: '/', headers: { 'x-one': 'ann', 'x-two': 'bob' } })).statusCode, 200)
  t.same(values, ['one', 'ann', 'ann', 'two', 'bob', 'bob'])
})

t.test('never throws on request.principal, wherever it is read', async t => {
  const read: unknown[] = []
  const lines: string[] = []
  const app = Fastify({
    logger: {
      stream: {
        write: (line: string) => {
          lines.push(line)
        }
      },
      serializers: {
        req: (request: FastifyRequest) => {
          read.push(request.principal, request.auth.authenticated)
          return { who: request.principal?.id ?? 'nobody' }
        }
      }
    }
  }) as unknown as FastifyInstance
  const options: GatehouseOptions = { schemes: { user: completeScheme() } }
  await app.register(gatehouse, options)
  app.get('/', async request => {
    request.log.info({ req: request }, 'in the handler')
    const child = Object.create(request) as FastifyRequest
    read.length = 0
    read.push(child.principal, child.auth.authenticated, (Object.getPrototypeOf(request) as FastifyRequest).principal)
    return {}
  })
  t.equal((await app.inject({ url: '/', headers: { 'x-user': '1' } })).statusCode, 200)
  t.same(read, [null, false, null], 'and another object than the request has no caller')
  t.match(
    lines
      .map(line => JSON.parse(line))
      .filter(line => line.req !== undefined)
      .map(line => [line.msg, line.req.who]),
    [
      ['incoming request', 'nobody'],
      ['in the handler', 'ann']
    ]
  )
})

t.test('works in a context that was loaded before the plugin', async t => {
  const route = handler()
  const { app } = await createApplication({ schemes: { user: completeScheme() } }, {}, async app => {
    await app.register(
      async child => {
        child.setNotFoundHandler(
          {
            preHandler: async (request: FastifyRequest, reply: FastifyReply) => {
              await guard(request, reply)
            }
          },
          route.handler
        )
      },
      { prefix: '/child' }
    )
  })
  const hook = app.gatehouse.guard('user')
  const guard = async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.headers['x-user'] !== undefined) {
      await (hook as unknown as (request: FastifyRequest, reply: FastifyReply) => Promise<void>)(request, reply)
    }
  }
  t.same((await app.inject({ url: '/child/x', headers: { 'x-user': '1' } })).json(), {
    authenticated: true,
    scheme: 'user',
    id: 'ann',
    error: null
  })
  t.same((await app.inject('/child/x')).json(), { authenticated: false, scheme: null, id: null, error: null })
  t.equal(route.reached, 2)
})

t.test('allows: checks both scopes and roles', async t => {
  const { app, log } = await createApplication({
    schemes: {
      user: scripted('user', {
        authenticate: request => authenticated(JSON.parse(String(request.headers['x-user'])))
      })
    },
    scopes: { a: 'A', b: 'B', c: 'C' },
    roles: { boss: { roles: ['clerk'], scopes: ['b'] }, clerk: { scopes: ['a'] } }
  })
  let rights: unknown
  app.get('/', async request => ({ allows: request.auth.allows(rights as { scopes: string }) }))
  app.get('/public', { config: { auth: false } }, async request => ({
    allows: request.auth.allows(rights as { scopes: string })
  }))
  const ask = async (query: unknown, principal: object, url = '/') => {
    rights = query
    const answer = await app.inject({ url, headers: { 'x-user': JSON.stringify({ id: 'ann', ...principal }) } })
    return answer.statusCode === 200 ? answer.json().allows : answer.json()
  }
  const cases: ReadonlyArray<readonly [query: unknown, principal: object, boolean]> = [
    [{ scopes: 'a' }, { scopes: ['a'] }, true],
    [{ scopes: 'a' }, { scopes: ['b'] }, false],
    [{ scopes: 'a' }, { scopes: [] }, false],
    [{ scopes: { all: ['a', 'b'] } }, { scopes: ['a', 'b'] }, true],
    [{ scopes: { all: ['a', 'b'] } }, { scopes: ['a'] }, false],
    [{ scopes: { any: ['a', 'b'] } }, { scopes: ['b'] }, true],
    [{ scopes: { any: ['a', 'b'] } }, { scopes: ['c'] }, false],
    [{ scopes: { none: ['a'] } }, { scopes: ['c'] }, true],
    [{ scopes: { none: ['a'] } }, { scopes: ['a'] }, false],
    [{ roles: 'clerk' }, { roles: ['boss'] }, true],
    [{ roles: 'boss' }, { roles: ['clerk'] }, false],
    [{ scopes: { all: ['a', 'b'] } }, { roles: ['boss'] }, true],
    [{ scopes: 'a', roles: 'clerk' }, { scopes: ['a'] }, false],
    [{ scopes: 'c', roles: 'clerk' }, { roles: ['clerk'], scopes: ['c'] }, true]
  ]
  for (const [query, principal, expected] of cases) {
    t.equal(await ask(query, principal), expected, `${JSON.stringify(query)} of ${JSON.stringify(principal)}`)
    t.equal(await ask(query, principal, '/public'), false, 'an anonymous caller is allowed nothing')
  }
  const wrong = [
    {},
    undefined,
    null,
    'a',
    ['a'],
    { scope: 'a' },
    { scopes: ['a'] },
    { scopes: undefined },
    { scopes: { all: [] } },
    { scopes: 'unknown' },
    { roles: 'a' },
    { scopes: () => 'a' }
  ]
  for (const query of wrong) {
    for (const url of ['/', '/public']) {
      log.length = 0
      t.same(
        await ask(query, { scopes: ['a'] }, url),
        { statusCode: 500, code: 'AUTH_FAULT', error: 'Internal Server Error', message: 'Internal Server Error' },
        `a question outside of the grammar: ${JSON.stringify(query)}`
      )
      t.match(
        log.find(line => line.level === 50),
        { err: { message: /allows\(/ } }
      )
    }
  }
})

t.test(
  'reply.challenge answers as the guard does without a credential, on protected, public and unknown routes',
  async t => {
    const schemes = { one: scripted('one'), two: scripted('two'), ops: scripted('ops') }
    for (const errors of ['fastify', 'problem'] as const) {
      const { app } = await createApplication({ schemes, default: ['one', 'two'], errors })
      const realms = async (url: string, headers: Record<string, string> = {}) => {
        const answer = await app.inject({ url, headers })
        t.equal(answer.statusCode, 401, url)
        t.equal(answer.headers['cache-control'], 'no-store')
        t.match(answer.json(), { code: 'AUTH_REQUIRED' })
        return readChallenges(answer.headers['www-authenticate'] as string).map(({ params }) => params)
      }
      let after = 0
      const challenge = async (_request: unknown, reply: { challenge(): unknown }) => reply.challenge()
      app.get('/protected', challenge)
      app.get('/other', { config: { auth: ['ops', { all: ['two', 'one'] }] } }, challenge)
      app.get('/public', { config: { auth: false } }, challenge)
      app.get('/hook', { preHandler: async (_request, reply) => reply.challenge() }, async () => {
        after++
        return {}
      })
      app.get('/sync', { config: { auth: { mode: 'optional' } } }, (_request, reply) => {
        reply.challenge()
      })
      app.setNotFoundHandler(challenge)
      await app.register(async group => {
        group.gatehouse.default({ schemes: 'ops' })
        group.get('/group', { config: { auth: false } }, challenge)
      })
      const both = [{ realm: 'one' }, { realm: 'two' }]
      t.same(await realms('/protected', { 'x-one': 'ann' }), both, 'none has an error: the credential was good')
      t.same(await realms('/other', { 'x-ops': 'ann' }), [{ realm: 'ops' }, ...both.reverse()])
      both.reverse()
      t.same(await realms('/public'), both)
      t.same(await realms('/public', { 'x-one': 'invalid' }), both)
      t.same(await realms('/hook', { 'x-two': 'ann' }), both)
      t.same(await realms('/sync'), both)
      t.same(await realms('/nowhere'), both)
      t.same(await realms('/group'), [{ realm: 'ops' }], 'where the route is public, it is the default of its group')
      t.equal(after, 0)
    }
  }
)

t.test('reply.forbid answers as the guard does for insufficient permissions', async t => {
  const { app } = await createApplication({
    schemes: { one: scripted('one'), two: scripted('two') },
    default: ['one', 'two'],
    errors: 'oauth'
  })
  const forbid = async (_request: unknown, reply: { forbid(): unknown }) => reply.forbid()
  app.get('/protected', forbid)
  app.get('/public', { config: { auth: false } }, forbid)
  app.setNotFoundHandler(forbid)
  const ask = async (url: string, headers: Record<string, string> = {}) => {
    const answer = await app.inject({ url, headers })
    t.same(
      [answer.statusCode, answer.json()],
      [403, { error: 'insufficient_scope', error_description: 'Access denied' }]
    )
    return answer.headers['www-authenticate']
  }
  t.equal(await ask('/protected', { 'x-two': 'ann' }), 'Test realm="two", error="auth_access_denied"')
  t.equal(await ask('/public'), undefined)
  t.equal(await ask('/nowhere'), undefined)
})

t.test(
  'reply.challenge uses the answer of a scheme that handles refusals itself, without adding a challenge',
  async t => {
    const refuse: NonNullable<Scheme['refuse']> = (request, reply, { code }) => {
      if (request.headers.accept !== 'text/html') return false
      reply.redirect(`/login?for=${code}`, 303)
      return true
    }
    const { app } = await createApplication({
      schemes: { web: scripted('web', { refuse }), user: scripted('user') },
      default: ['web', 'user']
    })
    const route = handler()
    app.get('/', route.handler)
    app.get('/asks', async (_request, reply) => reply.challenge())
    const ask = async (url: string, headers: Record<string, string> = {}) => {
      const answer = await app.inject({ url, headers: { accept: 'text/html', ...headers } })
      return [answer.statusCode, answer.headers.location, answer.headers['www-authenticate']]
    }
    t.same(await ask('/'), [303, '/login?for=AUTH_REQUIRED', undefined])
    t.same(await ask('/', { 'x-web': 'expired' }), [303, '/login?for=AUTH_TOKEN_EXPIRED', undefined])
    t.same(
      await ask('/', { 'x-user': 'invalid' }),
      [401, undefined, 'Test realm="user", error="auth_invalid_credentials"'],
      'a login page does not help whose token is bad'
    )
    t.same(await ask('/', { accept: 'application/json' }), [401, undefined, 'Test realm="web", Test realm="user"'])
    t.same(await ask('/asks', { 'x-user': 'ann' }), [303, '/login?for=AUTH_REQUIRED', undefined])
    t.equal(route.reached, 0)
  }
)

t.test('sets caching headers on answers to authenticated callers, unless the handler sets them', async t => {
  const schemes = {
    plain: scripted('plain'),
    key: scripted('key', { cacheControl: 'private' }),
    url: scripted('url', { cacheControl: 'private, no-store' })
  }
  const { app } = await createApplication({ schemes, default: ['key', 'plain'] }, {}, app => {
    app.addHook('onRequest', async (request, reply) => {
      const { early } = request.query as { readonly early?: string }
      if (early !== undefined) reply.header('cache-control', early)
    })
  })
  const route = handler()
  app.get('/', route.handler)
  app.get('/own', async (_request, reply) => reply.header('cache-control', 'private, max-age=60').send({}))
  app.get('/optional', { config: { auth: { mode: 'optional' } } }, route.handler)
  for (const [i, all] of [
    ['plain', 'key'],
    ['key', 'url'],
    ['url', 'key']
  ].entries()) { app.get(`/all/${i}`, { config: { auth: { schemes: { all } } } }, route.handler) }
  const everything = { 'x-plain': 'ann', 'x-key': 'ann', 'x-url': 'ann' }
  const control = async (url: string, headers: Record<string, string> = { 'x-key': 'ann' }) =>
    (await app.inject({ url, headers })).headers['cache-control']
  t.equal(await control('/'), 'private')
  t.equal(await control('/', { 'x-plain': 'ann' }), undefined)
  t.equal(await control('/own'), 'private, max-age=60')
  t.equal(await control('/optional', {}), undefined)
  t.equal(await control('/optional'), 'private')
  t.same(
    [await control('/all/0', everything), await control('/all/1', everything), await control('/all/2', everything)],
    ['private', 'private, no-store', 'private, no-store']
  )
  t.equal(await control('/', {}), 'no-store', 'a refusal is never stored')

  const early = async (value: string, url = '/', headers: Record<string, string> = { 'x-key': 'ann' }) =>
    await control(`${url}?early=${encodeURIComponent(value)}`, headers)
  t.equal(await early('max-age=5'), 'max-age=5, private', 'a hook before the guard does not know the caller')
  t.equal(await early('Public, max-age=5,s-maxage=60, must-revalidate'), 'max-age=5, must-revalidate, private')
  t.equal(await early('public', '/', { 'x-plain': 'ann' }), 'private', 'also for a credential known to caches')
  t.equal(await early('private, max-age=5'), 'private, max-age=5')
  t.equal(await early('private', '/all/1', everything), 'private, no-store')
  t.equal(await early('no-store'), 'no-store')
  t.equal(await early('public, max-age=5', '/own'), 'private, max-age=60', 'a handler knows the caller')
  t.equal(await early('public, max-age=5', '/optional', {}), 'public, max-age=5')
})
