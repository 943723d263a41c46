import { fileURLToPath } from 'node:url'
import autoload from '@fastify/autoload'
import cors from '@fastify/cors'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type RouteOptions } from 'fastify'
import cli from 'fastify-cli/helper.js'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import gatehouse, { type GatehouseOptions } from '../../lib/index.js'
import { publicPolicy } from '../../lib/policy/policy.js'
import { enforcedPolicy } from '../../lib/policy/route-policy.js'
import { alice, counted, guarded, stopsTheBoot, tokenScheme } from '../fixtures/routes.js'
import { sessionFeature } from '../fixtures/schemes.js'

// @fastify/autoload does not detect the loader of the tests
process.env.FASTIFY_AUTOLOAD_TYPESCRIPT = '1'

const fixtures = (name: string): string => fileURLToPath(new URL(`../fixtures/autoload/${name}`, import.meta.url))

/** Creates a bare application, with the type that plugins need. */
function bare (options: FastifyServerOptions = {}): FastifyInstance {
  return Fastify(options) as unknown as FastifyInstance
}

const schemes = (): GatehouseOptions => ({ schemes: { user: tokenScheme() } })

async function statuses (app: FastifyInstance, url: string): Promise<readonly number[]> {
  return [(await app.inject(url)).statusCode, (await app.inject({ url, headers: alice })).statusCode]
}

/** Changes that a plugin may make in `onRoute`, with the error that reports each. */
const changes: ReadonlyArray<{ title: string; change: (route: RouteOptions) => void; message: RegExp }> = [
  {
    title: 'writes config.auth: false into its config',
    change: route => {
      Object.assign(route.config ?? {}, { auth: false })
    },
    message: /POST \/x has another config\.auth than the one that was read/
  },
  {
    title: 'adds a rule to its config',
    change: route => {
      Object.assign(route.config ?? {}, { auth: { scopes: 'orders:write' } })
    },
    message: /POST \/x has another config\.auth/
  },
  {
    title: 'writes nonsense into config.auth',
    change: route => {
      Object.assign(route.config ?? {}, { auth: { scope: 'x' } })
    },
    message: /POST \/x: config\.auth has an unknown key 'scope'/
  },
  {
    title: 'replaces its config by a copy with another auth',
    change: route => {
      route.config = { ...route.config, auth: false }
    },
    message: /POST \/x has another config\.auth/
  },
  {
    title: 'replaces its config by one without the policy',
    change: route => {
      route.config = {}
    },
    message: /POST \/x has another config than the one/
  },
  {
    title: 'takes its config away',
    change: route => {
      delete route.config
    },
    message: /POST \/x has another config than the one/
  },
  {
    title: 'moves it',
    change: route => {
      route.url = '/moved'
    },
    message: /POST \/x was moved to \/moved/
  },
  {
    title: 'changes its method',
    change: route => {
      route.method = 'PUT'
    },
    message: /POST \/x now has the method PUT/
  },
  {
    title: 'changes its list of methods',
    change: route => {
      route.method = ['POST', 'PUT']
    },
    message: /POST \/x now has the method POST, PUT/
  },
  {
    title: 'writes its method as a list, which its policy would not be found by',
    change: route => {
      route.method = ['POST']
    },
    message: /POST \/x now has the method POST\. /
  },
  {
    title: 'replaces its onError hooks',
    change: route => {
      route.onError = []
    },
    message: /POST \/x lost the onError hook/
  }
]

t.test('stops the boot if a later onRoute changed the policy or the path of a route', async t => {
  for (const { title, change, message } of changes) {
    const onRoute = (route: RouteOptions): void => { if (route.url === '/x') change(route) }
    const route = { method: 'POST', url: '/x', config: { other: 1 }, handler: counted().handler } as RouteOptions
    const root = await guarded()
    root.addHook('onRoute', onRoute)
    root.route(route)
    await stopsTheBoot(t, () => root.ready(), message)
    const child = await guarded()
    child.register(async inner => {
      inner.addHook('onRoute', onRoute)
      inner.route(route)
    })
    await stopsTheBoot(t, () => child.ready(), message)
    t.pass(title)
  }
  const list = await guarded()
  list.addHook('onRoute', route => { if (Array.isArray(route.method)) route.method.push('DELETE') })
  list.route({ method: ['GET', 'POST'], url: '/x', handler: counted().handler })
  await stopsTheBoot(t, () => list.ready(), /GET, POST \/x now has the method GET, POST, DELETE/)
})

t.test("stops the boot if a later onRoute moved the route '/' under a prefix", async t => {
  const app = await guarded()
  app.register(async child => {
    child.addHook('onRoute', route => { if (route.method === 'POST') route.url = '/moved' })
    child.post('/', counted().handler)
  }, { prefix: '/p' })
  await stopsTheBoot(t, () => app.ready(), /POST \/p was moved to/)
})

t.test("accepts a route '/' of several methods under a prefix", async t => {
  const app = await guarded()
  app.register(async child => {
    child.route({ method: ['GET', 'PUT'], url: '/', handler: counted().handler })
  }, { prefix: '/p' })
  t.same([await statuses(app, '/p'), await statuses(app, '/p/')], [[401, 200], [401, 200]])
})

t.test('reads what an onRoute registered before the plugin wrote', async t => {
  const app = bare()
  app.addHook('onRoute', route => {
    if (route.url === '/open') route.config = { ...route.config, auth: false }
    if (route.url === '/old') route.url = '/new'
  })
  await app.register(gatehouse, schemes())
  for (const url of ['/open', '/old']) app.get(url, { exposeHeadRoute: false }, counted().handler)
  t.same(
    [await statuses(app, '/open'), await statuses(app, '/old'), await statuses(app, '/new')],
    [
      [200, 200],
      [404, 404],
      [401, 200]
    ]
  )
})

t.test('accepts a later onRoute that adds hooks, schemas or other config', async t => {
  const app = await guarded()
  const ran: string[] = []
  app.addHook('onRoute', route => {
    route.preHandler = [route.preHandler ?? []].flat().concat(async () => { ran.push('preHandler') })
    route.onError = [route.onError ?? []].flat().concat(async () => { ran.push('onError') })
    route.config = { ...route.config, more: true } as RouteOptions['config'] & object
    route.schema = { querystring: { type: 'object' } }
    route.handler = async () => ({ replaced: true })
  })
  const shared = [async () => { ran.push('own') }]
  const onError = async (): Promise<void> => { ran.push('own onError') }
  app.get('/a', { preHandler: shared, onError }, counted().handler)
  app.get('/b', { preHandler: shared }, counted().handler)
  app.get('/error', { onError }, counted().handler)
  t.same([await statuses(app, '/a'), await statuses(app, '/b')], [[401, 200], [401, 200]])
  t.same(ran.filter(each => each === 'own').length, 2, 'each route ran the shared hook once')
  t.equal(shared.length, 1, 'the shared array is unchanged')
  t.ok(ran.includes('own onError'), "the caller's own onError hook still runs")
})

t.test('does not carry a policy along when a config is spread from another route', async t => {
  const app = await guarded()
  const page = counted()
  const known = new Map<string, RouteOptions>()
  app.addHook('onRoute', route => { known.set(`${[route.method].flat().join()} ${route.url}`, route) })
  app.get('/open', { config: { auth: { public: 'a test' } } }, page.handler)
  app.get('/closed', { config: { auth: { scopes: 'orders:write' } } }, page.handler)
  const open = known.get('GET /open')
  const closed = known.get('GET /closed')
  t.ok(Object.getOwnPropertySymbols(open?.config ?? {}).length === 1, 'the policy is there to be copied')
  if (open === undefined || closed === undefined) throw new Error('no onRoute')
  app.get('/a', { config: { ...open.config, auth: true } }, page.handler)
  app.get('/b', { config: { ...closed.config, auth: false } }, page.handler)
  app.route({ ...open, url: '/c' })
  const { auth: _, ...rest } = { auth: undefined, ...open.config }
  app.get('/d', { config: rest }, page.handler)
  app.route({ ...open, method: 'POST' })
  t.same(
    [await statuses(app, '/a'), await statuses(app, '/b'), await statuses(app, '/c'), await statuses(app, '/d')],
    [
      [401, 200],
      [200, 200],
      [200, 200],
      [401, 200]
    ]
  )
  t.equal((await app.inject({ method: 'POST', url: '/open' })).statusCode, 200)
})

t.test('refuses a policy of another instance, method or pattern', async t => {
  const key = Symbol('key')
  const server = { prefix: '', hasPlugin: () => false }
  const policy = publicPolicy('')
  const mark = { policy, server, declaredUrl: '/x', method: 'GET' }
  const of = (config: object, schema?: object) =>
    enforcedPolicy({ server, routeOptions: { config, schema } } as never, key)
  t.equal(of({ url: '/x', method: 'GET', [key]: mark }), policy)
  const strange: readonly object[] = [
    { url: '/x', method: 'GET', [key]: { ...mark, server: { ...server } } },
    { url: '/y', method: 'GET', [key]: mark },
    { url: '/x', method: 'POST', [key]: mark },
    { url: '/x', method: ['GET'], [key]: { ...mark, method: ['GET'] } },
    { url: '/x', method: 'GET' },
    { url: '/x', method: 'GET', [Symbol('key')]: mark },
    { url: '/x', method: 'GET', auth: false },
    { url: '*', method: 'OPTIONS' }
  ]
  for (const config of strange) {
    const answer = of(config, { hide: true })
    t.ok(answer instanceof AuthError && answer.code === 'AUTH_FAULT', `${JSON.stringify(config)}`)
  }
})

/** Patterns of every kind, for routes that are declared before the plugin. */
const patterns = [
  '/',
  '/a',
  '/a/b',
  '/all/*',
  '/other/*',
  '/all/deep/*',
  '/x/:id',
  '/x/:id/y',
  '/x/:other/z',
  '/x/:a-:b',
  '/re/:id(^\\d+$)',
  '/re/:id(^\\d+$).png',
  '/opt/:id?',
  '/wild*',
  '/::literal',
  '/sp ace (GET)',
  '/ünï',
  '/*'
]

t.test('stops the boot for routes declared before the plugin, and names each', async t => {
  for (const url of patterns) {
    for (const method of ['GET', 'POST'] as const) {
      const app = bare()
      app.route({ method, url, handler: counted().handler })
      await app.register(gatehouse, schemes())
      app.get('/seen', counted().handler)
      app.all('/seen/*', counted().handler)
      const name = url.replace('/opt/:id?', '/opt').replace('::', ':')
      await stopsTheBoot(
        t,
        () => app.ready(),
        `${method}`,
        name,
        'declared before fastify-gatehouse was loaded',
        'Register the plugin first and await it'
      )
    }
  }
  const many = bare()
  for (const url of patterns) many.get(url, counted().handler)
  many.all('/every', counted().handler)
  many.register(gatehouse, schemes())
  await stopsTheBoot(t, () => many.ready(), /^GET, HEAD \/; .* and \d+ more are declared before/)
})

t.test('names OPTIONS too, counts routes beyond five, and mentions static files where there may be some', async t => {
  const early = async (...urls: readonly string[]): Promise<unknown> => {
    const app = bare()
    for (const url of urls) app.options(url, counted().handler)
    await app.register(gatehouse, schemes())
    return await app.ready()
  }
  await stopsTheBoot(t, () => early('/x'), /^OPTIONS \/x is declared before .* await app\.register\([^)]*\)\.$/)
  const five = ['/a', '/b', '/c', '/d', '/e']
  await stopsTheBoot(t, () => early(...five), /^OPTIONS \/a; .*; OPTIONS \/e are declared/)
  await stopsTheBoot(t, () => early(...five, '/f', '/g'), /; OPTIONS \/e and 2 more are declared/)
  const files = bare()
  files.get('/files/*', counted().handler)
  files.get('/x', counted().handler)
  await files.register(gatehouse, schemes())
  await stopsTheBoot(t, () => files.ready(), /Static files and swagger-ui are routes too/)
  const outside = bare()
  outside.register(async child => { await child.register(gatehouse, schemes()) })
  outside.options('/x', counted().handler)
  await stopsTheBoot(t, () => outside.ready(), /^OPTIONS \/x is outside of the context/)
})

t.test('stops the boot for routes declared after a register that is not awaited, but not in after()', async t => {
  const early = bare()
  early.register(gatehouse, schemes())
  early.get('/early', counted().handler)
  await stopsTheBoot(
    t,
    () => early.ready(),
    /GET, HEAD \/early is declared before fastify-gatehouse was loaded/,
    /await it/
  )

  const listening = bare()
  listening.register(gatehouse, schemes())
  listening.post('/early', counted().handler)
  await stopsTheBoot(t, async () => await listening.listen({ port: 0, host: '127.0.0.1' }), /POST \/early is declared/)

  const after = bare()
  after.register(gatehouse, schemes()).after(() => { after.get('/x', counted().handler) })
  t.same(await statuses(after, '/x'), [401, 200])

  const child = bare()
  child.register(gatehouse, schemes())
  child.register(async inner => { inner.get('/x', counted().handler) })
  t.same(await statuses(child, '/x'), [401, 200])
})

t.test('answers 500 to everyone on a route that the plugin never saw and the boot check cannot detect', async t => {
  const page = counted()
  const unseen = (app: FastifyInstance): void => {
    app.get('/', page.handler)
    app.get('/__proto__', page.handler)
    app.get('/__proto__/x', page.handler)
    app.options('/files/*', page.handler)
  }
  const app = bare()
  app.register(async child => { unseen(child) }, { prefix: '/p' })
  app.register(gatehouse, schemes())
  await stopsTheBoot(t, () => app.ready(), /GET, HEAD \/p/)

  const blind = bare()
  blind.get('/__proto__', page.handler)
  blind.options('/files/*', page.handler)
  blind.options('*', { schema: { hide: true } as never }, page.handler)
  await blind.register(gatehouse, schemes())
  blind.get('/', page.handler)
  await blind.ready()
  for (const headers of [{}, alice]) {
    for (const [method, url] of [
      ['GET', '/__proto__'],
      ['HEAD', '/__proto__'],
      ['OPTIONS', '/files/x'],
      ['OPTIONS', '/anything']
    ] as const) {
      const answer = await blind.inject({ method, url, headers })
      t.equal(answer.statusCode, 500, `${method} ${url}`)
      if (method !== 'HEAD') {
        t.same(answer.json(), {
          statusCode: 500,
          code: 'AUTH_FAULT',
          error: 'Internal Server Error',
          message: 'Internal Server Error'
        })
      }
    }
  }
  t.equal(page.reached, 0)
})

t.test("exempts only the preflight route of @fastify/cors, and not the application's own OPTIONS *", async t => {
  const app = bare()
  const page = counted()
  app.options('/p/*', { schema: { hide: true } as never }, page.handler)
  await app.register(cors, { hook: 'preHandler' })
  await app.register(gatehouse, schemes())
  for (const headers of [{}, alice]) {
    t.equal((await app.inject({ method: 'OPTIONS', url: '/p/x', headers })).statusCode, 500)
  }
  t.equal(page.reached, 0)
})

/** Returns router options with a function that their type does not contain. */
function untyped (buildPrettyMeta: (route: { store: object }) => object): object {
  return { buildPrettyMeta }
}

t.test('finds missed routes despite the router option buildPrettyMeta', async t => {
  for (const early of [false, true]) {
    const app = bare({ routerOptions: { ...untyped(() => ({ more: 'x' })) } })
    if (early) app.get('/early', counted().handler)
    await app.register(gatehouse, schemes())
    app.post('/x', counted().handler)
    await stopsTheBoot(t, () => app.ready(), /buildPrettyMeta/, /preHandler and store\.onError/)
  }
  const kept = bare({ routerOptions: { ...untyped(({ store }) => ({ ...store })) } })
  await kept.register(gatehouse, schemes())
  kept.get('/x', counted().handler)
  t.same(await statuses(kept, '/x'), [401, 200])
})

t.test('finds a missed route that has the method and the pattern of a route that was seen', async t => {
  const duplicate = (app: FastifyInstance): void => {
    app.get('/y', counted().handler)
    t.throws(() => app.post('/x', counted().handler), { code: 'FST_ERR_DUPLICATED_ROUTE' })
  }
  const early = bare()
  early.post('/x', counted().handler)
  await early.register(gatehouse, schemes())
  duplicate(early)
  await stopsTheBoot(t, () => early.ready(), /POST \/x is declared before/)
  const outside = bare()
  outside.register(async child => {
    await child.register(gatehouse, schemes())
    outside.post('/x', counted().handler)
    duplicate(child)
  })
  await stopsTheBoot(t, () => outside.ready(), /POST \/x is outside/)
})

t.test('finds a route of a context that is older than the plugin, and no others', async t => {
  for (const late of [null, '/late', '/x/:other']) {
    const app = bare()
    const contexts: FastifyInstance[] = []
    await app.register(async child => { contexts.push(child) })
    await app.register(gatehouse, schemes())
    app.get('/x/:id', counted().handler)
    app.get('/x/:user/orders', counted().handler)
    app.route({ method: ['PUT', 'PATCH'], url: '/files/*', handler: counted().handler })
    app.get('/host', { constraints: { host: 'a.example' } }, counted().handler)
    app.get('/host', { constraints: { host: 'b.example' } }, counted().handler)
    app.register(async child => { child.get('/', counted().handler) }, { prefix: '/prefix' })
    if (late !== null) contexts[0]?.get(late, { constraints: { host: 'c.example' } }, counted().handler)
    if (late === null) t.same(await statuses(app, '/x/1'), [401, 200])
    else await stopsTheBoot(t, () => app.ready(), /is declared before fastify-gatehouse was loaded/)
  }
})

t.test('does not print routes that are all known', async t => {
  const app = bare()
  await app.register(async () => {})
  await app.register(gatehouse, schemes())
  const printed = t.capture(app, 'printRoutes', app.printRoutes.bind(app))
  app.get('/x/:id', counted().handler)
  app.get('/optional/:id?', counted().handler)
  app.register(async child => {
    child.setNotFoundHandler(async () => 'missing')
    child.get('/', counted().handler)
  }, { prefix: '/prefix' })
  await app.ready()
  t.equal(printed().length, 0)
})

t.test('accepts a context with a not-found handler and no routes', async t => {
  const app = await guarded()
  app.register(async child => { child.setNotFoundHandler(async () => 'missing') }, { prefix: '/prefix' })
  app.get('/x', counted().handler)
  t.same(await statuses(app, '/x'), [401, 200])
})

t.test('starts an application without routes', async t => {
  const app = await guarded()
  await app.ready()
  t.same(app.gatehouse.audit(), [])
})

t.test("protects a child context, and stops the boot for routes outside it without outside: 'allow'", async t => {
  const build = (
    options: Partial<GatehouseOptions>,
    where: 'before' | 'after' | 'sibling' | 'nowhere'
  ): FastifyInstance => {
    const app = bare()
    if (where === 'before') app.get('/outside', counted().handler)
    app.register(async child => {
      await child.register(gatehouse, { ...schemes(), ...options })
      child.get('/x', counted().handler)
      child.register(async inner => { inner.get('/y', counted().handler) })
    }, { prefix: '/in' })
    if (where === 'after') app.get('/outside', counted().handler)
    if (where === 'sibling') app.register(async child => { child.get('/outside', counted().handler) })
    return app
  }
  for (const where of ['before', 'after', 'sibling'] as const) {
    await stopsTheBoot(
      t,
      () => build({}, where).ready(),
      /GET, HEAD \/outside is outside of the context in which fastify-gatehouse is registered/,
      /root instance/,
      /outside: 'allow'/
    )
    const allowed = build({ outside: 'allow' }, where)
    t.same(
      [await statuses(allowed, '/outside'), await statuses(allowed, '/in/x'), await statuses(allowed, '/in/y')],
      [
        [200, 200],
        [401, 200],
        [401, 200]
      ],
      where
    )
  }
  const whole = build({}, 'nowhere')
  t.same(
    [await statuses(whole, '/in/x'), await statuses(whole, '/in/y'), await statuses(whole, '/nowhere')],
    [
      [401, 200],
      [401, 200],
      [404, 404]
    ]
  )
  await stopsTheBoot(
    t,
    () => bare().register(gatehouse, { ...schemes(), outside: 'no' as never }),
    /outside can only be 'allow'/
  )
})

t.test("stops the boot for a route declared too early in a child, despite outside: 'allow'", async t => {
  const app = bare()
  app.get('/outside', counted().handler)
  app.register(async child => {
    child.get('/early', counted().handler)
    await child.register(gatehouse, { ...schemes(), outside: 'allow' })
  }, { prefix: '/in' })
  await stopsTheBoot(t, () => app.ready(), /GET, HEAD \/in\/early is declared before/)
})

t.test('lets two sibling contexts have their own plugin and schemes, and leaves a third outside', async t => {
  const build = (third: boolean): FastifyInstance => {
    const app = bare()
    for (const [prefix, from] of [['/a', 'header:x-user'], ['/b', 'cookie:user']] as const) {
      app.register(async child => {
        await child.register(gatehouse, { schemes: { own: tokenScheme({ from }) } })
        child.get('/x', async request => ({ who: request.principal?.id, rows: child.gatehouse.audit().length }))
      }, { prefix })
    }
    if (third) app.register(async child => { child.get('/x', counted().handler) }, { prefix: '/c' })
    return app
  }
  const app = build(false)
  t.same([await statuses(app, '/a/x'), await statuses(app, '/b/x')], [[401, 200], [401, 401]])
  const other = await app.inject({ url: '/b/x', headers: { cookie: 'user=bob' } })
  t.same(other.json(), { who: 'bob', rows: 1 })
  await stopsTheBoot(t, () => build(true).ready(), /GET, HEAD \/c\/x is outside/)
})

t.test('stops the boot if the plugin is registered twice, in one context or in a nested one', async t => {
  await stopsTheBoot(t, async () => {
    const app = await guarded()
    await app.register(gatehouse, schemes())
  }, /registered twice/, /Register it once, on the outermost instance/)
  await stopsTheBoot(t, async () => {
    const app = await guarded()
    app.register(async child => { await child.register(gatehouse, schemes()) })
    await app.ready()
  }, /registered twice/)
  await stopsTheBoot(t, async () => {
    const app = bare()
    app.register(gatehouse, schemes())
    app.register(gatehouse, schemes())
    await app.ready()
  }, /registered twice/)
})

t.test(
  '@fastify/autoload: protects every loaded route with fastify-plugin, and stops the boot without it',
  async t => {
    const app = bare()
    app.register(autoload, { dir: fixtures('plugins'), forceESM: true })
    app.register(autoload, { dir: fixtures('routes'), forceESM: true })
    t.same(
      [
        await statuses(app, '/'),
        await statuses(app, '/orders'),
        await statuses(app, '/orders/'),
        await statuses(app, '/health')
      ],
      [
        [401, 200],
        [401, 200],
        [401, 200],
        [200, 200]
      ]
    )
    t.same(
      [
        (await app.inject({ method: 'POST', url: '/orders' })).statusCode,
        (await app.inject({ method: 'POST', url: '/orders', headers: alice })).statusCode
      ],
      [401, 403]
    )

    const child = bare()
    child.register(autoload, { dir: fixtures('child'), forceESM: true })
    child.register(autoload, { dir: fixtures('routes'), forceESM: true })
    await stopsTheBoot(
      t,
      () => child.ready(),
      /\/orders.*outside of the context in which fastify-gatehouse is registered/,
      /fastify-plugin/
    )

    const late = bare()
    late.register(autoload, { dir: fixtures('routes'), forceESM: true })
    late.register(autoload, { dir: fixtures('plugins'), forceESM: true })
    await stopsTheBoot(t, () => late.ready(), /\/orders.*declared before fastify-gatehouse was loaded/)
  }
)

t.test('fastify-cli: protects everything in the child context of the application', async t => {
  const app = await cli.build([fixtures('app.ts')], {}) as FastifyInstance
  t.teardown(() => app.close())
  t.notOk(app.hasDecorator('gatehouse'), 'it is not on the root instance')
  t.same(
    [
      await statuses(app, '/'),
      await statuses(app, '/orders'),
      await statuses(app, '/health'),
      await statuses(app, '/nowhere')
    ],
    [
      [401, 200],
      [401, 200],
      [200, 200],
      [404, 404]
    ]
  )
  const whole = (await cli.build([fixtures('app.ts')], { skipOverride: true })) as FastifyInstance
  t.teardown(() => whole.close())
  t.ok(whole.hasDecorator('gatehouse'))
  t.same([await statuses(whole, '/'), await statuses(whole, '/health')], [[401, 200], [200, 200]])
})

t.test('stops the boot if a path that a scheme needs open is protected, and warns if it is missing', async t => {
  const build = async (auth: boolean | 'none' | 'optional'): Promise<{ app: FastifyInstance, warnings: unknown[] }> => {
    const warnings: unknown[] = []
    const app = bare({
      logger: {
        level: 'warn',
        stream: {
          write: line => {
            warnings.push(JSON.parse(line))
          }
        }
      }
    })
    await app.register(gatehouse, {
      schemes: {
        web: () => ({ scheme: tokenScheme(), features: { sessions: sessionFeature({ loginPath: '/login' }) } })
      }
    })
    app.post('/login', { config: { auth: false } }, counted().handler)
    if (auth !== 'none') {
      const config = { auth: auth === 'optional' ? { mode: auth } : auth }
      app.route({ method: ['HEAD', 'GET'], url: '/login', config, handler: counted().handler })
    }
    return { app, warnings }
  }
  await stopsTheBoot(
    t,
    async () => await (await build(true)).app.ready(),
    /GET \/login is the login page of the scheme 'web', and it is protected/,
    /auth: false/
  )
  for (const open of [false, 'optional'] as const) {
    const { app, warnings } = await build(open)
    await app.ready()
    t.same(warnings, [])
  }
  const { app, warnings } = await build('none')
  await app.ready()
  t.match(warnings, [{ where: ['schemes.web: GET /login'], msg: /no route answers GET/ }])
})
