import t from 'tap'
import { apiKey, AuthError, authenticated, basic, invalid, jwt, read, session, type Scheme } from '../../lib/index.js'
import { createApplication, handler } from '../fixtures/schemes.js'
import { secretOf } from '../fixtures/tokens.js'

/** An invalid result of a function of the application is a fault with a reason, and never a TypeError of the plugin. */

const own = (authenticate: Scheme['authenticate']): Scheme =>
  ({ openapi: { type: 'apiKey', in: 'header', name: 'x-own' }, authenticate })

/** Returns the status of a request, and the reason that is logged if it is a fault. */
async function answer (scheme: Scheme, read: (request: { auth: { signal: AbortSignal } }) => unknown = () => {}) {
  const { app, log } = await createApplication({ schemes: { own: scheme } })
  t.teardown(() => app.close())
  app.get('/', async request => { read(request as never); return await handler().handler(request, undefined as never) })
  const { statusCode, headers } = await app.inject('/')
  return { status: statusCode, headers, reason: log.find(line => line.level === 50)?.auth?.reason }
}

t.test('refuses headers of an outcome that cannot be sent, which would never be answered', async t => {
  const wrong: ReadonlyArray<readonly [headers: unknown, name: string]> = [
    [{ 'x-a': 'a\r\nset-cookie: b' }, "'x-a'"], [{ 'x-a': 'a\0' }, "'x-a'"], [{ 'x-a': '☃' }, "'x-a'"],
    [{ 'x-a': null }, "'x-a'"], [{ 'x-a': ['b'] }, "'x-a'"], [{ 'x a': 'b' }, "'x a'"], [{ '': 'b' }, "''"],
    ['x-a: b', "''"], [['b'], "''"]
  ]
  const outcomes = (headers: unknown) => [
    authenticated({ id: 'ann' }, { headers: headers as Record<string, string> }),
    { ...authenticated({ id: 'ann' }), headers: headers as Record<string, string> },
    invalid('wrong', { headers: headers as Record<string, string> })
  ]
  for (const [headers, name] of wrong) {
    for (const outcome of outcomes(headers)) {
      t.match(await answer(own(() => outcome)), {
        status: 500,
        reason: `the scheme 'own' returned headers that cannot be sent: ${name}. They must be an object of texts`
      })
    }
  }
  for (const outcome of outcomes({ 'x-a': 'é\tb', 'x-n': 7 })) {
    t.match((await answer(own(() => outcome))).headers, { 'x-a': 'é\tb', 'x-n': /^7$/ })
  }
  for (const outcome of outcomes(null)) t.not((await answer(own(() => outcome))).status, 500)
})

t.test('refuses details of an outcome that are not functions, and a watch that has no end', async t => {
  for (const detail of ['onRevoked', 'recheck']) {
    for (const value of [7, {}, 'revoked', Promise.resolve(() => {})]) {
      const outcome = authenticated({ id: 'ann' }, { [detail]: value })
      t.match(await answer(own(() => outcome)), {
        status: 500, reason: new RegExp(`^the scheme 'own' returned ${detail} that is not a function\\. Got `)
      })
    }
  }
  const errors: unknown[] = []
  const read = (request: { auth: { signal: AbortSignal } }): void => {
    try {
      t.notOk(request.auth.signal.aborted)
    } catch (error) {
      errors.push((error as { detail: string }).detail)
    }
  }
  for (const end of [undefined, 7, Promise.resolve(() => {})]) {
    const { status } = await answer(own(() => authenticated({ id: 'ann' }, { onRevoked: () => end as never })), read)
    t.equal(status, 200, 'nothing is thrown when the connection closes')
  }
  t.strictSame(errors, ['undefined', '7', 'an object'].map(
    got => `onRevoked of the scheme 'own' must return a function that ends the watch. Got ${got}`
  ))
})

t.test('refuses what passwords.verify returns in place of { valid }, which would be a wrong password', async t => {
  const authorization = `Basic ${Buffer.from('ann:correct horse battery').toString('base64')}`
  const ask = async (result: unknown) => {
    const { app, log } = await createApplication({
      schemes: {
        own: basic({
          find: () => ({ hash: '$2b$hash', principal: { id: 'ann' } }),
          passwords: { verify: async () => result as never }
        })
      }
    })
    t.teardown(() => app.close())
    app.get('/', handler().handler)
    const { statusCode } = await app.inject({ url: '/', headers: { authorization } })
    return { status: statusCode, reason: log.find(line => line.level === 50)?.auth?.reason }
  }
  for (const [result, got] of [
    [true, 'true'], [undefined, 'undefined'], [null, 'null'], [{ valid: 1 }, 'an object'], [{}, 'an object']
  ] as const) {
    t.match(await ask(result), {
      status: 500, reason: `passwords.verify must return { valid: true } or { valid: false }. Got ${got}`
    })
  }
  t.match(await ask({ valid: true }), { status: 200 })
  t.match(await ask({ valid: false }), { status: 401 })
})

t.test('a promise in the place of a principal or a hash ends no process, and the log says what it is', async t => {
  const lost = (): never => Promise.reject(new Error('the database is down')) as never
  const authorization = `Basic ${Buffer.from('ann:correct horse battery').toString('base64')}`
  const message = "the principal in the outcome of the scheme 'own' must be an object with a non-empty string id"
  const reason = `${message}. Got a promise: await it first`
  t.match(await answer(own(() => authenticated(lost()))), { status: 500, reason })
  t.match(await answer(own(() => authenticated({ id: 'ann' }, { owner: lost() }))), { status: 500, reason })
  for (const find of [
    () => ({ hash: lost(), principal: { id: 'ann' } }), () => ({ hash: '', principal: lost() }),
    () => ({ hash: lost(), principal: lost() })
  ]) {
    const { app, log } = await createApplication({ schemes: { ops: basic({ find }) } })
    t.teardown(() => app.close())
    app.get('/', handler().handler)
    t.equal((await app.inject({ url: '/', headers: { authorization } })).statusCode, 500)
    const expected = 'schemes.ops: find must return { hash, principal } or null, and no promise in it: await it first'
    t.match(log.find(line => line.level === 50), { auth: { reason: expected } })
  }
})

t.test('refuses scopes of a frozen principal that are not texts, as of any other', async t => {
  for (const scopes of [[Symbol('a')], [1], ['a', undefined]] as never[]) {
    const principal = { realm: 'own', id: 'ann', scopes: Object.freeze(scopes), roles: Object.freeze([]) }
    for (const each of [principal, Object.freeze(principal)]) {
      t.match(await answer(own(() => authenticated(each))), {
        status: 500,
        reason: "the scopes of the principal in the outcome of the scheme 'own' must be a list of strings. " +
          'Got a list with other elements'
      })
    }
  }
})

t.test('names a misspelled detail of authenticated(), without which a credential would never expire', async t => {
  const soon = new Date(Date.now() - 1)
  for (const [details, reason] of [
    [{ expiresat: soon }, /^authenticated\(\) has no detail 'expiresat'\. Did you mean 'expiresAt'\? Known: owner, /],
    [{ expiresAt: undefined }, /^authenticated\(\) has 'expiresAt' set to undefined\. Set it to null, or leave it out/],
    [{ end: soon }, /^authenticated\(\) has no detail 'end'\. Known: owner, .* and headers$/],
    [soon, /^the details of authenticated\(\) must be an object, such as \{ expiresAt \}\. Got an object$/],
    [null, /^the details of authenticated\(\) must be an object, such as \{ expiresAt \}\. Got null$/],
    ['soon', /^the details of authenticated\(\) must be .* Got 'soon'$/],
    [new Map(), /^the details of authenticated\(\) must be an object/]
  ] as const) {
    t.match(await answer(own(() => authenticated({ id: 'ann' }, details as never))), { status: 500, reason })
  }
  t.match(await answer(own(() => authenticated({ id: 'ann' }, { credential: undefined }))), { status: 200 })
  const outcome = authenticated({ id: 'ann' }, { expiresAt: soon })
  t.match(await answer(own(() => authenticated({ id: 'bob' }, outcome as never))), { status: 401 }, 'those of another')
  t.match(await answer(own(() => authenticated({ id: 'bob' }, { expiresAt: soon }))), { status: 401 })
})

t.test('refuses a time of authentication in the future, which would meet every maxAge', async t => {
  const at = (ms: number) => own(() => authenticated({ id: 'ann' }, { authenticatedAt: new Date(ms) }))
  const now = Date.now()
  t.match(await answer(at(now * 1000)), {
    status: 500,
    reason: "the scheme 'own' returned an authenticatedAt in the future, which would meet every maxAge. A Date is " +
      'made of milliseconds since 1970'
  })
  t.match(await answer(at(now + 3_700_000)), { status: 500 })
  t.match(await answer(at(now + 60_000)), { status: 200 }, 'the clock of another machine may be ahead')
})

t.test('gives the error handler a fault with one message', async t => {
  const { app } = await createApplication({ schemes: { own: apiKey({ verify: () => true as never }) } })
  t.teardown(() => app.close())
  const errors: unknown[] = []
  app.setErrorHandler(async (error, _request, reply) => {
    errors.push(error)
    return await reply.code(500).send()
  })
  app.get('/', handler().handler)
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': 'any' } })).statusCode, 500)
  t.match(errors, [{ code: 'AUTH_FAULT', detail: /^the result of schemes\.own\.verify must be/, cause: undefined }])
})

t.test('names the function that returned no principal, and what it returned instead', async t => {
  const secret = secretOf()
  const basicHeader = `Basic ${Buffer.from('ann:correct horse battery').toString('base64')}`
  const options = { keys: secret, issuer: 'https://id.example.com', audience: 'api', sign: true } as const
  const ask = async (scheme: unknown, authorization?: string) => {
    const { app, log } = await createApplication({ schemes: { own: scheme as Scheme } })
    t.teardown(() => app.close())
    app.get('/', handler().handler)
    const token = authorization ?? `Bearer ${await app.gatehouse.tokens.issue({ id: 'ann' })}`
    const { statusCode } = await app.inject({ url: '/', headers: { authorization: token } })
    return { status: statusCode, reason: log.find(line => line.level === 50)?.auth?.reason }
  }
  for (const [result, got] of [
    [true, 'true'], ['correct horse battery', 'a text'], [7, '7'], [['ann'], 'a list'],
    [{ id: 7 }, 'an object whose id is 7'], [{ id: '' }, "an object whose id is ''"]
  ] as const) {
    const messageFor = (source: string) => `${source} must be an object with a non-empty string id. Got ${got}`
    const answers = [
      [await ask(apiKey({ from: 'bearer', verify: () => result as never }), 'Bearer any'), 'verify'],
      [await ask(basic({ verify: () => result as never }), basicHeader), 'verify'],
      [await ask(jwt({ ...options, principal: () => result as never })), 'principal']
    ] as const
    for (const [answer, name] of answers) {
      t.match(answer, { status: 500, reason: messageFor(`the result of schemes.own.${name}`) })
    }
  }
  const loaded = basic({ verify: () => ({ id: 'ann' }), load: () => ({ roles: 'admin' }) as never })
  t.match(await ask(loaded, basicHeader), {
    status: 500, reason: "the roles of the result of load for the scheme 'own' must be a list of strings. Got a text"
  })
  const mixed = basic({ verify: () => ({ id: 'ann', scopes: ['a', 7] }) as never })
  t.match(await ask(mixed, basicHeader), {
    status: 500,
    reason: 'the scopes of the result of schemes.own.verify must be a list of strings. Got a list with other elements'
  })
})

t.test('read() describes a value that is not a request, and reply.login one that is not a realm', async t => {
  for (const request of [undefined, null, 'bearer', ['bearer']] as never[]) {
    const detail = "read(request, from) needs Fastify's request"
    t.throws(() => read(request, 'bearer'), { code: 'AUTH_FAULT', detail })
  }
  const { app } = await createApplication({ schemes: { web: session({ secret: secretOf() }) } })
  t.teardown(() => app.close())
  const details: unknown[] = []
  app.get('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    for (const principal of [{ id: 'ann', realm: Object.create(null) }, { id: Object.create(null), realm: 'web' }]) {
      await reply.login(principal as never).catch((error: unknown) => { details.push((error as AuthError).detail) })
    }
    return {}
  })
  await app.inject('/login')
  t.strictSame(details, [
    'the realm of the principal of reply.login() must be a non-empty string. Got an object',
    'the principal of reply.login() must be an object with a non-empty string id. Got an object whose id is an object'
  ])
})
