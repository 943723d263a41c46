import { randomBytes } from 'node:crypto'
import auth from '@fastify/auth'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import csrf from '@fastify/csrf-protection'
import helmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import rateLimit, { type RateLimitPluginOptions } from '@fastify/rate-limit'
import secureSession from '@fastify/secure-session'
import serverSession from '@fastify/session'
import Fastify, {
  type FastifyInstance,
  type FastifyPluginCallback,
  type FastifyReply,
  type FastifyRequest
} from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, basic, jwt, session, type GatehouseOptions } from '../../lib/index.js'
import { alice, counted, guarded, tokenScheme } from '../fixtures/routes.js'

const key = randomBytes(32).toString('base64url')
const secret = randomBytes(32).toString('base64url')
const password = randomBytes(16).toString('base64url')

function options (): GatehouseOptions {
  return {
    schemes: {
      user: jwt({ keys: secret, issuer: 'https://id.example.com', audience: 'https://api.example.com', sign: true }),
      web: session({ secret }),
      service: apiKey({ keys: { [key]: { id: 'billing' } } }),
      ops: basic({ users: { ops: { password } } })
    },
    default: ['user', 'web', 'service', 'ops']
  }
}

/** Returns the cookies of a response as a browser sends them. */
function cookies (answer: { headers: Readonly<Record<string, unknown>> }): string {
  return [answer.headers['set-cookie'] ?? []].flat().map(line => String(line).split(';')[0]).join('; ')
}

const login = async (_request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
  await reply.login({ id: 'anna' })
  return {}
}

/** Adds the routes that every application here has. */
function addOurs (app: FastifyInstance): void {
  app.post('/ours', async request => ({
    who: request.principal?.id ?? null,
    scheme: request.auth.scheme,
    body: request.body
  }))
  app.post('/ours/login', { config: { auth: { public: 'logs people in' } } }, login)
  app.post('/ours/logout', async (_request, reply) => {
    await reply.logout()
    return {}
  })
}

/** Asserts that every scheme admits its principal, and nobody else. */
async function oursWorks (t: Test, app: FastifyInstance, message: string): Promise<void> {
  const ask = async (headers: Record<string, string>, url = '/ours') =>
    await app.inject({ method: 'POST', url, headers, payload: { a: 1 } })
  const enter = async (headers: Record<string, string>) => {
    const answer = await ask(headers)
    return answer.statusCode === 200 ? answer.json() : answer.statusCode
  }
  const anonymous = await ask({})
  t.equal(anonymous.statusCode, 401, message)
  t.match(anonymous.headers['www-authenticate'], /^Basic realm="ops", charset="UTF-8", Bearer realm="user"/, message)
  t.equal(await enter({ authorization: 'Bearer x.y.z' }), 401, message)
  const token = await app.gatehouse.tokens.issue({ id: 'ulla' })
  t.same(await enter({ authorization: `Bearer ${token}` }), { who: 'ulla', scheme: 'user', body: { a: 1 } }, message)
  t.same(await enter({ 'x-api-key': key }), { who: 'billing', scheme: 'service', body: { a: 1 } }, message)
  t.same(
    await enter({ authorization: `Basic ${Buffer.from(`ops:${password}`).toString('base64')}` }),
    { who: 'ops', scheme: 'ops', body: { a: 1 } },
    message
  )
  const loggedIn = await ask({}, '/ours/login')
  t.equal(loggedIn.statusCode, 200, message)
  const jar = { cookie: cookies(loggedIn) }
  t.match(jar.cookie, /^__Host-web=/, message)
  t.same(await enter(jar), { who: 'anna', scheme: 'web', body: { a: 1 } }, message)
  t.equal((await ask(jar, '/ours/logout')).statusCode, 200, message)
  t.equal(await enter(jar), 401, `${message}: a copy of the cookie is worthless after logout`)
}

/** Another plugin, the routes that use it, and a check that it works. */
interface Guest {
  readonly register: (app: FastifyInstance) => Promise<unknown>
  readonly routes?: (app: FastifyInstance) => void
  readonly works: (t: Test, app: FastifyInstance, message: string) => Promise<void>
}

const open = { config: { auth: { public: 'theirs' } } }
/** Reads `request.session`, whose types in the two session plugins contradict each other. */
const sessionOf = (request: FastifyRequest) =>
  (request as unknown as { session: { get: (key: string) => unknown; set: (key: string, value: unknown) => void } })
    .session

/** Adds a route with a counter in `request.session`, for either session plugin. */
function countVisits (app: FastifyInstance): void {
  app.get('/theirs', open, async request => {
    const visits = Number(sessionOf(request).get('visits') ?? 0) + 1
    sessionOf(request).set('visits', visits)
    return { visits }
  })
  app.post('/theirs/both', open, async (request, reply) => {
    sessionOf(request).set('visits', 10)
    return await login(request, reply)
  })
  app.get('/theirs/protected', async request => ({
    who: request.principal?.id ?? null,
    visits: sessionOf(request).get('visits')
  }))
}

async function visitsWork (t: Test, app: FastifyInstance, message: string): Promise<void> {
  const first = await app.inject('/theirs')
  t.same(first.json(), { visits: 1 }, message)
  t.same((await app.inject({ url: '/theirs', headers: { cookie: cookies(first) } })).json(), { visits: 2 }, message)
  t.equal(
    (await app.inject({ url: '/theirs/protected', headers: { cookie: cookies(first) } })).statusCode,
    401,
    `${message}: their session is not a session of ours`
  )
  const both = await app.inject({ method: 'POST', url: '/theirs/both' })
  t.equal(both.cookies.length, 2, `${message}: one answer sets both cookies`)
  t.same(
    (await app.inject({ url: '/theirs/protected', headers: { cookie: cookies(both) } })).json(),
    { who: 'anna', visits: 10 },
    message
  )
}

const guests: Readonly<Record<string, Guest>> = {
  '@fastify/auth': {
    register: async app => await app.register(auth),
    routes: app => {
      const never = async (): Promise<never> => {
        throw Object.assign(new Error('theirs'), { statusCode: 418 })
      }
      const header = async (request: FastifyRequest): Promise<void> => {
        if (request.headers['x-theirs'] !== 'yes') await never()
      }
      app.after(() => {
        app.get('/theirs', { ...open, preHandler: app.auth([never, header] as never) }, async () => ({
          theirs: true
        }))
        app.get('/theirs/protected', { preHandler: app.auth([header] as never) }, async request => ({
          who: request.principal?.id
        }))
        app.get(
          '/theirs/mixed',
          { ...open, preHandler: app.auth([header, app.gatehouse.guard('service')] as never) },
          async request => ({ who: request.principal?.id ?? null })
        )
      })
    },
    works: async (t, app, message) => {
      const get = async (url: string, headers = {}) => (await app.inject({ url, headers })).statusCode
      t.same([await get('/theirs'), await get('/theirs', { 'x-theirs': 'yes' })], [418, 200], message)
      t.same(
        [
          await get('/theirs/protected'),
          await get('/theirs/protected', { 'x-theirs': 'yes' }),
          await get('/theirs/protected', { 'x-api-key': key }),
          await get('/theirs/protected', { 'x-theirs': 'yes', 'x-api-key': key })
        ],
        [401, 401, 418, 200],
        `${message}: on a protected route both must agree`
      )
      t.same(
        [
          await get('/theirs/mixed'),
          await get('/theirs/mixed', { 'x-theirs': 'yes' }),
          await get('/theirs/mixed', { 'x-api-key': key })
        ],
        [401, 200, 200],
        `${message}: a guard of ours is one of their functions`
      )
    }
  },
  '@fastify/jwt': {
    register: async app => await app.register(fastifyJwt, { secret: 'the secret of the application itself' }),
    routes: app => {
      app.get(
        '/theirs',
        {
          ...open,
          onRequest: async request => {
            await request.jwtVerify()
          }
        },
        async request => ({ user: request.user, who: request.principal })
      )
      app.get('/theirs/token', open, async (_request, reply) => ({ token: await reply.jwtSign({ sub: 'theo' }) }))
    },
    works: async (t, app, message) => {
      const { token } = (await app.inject('/theirs/token')).json()
      const bearer = (of: string) => ({ authorization: `Bearer ${of}` })
      t.match(
        (await app.inject({ url: '/theirs', headers: bearer(token) })).json(),
        { user: { sub: 'theo' }, who: null },
        message
      )
      t.equal(
        (await app.inject({ url: '/theirs', headers: bearer(await app.gatehouse.tokens.issue({ id: 'ulla' })) }))
          .statusCode,
        401,
        `${message}: a token of ours is none of theirs`
      )
      t.equal(
        (await app.inject({ method: 'POST', url: '/ours', headers: bearer(token) })).statusCode,
        401,
        `${message}: nor theirs one of ours`
      )
      t.match(app.jwt.decode(app.jwt.sign({ a: 1 })), { a: 1 }, message)
    }
  },
  '@fastify/cookie': {
    register: async app => await app.register(cookie, { secret: 'the secret of the application itself' }),
    routes: app => {
      app.post('/theirs', open, async (request, reply) => {
        reply.setCookie('flavour', 'vanilla', { path: '/', signed: true })
        return await login(request, reply)
      })
      app.get('/theirs', async request => ({
        flavour: request.unsignCookie(request.cookies.flavour ?? '').value,
        who: request.principal?.id
      }))
    },
    works: async (t, app, message) => {
      const set = await app.inject({ method: 'POST', url: '/theirs' })
      t.same(set.cookies.map(each => each.name).sort(), ['__Host-web', 'flavour'], message)
      t.same(
        (await app.inject({ url: '/theirs', headers: { cookie: cookies(set) } })).json(),
        { flavour: 'vanilla', who: 'anna' },
        message
      )
    }
  },
  '@fastify/session': {
    register: async app => {
      await app.register(cookie)
      await app.register(serverSession, { secret: 'the secret of the application itself', cookie: { secure: false } })
    },
    routes: countVisits,
    works: visitsWork
  },
  '@fastify/secure-session': {
    register: async app => await app.register(secureSession, { key: randomBytes(32), cookie: { path: '/' } }),
    routes: countVisits,
    works: visitsWork
  },
  '@fastify/rate-limit': {
    register: async app => await app.register(rateLimit, { global: false }),
    routes: app => {
      app.get('/theirs', { config: { rateLimit: { max: 1 } } }, async () => ({}))
      app.get(
        '/theirs/both',
        { config: { rateLimit: { max: 3 }, auth: { rateLimit: { max: 1, window: '1h' } } } },
        async () => ({})
      )
    },
    works: async (t, app, message) => {
      const get = async (url: string, headers = {}) => await app.inject({ url, headers })
      const first = await get('/theirs')
      t.same(
        [first.statusCode, first.headers['x-ratelimit-limit'], first.headers['x-ratelimit-remaining']],
        [401, '1', '0'],
        `${message}: a refused request counts`
      )
      t.equal((await get('/theirs', { 'x-api-key': key })).statusCode, 429, message)
      const codes: unknown[] = []
      for (let i = 0; i < 4; i++) {
        const answer = await get('/theirs/both', { 'x-api-key': key })
        codes.push([answer.statusCode, answer.json().code])
      }
      t.same(
        codes,
        [
          [200, undefined],
          [429, 'AUTH_RATE_LIMITED'],
          [429, 'AUTH_RATE_LIMITED'],
          [429, undefined]
        ],
        `${message}: both limits count, each its own`
      )
    }
  },
  '@fastify/csrf-protection': {
    register: async app => {
      await app.register(cookie)
      await app.register(csrf as unknown as FastifyPluginCallback)
    },
    routes: app => {
      app.after(() => {
        app.get('/theirs', async (_request, reply) => ({ token: reply.generateCsrf() }))
        app.post(
          '/theirs',
          {
            preHandler: (request, reply, done) => {
              app.csrfProtection(request, reply, done)
            }
          },
          async request => ({ who: request.principal?.id })
        )
      })
    },
    works: async (t, app, message) => {
      const mine = { 'x-api-key': key }
      const given = await app.inject({ url: '/theirs', headers: mine })
      const post = async (headers: Record<string, string>) =>
        await app.inject({ method: 'POST', url: '/theirs', headers })
      const whole = { cookie: cookies(given), 'csrf-token': given.json().token }
      t.equal((await post(whole)).statusCode, 401, message)
      t.equal((await post({ ...mine, cookie: cookies(given) })).statusCode, 403, message)
      t.same((await post({ ...mine, ...whole })).json(), { who: 'billing' }, message)
    }
  },
  '@fastify/cors': {
    register: async app => await app.register(cors, { origin: 'https://app.example.com', credentials: true }),
    works: async (t, app, message) => {
      const origin = 'https://app.example.com'
      const preflight = await app.inject({
        method: 'OPTIONS',
        url: '/ours',
        headers: { origin, 'access-control-request-method': 'POST' }
      })
      t.same([preflight.statusCode, preflight.headers['access-control-allow-origin']], [204, origin], message)
      for (const headers of [{ origin }, { origin, 'x-api-key': key }]) {
        const answer = await app.inject({ method: 'POST', url: '/ours', headers })
        t.same(
          [answer.statusCode, answer.headers['access-control-allow-origin']],
          ['x-api-key' in headers ? 200 : 401, origin],
          message
        )
      }
    }
  },
  '@fastify/helmet': {
    register: async app => await app.register(helmet),
    works: async (t, app, message) => {
      for (const [status, headers] of [[401, {}], [200, { 'x-api-key': key }]] as const) {
        const answer = await app.inject({ method: 'POST', url: '/ours', headers })
        t.same(
          [answer.statusCode, answer.headers['x-content-type-options'], answer.headers['x-frame-options']],
          [status, 'nosniff', 'SAMEORIGIN'],
          message
        )
      }
    }
  }
}

for (const [name, guest] of Object.entries(guests)) {
  for (const order of ['before', 'after'] as const) {
    t.test(`works beside ${name}, registered ${order} it`, async t => {
      const app = Fastify() as unknown as FastifyInstance
      if (order === 'before') await guest.register(app)
      await app.register(gatehouse, options())
      if (order === 'after') await guest.register(app)
      addOurs(app)
      guest.routes?.(app)
      await app.ready()
      await oursWorks(t, app, `${name} ${order}`)
      await guest.works(t, app, `${name} ${order}`)
      await app.close()
    })
  }
}

t.test('works beside all of them at once in either order, and beside itself in another application', async t => {
  for (const order of ['before', 'after'] as const) {
    const app = Fastify() as unknown as FastifyInstance
    const everybody = async (): Promise<void> => {
      await app.register(cookie)
      await app.register(auth)
      await app.register(fastifyJwt, { secret: 'the secret of the application itself' })
      await app.register(serverSession, { secret: 'the secret of the application itself' })
      await app.register(secureSession, { sessionName: 'secure' as never, key: randomBytes(32), cookieName: 'secure' })
      await app.register(rateLimit, { max: 1000 })
      await app.register(csrf as unknown as FastifyPluginCallback)
      await app.register(cors)
      await app.register(helmet)
    }
    if (order === 'before') await everybody()
    await app.register(gatehouse, options())
    if (order === 'after') await everybody()
    addOurs(app)
    await oursWorks(t, app, `all ${order}`)
    await app.close()
  }
})

t.test('rateLimit: answers 429 AUTH_RATE_LIMITED with Retry-After, per principal and per route', async t => {
  const app = await guarded({
    schemes: { user: tokenScheme(), other: tokenScheme({ from: 'cookie:user' }) },
    default: { schemes: ['user', 'other'], rateLimit: { max: 2, window: '1h' } }
  })
  const page = counted()
  let calls = 0
  app.get('/a', page.handler)
  app.get('/b', { config: { auth: { when: () => { calls++; return true } } } }, page.handler)
  app.get('/items/:id', page.handler)
  app.all('/all', page.handler)
  app.get('/more', { config: { auth: { rateLimit: { max: 5, window: '1h' } } } }, page.handler)
  app.register(async child => { child.get('/', page.handler) }, { prefix: '/p' })
  await app.ready()
  const times = async (
    n: number,
    url: string,
    headers: Record<string, string> = alice,
    methods: readonly string[] = ['GET']
  ) => {
    const statuses: number[] = []
    for (let i = 0; i < n; i++) {
      statuses.push(
        (
          await app.inject({
            method: methods[i % methods.length] as 'GET',
            url,
            headers,
            ...(methods[i % methods.length] === 'POST' ? { payload: {} } : {})
          })
        ).statusCode
      )
    }
    return statuses
  }
  t.same(await times(4, '/a'), [200, 200, 429, 429])
  t.equal(page.reached, 2, 'the handler runs only for those within the limit')
  const over = await app.inject({ url: '/a', headers: alice })
  t.equal(over.json().code, 'AUTH_RATE_LIMITED')
  const wait = Number(over.headers['retry-after'])
  t.ok(wait > 3500 && wait <= 3600, 'Retry-After says the seconds until the window ends')
  t.equal(over.headers['www-authenticate'], undefined, 'and no credential would help')
  t.same(await times(3, '/a', { 'x-user': 'bob' }), [200, 200, 429], 'another principal has a count of its own')
  t.same(
    await times(3, '/a', { cookie: 'user=alice' }),
    [200, 200, 429],
    'and so has one of the same id in another realm'
  )
  t.same(await times(3, '/b'), [200, 200, 429], 'another route has a limit of its own')
  t.equal(calls, 2, 'a function of the route is behind the limit')
  t.same(
    [...(await times(1, '/items/1')), ...(await times(1, '/items/2')), ...(await times(1, '/items/3'))],
    [200, 200, 429],
    'a route is its pattern'
  )
  t.same(
    await times(4, '/all', alice, ['GET', 'POST', 'DELETE']), [200, 200, 429, 429],
    'all methods of a route share one count'
  )
  t.same(await times(3, '/b', { 'x-user': 'carl' }, ['HEAD', 'GET']), [200, 200, 429], 'HEAD counts as its GET')
  t.same(
    [...(await times(1, '/p')), ...(await times(1, '/p/')), ...(await times(1, '/p'))],
    [200, 200, 429],
    'with and without its slash'
  )
  t.same(await times(6, '/more'), [200, 200, 200, 200, 200, 429], 'a route may say another')
  t.same(await times(3, '/a', {}), [401, 401, 401], 'an anonymous caller is refused and not counted')
})

t.test(
  'rateLimit: counts only principals where anonymous callers are admitted, and counts in a guard hook',
  async t => {
    const app = await guarded()
    const page = counted()
    app.get('/feed', { config: { auth: { mode: 'optional', rateLimit: { max: 1, window: 60 } } } }, page.handler)
    app.setNotFoundHandler({ preHandler: app.gatehouse.guard({ rateLimit: { max: 1, window: 60 } }) }, page.handler)
    const times = async (url: string, headers = {}) => [
      (await app.inject({ url, headers })).statusCode,
      (await app.inject({ url, headers })).statusCode
    ]
    t.same(
      [await times('/feed'), await times('/feed', alice)],
      [
        [200, 200],
        [200, 429]
      ]
    )
    t.same(
      [await times('/nowhere'), await times('/nowhere', alice), await times('/elsewhere', alice)],
      [
        [401, 401],
        [200, 429],
        [429, 429]
      ]
    )
  }
)

t.test('rateLimit: counts a request once, however many guards of its route share the limit', async t => {
  const app = await guarded({ default: { rateLimit: { max: 2, window: '1h' } } })
  const page = counted()
  const rule = { schemes: 'user', rateLimit: { max: 2, window: 3600 } } as const
  const guard = app.gatehouse.guard(rule)
  const stricter = app.gatehouse.guard({ ...rule, when: () => true })
  app.get('/hook', { preHandler: guard }, page.handler)
  app.get(
    '/both',
    {
      preHandler: async (request, reply) => {
        await Promise.all([guard(request, reply), stricter(request, reply)])
      }
    },
    page.handler
  )
  app.get('/less', { preHandler: app.gatehouse.guard({ rateLimit: { max: 1, window: '1h' } }) }, page.handler)
  await app.ready()
  for (const [url, statuses] of [
    ['/hook', [200, 200, 429]],
    ['/both', [200, 200, 429]],
    ['/less', [200, 429, 429]]
  ] as const) {
    t.same(
      [
        (await app.inject({ url, headers: alice })).statusCode,
        (await app.inject({ url, headers: alice })).statusCode,
        (await app.inject({ url, headers: alice })).statusCode
      ],
      statuses,
      url
    )
  }
})

/** A rate-limit store that forgets everything. */
class Forgetful {
  incr (_key: string, done: (error: null, result: { current: number; ttl: number }) => void): void {
    done(null, { current: 0, ttl: 0 })
  }

  child (): Forgetful {
    return this
  }
}

/** A rate-limit store that is down. */
class Down {
  incr (_key: string, done: (error: Error) => void): void { done(new Error('down')) }
  child (): Down { return this }
}

const lenient: Readonly<Record<string, RateLimitPluginOptions>> = {
  'an allow list': { max: 1000, allowList: () => true },
  'a store that forgets': { max: 1000, store: Forgetful as never },
  'a store that is down, and skipOnError': { max: 1000, store: Down as never, skipOnError: true },
  'a key that is the same for all': { max: 1000, keyGenerator: () => 'same' },
  'a ban and its own answer': { max: 1000, ban: 0, errorResponseBuilder: () => ({ statusCode: 418 }) }
}

t.test("neither weakens nor is changed by the application's own @fastify/rate-limit", async t => {
  for (const [message, settings] of Object.entries(lenient)) {
    for (const order of ['before', 'after'] as const) {
      const app = Fastify() as unknown as FastifyInstance
      if (order === 'before') await app.register(rateLimit, settings)
      await app.register(gatehouse, { schemes: { user: tokenScheme() } })
      if (order === 'after') await app.register(rateLimit, settings)
      const own = { createRateLimit: app.createRateLimit, rateLimit: app.rateLimit }
      app.get('/limited', { config: { auth: { rateLimit: { max: 2, window: 60 } } } }, counted().handler)
      const ask = async (who: string) =>
        (await app.inject({ url: '/limited', headers: { 'x-user': who } })).statusCode
      t.same(
        [await ask('alice'), await ask('alice'), await ask('alice'), await ask('bob')],
        [200, 200, 429, 200],
        `${message}, registered ${order}`
      )
      t.same([typeof own.createRateLimit, typeof own.rateLimit], ['function', 'function'])
      t.equal(app.createRateLimit, own.createRateLimit)
    }
  }
})

t.test('rateLimit: adds no decorator, hook or header to the application', async t => {
  const app = await guarded()
  app.get(
    '/',
    { config: { rateLimit: { max: 1 }, auth: { rateLimit: { max: 5, window: 60 } } } as never },
    counted().handler
  )
  const answers = [await app.inject({ url: '/', headers: alice }), await app.inject({ url: '/', headers: alice })]
  t.same(answers.map(answer => answer.statusCode), [200, 200])
  t.notOk(answers.some(answer => Object.keys(answer.headers).some(name => name.startsWith('x-ratelimit'))))
  t.same([app.hasDecorator('rateLimit'), app.hasDecorator('createRateLimit')], [false, false])
})

t.test('rateLimit: keeps refusing a principal over the limit while many others arrive', async t => {
  const app = await guarded({ stage: 'preHandler' })
  app.get('/', { config: { auth: { rateLimit: { max: 1, window: '1h' } } } }, counted().handler)
  const ask = async (who: string) => (await app.inject({ url: '/', headers: { 'x-user': who } })).statusCode
  t.same([await ask('alice'), await ask('alice')], [200, 429])
  const others = Array.from({ length: 5001 }, (_, i) => `other-${i}`)
  for (let i = 0; i < others.length; i += 500) await Promise.all(others.slice(i, i + 500).map(ask))
  t.equal(await ask('alice'), 429)
})
