import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { as, boot, group, route, authConfig, assertBootFails, threeSchemes } from '../fixtures/policies.js'

/** Returns the statuses of requests without a credential. */
async function anonymous (
  t: Parameters<typeof boot>[0],
  publicPaths: unknown,
  routes: readonly string[],
  requested: readonly string[] = routes
) {
  const { ask, app } = await boot(
    t,
    app => {
      for (const each of routes) {
        const [method = '', url = ''] = each.includes(' ') ? each.split(' ') : ['GET', each]
        app.route({ method: method.split(',') as 'GET'[], url, handler: async () => '' })
      }
    },
    { options: { publicPaths } }
  )
  const statuses: Record<string, number> = {}
  for (const each of requested) {
    const [method = '', url = ''] = each.includes(' ') ? each.split(' ') : ['GET', each]
    statuses[each] = (await ask(url, {}, { method: method as 'GET' })).status
  }
  return { statuses, rows: app.gatehouse.audit() }
}

t.test('Public paths', async t => {
  t.test('accept strings or { path, reason }', async t => {
    const { statuses, rows } = await anonymous(
      t,
      ['/health', { path: '/ready', reason: 'load balancer probe' }],
      ['/health', '/ready', '/other']
    )
    t.strictSame(statuses, { '/health': 200, '/ready': 200, '/other': 401 })
    t.match(rows.map(({ url, access, reason, from }) => ({ url, access, reason, from })), [
      { url: '/health', access: 'public', reason: null, from: 'public path /health' },
      { url: '/other', access: 'required', reason: null, from: 'default' },
      { url: '/ready', access: 'public', reason: 'load balancer probe', from: 'public path /ready' }
    ])
  })

  t.test('accept an optional method, where GET implies HEAD', async t => {
    const routes = ['GET /form', 'POST /form', 'GET,POST /both', 'POST,PUT /open', 'POST /lower']
    const { statuses } = await anonymous(
      t,
      [
        { path: '/form', method: 'GET' },
        { path: '/both', method: 'GET' },
        { path: '/open', method: ['POST', 'PUT'] },
        { path: '/lower', method: 'post' }
      ],
      routes,
      ['GET /form', 'HEAD /form', 'POST /form', 'GET /both', 'POST /both', 'POST /open', 'PUT /open', 'POST /lower']
    )
    t.strictSame(
      statuses,
      {
        'GET /form': 200,
        'HEAD /form': 200,
        'POST /form': 401,
        'GET /both': 401,
        'POST /both': 401,
        'POST /open': 200,
        'PUT /open': 200,
        'POST /lower': 200
      },
      'a route of several methods is opened only where all of them are'
    )
  })

  t.test('open all methods of the path if there is no method, and no other path', async t => {
    const { statuses } = await anonymous(
      t,
      ['/x'],
      ['GET /x', 'DELETE /x', '/x/y', '/xy', '/X'],
      ['GET /x', 'HEAD /x', 'DELETE /x', '/x/y', '/xy', '/X']
    )
    t.strictSame(statuses, { 'GET /x': 200, 'HEAD /x': 200, 'DELETE /x': 200, '/x/y': 401, '/xy': 401, '/X': 401 })
  })

  t.test('are matched against route patterns, never against request.url', async t => {
    const { statuses } = await anonymous(
      t,
      ['/files/public', '/users/:id'],
      ['/files/:name', '/users/:id', '/users/me'],
      ['/files/public', '/users/7', '/users/me', '/users/%6de']
    )
    t.strictSame(statuses, { '/files/public': 401, '/users/7': 200, '/users/me': 401, '/users/%6de': 401 })
  })

  t.test('are compared with patterns including the prefix of their context', async t => {
    const { ask } = await boot(
      t,
      app => app.register(async child => route(child, [], '/health'), { prefix: '/api' }),
      { options: { publicPaths: ['/health', '/api/health'] } }
    )
    t.equal((await ask('/api/health')).status, 200)
  })

  t.test(
    "'/docs/*' opens everything below and '/docs' itself, but parametric routes only if listed literally",
    async t => {
      const routes = [
        '/docs',
        '/docs/',
        '/docs/intro',
        '/docs/deep/er',
        '/docs/static/*',
        '/docs/:tenant',
        '/docs/:tenant/secrets',
        '/docs/listed/:page',
        '/docsecret'
      ]
      const { statuses } = await anonymous(t, ['/docs/*', '/docs/listed/:page'], routes, [
        '/docs',
        '/docs/',
        '/docs/intro',
        '/docs/deep/er',
        '/docs/static/a.js',
        '/docs/acme',
        '/docs/acme/secrets',
        '/docs/listed/1',
        '/docsecret'
      ])
      t.strictSame(statuses, {
        '/docs': 200,
        '/docs/': 200,
        '/docs/intro': 200,
        '/docs/deep/er': 200,
        '/docs/static/a.js': 200,
        '/docs/acme': 401,
        '/docs/acme/secrets': 401,
        '/docs/listed/1': 200,
        '/docsecret': 401
      })
    }
  )

  t.test('open only routes without a declaration', async t => {
    const { ask } = await boot(
      t,
      app => {
        route(app, [], '/docs/intro')
        for (const auth of [true, 'web', { mode: 'optional' }, { scopes: 'a' }]) {
          route(app, [], `/docs/${JSON.stringify(auth).replace(/\W/g, '')}`, auth)
        }
      },
      { options: { publicPaths: ['/docs/*'] } }
    )
    t.equal((await ask('/docs/intro')).status, 200)
    t.equal((await ask('/docs/true')).status, 401)
    t.equal((await ask('/docs/web')).status, 401)
    t.equal((await ask('/docs/scopesa', as())).status, 403)
    t.equal((await ask('/docs/modeoptional', { 'x-user': 'bad' })).status, 401)
  })

  t.test('open no route with a group default', async t => {
    const { ask } = await boot(t, app => {
      route(app, [], '/docs/intro')
      app.register(async inner => {
        group(inner, { roles: 'staff' })
        route(inner, [], '/drafts')
        inner.register(async deeper => route(deeper, [], '/deeper'))
      }, { prefix: '/docs' })
    }, { options: { publicPaths: ['/docs/*', '/docs/drafts'] } })
    t.equal((await ask('/docs/intro')).status, 200)
    t.equal((await ask('/docs/drafts')).status, 401)
    t.equal((await ask('/docs/deeper')).status, 401)
  })

  t.test('open routes below a plugin default with rules', async t => {
    const { ask } = await boot(t, app => route(app, [], '/health'), {
      options: { publicPaths: ['/health'], default: { schemes: 'user', roles: 'staff' } }
    })
    t.equal((await ask('/health')).status, 200)
  })

  t.test('run no scheme', async t => {
    const schemes = threeSchemes()
    const { ask } = await boot(t, app => route(app, [], '/health'), {
      options: { schemes, default: 'user', publicPaths: ['/health'] }
    })
    t.equal((await ask('/health', { 'x-user': 'bad' })).status, 200)
    t.equal(schemes.user.calls.count, 0)
  })

  t.test('stop the boot if literal and equal to a route with a policy, whatever their order', async t => {
    for (const publicPaths of [['/docs/admin'], ['/docs/*', '/docs/admin'], [{ path: '/docs/admin', method: 'GET' }]]) {
      for (const auth of [true, 'web', { mode: 'optional' }]) {
        await assertBootFails(
          t,
          app => route(app, [], '/docs/admin', auth),
          ['GET /docs/admin', "publicPaths lists '/docs/admin'", 'Remove one of the two', /\(in \/.*\.ts:\d+\)$/],
          { options: { publicPaths } }
        )
      }
    }
  })

  t.test('may be literal and equal to a route that is declared public', async t => {
    const { ask, app } = await boot(t, app => {
      route(app, [], '/health', { public: 'probe' })
      route(app, [], '/ready', false)
    }, { options: { publicPaths: ['/health', '/ready'] } })
    t.equal((await ask('/health')).status, 200)
    t.equal((await ask('/ready')).status, 200)
    t.equal(app.gatehouse.audit()[0]?.reason, 'probe')
  })

  t.test('warn once if they match nothing', async t => {
    const lines: { path?: string; msg: string }[] = []
    const stream = {
      write: (line: string) => {
        lines.push(JSON.parse(line) as { msg: string })
      }
    }
    await boot(
      t,
      app => {
        route(app, [], '/health')
        route(app, [], '/docs/intro')
        route(app, [], '/said', false)
        app.register(async inner => {
          group(inner, 'web')
          route(inner, [], '/grouped')
        })
      },
      {
        options: {
          publicPaths: [
            { path: '/health', method: 'GET' },
            '/docs/*',
            '/docs/intro',
            '/said',
            '/gone',
            '/grouped',
            { path: '/health', method: 'DELETE' }
          ]
        },
        fastify: { logger: { level: 'warn', stream } }
      }
    )
    t.match(lines, [{ msg: /public path opens no route/, where: ['/gone', '/grouped', '/health'] }])
    t.equal(lines.length, 1)
  })

  t.test('stop the boot if invalid, or if they would open routes that are not visible', async t => {
    const table: [unknown, ...string[]][] = [
      [['/*'], "publicPaths[0] is '/*'", 'open every route'],
      [['/health', '*'], 'publicPaths[1]', "starts with '/'"],
      [['/docs*'], "'*' can only be at the end of a static prefix"],
      [['/*/docs'], "'*' can only be at the end of a static prefix"],
      [['/docs/*/more/*'], "'*' can only be at the end of a static prefix"],
      [['/:tenant/*'], "'*' can only be at the end of a static prefix"],
      [['//*'], "publicPaths[0] is '//*'", 'open every route'],
      [['health'], "publicPaths[0] must be a path that starts with '/'"],
      [['docs/health'], "starts with '/'"],
      [[''], "starts with '/'"],
      [[1], "publicPaths[0] must be a path, such as '/health'"],
      [[/docs/], 'publicPaths[0] must be a path', 'Got an object'],
      [[null], "publicPaths[0] must be a path, such as '/health'"],
      [[undefined], "publicPaths[0] must be a path, such as '/health'"],
      [[{}], "publicPaths[0].path must be a path that starts with '/'"],
      [[{ path: 1 }], "publicPaths[0].path must be a path that starts with '/'"],
      [[{ path: '/x', reason: 1 }], 'reason must be a non-empty string'],
      [[{ path: '/x', reason: ' ' }], 'publicPaths[0].reason must be a non-empty string'],
      [[{ path: '/x', reason: undefined }], "'reason' set to undefined"],
      [[{ path: '/x', methods: 'GET' }], "unknown key 'methods'", "Did you mean 'method'?"],
      [[{ url: '/x' }], "unknown key 'url'"],
      [['/x', '/y', { path: '/x', reason: 'why' }], "publicPaths[2] has the path of publicPaths[0], '/x'"],
      [[{ path: '/x', method: 'GET' }, { path: '/x', method: ['POST', 'HEAD'] }], 'and no methods of its own'],
      [['/x', { path: '/x', method: 'GET' }], "publicPaths[1] has the path of publicPaths[0], '/x'"],
      [[{ path: '/x', method: 'GET' }, '/x'], "publicPaths[1] has the path of publicPaths[0], '/x'"],
      [[{ path: '/x', method: ['GET', 'PSOT'] }], "Got 'PSOT'", "Did you mean 'POST'?"],
      [[{ path: '/x', method: [] }], 'method must be an HTTP method'],
      [[{ path: '/x', method: 'GET POST' }], 'method must be an HTTP method'],
      [[{ path: '/x', method: ['GET', 1] }], 'method must be an HTTP method'],
      ['/health', 'publicPaths must be a list'],
      [null, 'publicPaths must be a list'],
      [{ '/health': true }, 'publicPaths must be a list']
    ]
    for (const [publicPaths, ...messages] of table) {
      await assertBootFails(t, () => {}, ['The option publicPaths', ...messages], { options: { publicPaths } })
    }
  })
})

t.test('open the same route under every spelling of its URL, and no protected one', async t => {
  const declare = (app: FastifyInstance) => {
    route(app, [], '/open')
    route(app, [], '/shut')
    app.get('/open/deeper', authConfig('web'), async () => '')
  }
  const routerOptions = {
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    caseSensitive: false,
    useSemicolonDelimiter: true
  }
  const { ask } = await boot(t, declare, { options: { publicPaths: ['/open'] }, fastify: { routerOptions } })
  for (const url of ['/open', '/open/', '//open', '/OPEN', '/open;x', '/%6fpen']) {
    t.equal((await ask(url)).status, 200, url)
  }
  for (const url of [
    '/shut',
    '/shut/',
    '//shut',
    '/SHUT',
    '/shut;/open',
    '/%73hut',
    '/open/deeper',
    '/open//deeper',
    '/open/../shut',
    '/open/%64eeper'
  ]) { t.equal((await ask(url)).status, 401, url) }
})
