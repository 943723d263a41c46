import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, memoryStore, session, type GatehouseEvents, type Store } from '../../lib/index.js'
import { recordNamedEvents } from '../fixtures/events.js'
import { createApplication, scripted } from '../fixtures/schemes.js'

async function boot (t: Test, store: Store = memoryStore()): Promise<FastifyInstance> {
  const app = Fastify({ genReqId: () => 'req-7' })
  t.teardown(() => app.close())
  await app.register(gatehouse, {
    store,
    schemes: {
      own: scripted('own'),
      service: apiKey({ managed: { prefix: 'acme' } }),
      web: session({ secret: randomBytes(32).toString('base64url') })
    },
    default: ['own', 'service', 'web']
  })
  app.get('/orders/:id', () => 'in')
  app.get('/admin', { config: { auth: { roles: 'admin' } } }, () => 'in')
  app.get('/often', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, () => 'in')
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ada' })
  })
  app.post('/guess', { config: { auth: { public: 'logs in' } } }, async (_request, reply) =>
    await app.gatehouse.guesses.attempt(reply, 'ada', () => null) ?? reply.challenge())
  app.post('/logout', async (_request, reply) => { await reply.logout() })
  return app
}

const own = (value: string): InjectOptions['headers'] => ({ 'x-own': value })
const fields = (route: string | null, method = 'GET') => ({ requestId: 'req-7', method, route })

t.test('publishes who gets in and who is refused, with the pattern of the route', async t => {
  const app = await boot(t)
  const events = recordNamedEvents(t, 'authenticated', 'refused', 'denied', 'throttled', 'unavailable', 'fault')
  const send = async (url: string, value?: string): Promise<number> => {
    events.length = 0
    return (await app.inject({ url, ...value === undefined ? {} : { headers: own(value) } })).statusCode
  }
  t.equal(await send('/orders/7?secret=1', 'ann'), 200)
  t.same(events, [['authenticated', { ...fields('/orders/:id'), scheme: 'own', realm: 'own', id: 'ann' }]])
  t.ok(Object.isFrozen(events[0]?.[1]))
  t.equal(await send('/orders/7'), 401)
  t.match(events, [['refused', { ...fields('/orders/:id'), code: 'AUTH_REQUIRED', scheme: null }]])
  t.equal(await send('/orders/7', 'invalid'), 401)
  t.match(events, [['refused', { code: 'AUTH_INVALID_CREDENTIALS', scheme: 'own', reason: 'secret reason' }]])
  t.notOk(events.some(([, payload]) => Object.hasOwn(payload as object, 'retryAfter')), 'only where waiting helps')
  t.equal(await send('/admin', 'ann'), 403)
  t.match(events, [['denied', { ...fields('/admin'), code: 'AUTH_ACCESS_DENIED', scheme: 'own' }]])
  t.equal(await send('/often', 'ann'), 200)
  t.equal(await send('/often', 'ann'), 429)
  t.match(events.at(-1), ['throttled', { code: 'AUTH_RATE_LIMITED', retryAfter: Number }])
  t.equal(await send('/orders/7', 'unavailable'), 503)
  t.match(events, [['unavailable', { code: 'AUTH_UNAVAILABLE', retryAfter: 17 }]])
  t.equal(await send('/orders/7', 'throw'), 500)
  t.match(events, [['fault', { ...fields('/orders/:id'), code: 'AUTH_FAULT', reason: String }]])
})

t.test('writes the name of the event into the log line about the request', async t => {
  const { app, log } = await createApplication({
    schemes: { own: scripted('own'), web: session({ secret: randomBytes(32).toString('base64url') }) },
    default: ['own', 'web']
  })
  t.teardown(() => app.close())
  app.get('/orders/:id', () => 'in')
  app.get('/admin', { config: { auth: { roles: 'admin' } } }, () => 'in')
  app.get('/often', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, () => 'in')
  app.get('/message', { config: { auth: { public: 'a connection' } } }, async request =>
    (await app.gatehouse.authenticate('own', 'invalid', { request })).kind)
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ada' })
  })
  app.post('/logout', async (_request, reply) => { await reply.logout() })
  const lines = async (request: InjectOptions) => {
    log.length = 0
    await app.inject(request)
    return log.flatMap(({ level, event, auth }) =>
      event === undefined ? [] : [[level, event, auth?.code]])
  }
  const get = (url: string, value?: string): InjectOptions =>
    ({ url, ...value === undefined ? {} : { headers: own(value) } })
  const [info, error] = [30, 50]
  t.same(await lines(get('/orders/7')), [[info, 'refused', 'AUTH_REQUIRED']])
  t.same(await lines(get('/orders/7', 'invalid')), [[info, 'refused', 'AUTH_INVALID_CREDENTIALS']])
  t.same(await lines(get('/message')), [[info, 'refused', 'AUTH_INVALID_CREDENTIALS']])
  t.same(await lines(get('/admin', 'ann')), [[info, 'denied', 'AUTH_ACCESS_DENIED']])
  t.same(await lines(get('/often', 'ann')), [])
  t.same(await lines(get('/often', 'ann')), [[info, 'throttled', 'AUTH_RATE_LIMITED']])
  t.same(await lines(get('/orders/7', 'unavailable')), [[info, 'unavailable', 'AUTH_UNAVAILABLE']])
  t.same(await lines(get('/orders/7', 'throw')), [[error, 'fault', 'AUTH_FAULT']])
  t.same(await lines({ method: 'POST', url: '/login' }), [[info, 'login', undefined]])
  const login = await app.inject({ method: 'POST', url: '/login' })
  const cookie = String(login.headers['set-cookie']).split(';')[0]
  t.same(await lines({ method: 'POST', url: '/logout', headers: { cookie } }), [[info, 'logout', undefined]])
})

t.test('publishes wrong guesses, and those that were too many', async t => {
  const app = await boot(t)
  const events = recordNamedEvents(t, 'refused', 'throttled')
  const guess = async () => (await app.inject({ method: 'POST', url: '/guess' })).statusCode
  for (let i = 0; i < 5; i++) t.equal(await guess(), 401)
  t.equal(await guess(), 429)
  t.same(events.map(([name]) => name), [...Array(5).fill('refused'), 'throttled'])
  t.match(events.at(-1), ['throttled', { ...fields('/guess', 'POST'), code: 'AUTH_RATE_LIMITED', retryAfter: Number }])
})

t.test('has no route for a path that does not exist', async t => {
  const app = await boot(t)
  app.addHook('onRequest', app.gatehouse.guard({ schemes: 'own' }))
  const events = recordNamedEvents(t, 'refused')
  t.equal((await app.inject('/nowhere')).statusCode, 401)
  t.match(events, [['refused', fields(null)]])
})

t.test('publishes an event for each credential once, whatever guards the request passes', async t => {
  const app = await boot(t)
  const both = { schemes: [{ all: ['own', 'service'] as const }] }
  const twice = app.gatehouse.guard({ schemes: 'own' })
  app.get('/both', { config: { auth: both }, preHandler: twice }, () => 'in')
  const { key } = await app.gatehouse.apiKeys.of({ realm: 'own', id: 'ann' }).create({ name: 'laptop' })
  const events = recordNamedEvents(t, 'authenticated')
  t.equal((await app.inject({ url: '/both', headers: { ...own('ann'), 'x-api-key': key } })).statusCode, 200)
  t.match(events, [['authenticated', { scheme: 'own' }], ['authenticated', { scheme: 'service', id: 'ann' }]])
})

t.test('publishes logins and logouts, without the cookie', async t => {
  const app = await boot(t)
  const events = recordNamedEvents(t, 'login', 'logout')
  const login = await app.inject({ method: 'POST', url: '/login' })
  const [cookie = ''] = String(login.headers['set-cookie']).split(';')
  t.match(events, [['login', { ...fields('/login', 'POST'), scheme: 'web', realm: 'web', id: 'ada', renewed: false }]])
  const { session: id } = events[0]?.[1] as GatehouseEvents['login']
  t.same((await app.gatehouse.sessions.of({ realm: 'web', id: 'ada' }).list()).map(each => each.id), [id])
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })).statusCode, 200)
  t.match(events.slice(1), [['logout', { ...fields('/logout', 'POST'), scheme: 'web', id: 'ada', session: id }]])
  t.notMatch(JSON.stringify(events), cookie.split('=')[1]?.slice(0, 12))
})

t.test('publishes logins that are refused, that the store cannot keep, and that are faults', async t => {
  const store = memoryStore()
  const app = await boot(t, { ...store, add: async () => { throw new Error('ECONNREFUSED') } })
  app.post('/nobody', { config: { auth: { public: 'a mistake' } } }, async (_request, reply) => {
    await reply.login({ id: '' })
  })
  const events = recordNamedEvents(t, 'denied', 'unavailable', 'fault')
  const login = async (url: string, site: string) =>
    (await app.inject({ method: 'POST', url, headers: { 'sec-fetch-site': site } })).statusCode
  t.equal(await login('/login', 'cross-site'), 403)
  t.equal(await login('/login', 'same-origin'), 503)
  t.equal(await login('/nobody', 'same-origin'), 500)
  t.match(events, [
    ['denied', { ...fields('/login', 'POST'), code: 'AUTH_CROSS_SITE', scheme: 'web', reason: /from another site/ }],
    ['unavailable', { ...fields('/login', 'POST'), code: 'AUTH_UNAVAILABLE', retryAfter: 5 }],
    ['fault', { ...fields('/nobody', 'POST'), code: 'AUTH_FAULT', reason: String }]
  ])
  t.equal(events.length, 3)
})

t.test('publishes credentials of messages that are refused', async t => {
  const app = await boot(t)
  app.get('/socket', { config: { auth: { public: 'a connection' } } }, async request =>
    (await app.gatehouse.authenticate('service', 'acme_wrong', { request })).kind)
  const events = recordNamedEvents(t, 'refused')
  t.equal((await app.inject('/socket')).body, 'invalid')
  t.match(events, [['refused', { ...fields('/socket'), code: 'AUTH_INVALID_CREDENTIALS', scheme: 'service' }]])
})

t.test('publishes the end of a session once, and of the one that the request itself began', async t => {
  const app = await boot(t)
  app.post('/twice', { config: { auth: { public: 'logs out' } } }, async (_request, reply) => {
    await reply.logout()
    await reply.logout()
  })
  app.post('/in-and-out', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ada' })
    await reply.logout()
  })
  const events = recordNamedEvents(t, 'login', 'logout')
  const login = await app.inject({ method: 'POST', url: '/login' })
  const headers = { cookie: String(login.headers['set-cookie']).split(';', 1).join() }
  for (let i = 0; i < 2; i++) t.equal((await app.inject({ method: 'POST', url: '/twice', headers })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/in-and-out' })).statusCode, 200)
  t.same(events.map(([name]) => name), ['login', 'logout', 'login', 'logout'])
  const [, , begun, ended] = events.map(([, event]) => (event as GatehouseEvents['logout']).session)
  t.equal(ended, begun)
})

t.test('publishes what happens to API keys, without the keys', async t => {
  const app = await boot(t)
  const events = recordNamedEvents(t, 'key-created', 'key-rotated', 'key-revoked', 'key-used-after-end')
  const keys = app.gatehouse.apiKeys.of({ realm: 'people', id: 'ada' })
  const [first, leaked] = [await keys.create({ name: 'a' }), await keys.create({ name: 'b' })]
  const next = await keys.rotate(first.record.id, { overlap: 0 })
  t.equal(await keys.revoke(String(next?.record.id)), true)
  t.equal(await keys.revoke(String(next?.record.id)), false)
  await app.gatehouse.apiKeys.revokeLeaked(leaked.key)
  await app.gatehouse.apiKeys.revokeLeaked(leaked.key)
  const base = { scheme: 'service', realm: 'people', id: 'ada' }
  t.same(events, [
    ['key-created', { ...base, key: first.record.id }],
    ['key-created', { ...base, key: leaked.record.id }],
    ['key-rotated', { ...base, key: first.record.id, successor: next?.record.id }],
    ['key-revoked', { ...base, key: next?.record.id, leaked: false }],
    ['key-revoked', { ...base, key: leaked.record.id, leaked: true }]
  ])
  t.notMatch(JSON.stringify(events), first.key.slice(5, 20))
})

t.test('publishes that a key was used after its end', async t => {
  const app = await boot(t)
  const events = recordNamedEvents(t, 'key-used-after-end')
  const expiresAt = new Date(Date.now() + 60_000)
  const keys = app.gatehouse.apiKeys.of({ realm: 'people', id: 'ada' })
  const { key, record: { id } } = await keys.create({ name: 'a', expiresAt })
  const send = async () => (await app.inject({ url: '/orders/7', headers: { 'x-api-key': key } })).statusCode
  t.equal(await send(), 200)
  t.intercept(Date, 'now', { value: () => expiresAt.getTime() + 1 })
  t.equal(await send(), 401)
  t.same(events, [['key-used-after-end', { scheme: 'service', key: id, realm: 'people', id: 'ada' }]])
})

t.test('publishes once that the store is down, and once that it is back', async t => {
  const inner = memoryStore()
  let isDown = false
  const get: Store['get'] = async (kind, id) => {
    if (isDown) throw new Error('connection to 10.0.0.1 with password hunter2 refused')
    return await inner.get(kind, id)
  }
  const app = await boot(t, { ...inner, get })
  const events = recordNamedEvents(t, 'store-down', 'store-up')
  const lookUp = async () => await app.gatehouse.apiKeys.ofAnyOwner().get(randomBytes(32).toString('base64url'))
  await lookUp()
  t.same(events, [])
  isDown = true
  for (let i = 0; i < 3; i++) await t.rejects(lookUp(), { code: 'AUTH_UNAVAILABLE' })
  isDown = false
  for (let i = 0; i < 3; i++) await lookUp()
  t.match(events, [['store-down', { reason: 'store: get failed: Error' }], ['store-up', { downFor: Number }]])
  t.notMatch(JSON.stringify(events), 'hunter2')
})

t.test('a subscriber that throws changes no answer', async t => {
  const app = await boot(t)
  const listener = (): void => { throw new Error('of the subscriber') }
  subscribe('fastify-gatehouse:refused', listener)
  const thrown = new Promise(resolve => { process.once('uncaughtException', resolve) })
  t.equal((await app.inject('/orders/7')).statusCode, 401)
  unsubscribe('fastify-gatehouse:refused', listener)
  t.match(await thrown, { message: 'of the subscriber' })
})
