import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import { AuthError } from '../../lib/index.js'
import { as, headerScheme, boot, route, authConfig, threeSchemes } from '../fixtures/policies.js'

t.test('Functions', async t => {
  t.test('run in preHandler, after validation, and see the request as the handler does', async t => {
    const values: unknown[] = []
    const regions: Record<string, string> = { eu: 'region:eu', us: 'region:us' }
    const schema = {
      querystring: { type: 'object', required: ['region'], properties: { region: { enum: ['eu', 'us'] } } },
      body: { type: 'object', properties: { n: { type: 'integer' } } }
    }
    const { ask, ran } = await boot(t, (app, ran) => {
      app.post('/x', {
        schema,
        ...authConfig({
          scopes: (request: FastifyRequest<{ Querystring: { region: string } }>) => {
            values.push(request.query.region)
            return regions[request.query.region]
          },
          when: (_principal: unknown, request: FastifyRequest) => { values.push(request.body); return true }
        })
      }, async () => { ran.push('x') })
    })
    const post = (query: string, headers = as({ scopes: ['region:eu'] })) =>
      ask(`/x?${query}`, headers, { method: 'POST', payload: { n: '7' } })
    t.equal((await post('region=eu')).status, 200)
    t.strictSame(values.splice(0), ['eu', { n: 7 }], 'coerced by the schema')
    t.equal((await post('region=us')).status, 403)
    for (const query of ['region=constructor', 'region=__proto__', 'region=eu&region=us', '', 'region=']) {
      t.equal((await post(query)).status, 400, query)
    }
    t.strictSame(values, ['us'], 'a function never sees a request that validation refuses')
    t.equal((await post('region=constructor', {})).status, 401, 'and anonymous callers learn nothing of it')
    t.equal(ran.length, 1)
  })

  t.test('of when pass only on exactly true, and refuse on everything that means no, also in anyOf', async t => {
    const answers: unknown[] = [
      true,
      Promise.resolve(true),
      false,
      Promise.resolve(false),
      null,
      undefined,
      Promise.resolve(undefined),
      { valid: false },
      1,
      'true',
      {},
      [],
      0,
      '',
      { valid: true },
      Promise.resolve(1),
      Object(true)
    ]
    const { ask, ran } = await boot(t, (app, ran) => {
      for (const [i, answer] of answers.entries()) {
        route(app, ran, `/${i}`, { when: () => answer })
        route(app, ran, `/entry/${i}`, { anyOf: [{ when: () => answer }] })
      }
    })
    for (const path of ['', '/entry']) {
      const statuses: number[] = []
      for (let i = 0; i < answers.length; i++) statuses.push((await ask(`${path}/${i}`, as())).status)
      t.strictSame(
        statuses,
        [200, 200, 403, 403, 403, 403, 403, 403, ...Array.from({ length: 9 }, () => 500)],
        'anything but true and a no is a fault'
      )
    }
    t.strictSame(ran, ['/0', '/1', '/entry/0', '/entry/1'])
  })

  t.test(
    'of when get the principal and the request, and are not called for anonymous or already refused callers',
    async t => {
      const calls: unknown[] = []
      const when = (principal: { id: string; realm: string }, request: FastifyRequest) =>
        calls.push([principal.realm, principal.id, { ...(request.params as object) }]) > 0
      const { ask } = await boot(t, (app, ran) => route(app, ran, '/orders/:id', { when, scopes: 'a' }))
      await ask('/orders/7')
      await ask('/orders/7', { 'x-user': 'bad' })
      await ask('/orders/7', as())
      t.strictSame(calls, [])
      t.equal((await ask('/orders/7', as({ id: 'bob', scopes: ['a'] }))).status, 200)
      t.strictSame(calls, [['user', 'bob', { id: '7' }]])
    }
  )

  t.test('scopes and roles as functions return one name, or { all, any, none }', async t => {
    const { ask, ran } = await boot(t, (app, ran) => {
      route(app, ran, '/name', { scopes: () => 'a' })
      route(app, ran, '/all', { scopes: () => ({ all: ['a', 'b'] }) })
      route(app, ran, '/roles', { roles: () => ({ any: ['clerk', 'boss'], none: ['banned'] }) })
      route(app, ran, '/both', { scopes: () => 'a', roles: () => 'clerk' })
    })
    const table: [string, object, number][] = [
      ['/name', { scopes: ['a'] }, 200],
      ['/name', {}, 403],
      ['/all', { scopes: ['a'] }, 403],
      ['/all', { scopes: ['a', 'b'] }, 200],
      ['/roles', { roles: ['boss'] }, 200],
      ['/roles', { roles: ['boss', 'banned'] }, 403],
      ['/roles', {}, 403],
      ['/both', { scopes: ['a'] }, 403],
      ['/both', { roles: ['clerk'] }, 403],
      ['/both', { scopes: ['a'], roles: ['clerk'] }, 200]
    ]
    for (const [url, principal, status] of table) {
      t.equal((await ask(url, as(principal))).status, status, `${url} ${JSON.stringify(principal)}`)
    }
    t.equal(ran.length, 4)
  })

  t.test('answer a constant 500 if they return anything but their declared form', async t => {
    const { app, ask, ran } = await boot(
      t,
      (app, ran) => {
        const returned: unknown[] = [
          undefined,
          null,
          true,
          false,
          '',
          ['a'],
          [],
          {},
          { all: [] },
          { all: 'a' },
          { some: ['a'] },
          { all: undefined },
          7,
          () => 'a',
          'undeclared',
          { none: ['undeclared'] }
        ]
        returned.forEach((value, i) => {
          route(app, ran, `/scopes/${i}`, { scopes: () => value })
          route(app, ran, `/roles/${i}`, { roles: () => value })
          route(app, ran, `/any/${i}`, { anyOf: [{ scopes: () => value }, { roles: 'boss' }] })
        })
      },
      { options: { scopes: { a: 'A' }, roles: { boss: {} } } }
    )
    for (const { url } of app.gatehouse.audit()) {
      const answer = await ask(url, as({ scopes: ['a', 'undeclared', ''], roles: ['a'] }))
      t.equal(answer.status, 500, url)
      t.strictSame(JSON.parse(answer.body), {
        statusCode: 500,
        code: 'AUTH_FAULT',
        error: 'Internal Server Error',
        message: 'Internal Server Error'
      })
    }
    t.strictSame(ran, [])
  })

  t.test(
    'of scopes and roles are synchronous: a promise is a 500, and its rejection does not end the process',
    async t => {
      const rejected: unknown[] = []
      const listener = (reason: unknown) => {
        rejected.push(reason)
      }
      process.on('unhandledRejection', listener)
      t.teardown(() => process.off('unhandledRejection', listener))
      const { ask, ran } = await boot(t, (app, ran) => {
        route(app, ran, '/resolves', { scopes: () => Promise.resolve('a') })
        route(app, ran, '/rejects', { roles: () => Promise.reject(new Error('the database is away')) })
        for (const field of ['scopes', 'roles']) {
          t.throws(() => { route(app, ran, '/async', { [field]: async () => 'a' }) }, {
            code: 'AUTH_MISCONFIGURED',
            message: new RegExp(`^GET /async: config\\.auth\\.${field} must be a function that is not async`)
          })
        }
      })
      t.equal((await ask('/resolves', as({ scopes: ['a'] }))).status, 500)
      t.equal((await ask('/rejects', as())).status, 500)
      await new Promise(resolve => setImmediate(resolve))
      t.strictSame(rejected, [])
      t.strictSame(ran, [])
    }
  )

  t.test('pass what they throw to the error handler unchanged, so a missing order can be a 404', async t => {
    const missing = Object.assign(new Error('no such order'), { statusCode: 404, code: 'NO_ORDER' })
    const thrown: unknown[] = []
    const { ask, ran } = await boot(t, (app, ran) => {
      app.setErrorHandler((error, _request, reply) => {
        thrown.push(error)
        return reply
          .code((error as { statusCode?: number }).statusCode ?? 500)
          .send({ code: (error as { code?: string }).code ?? 'OTHER' })
      })
      const fail = () => { throw missing }
      const throwing = (reason: unknown) => async () => { throw reason }
      route(app, ran, '/when', { when: fail })
      route(app, ran, '/async', { when: async () => { throw missing } })
      route(app, ran, '/scopes', { scopes: fail })
      route(app, ran, '/roles', { roles: fail })
      route(app, ran, '/any', { anyOf: [{ when: fail }, { when: () => true }] })
      route(app, ran, '/string', { when: throwing('a string') })
      route(app, ran, '/nothing', { when: throwing(undefined) })
    })
    for (const url of ['/when', '/async', '/scopes', '/roles', '/any']) {
      t.match(await ask(url, as()), { status: 404, code: 'NO_ORDER' }, url)
    }
    t.strictSame(
      thrown.splice(0).map(error => error === missing),
      [true, true, true, true, true]
    )
    await ask('/string', as())
    t.equal(thrown.shift(), 'a string')
    t.equal((await ask('/nothing', as())).status, 500)
    t.ok(thrown.shift() instanceof AuthError, 'a thrown undefined is not a pass')
    t.strictSame(ran, [])
  })
})

t.test('anyOf', async t => {
  t.test('ANDs the lines of an entry, ORs the entries, and ANDs the result with the rules beside it', async t => {
    const { ask, ran } = await boot(t, (app, ran) => route(app, ran, '/x', {
      schemes: ['user', 'web'],
      scopes: 'base',
      anyOf: [{ scopes: 'write', roles: 'clerk' }, { schemes: 'web', roles: 'boss' }, { scopes: { all: ['x', 'y'] } }]
    }))
    const table: [object, string, number][] = [
      [{ scopes: ['base', 'write'], roles: ['clerk'] }, 'user', 200],
      [{ scopes: ['write'], roles: ['clerk'] }, 'user', 403],
      [{ scopes: ['base', 'write'] }, 'user', 403],
      [{ scopes: ['base'], roles: ['clerk'] }, 'user', 403],
      [{ scopes: ['base'], roles: ['boss'] }, 'user', 403],
      [{ scopes: ['base'], roles: ['boss'] }, 'web', 200],
      [{ roles: ['boss'] }, 'web', 403],
      [{ scopes: ['base', 'x'] }, 'user', 403],
      [{ scopes: ['base', 'x', 'y'] }, 'user', 200],
      [{ scopes: ['base'] }, 'user', 403]
    ]
    for (const [principal, scheme, status] of table) {
      t.equal((await ask('/x', as(principal, scheme))).status, status, `${scheme} ${JSON.stringify(principal)}`)
    }
    t.equal(ran.length, 3)
  })

  t.test('settles static parts before the body is read: 403 at once if all entries fail', async t => {
    const order: string[] = []
    const when = () => order.push('when') > 0
    const { ask } = await boot(t, app => {
      app.post(
        '/x',
        {
          ...authConfig({
            anyOf: [
              { scopes: 'a', when },
              { roles: 'clerk', when }
            ]
          }),
          preParsing: async () => {
            order.push('body')
          }
        },
        async () => ''
      )
    })
    const post = (principal: object) =>
      ask('/x', { ...as(principal), 'content-type': 'application/json' }, { method: 'POST', payload: '{ no JSON' })
    t.equal((await post({})).status, 403)
    t.strictSame(order, [])
    t.equal((await post({ scopes: ['a'] })).status, 400, 'one entry may still pass, so the body is read')
    t.strictSame(order, ['body'])
  })

  t.test('calls no function if an entry without a when passes', async t => {
    const called: string[] = []
    const say = (name: string, answer: boolean) => ({ when: () => { called.push(name); return answer } })
    const { ask } = await boot(t, app => {
      route(app, [], '/settled', { anyOf: [say('first', false), { scopes: 'a' }] })
      route(app, [], '/asked', {
        anyOf: [{ scopes: 'a', ...say('a', false) }, { scopes: 'b', ...say('b', true) }, { ...say('c', true) }]
      })
    })
    t.equal((await ask('/settled', as({ scopes: ['a'] }))).status, 200)
    t.strictSame(called.splice(0), [])
    t.equal((await ask('/settled', as())).status, 403)
    t.strictSame(called.splice(0), ['first'])
    t.equal((await ask('/asked', as({ scopes: ['a', 'b'] }))).status, 200)
    t.strictSame(called.splice(0), ['a', 'b'], 'in written order, up to the first that passes')
    t.equal((await ask('/asked', as({ scopes: ['a'] }))).status, 200)
    t.strictSame(called.splice(0), ['a', 'c'], 'not those whose static part failed')
  })

  t.test('ANDs the functions of an entry with its static part', async t => {
    const { ask } = await boot(t, app =>
      route(app, [], '/x', { anyOf: [{ roles: 'clerk', scopes: () => 'a', when: async () => true }] })
    )
    t.equal((await ask('/x', as({ roles: ['clerk'], scopes: ['a'] }))).status, 200)
    t.equal((await ask('/x', as({ roles: ['clerk'] }))).status, 403)
    t.equal((await ask('/x', as({ scopes: ['a'] }))).status, 403)
  })

  t.test('requires both anyOf and the function rules beside it', async t => {
    const { ask } = await boot(t, app =>
      route(app, [], '/x', {
        when: ({ id }: { id: string }) => id !== 'eve',
        anyOf: [{ roles: 'clerk' }, { when: ({ id }: { id: string }) => id === 'ann' || id === 'eve' }]
      })
    )
    t.equal((await ask('/x', as({ id: 'ann' }))).status, 200)
    t.equal((await ask('/x', as({ id: 'eve' }))).status, 403)
    t.equal((await ask('/x', as({ id: 'eve', roles: ['clerk'] }))).status, 403)
    t.equal((await ask('/x', as({ id: 'bob' }))).status, 403)
    t.equal((await ask('/x', as({ id: 'bob', roles: ['clerk'] }))).status, 200)
  })
})

/** Adds a route that returns the caller as the request describes it. */
function show (app: FastifyInstance, url: string, auth: unknown): void {
  app.get(url, authConfig(auth), async ({ auth, principal }) => ({
    scheme: auth.scheme,
    id: principal?.id ?? null,
    scopes: principal?.scopes ?? null,
    all: Object.fromEntries(Object.entries(auth.all).map(([name, entry]) => [name, entry?.principal.id]))
  }))
}

t.test('All of', async t => {
  const auth = { schemes: { all: ['web', 'service'] } }
  const both = (web: object, service: object) => ({
    ...as({ id: 'w', ...web }, 'web'),
    ...as({ id: 's', ...service }, 'service')
  })

  t.test('makes the first named the acting principal, and lists the others in request.auth.all', async t => {
    const { ask } = await boot(t, app => show(app, '/x', auth))
    const { body } = await ask('/x', both({ scopes: ['a'] }, { scopes: ['b'] }))
    t.strictSame(JSON.parse(body), { scheme: 'web', id: 'w', scopes: ['a'], all: { web: 'w', service: 's' } })
  })

  t.test('checks the rules against the acting principal only, never against a union of scopes', async t => {
    const { ask, ran } = await boot(t, (app, ran) => {
      route(app, ran, '/static', { ...auth, scopes: 'b' })
      route(app, ran, '/none', { ...auth, roles: { none: ['banned'] } })
      route(app, ran, '/when', { ...auth, when: ({ id }: { id: string }) => id === 's' })
      route(app, ran, '/entry', { ...auth, anyOf: [{ schemes: 'service', scopes: 'b' }] })
    })
    for (const url of ['/static', '/when', '/entry']) {
      t.equal((await ask(url, both({ scopes: ['a'] }, { scopes: ['b'] }))).status, 403, url)
    }
    t.equal((await ask('/static', both({ scopes: ['b'] }, {}))).status, 200)
    t.equal((await ask('/none', both({}, { roles: ['banned'] }))).status, 200)
    t.strictSame(ran, ['/static', '/none'])
  })

  t.test('tries the next alternative if one is absent, and stops if one is invalid', async t => {
    const { ask } = await boot(t, app => show(app, '/x', [{ all: ['web', 'service'] }, 'user']))
    const table: [string, Record<string, string>, number, string | null][] = [
      ['both', both({}, {}), 200, 'w'],
      ['the first alone', as({ id: 'w' }, 'web'), 401, null],
      ['the second alone', as({ id: 's' }, 'service'), 401, null],
      ['the first, and the next alternative', { ...as({ id: 'w' }, 'web'), ...as({ id: 'u' }) }, 200, 'u'],
      ['the second, and the next alternative', { ...as({ id: 's' }, 'service'), ...as({ id: 'u' }) }, 200, 'u'],
      ['the next alternative alone', as({ id: 'u' }), 200, 'u'],
      ['the first invalid', { ...both({}, {}), 'x-web': 'bad', ...as() }, 401, null],
      ['the second invalid', { ...both({}, {}), 'x-service': 'bad', ...as() }, 401, null],
      [
        'the second foreign, and the next alternative',
        { ...as({ id: 'w' }, 'web'), 'x-service': 'foreign', ...as({ id: 'u' }) },
        200,
        'u'
      ],
      ['the second unavailable', { ...both({}, {}), 'x-service': 'down', ...as() }, 503, null]
    ]
    for (const [title, headers, status, id] of table) {
      const answer = await ask('/x', headers)
      t.equal(answer.status, status, title)
      if (id !== null) t.equal((JSON.parse(answer.body) as { id: string }).id, id, title)
    }
  })

  t.test('is anonymous in mode optional if one is absent', async t => {
    const { ask } = await boot(t, app => show(app, '/x', { ...auth, mode: 'optional' }))
    t.match(JSON.parse((await ask('/x', as({}, 'web'))).body), { id: null, all: {} })
    t.match(JSON.parse((await ask('/x', both({}, {}))).body), { id: 'w' })
  })
})

t.test('Any of', async t => {
  t.test(
    'uses the first scheme in written order with a principal, and ignores credentials of later schemes',
    async t => {
      const schemes = threeSchemes()
      const { ask } = await boot(
        t,
        app => {
          show(app, '/uw', ['user', 'web'])
          show(app, '/wu', ['web', 'user'])
        },
        { options: { schemes, default: 'user' } }
      )
      const both = { ...as({ id: 'u', scopes: ['a'] }), ...as({ id: 'w', scopes: ['b'] }, 'web') }
      t.strictSame(JSON.parse((await ask('/uw', both)).body), {
        scheme: 'user',
        id: 'u',
        scopes: ['a'],
        all: { user: 'u' }
      })
      t.strictSame([schemes.user.calls.count, schemes.web.calls.count], [1, 0])
      t.match(JSON.parse((await ask('/wu', both)).body), { scheme: 'web', id: 'w' })
      t.strictSame([schemes.user.calls.count, schemes.web.calls.count], [1, 1])
      t.equal(
        (await ask('/uw', { ...as(), 'x-web': 'bad' })).status,
        200,
        'a bad one of a later scheme is not looked at'
      )
      t.equal(schemes.web.calls.count, 1)
    }
  )

  t.test('stops at a bad credential, even if a later scheme has a good one', async t => {
    const schemes = threeSchemes()
    const { ask } = await boot(t, app => {
      show(app, '/required', ['user', 'web'])
      show(app, '/optional', { schemes: ['user', 'web'], mode: 'optional' })
      show(app, '/try', { schemes: ['user', 'web'], mode: 'try' })
    }, { options: { schemes, default: 'user' } })
    for (const [bad, status] of [['bad', 401], ['expired', 401], ['down', 503]] as const) {
      const headers = { 'x-user': bad, ...as({}, 'web') }
      t.equal((await ask('/required', headers)).status, status)
      t.equal((await ask('/optional', headers)).status, status)
      if (bad === 'down') t.equal((await ask('/try', headers)).status, 503)
      else {
        t.match(
          JSON.parse((await ask('/try', headers)).body),
          { scheme: null, id: null },
          'try makes it anonymous, never the later one'
        )
      }
    }
    t.equal(schemes.web.calls.count, 0)
  })

  t.test('passes a foreign credential to the next scheme, and refuses one that is foreign to all', async t => {
    const { ask } = await boot(t, app => show(app, '/x', ['user', 'web']))
    t.match(JSON.parse((await ask('/x', { 'x-user': 'foreign', ...as({}, 'web') })).body), { scheme: 'web' })
    t.match(await ask('/x', { 'x-user': 'foreign', 'x-web': 'foreign' }), {
      status: 401,
      code: 'AUTH_INVALID_CREDENTIALS'
    })
  })

  t.test('refuses a principal that does not meet the rules without trying the next scheme', async t => {
    const web = headerScheme('web')
    const { ask, ran } = await boot(
      t,
      (app, ran) => route(app, ran, '/x', { schemes: ['user', 'web'], scopes: 'a' }),
      { options: { schemes: { user: headerScheme('user'), web }, default: 'user' } }
    )
    t.equal((await ask('/x', { ...as(), ...as({ scopes: ['a'] }, 'web') })).status, 403)
    t.equal(web.calls.count, 0)
    t.strictSame(ran, [])
  })
})
