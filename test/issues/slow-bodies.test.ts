import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as send, type ClientRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, {
  AuthError,
  absent,
  apiKey,
  authenticated,
  invalid,
  jwt,
  memoryStore,
  session,
  type GatehouseOptions,
  type Outcome,
  type Scheme,
  type SchemeFactory,
  type Store
} from '../../lib/index.js'
import { withoutSubscribe } from '../schemes/session/stores.js'

/** A credential that ends while the body is sent grants nothing. */

const secret = randomBytes(32).toString('base64url')
const owner = { realm: 'web', id: 'ann' }

interface Answer { readonly status: number, readonly code: string, readonly body: string }

async function application (
  t: Test,
  options: GatehouseOptions,
  prepare: (app: FastifyInstance) => void = () => {}
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, { publicPaths: ['/login'], ...options })
  app.post('/login', async (_request, reply) => { await reply.login({ id: 'ann' }); return '' })
  for (const mode of ['required', 'optional', 'try'] as const) {
    app.post(`/${mode}`, { config: { auth: { mode } } }, async request => ({
      id: request.principal?.id ?? null,
      roles: request.principal?.roles,
      code: request.auth.error?.code
    }))
  }
  prepare(app)
  return app
}

/** Sends a request whose body ends only after `meanwhile`, which runs once the first stage accepted it. */
async function sendSlowly (
  app: FastifyInstance,
  url: string,
  headers: Record<string, string>,
  meanwhile: () => unknown
): Promise<Answer> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const entered = new Promise<void>(resolve => {
    arrivals.set(app, resolve)
  })
  const request: ClientRequest = send({
    port,
    method: 'POST',
    path: url,
    headers: { ...headers, 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
  })
  const response = once(request, 'response') as Promise<[IncomingMessage]>
  request.write('{"a":')
  // on a busy machine a short-lived credential may end before the first stage, which then refuses it
  await Promise.race([entered, response])
  await meanwhile()
  await pause(150)
  request.end('1}')
  const [answer] = await response
  let body = ''
  for await (const chunk of answer) body += String(chunk)
  return { status: answer.statusCode ?? 0, code: (JSON.parse(body) as { code?: string }).code ?? '', body }
}

const arrivals = new WeakMap<FastifyInstance, () => void>()

/**
 * Notifies the test when the first stage of a request is over: the plugin's hook runs before one that is added later.
 */
function notifyEntry (app: FastifyInstance): void {
  app.addHook('preParsing', async () => { arrivals.get(app)?.() })
}

async function cookieOf (app: FastifyInstance): Promise<Record<string, string>> {
  const login = await app.inject({ method: 'POST', url: '/login' })
  return { cookie: String(login.headers['set-cookie']).split(';', 1)[0] ?? '' }
}

t.test('admits a request whose credential is still valid, and re-checks only slow bodies', async t => {
  const store = memoryStore()
  const app = await application(
    t,
    {
      store,
      schemes: {
        web: session({ secret }),
        service: apiKey({ managed: { prefix: 'acme' } }),
        user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true })
      },
      default: ['web', 'service', 'user']
    },
    notifyEntry
  )
  const { key } = await app.gatehouse.apiKeys.of(owner).create({ name: 'k' })
  const token = await app.gatehouse.tokens.issue({ id: 'ann' })
  for (const headers of [await cookieOf(app), { 'x-api-key': key }, { authorization: `Bearer ${token}` }]) {
    t.match(await sendSlowly(app, '/required', headers, () => {}), { status: 200, body: /"id":"ann"/ })
  }
})

t.test('refuses what a guard before the body let in on a public route, if its credential has ended since', async t => {
  for (const errors of ['fastify', 'problem'] as const) {
    const app = await application(
      t,
      { store: memoryStore(), schemes: { service: apiKey({ managed: { prefix: 'acme' } }) }, publicPaths: [], errors },
      app => {
        const guarded = { config: { auth: false }, onRequest: app.gatehouse.guard('service') } as const
        app.post('/guarded', guarded, async () => ({ id: 'ann' }))
        notifyEntry(app)
      }
    )
    const keys = app.gatehouse.apiKeys.of(owner)
    const { key, record } = await keys.create({ name: 'k' })
    t.match(await sendSlowly(app, '/guarded', { 'x-api-key': key }, () => {}), { status: 200, body: /"id":"ann"/ })
    t.match(
      await sendSlowly(app, '/guarded', { 'x-api-key': key }, () => keys.revoke(record.id)),
      { status: 401, code: 'AUTH_INVALID_CREDENTIALS' },
      errors
    )
  }
})

t.test('repeats each guard of a public route after a slow body, and not only the latest', async t => {
  const other = apiKey({ verify: () => ({ id: 'bob' }), from: 'header:x-other' })
  const schemes = { service: apiKey({ managed: { prefix: 'acme' } }), other }
  const app = await application(t, { store: memoryStore(), schemes, default: 'service', publicPaths: [] }, app => {
    const onRequest = [app.gatehouse.guard('service'), app.gatehouse.guard('other')]
    app.post('/both', { config: { auth: false }, onRequest }, async ({ principal }: FastifyRequest) => principal)
    notifyEntry(app)
  })
  const keys = app.gatehouse.apiKeys.of(owner)
  const { key, record } = await keys.create({ name: 'k' })
  const headers = { 'x-api-key': key, 'x-other': 'any' }
  t.match(await sendSlowly(app, '/both', headers, () => {}), { status: 200, body: /"id":"bob"/ })
  t.match(
    await sendSlowly(app, '/both', headers, () => keys.revoke(record.id)),
    { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }
  )
})

t.test('remembers over a slow body that a credential did not come in a cookie', async t => {
  const app = await application(
    t,
    {
      store: memoryStore(),
      schemes: {
        service: apiKey({ managed: { prefix: 'acme' }, from: ['header:x-api-key', 'cookie:key'] }),
        user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true, from: ['bearer', 'cookie:token'] })
      },
      default: ['service', 'user'],
      publicPaths: []
    },
    notifyEntry
  )
  const { key } = await app.gatehouse.apiKeys.of(owner).create({ name: 'k' })
  const token = await app.gatehouse.tokens.issue({ id: 'ann' })
  for (const [name, value] of [['x-api-key', key], ['authorization', `Bearer ${token}`]] as const) {
    const answer = await sendSlowly(app, '/required', { [name]: value, origin: 'https://other.test' }, () => {})
    t.match(answer, { status: 200, body: /"id":"ann"/ }, name)
  }
})

t.test('refuses a token that expired before the body ended', async t => {
  for (const options of [{}, { maxTokenAge: 1 }] as const) {
    const app = await application(
      t,
      {
        schemes: { user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true, ...options }) },
        publicPaths: []
      },
      notifyEntry
    )
    const token = await app.gatehouse.tokens.issue({ id: 'ann' }, { expiresIn: 'maxTokenAge' in options ? 60 : 1 })
    const { exp, iat } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number
      iat: number
    }
    const end = 'maxTokenAge' in options ? iat + 1 : exp
    const answer = await sendSlowly(app, '/required', { authorization: `Bearer ${token}` }, () =>
      pause(end * 1000 - Date.now() + 50)
    )
    t.match(answer, { status: 401, code: 'AUTH_TOKEN_EXPIRED' })
  }
})

t.test('applies maxTokenAge before exp to a slow body', async t => {
  const app = await application(t, {
    schemes: { user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true, maxTokenAge: '1m' }) },
    publicPaths: []
  })
  app.get('/end', async request => request.auth.expiresAt)
  const token = await app.gatehouse.tokens.issue({ id: 'ann' }, { expiresIn: '1h' })
  const end = Date.parse(((await app.inject({ url: '/end', headers: { authorization: `Bearer ${token}` } })).body))
  const { iat } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { iat: number }
  t.equal(end, (iat + 60) * 1000)
})

t.test('refuses a token whose key is withdrawn or whose owner is rejected before the body ended', async t => {
  const signer = await application(t, {
    schemes: { user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true }) },
    publicPaths: []
  })
  const headers = { authorization: `Bearer ${await signer.gatehouse.tokens.issue({ id: 'ann', roles: ['clerk'] })}` }
  const now = { key: secret as string | null, mapped: true, loaded: true }
  const user = jwt({
    keys: async () => now.key,
    issuer: 'i',
    audience: 'a',
    principal: claims => now.mapped && { id: String(claims.sub) },
    load: () => now.loaded && { id: 'ann' }
  })
  const app = await application(t, { schemes: { user }, publicPaths: [] }, notifyEntry)
  for (const change of [{ key: null }, { mapped: false }, { loaded: false }]) {
    const before = { ...now }
    t.match(
      await sendSlowly(app, '/required', headers, () => Object.assign(now, change)),
      { status: 401, code: 'AUTH_INVALID_CREDENTIALS' },
      JSON.stringify(change)
    )
    Object.assign(now, before)
    const tried = await sendSlowly(app, '/try', headers, () => Object.assign(now, change))
    t.match(
      tried,
      { status: 200, code: 'AUTH_INVALID_CREDENTIALS', body: /"id":null/ },
      'a route that forgives has an anonymous caller'
    )
    Object.assign(now, before)
  }
})

t.test('refuses a managed key that was revoked, expired or lost its owner before the body ended', async t => {
  const owners = { now: { id: 'ann', roles: ['clerk'] } as { id: string, roles: string[] } | null }
  for (const load of [undefined, () => owners.now]) {
    const app = await application(
      t,
      {
        schemes: {
          service: apiKey({
            managed: { prefix: 'acme', staleness: load === undefined ? 5 : 0 },
            ...(load === undefined ? {} : { load })
          })
        },
        publicPaths: []
      },
      app => {
        notifyEntry(app)
        app.post('/clerk', { config: { auth: { roles: 'clerk' } } }, async request => ({
          roles: request.principal?.roles
        }))
      }
    )
    const make = async (expiresAt: Date | null = null) =>
      app.gatehouse.apiKeys.of(owner).create({ name: 'k', roles: load === undefined ? [] : ['clerk'], expiresAt })
    const { key, record } = await make()
    t.match(
      await sendSlowly(app, '/required', { 'x-api-key': key }, () =>
        app.gatehouse.apiKeys.ofAnyOwner().revoke(record.id)
      ),
      { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }
    )
    const end = new Date(Date.now() + 1_000)
    const ending = await make(end)
    t.match(
      await sendSlowly(app, '/required', { 'x-api-key': ending.key }, () => pause(end.getTime() - Date.now() + 50)),
      { status: 401, code: 'AUTH_TOKEN_EXPIRED' }
    )
    if (load === undefined) continue
    const another = await make()
    t.match(
      await sendSlowly(app, '/clerk', { 'x-api-key': another.key }, () => {
        owners.now = { id: 'ann', roles: [] }
      }),
      { status: 403, code: 'AUTH_ACCESS_DENIED' },
      'the key loses the right that its owner lost'
    )
    t.match(
      await sendSlowly(app, '/required', { 'x-api-key': another.key }, () => {
        owners.now = { id: 'ann', roles: ['clerk'] }
      }),
      { status: 200, body: /clerk/ },
      'and the handler sees what the principal is now'
    )
    t.match(
      await sendSlowly(app, '/required', { 'x-api-key': another.key }, () => {
        owners.now = null
      }),
      { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }
    )
  }
})

t.test('refuses what another instance revoked, within the staleness, if the store does not notify', async t => {
  const store = withoutSubscribe(memoryStore())
  const schemes = () => ({
    web: session({ secret, staleness: 0 }),
    service: apiKey({ managed: { prefix: 'acme', staleness: 0 } })
  })
  const options = { store, default: ['web', 'service'] } as const
  const [here, there] = [
    await application(t, { ...options, schemes: schemes() }, notifyEntry),
    await application(t, { ...options, schemes: schemes() })
  ]
  const { key, record } = await there.gatehouse.apiKeys.of(owner).create({ name: 'k' })
  t.match(
    await sendSlowly(here, '/required', { 'x-api-key': key }, () =>
      there.gatehouse.apiKeys.ofAnyOwner().revoke(record.id)
    ),
    { status: 401 }
  )
  t.match(
    await sendSlowly(here, '/required', await cookieOf(there), () => there.gatehouse.sessions.of(owner).revokeAll()),
    { status: 401 }
  )
})

t.test('refuses a session that ended before the body, with a store and without', async t => {
  for (const store of [memoryStore(), undefined]) {
    const app = await application(
      t,
      { ...(store === undefined ? {} : { store }), schemes: { web: session({ secret }) } },
      notifyEntry
    )
    const { sessions } = app.gatehouse
    t.match(await sendSlowly(app, '/required', await cookieOf(app), () => sessions.of(owner).revokeAll()), {
      status: 401,
      code: 'AUTH_REQUIRED'
    })
    t.match(
      await sendSlowly(app, '/optional', await cookieOf(app), () => app.gatehouse.sessions.of(owner).revokeAll()),
      { status: 200, body: /"id":null/ },
      'as a session that ended before'
    )
    const short = await application(
      t,
      {
        ...(store === undefined ? {} : { store }),
        schemes: { web: session({ secret, idleTimeout: 1, absoluteTimeout: 1 }) }
      },
      notifyEntry
    )
    t.match(await sendSlowly(short, '/required', await cookieOf(short), () => pause(1_000)), {
      status: 401,
      code: 'AUTH_REQUIRED'
    })
  }
})

t.test('does not re-check a session that the request itself began or ended', async t => {
  const app = await application(t, { store: memoryStore(), schemes: { web: session({ secret }) } }, app => {
    notifyEntry(app)
    app.post(
      '/again',
      {
        preValidation: async (_request, reply) => {
          await reply.login({ id: 'ann' }, { renew: true })
        }
      },
      async request => ({ id: request.principal?.id })
    )
  })
  t.match(await sendSlowly(app, '/again', await cookieOf(app), () => {}), { status: 200, body: /"id":"ann"/ })
})

t.test('re-checks a session whose scheme was called with another request by a scheme around it', async t => {
  const web: SchemeFactory = async (app, name, context) => {
    const made = await session({ secret })(app, name, context)
    if (!('scheme' in made)) return made
    const { scheme, features } = made
    return { scheme: { ...scheme, authenticate: request => scheme.authenticate(Object.create(request)) }, features }
  }
  const app = await application(t, { schemes: { web } }, notifyEntry)
  const headers = await cookieOf(app)
  t.match(await sendSlowly(app, '/required', headers, () => {}), { status: 200, body: /"id":"ann"/ })
  const revoke = () => app.gatehouse.sessions.of(owner).revokeAll()
  t.match(await sendSlowly(app, '/required', headers, revoke), { status: 401, code: 'AUTH_REQUIRED' })
})

t.test('answers 503 if the store is unavailable after the body, and 500 if it fails otherwise', async t => {
  const inner = memoryStore()
  let failure: Error | null = null
  const store: Store = {
    ...inner,
    get: async (...args) => {
      if (failure !== null) throw failure
      return inner.get(...args)
    }
  }
  const app = await application(
    t,
    {
      store,
      schemes: {
        web: session({ secret, staleness: 0 }),
        service: apiKey({ managed: { prefix: 'acme', staleness: 0 } })
      },
      default: ['web', 'service']
    },
    notifyEntry
  )
  const { key } = await app.gatehouse.apiKeys.of(owner).create({ name: 'k' })
  for (const headers of [{ 'x-api-key': key }, await cookieOf(app)]) {
    for (const [error, status] of [
      [new AuthError('AUTH_UNAVAILABLE', 'down'), 503],
      [new AuthError('AUTH_FAULT', 'broken'), 500]
    ] as const) {
      failure = null
      t.match(await sendSlowly(app, '/required', headers, () => { failure = error }), { status })
    }
    failure = null
  }
})

t.test('calls a custom scheme again, and checks the expiry that it returned', async t => {
  const now: { answer: () => Outcome; expiresAt: Date | null; rechecked: number } = {
    answer: () => first(),
    expiresAt: null,
    rechecked: 0
  }
  const first = (): Outcome =>
    authenticated(
      { id: 'ann' },
      {
        expiresAt: now.expiresAt,
        recheck: request => {
          t.equal(request.headers['x-own'], '1', 'the function receives the request')
          now.rechecked++
          return now.answer()
        }
      }
    )
  const own: Scheme = {
    openapi: { type: 'http', scheme: 'x' },
    authenticate: ({ headers }) =>
      headers['x-own'] === undefined
        ? absent
        : headers['x-own'] === 'bare'
          ? authenticated({ id: 'ann' }, { expiresAt: now.expiresAt })
          : first()
  }
  const app = await application(t, { schemes: { own }, publicPaths: [] }, app => {
    notifyEntry(app)
    const hook = app.gatehouse.guard(true)
    app.post(
      '/hooks',
      { config: { auth: { public: 'guarded by hooks' } }, onRequest: hook, preHandler: hook },
      async () => ({ reached: true })
    )
  })
  const headers = { 'x-own': '1' }
  t.match(await sendSlowly(app, '/required', headers, () => {}), { status: 200 })
  t.equal(now.rechecked, 1)
  for (let i = 0; i < 10; i++) {
    t.equal((await app.inject({ method: 'POST', url: '/required', headers, payload: {} })).statusCode, 200)
  }
  // on a busy machine, a quick request may be slow
  t.ok(now.rechecked < 11, 'a quick request is not checked again')
  for (const url of ['/required', '/hooks']) {
    now.answer = first
    t.match(
      await sendSlowly(app, url, headers, () => {
        now.answer = () => invalid('revoked')
      }),
      { status: 401, code: 'AUTH_INVALID_CREDENTIALS' },
      url
    )
    for (const sent of ['1', 'bare']) {
      now.answer = first
      now.expiresAt = new Date(Date.now() + 300)
      t.match(
        await sendSlowly(app, url, { 'x-own': sent }, () => pause(300)),
        { status: 401, code: 'AUTH_TOKEN_EXPIRED' },
        `${url}, ${sent}`
      )
      now.expiresAt = null
    }
  }
})

t.test('extends no credential if the clock is set back', async t => {
  const real = Date.now
  t.teardown(() => {
    Date.now = real
  })
  const app = await application(
    t,
    { schemes: { service: apiKey({ managed: { prefix: 'acme' } }) }, publicPaths: [] },
    notifyEntry
  )
  const { key, record } = await app.gatehouse.apiKeys.of(owner).create({ name: 'k' })
  const answer = await sendSlowly(app, '/required', { 'x-api-key': key }, async () => {
    await app.gatehouse.apiKeys.ofAnyOwner().revoke(record.id)
    Date.now = () => real() - 60_000
  })
  t.match(answer, { status: 401, code: 'AUTH_INVALID_CREDENTIALS' })
})
