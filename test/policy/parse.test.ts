import fc from 'fast-check'
import t from 'tap'
import { AuthError } from '../../lib/index.js'
import { as, boot, build, bootError, route, authConfig, assertBootFails, threeSchemes } from '../fixtures/policies.js'

t.test('config.auth', async t => {
  t.test('takes the default, required, if it is left out or true', async t => {
    const { ask, ran } = await boot(t, (app, ran) => {
      route(app, ran, '/nothing')
      route(app, ran, '/true', true)
    })
    for (const url of ['/nothing', '/true']) {
      t.match(await ask(url), { status: 401, code: 'AUTH_REQUIRED' })
      t.match(
        await ask(url, as({}, 'web')),
        { status: 401, code: 'AUTH_REQUIRED' },
        'a scheme that is not the default is not asked'
      )
      t.equal((await ask(url, as())).status, 200)
    }
    t.strictSame(ran, ['/nothing', '/true'])
  })

  t.test('is required with true below an optional default', async t => {
    const { ask } = await boot(t, (app, ran) => {
      route(app, ran, '/nothing')
      route(app, ran, '/true', true)
    }, { options: { default: { schemes: 'user', mode: 'optional' } } })
    t.equal((await ask('/nothing')).status, 200)
    t.equal((await ask('/true')).status, 401)
  })

  t.test('makes a route public with false, or public and a reason, whatever credentials are sent', async t => {
    const schemes = threeSchemes()
    const { ask } = await boot(t, (app, ran) => {
      route(app, ran, '/false', false)
      route(app, ran, '/public', { public: 'load balancer probe' })
    }, { options: { schemes, default: 'user' } })
    for (const url of ['/false', '/public']) {
      t.equal((await ask(url)).status, 200)
      t.equal((await ask(url, { 'x-user': 'bad', 'x-web': 'down' })).status, 200)
    }
    t.strictSame(Object.values(schemes).map(scheme => scheme.calls.count), [0, 0, 0])
  })

  t.test('treats a name or a list of names as { schemes }', async t => {
    const { app, ask } = await boot(t, (app, ran) => {
      const forms = [
        'web',
        ['web'],
        { schemes: 'web' },
        { schemes: ['web'] },
        { schemes: [{ all: ['web'] }] },
        { schemes: { all: ['web'] } }
      ]
      forms.forEach((form, i) => route(app, ran, `/one/${i}`, form))
      route(app, ran, '/two/0', ['web', 'service'])
      route(app, ran, '/two/1', { schemes: ['web', 'service'] })
    })
    for (let i = 0; i < 6; i++) {
      t.equal((await ask(`/one/${i}`, as({}, 'web'))).status, 200)
      t.equal((await ask(`/one/${i}`, as())).status, 401, 'the default is replaced')
    }
    for (const url of ['/two/0', '/two/1']) {
      t.equal((await ask(url, as({}, 'web'))).status, 200)
      t.equal((await ask(url, as({}, 'service'))).status, 200)
      t.equal((await ask(url, as())).status, 401)
    }
    const rows = app.gatehouse.audit()
    t.strictSame(new Set(rows.map(row => row.schemes)), new Set(['web', 'web or service']))
  })

  t.test('accepts { all } in schemes, alone and in a list', async t => {
    const { app, ask } = await boot(t, (app, ran) => {
      route(app, ran, '/all', { schemes: { all: ['web', 'service'] } })
      route(app, ran, '/either', ['user', { all: ['web', 'service'] }])
    })
    const both = { ...as({ id: 'w' }, 'web'), ...as({ id: 's' }, 'service') }
    t.equal((await ask('/all', both)).status, 200)
    t.equal((await ask('/all', as({}, 'web'))).status, 401)
    t.equal((await ask('/either', both)).status, 200)
    t.equal((await ask('/either', as())).status, 200)
    t.equal((await ask('/either', as({}, 'service'))).status, 401)
    t.strictSame(app.gatehouse.audit().map(row => row.schemes), ['web and service', 'user or web and service'])
  })

  t.test(
    'mode: required refuses the absent, optional admits them, and try also admits the invalid with an error',
    async t => {
      const { ask } = await boot(t, app => {
        for (const mode of ['required', 'optional', 'try']) {
          app.get(`/${mode}`, authConfig({ mode }), async request => ({
            id: request.principal?.id ?? null,
            error: request.auth.error?.code ?? null
          }))
        }
      })
      const table: [string, Record<string, string>, number, object | string][] = [
        ['/required', {}, 401, 'AUTH_REQUIRED'],
        ['/required', { 'x-user': 'bad' }, 401, 'AUTH_INVALID_CREDENTIALS'],
        ['/optional', {}, 200, { id: null, error: null }],
        ['/optional', as(), 200, { id: 'ann', error: null }],
        ['/optional', { 'x-user': 'bad' }, 401, 'AUTH_INVALID_CREDENTIALS'],
        ['/optional', { 'x-user': 'expired' }, 401, 'AUTH_TOKEN_EXPIRED'],
        ['/optional', { 'x-user': 'foreign' }, 401, 'AUTH_INVALID_CREDENTIALS'],
        ['/try', {}, 200, { id: null, error: null }],
        ['/try', as(), 200, { id: 'ann', error: null }],
        ['/try', { 'x-user': 'bad' }, 200, { id: null, error: 'AUTH_INVALID_CREDENTIALS' }],
        ['/try', { 'x-user': 'expired' }, 200, { id: null, error: 'AUTH_TOKEN_EXPIRED' }],
        ['/try', { 'x-user': 'foreign' }, 200, { id: null, error: 'AUTH_INVALID_CREDENTIALS' }],
        ['/try', { 'x-user': 'down' }, 503, 'AUTH_UNAVAILABLE']
      ]
      for (const [url, headers, status, expected] of table) {
        const answer = await ask(url, headers)
        t.equal(answer.status, status, `${url} ${JSON.stringify(headers)}`)
        if (typeof expected === 'string') t.equal(answer.code, expected)
        else t.strictSame(JSON.parse(answer.body), expected)
      }
    }
  )

  t.test('accepts one name or { all, any, none } with lists for scopes and roles', async t => {
    const { ask, ran } = await boot(t, (app, ran) => {
      route(app, ran, '/one', { scopes: 'a' })
      route(app, ran, '/all', { scopes: { all: ['a', 'b'] } })
      route(app, ran, '/any', { roles: { any: ['clerk', 'admin'] } })
      route(app, ran, '/none', { roles: { none: ['banned'] } })
      route(app, ran, '/mixed', { scopes: { all: ['a'], any: ['b', 'c'], none: ['x'] }, roles: 'clerk' })
    })
    const table: [string, object, number][] = [
      ['/one', {}, 403],
      ['/one', { scopes: ['b'] }, 403],
      ['/one', { scopes: ['a'] }, 200],
      ['/one', { roles: ['a'] }, 403],
      ['/all', { scopes: ['a'] }, 403],
      ['/all', { scopes: ['b'] }, 403],
      ['/all', { scopes: ['b', 'a'] }, 200],
      ['/any', {}, 403],
      ['/any', { roles: ['admin'] }, 200],
      ['/any', { roles: ['clerk'] }, 200],
      ['/any', { scopes: ['admin'] }, 403],
      ['/none', {}, 200],
      ['/none', { roles: ['banned', 'clerk'] }, 403],
      ['/mixed', { scopes: ['a', 'c'], roles: ['clerk'] }, 200],
      ['/mixed', { scopes: ['a', 'c'] }, 403],
      ['/mixed', { scopes: ['a'], roles: ['clerk'] }, 403],
      ['/mixed', { scopes: ['a', 'b', 'x'], roles: ['clerk'] }, 403]
    ]
    for (const [url, principal, status] of table) {
      ran.length = 0
      const answer = await ask(url, as(principal))
      t.equal(answer.status, status, `${url} ${JSON.stringify(principal)}`)
      t.equal(answer.code, status === 403 ? 'AUTH_ACCESS_DENIED' : null)
      t.equal(ran.length, status === 200 ? 1 : 0)
    }
  })

  t.test('maxAge: sends a step-up challenge if the authentication is older or has no date', async t => {
    const { ask, ran } = await boot(t, (app, ran) => {
      route(app, ran, '/number', { maxAge: 60 })
      route(app, ran, '/text', { maxAge: '1m' })
    })
    for (const url of ['/number', '/text']) {
      t.equal((await ask(url, as({ age: 30 }))).status, 200)
      for (const stale of [{ age: 90 }, {}]) {
        t.match(await ask(url, as(stale)), { status: 401, code: 'AUTH_STEP_UP_REQUIRED' })
      }
    }
    t.equal(ran.length, 2)
  })

  t.test('rateLimit: limits the principal on this route', async t => {
    const { ask } = await boot(t, (app, ran) => {
      route(app, ran, '/a', { rateLimit: { max: 2, window: '1m' } })
      route(app, ran, '/b', { rateLimit: { max: 2, window: '1m' } })
    })
    const statuses = async (url: string, id: string, times: number) => {
      const all: number[] = []
      for (let i = 0; i < times; i++) all.push((await ask(url, as({ id }))).status)
      return all
    }
    t.strictSame(await statuses('/a', 'ann', 3), [200, 200, 429])
    t.strictSame(await statuses('/a', 'bob', 1), [200], 'another principal has a count of its own')
    t.strictSame(await statuses('/b', 'ann', 1), [200], 'another route has a count of its own')
    t.match(await ask('/a', as({ id: 'ann' })), { code: 'AUTH_RATE_LIMITED', headers: { 'retry-after': /^\d+$/ } })
  })
})

t.test('config.auth outside the grammar stops the boot, names the route and says how to fix it', async t => {
  const table: [title: string, auth: unknown, ...messages: (string | RegExp)[]][] = [
    ['undefined', undefined, 'Got undefined. Write true for the default.'],
    ['null', null, 'Got null'],
    ['a number', 1, 'Got 1'],
    ['a function', () => true, 'Got a function'],
    ['an empty object', {}, 'empty object', 'Write true for the default'],
    ['an empty string', '', 'non-empty strings'],
    ['an empty list', [], 'empty list', 'write false for a public route'],
    ['an unknown key', { scope: 'a' }, "unknown key 'scope'", "Did you mean 'scopes'?"],
    [
      'a key from the prototype of JSON',
      JSON.parse('{"schemes":"user","__proto__":{"public":"x"}}'),
      "unknown key '__proto__'"
    ],
    ['an unknown scheme', 'usr', "the scheme 'usr'", "Did you mean 'user'?", 'Known: user, web and service'],
    ['an unknown scheme in { all }', { schemes: { all: ['user', 'nobody'] } }, "'nobody'", 'Known'],
    ['a scheme named twice', ['user', 'user'], "names 'user' twice"],
    ['a scheme named twice in { all }', { schemes: { all: ['user', 'user'] } }, "names 'user' twice"],
    ['an alternative named twice', ['user', { all: ['user'] }], "names 'user' twice"],
    ['an empty { all }', { schemes: { all: [] } }, 'schemes.all is an empty list'],
    ['schemes without a name', { schemes: { any: ['user'] } }, "unknown key 'any'"],
    ['schemes that are an empty object', { schemes: {} }, "scheme's name, { all: [names] }"],
    ['schemes that are true', { schemes: true }, "scheme's name, { all: [names] }"],
    ['schemes that are null', { schemes: null }, "scheme's name, { all: [names] }"],
    ['a name with space around it', { schemes: ' user' }, 'without surrounding spaces'],
    ['a name that is not a string', { schemes: [{ all: [1] }] }, 'must contain names'],
    ['an unknown mode', { mode: 'none' }, "mode must be 'required', 'optional' or 'try'"],
    ['an empty public', { public: '' }, 'a non-empty string with the reason'],
    ['a public that is blank', { public: ' ' }, 'a non-empty string with the reason'],
    ['a public that is true', { public: true }, 'a non-empty string with the reason'],
    ['public beside a scheme', { public: 'probe', schemes: 'user' }, "has 'schemes' as well", 'Remove one of the two'],
    ['public beside inherit', { public: 'probe', inherit: false }, "has 'inherit' as well"],
    ['inherit: true', { inherit: true, schemes: 'user' }, 'can only be false', 'leave it out'],
    ['inherit: false without schemes', { inherit: false, scopes: 'a' }, 'must name its schemes'],
    ['scopes as a bare list', { scopes: ['a'] }, 'bare list', 'Write { all: [...] } or { any: [...] }'],
    ['roles as a bare list', { roles: ['a'] }, 'bare list'],
    ['scopes that are an empty object', { scopes: {} }, 'one name, or { all, any, none }'],
    ['scopes that are null', { scopes: null }, 'one name, or { all, any, none }'],
    ['scopes that are empty', { scopes: '' }, 'non-empty strings'],
    ['an empty list of all', { scopes: { all: [] } }, 'scopes.all is an empty list'],
    ['an empty list of any', { scopes: { all: ['a'], any: [] } }, 'scopes.any is an empty list'],
    ['an empty list of none', { roles: { none: [] } }, 'roles.none is an empty list'],
    ['a quantifier that is not a list', { roles: { any: 'a' } }, 'roles.any must be a list'],
    ['an unknown quantifier', { scopes: { some: ['a'] } }, "unknown key 'some'"],
    ['a quantifier that is undefined', { scopes: { all: undefined } }, "'all' set to undefined"],
    ['a scope that is undefined', { scopes: undefined }, "'scopes' set to undefined", 'leave the key out'],
    ['a scope in a list that is undefined', { scopes: { all: [undefined] } }, 'must contain names'],
    ['a scope named twice', { scopes: { all: ['a', 'a'] } }, "names 'a' twice"],
    ['when that is true', { when: true }, 'when must be a function'],
    ['when that is undefined', { when: undefined }, "'when' set to undefined"],
    ['an empty anyOf', { anyOf: [] }, 'at least one entry'],
    ['anyOf that is not a list', { anyOf: { scopes: 'a' } }, 'at least one entry'],
    ['an empty entry of anyOf', { anyOf: [{ scopes: 'a' }, {}] }, 'anyOf[1] is empty', 'let every caller in'],
    ['an entry that is a name', { anyOf: ['a'] }, 'anyOf[0] must be an object'],
    ['an entry with an unknown key', { anyOf: [{ mode: 'try' }] }, "anyOf[0] has an unknown key 'mode'"],
    ['an entry with a key that is undefined', { anyOf: [{ roles: undefined }] }, "'roles' set to undefined"],
    ['an entry with a bare list', { anyOf: [{ scopes: ['a'] }] }, 'anyOf[0].scopes is a bare list'],
    ['an entry with an empty list of schemes', { anyOf: [{ schemes: [] }] }, 'anyOf[0].schemes is an empty list'],
    [
      "an entry with a scheme that is not the policy's",
      { anyOf: [{ schemes: 'web', roles: 'clerk' }] },
      "for the scheme 'web'",
      'its schemes (user) do not include'
    ],
    ['maxAge 0', { maxAge: 0 }, 'maxAge must be more than 0 seconds'],
    ['maxAge without a unit', { maxAge: '15' }, "'15m'"],
    ['maxAge that is not finite', { maxAge: Infinity }, 'number of seconds'],
    [
      'maxAge of a scheme that cannot say when',
      { schemes: ['user', 'service'], maxAge: 60 },
      "the scheme 'service' does not report when"
    ],
    ['a rate limit without a window', { rateLimit: { max: 1 } }, 'rateLimit.window'],
    ['a rate limit of nothing', { rateLimit: { max: 0, window: 1 } }, 'rateLimit.max must be a whole number'],
    ['a rate limit in text', { rateLimit: { max: '5', window: 1 } }, 'rateLimit.max must be a whole number'],
    ['a rate limit with a window of nothing', { rateLimit: { max: 1, window: 0 } }, 'rateLimit.window must be more'],
    [
      'a rate limit with an unknown key',
      { rateLimit: { max: 1, window: 1, timeWindow: 1 } },
      "unknown key 'timeWindow'"
    ],
    [
      'scopes on optional',
      { mode: 'optional', scopes: 'a' },
      "mode 'optional'",
      'lets anonymous callers in',
      "Use mode 'required'"
    ],
    ['when on try', { mode: 'try', when: () => true }, "mode 'try'", 'remove the rules'],
    ['anyOf on try', { mode: 'try', anyOf: [{ roles: 'a' }] }, "mode 'try'"],
    ['maxAge on optional', { mode: 'optional', maxAge: 60 }, "mode 'optional'"]
  ]
  for (const [title, auth, ...messages] of table) {
    t.test(`stops the boot: ${title}`, async t => {
      await assertBootFails(
        t, app => { app.post('/api/orders', authConfig(auth), () => 'never') }, ['POST /api/orders', ...messages]
      )
    })
  }

  t.test('stops the boot for a declaration that holds itself', async t => {
    const auth: Record<string, unknown> = { schemes: 'user' }
    auth['anyOf'] = [auth]
    await assertBootFails(t, app => { app.get('/x', authConfig(auth), () => '') }, ["unknown key 'anyOf'"])
  })

  t.test('stops the boot if inherited rules meet a mode that admits anonymous callers', async t => {
    await assertBootFails(
      t,
      app =>
        app.register(async child => {
          child.gatehouse.default({ roles: 'clerk' })
          child.get('/feed', { config: { auth: { mode: 'optional' } } }, () => '')
        }),
      ['GET /feed', 'its own or inherited', 'inherit: false']
    )
    await assertBootFails(
      t,
      app => {
        app.get('/feed', { config: { auth: { mode: 'try' } } }, () => '')
      },
      ['GET /feed', 'inherited'],
      { options: { default: { schemes: 'user', maxAge: 60 } } }
    )
  })

  t.test('stops the boot for { auth } beside config', async t => {
    await assertBootFails(
      t,
      app => {
        app.get('/x', { auth: false } as object, () => '')
      },
      ['GET /x', 'auth beside config', '{ config: { auth: … } }']
    )
    await assertBootFails(
      t,
      app => {
        app.get('/x', { auth: 'user', config: {} } as object, () => '')
      },
      ['GET /x', 'auth beside config']
    )
  })

  t.test("reports the method, the pattern with its prefix, and the application's file and line", async t => {
    const declare = (app: Parameters<Parameters<typeof build>[0]>[0]) => app.register(async child => {
      child.route({ method: ['PUT', 'PATCH'], url: '/:id', ...authConfig({ scope: 'a' }), handler: () => '' })
    }, { prefix: '/orders' })
    await assertBootFails(
      t, declare, ['PUT, PATCH /orders/:id: config.auth', /\(in \/.*test\/policy\/parse\.test\.ts:\d+\)$/]
    )
    const line = Number(/^.*:(\d+):\d+/.exec(new Error().stack?.split('\n')[1] ?? '')?.[1])
    const { message } = await bootError(app => { app.get('/x', authConfig([]), () => '') }) as Error
    t.equal(/:(\d+)\)$/.exec(message)?.[1], String(line + 1), 'the message has the line of the declaration')
  })

  t.test('shows no value that could be a secret in any boot error', async t => {
    for (const auth of [
      { public: 'hunter2-secret', mode: 'try' },
      { rateLimit: 'hunter2-secret' },
      { when: 'hunter2-secret' },
      { anyOf: 'hunter2-secret' }
    ]) {
      t.notMatch(
        (
          (await bootError(app => {
            app.get('/x', authConfig(auth), () => '')
          })) as Error
        ).message,
        /hunter2/
      )
    }
  })
})

t.test(
  'stops the boot or refuses anonymous callers on every route that is not public, for any declaration',
  async t => {
    const good = <T>(arbitrary: fc.Arbitrary<T>) =>
      fc.oneof(
        { weight: 12, arbitrary },
        fc.constantFrom<unknown>(
          undefined,
          null,
          true,
          false,
          0,
          '',
          NaN,
          [],
          {},
          () => true,
          Symbol('x'),
          new Map(),
          ' user',
          '__proto__'
        )
      )
    const name = good(fc.constantFrom('user', 'web', 'service'))
    const names = good(fc.uniqueArray(name, { minLength: 1, maxLength: 2 }))
    const scheme = fc.oneof(
      { weight: 3, arbitrary: name },
      names.map(all => ({ all }))
    )
    const schemes = fc.oneof(scheme, fc.array(scheme, { maxLength: 2 }))
    const rule = good(
      fc.oneof(
        name,
        fc
          .tuple(fc.constantFrom('all', 'any', 'none', 'some'), names)
          .map(([quantifier, names]) => ({ [quantifier]: names }))
      )
    )
    const when = good(
      fc.constantFrom(
        () => true,
        () => false
      )
    )
    const picked = (of: Record<string, fc.Arbitrary<unknown>>) =>
      fc
        .uniqueArray(fc.oneof(...Object.entries(of).map(([key, value]) => fc.tuple(fc.constant(key), value))), {
          selector: ([key]) => key,
          minLength: 1,
          maxLength: 3
        })
        .map(entries => Object.fromEntries(entries) as object)
    const object = picked({
      schemes,
      scopes: rule,
      roles: rule,
      when,
      mode: good(fc.constantFrom('required', 'optional', 'try', 'none')),
      anyOf: good(
        fc.array(picked({ schemes: name, scopes: rule, roles: rule, when }), { minLength: 1, maxLength: 2 })
      ),
      maxAge: good(fc.constantFrom(60, '1m', -1)),
      rateLimit: good(fc.constant({ max: 5, window: 60 })),
      public: good(fc.constant('probe')),
      inherit: good(fc.constant(false))
    })
    const declaration = good(fc.oneof(schemes, { weight: 4, arbitrary: object }))
    let booted = 0

    await fc.assert(
      fc.asyncProperty(declaration, fc.boolean(), async (auth, late) => {
        const ran: string[] = []
        const app = await build(
          app => {
            app.get('/x', authConfig(auth), async () => {
              ran.push('x')
              return 'x'
            })
          },
          { options: late ? { stage: 'preHandler' } : {} }
        ).catch((error: unknown) => error)
        if (app instanceof Error || typeof app !== 'object' || app === null || !('inject' in app)) {
          return app instanceof AuthError && app.code === 'AUTH_MISCONFIGURED'
        }
        const instance = app as Awaited<ReturnType<typeof build>>
        try {
          await instance.ready()
          booted++
          const { statusCode } = await instance.inject('/x')
          return mayEnterAnonymously(auth) ? statusCode === 200 : statusCode === 401 && ran.length === 0
        } finally {
          await instance.close()
        }
      }),
      { numRuns: 300 }
    )
    t.ok(booted > 50, `${booted} of 300 booted: the test was not vacuous`)

    /** Decides independently of lib whether a declaration admits anonymous callers. */
    function mayEnterAnonymously (auth: unknown): boolean {
      if (auth === false) return true
      if (typeof auth !== 'object' || auth === null || Array.isArray(auth)) return false
      return 'public' in auth || ('mode' in auth && auth.mode !== 'required')
    }
  })
