import Fastify from 'fastify'
import t, { type Test } from 'tap'
import plugin, { apiKey, authenticated, absent, session, type GatehouseOptions, type Scheme } from '../../lib/index.js'
import type { OwnRateLimit } from '../../types/limits.js'

/** Creates a scheme whose credentials have a limit of their own. */
function limitedKeys (limits: Readonly<Record<string, OwnRateLimit | null>>): Scheme {
  return {
    openapi: { type: 'apiKey', in: 'header', name: 'x-key' },
    authenticate ({ headers: { 'x-key': key } }) {
      if (typeof key !== 'string') return absent
      return authenticated({ id: 'owner' }, { rateLimit: limits[key] ?? null }) as never
    }
  }
}

const key = 'kX3vQ0b9Xh2mT7rKcW5sZpLdAfGjUe8oIiVxRtB4nM1'

interface LogLine { readonly level: number, readonly msg?: string, readonly err?: { readonly message: string } }

async function createApp (t: Test, options: Partial<GatehouseOptions>, log: LogLine[] = []) {
  const app = Fastify({ logger: { stream: { write: line => { log.push(JSON.parse(line) as LogLine) } } } })
  await app.register(plugin, { schemes: { service: apiKey({ keys: { [key]: { id: 'client' } } }) }, ...options })
  t.teardown(async () => { await app.close() })
  return app
}

t.test('sends limit and remaining requests as in draft-ietf-httpapi-ratelimit-headers-10', async t => {
  const app = await createApp(t, {})
  app.get('/limited', { config: { auth: { rateLimit: { max: 2, window: '1m' } } } }, async () => 'in')
  app.get('/free', async () => 'in')
  const ask = async (url: string) => app.inject({ url, headers: { 'x-api-key': key } })
  const [first, second, third] = [await ask('/limited'), await ask('/limited'), await ask('/limited')]
  t.same(
    [first, second, third].map(answer => answer.statusCode),
    [200, 200, 429]
  )
  t.same(
    [first, second, third].map(({ headers }) => headers['ratelimit-policy']),
    Array(3).fill('"default";q=2;w=60')
  )
  t.same(
    [first, second, third].map(({ headers }) => headers.ratelimit),
    ['"default";r=1;t=60', '"default";r=0;t=60', '"default";r=0;t=60']
  )
  t.equal(third.headers['retry-after'], '60')
  const free = await ask('/free')
  t.same([free.headers.ratelimit, free.headers['ratelimit-policy']], [undefined, undefined])
  t.equal((await app.inject('/limited')).headers.ratelimit, undefined)
})

t.test('counts principals apart whose names have quotes', async t => {
  const names = [['a', 'b","c'], ['a","b', 'c'], ['a', 'b\\",\\"c'], ['a"', 'b'], ['a', '"b']] as const
  const one: Scheme = {
    openapi: { type: 'apiKey', in: 'header', name: 'x-key' },
    authenticate ({ headers: { 'x-key': index } }) {
      const [realm, id] = names[Number(index)] ?? ['', '']
      return authenticated({ realm, id }) as never
    }
  }
  const app = await createApp(t, { schemes: { one } })
  app.get('/', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, async () => 'in')
  const ask = async (index: number) => (await app.inject({ url: '/', headers: { 'x-key': String(index) } })).statusCode
  for (const index of names.keys()) t.same([await ask(index), await ask(index)], [200, 429], String(names[index]))
})

t.test('applies limits.requests to every route without a limit of its own, its group or the default', async t => {
  for (const limits of [{ requests: { max: 3, window: '1m' } }] as const) {
    const app = await createApp(t, { limits })
    app.get('/plain', async () => 'in')
    app.get('/own', { config: { auth: { rateLimit: { max: 9, window: 60 } } } }, async () => 'in')
    app.get('/open', { config: { auth: false } }, async () => 'in')
    await app.register(async group => {
      group.gatehouse.default({ rateLimit: { max: 7, window: 60 } })
      group.get('/group', async () => 'in')
    })
    const policy = async (url: string) =>
      (await app.inject({ url, headers: { 'x-api-key': key } })).headers['ratelimit-policy']
    t.same(await Promise.all(['/plain', '/own', '/group', '/open'].map(policy)), [
      '"default";q=3;w=60',
      '"default";q=9;w=60',
      '"default";q=7;w=60',
      undefined
    ])
    t.match(app.gatehouse.audit().find(row => row.url === '/plain')?.rules, ['at most 3 requests in 60 s'])
  }
  const limited = await createApp(t, {
    limits: { requests: { max: 3, window: 60 } },
    default: { schemes: 'service', rateLimit: { max: 5, window: 60 } }
  })
  limited.get('/', async () => 'in')
  t.equal(
    (await limited.inject({ url: '/', headers: { 'x-api-key': key } })).headers['ratelimit-policy'],
    '"default";q=5;w=60'
  )
})

t.test("counts the limit of a credential across all routes, in addition to the route's limit", async t => {
  const schemes = { keys: limitedKeys({ a: { id: 'a', max: 3, window: '1h' }, b: { id: 'b', max: 3, window: 3600 } }) }
  const app = await createApp(t, { schemes })
  app.get('/one', async () => 'in')
  app.get('/two', { config: { auth: { rateLimit: { max: 2, window: 60 } } } }, async () => 'in')
  app.get('/hooked', { config: { auth: false }, onRequest: app.gatehouse.guard('keys') }, async () => 'in')
  const ask = async (url: string, key: string) => app.inject({ url, headers: { 'x-key': key } })
  const first = await ask('/one', 'a')
  t.same([first.headers['ratelimit-policy'], first.headers.ratelimit], ['"keys";q=3;w=3600', '"keys";r=2;t=3600'])
  const second = await ask('/two', 'a')
  t.same(
    [second.headers['ratelimit-policy'], second.headers.ratelimit],
    ['"default";q=2;w=60, "keys";q=3;w=3600', '"default";r=1;t=60, "keys";r=1;t=3600']
  )
  t.equal((await ask('/hooked', 'a')).statusCode, 200)
  const over = await ask('/one', 'a')
  t.same([over.statusCode, over.headers['retry-after'], over.json().code], [429, '3600', 'AUTH_RATE_LIMITED'])
  t.equal((await ask('/hooked', 'a')).statusCode, 429)
  t.equal((await ask('/one', 'b')).statusCode, 200, 'another key of the same owner has its own')
  t.equal((await ask('/two', 'none')).statusCode, 200)
  t.equal((await ask('/two', 'none')).statusCode, 429, 'the route counts its principal, whatever the key')
  t.equal((await ask('/one', 'none')).headers.ratelimit, undefined)
})

t.test('answers 503 for an invalid limit of a credential, and logs its field and scheme', async t => {
  const wrong: Readonly<Record<string, object>> = {
    window: { id: 'a', max: 3, window: 'soon' },
    instant: { id: 'a', max: 3, window: 0 },
    unlimited: { id: 'a', window: 60 },
    nan: { id: 'a', max: NaN, window: 60 },
    text: { id: 'a', max: '3', window: 60 },
    nobody: { max: 3, window: 60 },
    number: Object(3) as object
  }
  const log: LogLine[] = []
  const app = await createApp(t, { schemes: { keys: limitedKeys(wrong as Record<string, OwnRateLimit>) } }, log)
  app.get('/', async () => 'in')
  for (const key of Object.keys(wrong)) {
    const answer = await app.inject({ url: '/', headers: { 'x-key': key } })
    t.same([answer.statusCode, answer.headers['retry-after']], [503, '5'], key)
  }
  const reasons = log.flatMap(line => line.msg === 'the rate limit could not be counted' ? line.err?.message : [])
  t.equal(reasons.length, Object.keys(wrong).length)
  t.match(reasons[2], "rateLimit.max in an outcome of the scheme 'keys' must be a whole number")
})

t.test('counts requests in Redis if a client is given, and answers 503 if Redis fails or hangs', async t => {
  const counts = new Map<string, number>()
  const calls: unknown[][] = []
  let answer: (error: Error | null, result?: number[]) => void = () => {}
  const redis = {
    mode: 'fine',
    defineCommand (name: string) {
      if (name !== 'rateLimit') return
      Object.assign(this, {
        rateLimit: (...args: unknown[]) => {
          const done = args.at(-1) as typeof answer
          calls.push(args)
          if (redis.mode === 'fails') return done(new Error('ECONNREFUSED'))
          if (redis.mode === 'silent') { answer = done; return }
          const count = (counts.get(String(args[0])) ?? 0) + 1
          counts.set(String(args[0]), count)
          done(null, [count, 60_000])
        }
      })
    }
  }
  const log: LogLine[] = []
  const apps = [
    await createApp(t, { limits: { redis, requests: { max: 2, window: 60 } } }, log),
    await createApp(t, { limits: { redis, requests: { max: 2, window: 60 } } })
  ]
  for (const app of apps) app.get('/', async () => 'in')
  const ask = async (i: number) => apps[i]?.inject({ url: '/', headers: { 'x-api-key': key } })
  t.same(
    [(await ask(0))?.statusCode, (await ask(1))?.statusCode, (await ask(0))?.statusCode, (await ask(1))?.statusCode],
    [200, 200, 429, 429],
    'two instances share the count'
  )
  t.match(String(calls[0]?.[0]), /^gatehouse-requests-/)
  redis.mode = 'fails'
  const answer503 = await ask(0)
  t.same([answer503?.statusCode, answer503?.headers['retry-after']], [503, '5'])
  t.match(answer503?.json(), { code: 'AUTH_UNAVAILABLE' })
  t.match(
    log.filter(({ level }) => level === 50),
    [{ msg: 'the rate limit could not be counted', err: { message: 'Error', stack: /request-limits\.test\.ts/ } }]
  )
  redis.mode = 'silent'
  t.equal((await ask(0))?.statusCode, 503)
  answer(new Error('late'))
})

t.test('counts a request once if a hook has the same limit as the route', async t => {
  const app = await createApp(t, {})
  const rateLimit = { max: 2, window: 60 }
  const preHandler = app.gatehouse.guard({ schemes: 'service', rateLimit })
  app.get('/', { config: { auth: { rateLimit } }, preHandler }, async () => 'in')
  const ask = async () => app.inject({ url: '/', headers: { 'x-api-key': key } })
  t.equal((await ask()).headers['ratelimit'], '"default";r=1;t=60')
  t.equal((await ask()).statusCode, 200)
  t.equal((await ask()).statusCode, 429)
})

t.test('counts a request once for each of several limits, in any order of the guards', async t => {
  const app = await createApp(t, {})
  const limits = [{ max: 9, window: 60 }, { max: 5, window: 60 }] as const
  const [wide, narrow] = limits.map(rateLimit => app.gatehouse.guard({ schemes: 'service', rateLimit }))
  app.get('/', { preHandler: [wide, narrow, wide, narrow] as never }, async () => 'in')
  const ask = async () => (await app.inject({ url: '/', headers: { 'x-api-key': key } })).headers['ratelimit']
  t.same([await ask(), await ask()], ['"default";r=4;t=60', '"default";r=3;t=60'])
})

t.test('counts principals apart whose realms and ids are the same text together', async t => {
  const keys = { [key]: { realm: 'a', id: 'bc' }, [`${key}2`]: { realm: 'ab', id: 'c' } }
  const app = await createApp(t, { schemes: { service: apiKey({ keys }) } })
  app.get('/', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, async () => 'in')
  for (const each of [key, `${key}2`]) {
    const ask = async () => (await app.inject({ url: '/', headers: { 'x-api-key': each } })).statusCode
    t.same([await ask(), await ask()], [200, 429])
  }
})

t.test('asks the functions of a route after its limit, and not for a request above it', async t => {
  const app = await createApp(t, {})
  let calls = 0
  const when = () => { calls++; return false }
  app.get('/', { config: { auth: { when, rateLimit: { max: 1, window: '1m' } } } }, async () => 'in')
  const ask = async () => (await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode
  t.same([await ask(), await ask(), calls], [403, 429, 1])
})

t.test('logs the fault of a function that chooses a plan, once', async t => {
  const log: LogLine[] = []
  const plans = { free: { max: 1, window: 60 } }
  const app = await createApp(t, { limits: { plans } }, log)
  app.get('/', { config: { auth: { rateLimit: () => 'gold' as never } } }, async () => 'in')
  const { statusCode } = await app.inject({ url: '/', headers: { 'x-api-key': key } })
  t.equal(statusCode, 500)
  t.match(
    log.filter(({ level }) => level === 50),
    [{ auth: { code: 'AUTH_FAULT', reason: /must return the name of a plan \(free\)/ } }]
  )
})

t.test('counts a HEAD request as a GET', async t => {
  const app = await createApp(t, {})
  app.get('/', { config: { auth: { rateLimit: { max: 2, window: '1m' } } } }, async () => 'in')
  const ask = async (method: 'GET' | 'HEAD') => (
    await app.inject({ method, url: '/', headers: { 'x-api-key': key } })
  ).statusCode
  t.same([await ask('GET'), await ask('HEAD'), await ask('GET'), await ask('HEAD')], [200, 200, 429, 429])
})

t.test('counts a HEAD request for its route, also if the route has further methods', async t => {
  const app = await createApp(t, {})
  const config = { auth: { rateLimit: { max: 3, window: '1m' } } } as const
  app.route({ method: ['POST', 'GET'], url: '/both', config, handler: async () => 'in' })
  app.route({ method: ['PUT', 'PATCH'], url: '/both', config, handler: async () => 'in' })
  const ask = async (method: 'GET' | 'HEAD' | 'POST' | 'PUT') => (
    await app.inject({ method, url: '/both', headers: { 'x-api-key': key } })
  ).statusCode
  t.same([await ask('GET'), await ask('HEAD'), await ask('POST')], [200, 200, 200])
  t.same([await ask('GET'), await ask('HEAD'), await ask('POST')], [429, 429, 429])
  t.equal(await ask('PUT'), 200, 'another route has a count of its own')
})

t.test('limits a route whose caller has a session', async t => {
  const app = await createApp(t, { schemes: { web: session({ secret: key }) } })
  app.post('/login', { config: { auth: false } }, async (_request, reply) => { await reply.login({ id: 'ann' }) })
  app.post('/logout', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, async (_request, reply) => {
    await reply.logout()
  })
  const cookieOf = ({ headers }: Awaited<ReturnType<typeof app.inject>>) => String(headers['set-cookie'])
  const cookie = cookieOf(await app.inject({ method: 'POST', url: '/login' })).split(';')[0] ?? ''
  const first = await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })
  t.equal(first.statusCode, 200)
  t.equal(first.headers.ratelimit, '"default";r=0;t=60')
  t.match(cookieOf(first), /Max-Age=0$/)
  const again = cookieOf(await app.inject({ method: 'POST', url: '/login' })).split(';')[0] ?? ''
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: { cookie: again } })).statusCode, 429)
})
