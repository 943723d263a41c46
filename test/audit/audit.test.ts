import t from 'tap'
import { as, boot, group, route, authConfig } from '../fixtures/policies.js'

t.test('app.gatehouse.audit()', async t => {
  t.test('lists each route with its method, pattern, schemes, rules and their origin, stage and reason', async t => {
    function isOwner () {
      return true
    }
    const { app } = await boot(
      t,
      app => {
        route(app, [], '/default')
        route(app, [], '/health')
        app.post(
          '/orders',
          authConfig({
            schemes: ['user', { all: ['web', 'service'] }],
            scopes: { all: ['a', 'b'], any: ['c', 'd'], none: ['e', 'f'] },
            maxAge: '5m'
          }),
          async () => ''
        )
        app.route({
          method: ['PUT', 'PATCH'],
          url: '/orders/:id',
          ...authConfig({
            when: isOwner,
            anyOf: [{ scopes: 'a' }, { schemes: 'user', roles: { any: ['clerk', 'boss'] }, when: () => true }]
          }),
          handler: async () => ''
        })
        app.get(
          '/functions',
          authConfig({
            scopes: () => 'a',
            roles: () => 'b',
            when: (
              () => () =>
                true
            )()
          }),
          async () => ''
        )
        app.get('/open', authConfig({ public: 'the probe' }), async () => '')
        app.get('/bare', authConfig(false), async () => '')
        app.get('/feed', authConfig({ mode: 'optional' }), async () => '')
        app.get('/limited', authConfig({ mode: 'try', rateLimit: { max: 5, window: '1m' } }), async () => '')
        app.register(
          async admin => {
            group(admin, { schemes: 'web', roles: 'admin' })
            route(admin, [], '/users', { scopes: 'users' })
            route(admin, [], '/metrics', { inherit: false, schemes: 'service' })
            admin.register(
              async inner => {
                group(inner, { scopes: 'deep' })
                route(inner, [], '/')
              },
              { prefix: '/deep' }
            )
          },
          { prefix: '/admin' }
        )
      },
      { options: { publicPaths: [{ path: '/health', reason: 'load balancer' }] } }
    )
    const none = { schemes: 'user', rules: [], stage: 'preParsing', reason: null }
    t.strictSame(
      app.gatehouse.audit().map(({ policy, file, delegated, constraints, ...words }) => words),
      [
        {
          method: 'GET',
          url: '/admin/deep',
          access: 'required',
          ...none,
          schemes: 'web',
          rules: ['role admin', 'scope deep'],
          from: 'default + group /admin + group /admin/deep'
        },
        {
          method: 'GET',
          url: '/admin/metrics',
          access: 'required',
          ...none,
          schemes: 'service',
          from: 'route',
          reason: 'inherit: false'
        },
        {
          method: 'GET',
          url: '/admin/users',
          access: 'required',
          ...none,
          schemes: 'web',
          rules: ['role admin', 'scope users'],
          from: 'default + group /admin + route'
        },
        {
          method: 'GET',
          url: '/bare',
          access: 'public',
          schemes: '',
          rules: [],
          from: 'route',
          stage: 'none',
          reason: null
        },
        { method: 'GET', url: '/default', access: 'required', ...none, from: 'default' },
        { method: 'GET', url: '/feed', access: 'optional', ...none, from: 'default + route' },
        {
          method: 'GET',
          url: '/functions',
          access: 'required',
          ...none,
          rules: ['scopes that a function names', 'roles that a function names', 'when a function passes'],
          from: 'default + route',
          stage: 'preParsing, preHandler'
        },
        {
          method: 'GET',
          url: '/health',
          access: 'public',
          schemes: '',
          rules: [],
          from: 'public path /health',
          stage: 'none',
          reason: 'load balancer'
        },
        {
          method: 'GET',
          url: '/limited',
          access: 'try',
          ...none,
          rules: ['at most 5 requests in 60 s'],
          from: 'default + route',
          stage: 'preParsing, preHandler'
        },
        {
          method: 'GET',
          url: '/open',
          access: 'public',
          schemes: '',
          rules: [],
          from: 'route',
          stage: 'none',
          reason: 'the probe'
        },
        {
          method: 'POST',
          url: '/orders',
          access: 'required',
          schemes: 'user or web and service',
          rules: ['scope a and b', 'scope c or d', 'not scope e nor f', 'authenticated within 300 s'],
          from: 'default + route',
          stage: 'preParsing',
          reason: null
        },
        {
          method: 'PUT, PATCH',
          url: '/orders/:id',
          access: 'required',
          ...none,
          rules: ['when isOwner', '(scope a) or (user, role clerk or boss, when a function passes)'],
          from: 'default + route',
          stage: 'preParsing, preHandler'
        }
      ]
    )
  })

  t.test('reports the stage preHandler where the whole guard runs there', async t => {
    const { app } = await boot(t, app => {
      route(app, [], '/a')
      route(app, [], '/b', { when: () => true })
      route(app, [], '/c', false)
    }, { options: { stage: 'preHandler' } })
    t.strictSame(app.gatehouse.audit().map(row => row.stage), ['preHandler', 'preHandler', 'none'])
  })

  t.test(
    'lists an automatic HEAD with its GET, per constraint, and a HEAD with its own policy separately',
    async t => {
      const { app } = await boot(t, app => {
        app.get('/versions', { constraints: { version: '1.0.0' }, ...authConfig('web') }, async () => '')
        app.get('/versions', { constraints: { version: '2.0.0' }, ...authConfig('service') }, async () => '')
        app.head('/own', authConfig(false), async () => '')
        app.get('/own', authConfig('web'), async () => '')
        app.head('/alone', async () => '')
        for (const prefixTrailingSlash of ['both', 'slash', 'no-slash'] as const) {
          app.register(
            async child => {
              child.get('/', { prefixTrailingSlash }, async () => '')
            },
            { prefix: `/z/${prefixTrailingSlash}` }
          )
        }
      })
      t.strictSame(
        app.gatehouse.audit().map(({ method, url, schemes }) => `${method} ${url} ${schemes}`),
        [
          'HEAD /alone user',
          'GET /own web',
          'HEAD /own ',
          'GET /versions web',
          'GET /versions service',
          'GET /z/both user',
          'GET /z/no-slash user',
          'GET /z/slash/ user'
        ]
      )
    }
  )

  t.test('has the constraints of a route as text', async t => {
    const { app } = await boot(t, app => {
      app.get('/x', { constraints: { version: '1.0.0', host: /^one/ } }, async () => '')
      app.get('/y', { constraints: {} }, async () => '')
    })
    const [x, y] = app.gatehouse.audit().map(({ constraints }) => constraints)
    t.strictSame([JSON.stringify(x), y], ['{"host":"/^one/","version":"1.0.0"}', null])
  })

  t.test('returns plain frozen data that survives a JSON round trip', async t => {
    const { app, ask } = await boot(t, app => route(app, [], '/x', { scopes: 'a' }))
    const rows = app.gatehouse.audit()
    t.strictSame(JSON.parse(JSON.stringify(rows)), rows)
    t.throws(() => { Object.assign(rows[0] as object, { access: 'public' }) }, TypeError)
    t.throws(() => { (rows[0]?.rules as string[]).length = 0 }, TypeError)
    t.equal((await ask('/x', as())).status, 403)
  })

  t.test('returns the same rows from every context, in pattern order, at any time', async t => {
    const inner: unknown[] = []
    const { app } = await boot(t, app => {
      route(app, [], '/b')
      inner.push(app.gatehouse.audit().map(row => row.url))
      app.register(async child => {
        route(child, [], '/a')
        app.addHook('onReady', async () => { inner.push(child.gatehouse.audit()) })
      })
    })
    t.strictSame(inner[0], ['/b'])
    t.strictSame(inner[1], app.gatehouse.audit())
    t.strictSame(app.gatehouse.audit().map(row => row.url), ['/a', '/b'])
  })
})
