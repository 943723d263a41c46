import fc from 'fast-check'
import type { FastifyInstance, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import { checkStatic } from '../../lib/guard/authorize.js'
import { authenticated } from '../../lib/index.js'
import { parseDeclaration } from '../../lib/policy/parse.js'
import { resolvePolicy, type BoundScheme, type Policy } from '../../lib/policy/policy.js'
import { parsePermissions } from '../../lib/policy/requirements.js'
import {
  as, headerScheme, boot, group, route, authConfig, assertBootFails, threeSchemes
} from '../fixtures/policies.js'

t.test("the plugin's default", async t => {
  t.test('is required unless there is only one scheme', async t => {
    for (const more of [{}, { default: 'only' }]) {
      const { ask, ran } = await boot(
        t, (app, ran) => route(app, ran, '/x'), { options: { schemes: { only: headerScheme('only') }, ...more } }
      )
      t.equal((await ask('/x')).status, 401)
      t.equal((await ask('/x', as({}, 'only'))).status, 200)
      t.strictSame(ran, ['/x'])
    }
  })

  t.test('stops the boot if it is missing, with an example of what to write', async t => {
    await assertBootFails(
      t,
      () => {},
      ['The option default is missing', 'user, web and service', "default: ['user']"],
      { options: { schemes: threeSchemes() } }
    )
    await assertBootFails(
      t,
      () => {},
      ["'default' set to undefined"],
      { options: { schemes: { only: headerScheme('only') }, default: undefined } }
    )
  })

  t.test('stops the boot if it names anything but existing schemes', async t => {
    await assertBootFails(
      t, () => {}, ['The option default', "'usr'", "Did you mean 'user'?"], { options: { default: 'usr' } }
    )
    await assertBootFails(
      t,
      () => {},
      ['The option default', 'names no scheme', 'Name one or more of user, web and service'],
      { options: { default: { mode: 'optional' } } }
    )
    await assertBootFails(t, () => {}, ['The option default', 'Got null'], { options: { default: null } })
    await assertBootFails(
      t,
      app => route(app, [], '/x'),
      ['GET /x', "mode 'try'", 'inherited'],
      { options: { default: { schemes: 'user', mode: 'try', roles: 'a' } } }
    )
  })
})

t.test('app.gatehouse.default', async t => {
  t.test('applies to every route of its context and of nested ones, including plugins, and to no other', async t => {
    const { ask, app } = await boot(t, (app, ran) => {
      route(app, ran, '/outside')
      app.register(async admin => {
        group(admin, { schemes: 'web', roles: 'admin' })
        route(admin, ran, '/own')
        admin.register(async child => route(child, ran, '/child'), { prefix: '/deeper' })
        await admin.register(fp(async shared => route(shared, ran, '/plugin')))
      }, { prefix: '/admin' })
      app.register(async other => route(other, ran, '/sibling'))
    })
    for (const url of ['/admin/own', '/admin/deeper/child', '/admin/plugin']) {
      t.equal((await ask(url, as({ roles: ['admin'] }, 'web'))).status, 200)
      t.equal((await ask(url, as({}, 'web'))).status, 403)
      t.equal((await ask(url, as({ roles: ['admin'] }))).status, 401)
    }
    t.equal((await ask('/outside', as())).status, 200)
    t.equal((await ask('/sibling', as())).status, 200)
    t.strictSame(Object.fromEntries(app.gatehouse.audit().map(row => [row.url, row.from])), {
      '/admin/deeper/child': 'default + group /admin',
      '/admin/own': 'default + group /admin',
      '/admin/plugin': 'default + group /admin',
      '/outside': 'default',
      '/sibling': 'default'
    })
  })

  t.test('replaces schemes, mode and rateLimit, and adds the rules of default, groups and route', async t => {
    const { ask, app } = await boot(t, (app, ran) => {
      app.register(async outer => {
        group(outer, { schemes: ['web', 'service'], scopes: 'b', maxAge: 60, rateLimit: { max: 100, window: 60 } })
        outer.register(async inner => {
          group(
            inner,
            {
              schemes: 'web',
              roles: { none: ['banned'] },
              anyOf: [{ roles: 'clerk' }, { roles: 'boss' }],
              rateLimit: { max: 50, window: 60 }
            }
          )
          route(inner, ran, '/x', { scopes: 'c', anyOf: [{ scopes: 'd' }, { scopes: 'e' }], maxAge: 30 })
        })
      })
    }, {
      options: {
        default: { schemes: 'user', scopes: 'a' },
        schemes: { ...threeSchemes(), service: headerScheme('service', { reportsAuthTime: true }) }
      }
    })
    const whole = { scopes: ['a', 'b', 'c', 'd'], roles: ['clerk'], age: 10 }
    t.equal((await ask('/x', as(whole, 'web'))).status, 200)
    t.equal((await ask('/x', as(whole, 'user'))).status, 401)
    t.equal((await ask('/x', as(whole, 'service'))).status, 401)
    for (const scope of whole.scopes) {
      t.equal(
        (await ask('/x', as({ ...whole, scopes: whole.scopes.filter(each => each !== scope) }, 'web'))).status,
        403,
        `without ${scope}`
      )
    }
    t.equal((await ask('/x', as({ ...whole, roles: [] }, 'web'))).status, 403)
    t.equal((await ask('/x', as({ ...whole, roles: ['clerk', 'banned'] }, 'web'))).status, 403)
    t.equal((await ask('/x', as({ ...whole, scopes: ['a', 'b', 'c', 'e'], roles: ['boss'] }, 'web'))).status, 200)
    t.match(
      await ask('/x', as({ ...whole, age: 45 }, 'web')),
      { status: 401, code: 'AUTH_STEP_UP_REQUIRED' },
      'the shortest age holds'
    )
    t.match(app.gatehouse.audit()[0], {
      schemes: 'web',
      from: 'default + group / + group / + route',
      rules: [
        'scope a', 'scope b', 'not role banned', '(role clerk) or (role boss)', 'scope c', '(scope d) or (scope e)',
        'authenticated within 30 s', 'at most 50 requests in 60 s'
      ]
    })
  })

  t.test('keeps the shorter maxAge of a group if a route has a longer one', async t => {
    const { ask } = await boot(t, app => app.register(async within => {
      group(within, { maxAge: 30 })
      route(within, [], '/x', { maxAge: '1h' })
    }))
    t.equal((await ask('/x', as({ age: 20 }))).status, 200)
    t.equal((await ask('/x', as({ age: 45 }))).status, 401)
  })

  t.test('calls the functions of all levels, outermost first, and all must pass', async t => {
    const calls: string[] = []
    const when = (name: string) => ({
      when: (principal: { id: string }) => { calls.push(name); return principal.id !== name }
    })
    const { ask, ran } = await boot(t, (app, ran) => app.register(async within => {
      group(within, when('group'))
      route(within, ran, '/x', when('route'))
    }), { options: { default: { schemes: 'user', ...when('plugin') } } })
    t.equal((await ask('/x', as())).status, 200)
    t.strictSame(calls.splice(0), ['plugin', 'group', 'route'])
    for (const id of ['plugin', 'group', 'route']) t.equal((await ask('/x', as({ id }))).status, 403)
    t.equal(ran.length, 1)
  })

  t.test('applies to routes with true or a scheme; false makes a route public', async t => {
    const { ask } = await boot(t, app => app.register(async within => {
      group(within, { schemes: 'web', roles: 'admin' })
      route(within, [], '/false', false)
      route(within, [], '/true', true)
      route(within, [], '/user', 'user')
    }))
    t.equal((await ask('/false')).status, 200)
    t.equal((await ask('/true', as({}, 'web'))).status, 403)
    t.equal((await ask('/user', as({}))).status, 403)
    t.equal((await ask('/user', as({ roles: ['admin'] }))).status, 200)
  })

  t.test('stops the boot if it is set after a route of its context or of a nested one', async t => {
    await assertBootFails(t, app => app.register(async within => {
      within.get('/early', async () => '')
      group(within, 'web')
    }, { prefix: '/group' }), ["the prefix '/group'", 'set after a route of the context', 'Set the default first'])
    await assertBootFails(t, async app => {
      await app.register(async child => { child.get('/early', async () => '') })
      group(app, 'web')
    }, ["the prefix '/'", 'Set the default first'])
    await assertBootFails(t, app => app.register(async within => {
      route(within, [], '/early', 'user')
      group(within, { roles: 'admin' })
    }, { prefix: '/group' }), ["the prefix '/group'", 'set after a route of the context', 'Set the default first'])
  })

  t.test('may be set after a route that is public itself, which would not get it', async t => {
    const { ask } = await boot(t, app => app.register(async within => {
      route(within, [], '/open', false)
      group(within, 'web')
      route(within, [], '/shut')
    }))
    t.equal((await ask('/open')).status, 200)
    t.equal((await ask('/shut', as())).status, 401)
    t.equal((await ask('/shut', as({}, 'web'))).status, 200)
  })

  t.test('stops the boot if it is set after a guard of its context, which would let more callers in', async t => {
    const messages = ["the prefix '/group'", 'after gatehouse.guard()', 'Set the default first']
    await assertBootFails(t, app => app.register(async within => {
      within.gatehouse.guard(true)
      group(within, { roles: 'admin' })
    }, { prefix: '/group' }), messages)
    await assertBootFails(t, app => app.register(async within => {
      await within.register(async child => { child.gatehouse.guard('user') })
      group(within, { roles: 'admin' })
    }, { prefix: '/group' }), messages)
    const { ask } = await boot(t, app => app.register(async within => {
      const detached = within.gatehouse.guard({ inherit: false, schemes: 'user' })
      group(within, { schemes: 'web', roles: 'admin' })
      within.get('/x', { ...authConfig(false), preHandler: detached }, async () => '')
    }))
    t.equal((await ask('/x', as())).status, 200, 'a guard that inherits nothing')
  })

  t.test('stops the boot if it is set twice in one context', async t => {
    await assertBootFails(t, app => {
      group(app, 'web')
      group(app, { roles: 'admin' })
    }, ['is set twice', 'Combine both in one call'])
  })

  t.test('stops the boot for an invalid declaration, and names the group', async t => {
    const withDefault = (auth: unknown) => (app: FastifyInstance) => app.register(
      async child => { group(child, auth) }, { prefix: '/group' }
    )
    const place = "app.gatehouse.default() of the context with the prefix '/group'"
    await assertBootFails(t, withDefault({ role: 'admin' }), [place, "Did you mean 'roles'?"])
    await assertBootFails(t, withDefault(undefined), [place, 'Got undefined'])
    await assertBootFails(t, withDefault('webb'), [place, "Did you mean 'web'?"])
  })

  t.test('stops the boot for a default that opens routes without a reason or resets inherited rules', async t => {
    await assertBootFails(
      t,
      app => { group(app, false) },
      ['is public without a reason', "{ public: 'the browser application' }", 'write false on the routes']
    )
    for (const auth of [false, { public: 'the web site' }]) {
      await assertBootFails(
        t, () => {}, ['The option default is public', 'publicPaths'], { options: { default: auth } }
      )
    }
    const detached = { inherit: false, schemes: 'web' }
    await assertBootFails(t, app => { group(app, detached) }, ['inherit: false', 'only a route'])
    await assertBootFails(t, () => {}, ['The option default', 'only a route'], { options: { default: detached } })
  })
})

t.test('a public group with a reason opens the routes without a declaration, and no others', async t => {
  const { ask, app } = await boot(t, app => {
    route(app, [], '/outside')
    app.register(async spa => {
      group(spa, { public: 'the browser application' })
      route(spa, [], '/silent')
      route(spa, [], '/true', true)
      route(spa, [], '/role', { roles: 'clerk' })
      spa.register(async inner => {
        group(inner, { roles: 'admin' })
        route(inner, [], '/inner')
      })
    })
    app.register(async strict => {
      group(strict, { schemes: 'web', roles: 'admin' })
      strict.register(async open => {
        group(open, { public: 'a form for guests' })
        route(open, [], '/guests')
        route(open, [], '/admins', true)
      })
    })
  }, { options: { requireReason: true, publicPaths: [{ path: '/silent', reason: 'never used' }] } })
  t.equal((await ask('/silent')).status, 200)
  t.equal((await ask('/guests')).status, 200)
  for (const url of ['/outside', '/true', '/role', '/inner', '/admins']) t.equal((await ask(url)).status, 401, url)
  t.equal((await ask('/role', as())).status, 403)
  t.equal((await ask('/role', as({ roles: ['clerk'] }))).status, 200)
  t.equal((await ask('/inner', as())).status, 403)
  t.equal((await ask('/admins', as({}, 'web'))).status, 403)
  t.equal((await ask('/admins', as({ roles: ['admin'] }, 'web'))).status, 200)
  const rows = Object.fromEntries(
    app.gatehouse.audit().map(({ url, access, from, reason }) => [url, { access, from, reason }])
  )
  t.match(rows, {
    '/silent': { access: 'public', from: 'group /', reason: 'the browser application' },
    '/guests': { access: 'public', from: 'group /', reason: 'a form for guests' },
    '/true': { access: 'required', from: 'default + group / + route', reason: null },
    '/inner': { access: 'required', from: 'default + group / + group /' }
  })
})

t.test('a default that is set after a route which a public group opened stops the boot', async t => {
  await assertBootFails(t, app => app.register(async spa => {
    group(spa, { public: 'the browser application' })
    await spa.register(async child => {
      route(child, [], '/early')
      group(child, { roles: 'admin' })
    })
  }), ['set after a route of the context', 'Set the default first'])
})

t.test('inherit: false starts from nothing instead of the default', async t => {
  const { ask, app } = await boot(t, app => app.register(async within => {
    group(within, { schemes: 'web', roles: 'admin', maxAge: 60 })
    route(within, [], '/x', { inherit: false, schemes: 'service', scopes: 'metrics' })
    route(within, [], '/feed', { inherit: false, schemes: 'user', mode: 'optional' })
  }), { options: { default: { schemes: 'user', scopes: 'a' } } })
  t.equal((await ask('/x', as({ scopes: ['metrics'] }, 'service'))).status, 200)
  t.equal((await ask('/x', as({}, 'service'))).status, 403)
  t.equal((await ask('/x', as({ roles: ['admin'], scopes: ['a', 'metrics'], age: 1 }, 'web'))).status, 401)
  t.equal((await ask('/feed')).status, 200)
  t.match(
    app.gatehouse.audit().map(({ from, reason }) => ({ from, reason })),
    [{ from: 'route', reason: 'inherit: false' }, { from: 'route', reason: 'inherit: false' }],
    'the audit reports it'
  )
})

t.test('reads the declarations without mutating them', async t => {
  const auth = Object.freeze({
    schemes: Object.freeze(['user', Object.freeze({ all: Object.freeze(['web', 'service']) })]),
    scopes: Object.freeze({ all: Object.freeze(['a']) }),
    anyOf: Object.freeze([Object.freeze({ roles: 'clerk' })])
  })
  const config = Object.freeze({ auth, own: 1 })
  const onError = Object.freeze([]) as unknown as []
  const options: RouteOptions = Object.freeze({
    method: 'GET' as const, url: '/x', config, onError, handler: async () => ''
  }) as RouteOptions
  const pluginOptions = Object.freeze({
    publicPaths: Object.freeze([Object.freeze({ path: '/p', reason: 'why' })]),
    scopes: Object.freeze({ a: 'A' }),
    roles: Object.freeze({ clerk: Object.freeze({}) })
  })
  const { app, ask } = await boot(t, app => {
    app.route(options)
    app.route({ ...options, url: '/y' })
    route(app, [], '/p')
  }, { options: pluginOptions })
  t.strictSame(Reflect.ownKeys(config), ['auth', 'own'])
  t.strictSame(onError, [])
  t.equal((await ask('/x', as({ scopes: ['a'], roles: ['clerk'] }))).status, 200)
  t.equal((await ask('/y')).status, 401)
  t.equal(app.gatehouse.audit().length, 3)

  t.test('ignores later changes to a declaration', async t => {
    const scopes = { all: ['a'] }
    const { ask } = await boot(t, app => { app.get('/x', authConfig({ scopes }), async () => '') })
    scopes.all.length = 0
    t.equal((await ask('/x', as())).status, 403)
  })

  t.test('leaves a hook array shared by two routes unchanged, and guards each request once', async t => {
    const calls: string[] = []
    const hooks = {
      onRequest: [async () => { calls.push('onRequest') }],
      preHandler: [async () => { calls.push('preHandler') }],
      preParsing: [async () => { calls.push('preParsing') }],
      onError: [async () => { calls.push('onError') }]
    }
    const user = headerScheme('user')
    const { ask } = await boot(t, app => {
      app.get('/a', hooks, async () => '')
      app.get('/b', hooks, async () => { throw new Error('on purpose') })
    }, { options: { schemes: { user } } })
    t.strictSame(Object.values(hooks).map(list => list.length), [1, 1, 1, 1])
    await ask('/a', as())
    t.strictSame(calls.splice(0), ['onRequest', 'preParsing', 'preHandler'])
    await ask('/b', as())
    t.strictSame(calls, ['onRequest', 'preParsing', 'preHandler', 'onError'])
    t.equal(user.calls.count, 2)
  })
})

t.test('does not carry a policy along when a config is spread into another route', async t => {
  const configs = new Map<string, object>()
  const { ask } = await boot(t, (app, ran) => {
    app.addHook('onRoute', options => { configs.set(options.url, options.config ?? {}) })
    route(app, ran, '/public', false)
    route(app, ran, '/strict', { roles: 'admin' })
    app.get('/both', { config: { ...configs.get('/public') } }, async () => '')
    app.get('/silent', { config: { ...configs.get('/public'), auth: true } }, async () => '')
    const stricter = { ...configs.get('/strict'), ...authConfig({ scopes: 'a' }).config }
    app.get('/stricter', { config: stricter }, async () => '')
  })
  t.equal((await ask('/both')).status, 200, 'a config that was spread has auth: false, as it is written')
  t.equal((await ask('/silent')).status, 401)
  t.equal((await ask('/stricter', as({ roles: ['admin'] }))).status, 403)
  t.equal((await ask('/stricter', as({ scopes: ['a'] }))).status, 200)
})

t.test('shares one frozen policy between equal declarations, for 1,000 routes with their HEAD', async t => {
  const marks = new Map<string, { policy: Policy }>()
  const when = () => true
  const declarations: unknown[] = [
    undefined, true, false, 'web', ['web'], { schemes: ['web'] }, ['web', 'user'], { scopes: 'a' }, {
      scopes: { all: ['a'] }
    }, { scopes: { any: ['a'] } },
    { roles: 'a' }, { when }, { scopes: when }, { roles: when }, { scopes: 'a', when }, {
      anyOf: [{ roles: 'a' }]
    }, { anyOf: [{ when }] }, { mode: 'try' }, { public: 'probe' }, { maxAge: 60 }, { maxAge: '1m' }
  ]
  const { app } = await boot(t, app => {
    app.addHook('onRoute', ({ config = {}, url, method }) => {
      const [key] = Object.getOwnPropertySymbols(config)
      marks.set(
        `${String(method)} ${url}`, (config as Record<symbol, { policy: Policy }>)[key as symbol] as { policy: Policy }
      )
    })
    for (let i = 0; i < 1000; i++) {
      const auth = structured(declarations[i % declarations.length])
      app.get(`/${i}`, auth === undefined ? {} : authConfig(auth), async () => '')
    }
  })
  t.equal(marks.size, 2000)
  t.equal(
    new Set([...marks.values()].map(mark => mark.policy)).size, 17, 'four of the 21 declarations equal another one'
  )
  const routePolicy = (i: number) => marks.get(`GET /${i}`)?.policy
  for (let i = 0; i < 1000; i++) {
    if (routePolicy(i) !== routePolicy(i % declarations.length) || marks.get(`HEAD /${i}`)?.policy !== routePolicy(i)) {
      t.fail(`/${i} has a policy of its own`)
    }
  }
  t.equal(routePolicy(3), routePolicy(4))
  t.equal(routePolicy(7), routePolicy(8))
  t.not(routePolicy(7), routePolicy(9))
  t.equal(app.gatehouse.audit().length, 1000)
  for (const mark of marks.values()) if (!Object.isFrozen(mark)) t.fail('a mark can be changed')
  for (const policy of new Set([...marks.values()].map(mark => mark.policy))) {
    t.strictSame(open(policy, 'policy'), [], 'nothing in it can be changed')
  }

  /** Copies a value, so that equal declarations are different objects. Functions are not copied. */
  function structured (value: unknown): unknown {
    if (Array.isArray(value)) return value.map(structured)
    return typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, structured(each)]))
      : value
  }

  /** Returns the places of a shape that are not frozen. Schemes belong to the application, and may be. */
  function open (shape: unknown, place: string): string[] {
    if (typeof shape !== 'object' || shape === null || 'authenticate' in shape) return []
    return [
      ...Object.isFrozen(shape) ? [] : [place],
      ...Object.entries(shape).flatMap(([key, each]) => open(each, `${place}.${key}`))
    ]
  }
})

t.test('shares no policy between declarations that only look alike when they are written down', async t => {
  let reads = 0
  const changing = { get roles () { return reads++ === 0 ? 'admin' : 'clerk' } }
  let looks = 0
  const vanishing = { get roles () { return looks++ === 0 ? 'nobody' : undefined } }
  const inherited: unknown = Object.create({ roles: 'admin' }, { scopes: { value: 'a', enumerable: true } })
  const bare: unknown = Object.assign(Object.create(null) as object, { roles: 'admin' })
  const { ask } = await boot(t, (app, ran) => {
    route(app, ran, '/changing', changing)
    route(app, ran, '/admin', { roles: 'admin' })
    route(app, ran, '/clerk', { roles: 'clerk' })
    route(app, ran, '/bare', bare)
    route(app, ran, '/one', { roles: { any: ['a,"5 b'] } })
    route(app, ran, '/two', { roles: { any: ['a', 'b'] } })
    route(app, ran, '/three', { roles: { any: ['a,"b'] } })
    route(app, ran, '/seconds', { roles: 'admin', maxAge: 60 })
    for (const [auth, message] of [
      [inherited, /must be a plain object/],
      [vanishing, /'roles' set to undefined/],
      [{ roles: { all: ['admin', , 'clerk'] } }, /must contain names/], // oxlint-disable-line no-sparse-arrays
      [{ roles: { all: ['admin', ,] } }, /must contain names/], // oxlint-disable-line no-sparse-arrays
      [{ roles: 'admin', maxAge: '60' }, /maxAge/],
      [[[[[[[[[['admin']]]]]]]]], /must be a scheme's name/]
    ] as const) t.throws(() => route(app, ran, '/wrong', auth), message)
  })
  const statuses = async (url: string): Promise<readonly number[]> => await Promise.all(
    ['admin', 'clerk', 'a', 'a,"5 b'].map(async role => (await ask(url, as({ roles: [role] }))).status)
  )
  t.strictSame(await statuses('/changing'), [403, 200, 403, 403])
  t.strictSame(await statuses('/three'), [403, 403, 403, 403])
  t.strictSame(await statuses('/admin'), [200, 403, 403, 403])
  t.strictSame(await statuses('/clerk'), [403, 200, 403, 403])
  t.strictSame(await statuses('/bare'), [200, 403, 403, 403])
  t.strictSame(await statuses('/one'), [403, 403, 403, 200])
  t.strictSame(await statuses('/two'), [403, 403, 200, 403])
})

t.test('does not share a policy if declarations differ in a function or its position', async t => {
  const never = () => { throw new Error('never') }
  const first = () => 'unobtainable'
  const when = () => true
  const { ask, ran } = await boot(t, (app, ran) => {
    route(app, ran, '/0', { scopes: first })
    route(app, ran, '/1', { when })
    route(app, ran, '/2', { scopes: first, when })
    route(app, ran, '/3', { roles: first, when })
    route(app, ran, '/4', { when: never })
    route(app, ran, '/5', { anyOf: [{ when }] })
    route(app, ran, '/6', { anyOf: [{ scopes: first, when }] })
    route(app, ran, '/7', { scopes: first, anyOf: [{ when }] })
  })
  const statuses: number[] = []
  for (let i = 0; i < 8; i++) statuses.push((await ask(`/${i}`, as())).status)
  t.strictSame(statuses, [403, 200, 403, 403, 500, 200, 403, 403])
  t.strictSame(ran, ['/1', '/5'])
})

t.test('never admits a principal because of an additional level of rules', t => {
  const permissions = parsePermissions(undefined, { a: { roles: ['b'], scopes: ['c'] }, b: {}, c: {} })
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 2 })
  const rule = fc.oneof(
    fc.constantFrom('a', 'b', 'c'),
    fc.tuple(fc.constantFrom('all', 'any', 'none'), names).map(([quantifier, names]) => ({ [quantifier]: names }))
  )
  const conditions = { scopes: rule, roles: rule }
  const entry = fc.record({ schemes: fc.constantFrom('user', 'web'), ...conditions }, { requiredKeys: ['schemes'] })
  const some = (of: fc.Arbitrary<object>) => of.filter(each => Object.keys(each).length > 0)
  const level = some(
    fc.record(
      { ...conditions, anyOf: fc.array(entry, { minLength: 1, maxLength: 2 }), maxAge: fc.constantFrom(30, 60, 90) },
      { requiredKeys: [] }
    )
  )
  const levels = fc.array(level, { maxLength: 3 })
  const has = fc.uniqueArray(fc.constantFrom('a', 'b', 'c'))
  const schemes = new Map<string, BoundScheme>(
    ['user', 'web'].map(
      (name, index) => [
        name,
        { name, index, scheme: headerScheme(name, { reportsAuthTime: true }), ambient: false, load: null, features: {} }
      ]
    )
  )
  let admitted = 0
  let refused = 0

  const judge = (stack: readonly object[], acting: Parameters<typeof checkStatic>[1]) =>
    checkStatic(
      resolvePolicy(
        [{ schemes: ['user', 'web'] }, ...stack].map(each => parseDeclaration(each, 'test', permissions)),
        { schemes, plans: new Map() },
        'test'
      ),
      acting
    )

  const schemeNames = fc.constantFrom('user', 'web')
  const ages = fc.constantFrom(10, 45, 75, 100)
  fc.assert(fc.property(levels, level, fc.nat(3), has, has, schemeNames, ages, (
    stack, added, at, scopes, roles, scheme, age
  ) => {
    const principal = { realm: scheme, id: 'ann', scopes, roles }
    const acting = {
      bound: schemes.get(scheme) as BoundScheme,
      outcome: authenticated(principal, { authenticatedAt: new Date(Date.now() - age * 1000) })
    }
    const before = judge(stack, acting)
    const after = judge([...stack.slice(0, at), added, ...stack.slice(at)], acting)
    if (before === null) admitted++
    else refused++
    return before === null || after !== null
  }), { numRuns: 3000 })
  t.ok(admitted > 300 && refused > 300, `${admitted} were admitted, ${refused} refused`)
  t.end()
})
