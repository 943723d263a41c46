import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import authPlugin, { apiKey, apiKeyRoutes, AuthError, session, type Store, type StoreChange } from '../../lib/index.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { timeLimit, until } from '../fixtures/time-limit.js'
import { ann, createInstance, tappedStore } from '../schemes/api-key/app.js'
import { stream } from '../stores/fixtures/traffic.js'

/** Faults that appeared when a store was killed under load. */

for (const [form, handled] of [
  ["Fastify's own error handler", false],
  ['an error handler of the application', true]
] as const) {
  t.test(`answers Retry-After if a handler calls a store that is unavailable, with ${form}`, async t => {
    const tap = tappedStore()
    const app = Fastify()
    t.teardown(() => app.close())
    if (handled) {
      app.setErrorHandler((error: AuthError, _request, reply) =>
        reply.code(error.statusCode).send({ own: String(error.code) })
      )
    }
    const schemes = {
      service: apiKey({ managed: { prefix: 'acme' } }),
      web: session({ secret: randomBytes(32).toString('base64url') })
    }
    await app.register(authPlugin, { schemes, default: ['web', 'service'], store: tap.store })
    await app.register(apiKeyRoutes, { prefix: '/keys' })
    const open = { config: { auth: { public: 'for tests' } } }
    app.post('/login', open, async (_request, reply) => { await reply.login({ id: 'ann' }); return {} })
    app.get('/list', open, async () => await app.gatehouse.sessions.of(ann).list())
    app.delete('/revoke', open, async () => await app.gatehouse.apiKeys.ofAnyOwner().revoke('a'.repeat(43)))
    app.get('/later', open, async (_request, reply) => {
      reply.header('retry-after', '60')
      throw new AuthError('AUTH_UNAVAILABLE', 'the handler knows better')
    })
    app.get('/busy', open, async () => {
      throw Object.assign(new Error('busy'), { statusCode: 503 })
    })
    const login = await app.inject({ method: 'POST', url: '/login' })
    const headers = { cookie: String(login.headers['set-cookie']).split(';')[0] ?? '' }
    t.equal((await app.inject({ url: '/keys', headers })).statusCode, 200)
    tap.down = true
    for (const [method, url, expected] of [
      ['GET', '/keys', '5'],
      ['GET', '/list', '5'],
      ['DELETE', '/revoke', '5'],
      ['GET', '/later', '60'],
      ['GET', '/busy', undefined]
    ] as const) {
      const answer = await app.inject({ method, url, headers })
      t.same([answer.statusCode, answer.headers['retry-after'], 'own' in answer.json()], [503, expected, handled], url)
    }
  })
}

t.test('shares no earlier answer with a staleness of 0', async t => {
  const inner = memoryStore()
  const { subscribe, ...silent } = inner
  let answer = (): void => {}
  const slow = new Promise<void>(resolve => { answer = resolve })
  const waits = [slow]
  const store: Store = {
    ...silent,
    async get (kind, id) {
      const found = await inner.get(kind, id)
      await waits.pop()
      return found
    }
  }
  const managed = { prefix: 'acme', staleness: 0 }
  const [here, there] = [
    await createInstance(t, { managed }, { store }), await createInstance(t, { managed }, { store: inner })
  ]
  const { key, record } = await there.keys.of(ann).create({ name: 'k' })
  const before = here.status(key)
  while (waits.length > 0) await setImmediate()
  t.equal(await there.keys.ofAnyOwner().revoke(record.id), true)
  t.equal(
    await Promise.race([here.status(key), sleep(timeLimit(2_000), 'the answer from before is waited for')]),
    401,
    'who asks after the revocation is refused'
  )
  answer()
  t.equal(await before, 200, 'the request from before the revocation is accepted')
})

t.test('ends streams if the store recovers too late', async t => {
  const inner = memoryStore()
  const tap = tappedStore(inner)
  const listeners: ((change: StoreChange) => void)[] = []
  const store: Store = { ...tap.store, subscribe: (_kind, listener) => { listeners.push(listener); return () => {} } }
  const app = Fastify()
  const schemes = {
    service: apiKey({ managed: { prefix: 'acme' } }),
    web: session({ secret: randomBytes(32).toString('base64url') })
  }
  await app.register(authPlugin, { schemes, default: ['web', 'service'], store })
  app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  app.get('/events', async ({ auth: { signal } }, reply) => {
    reply.hijack()
    reply.raw.writeHead(200).write(': open\n\n')
    signal?.addEventListener('abort', () => { reply.raw.end() })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const { key } = await app.gatehouse.apiKeys.of(ann).create({ name: 'k' })
  const good = await app.gatehouse.apiKeys.of(ann).create({ name: 'good' })
  const cookie = String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie']).split(';')[0] ?? ''
  const callers: ReadonlyArray<Record<string, string>> = [{ cookie }, { 'x-api-key': key }, { 'x-api-key': good.key }]
  const streams = await Promise.all(callers.map(async headers => await stream({ port, path: '/events', headers })))
  t.teardown(async () => {
    for (const each of streams) each.close()
    await app.close()
  })
  tap.down = true
  for (const [kind, owner, except] of [
    ['api-key', ann, good.record.id],
    ['session', { realm: 'web web', id: 'ann' }]
  ] as const) { await inner.takeAll(kind, owner, except) }
  for (const listener of listeners) listener(null)
  await sleep(1_500)
  t.same(streams.map(each => each.endedAt()), [null, null, null], 'no stream ends while the store is down')
  tap.down = false
  await until(() => streams.every((each, n) => n === 2 || each.endedAt() !== null))
  t.same(streams.map(each => each.endedAt() === null), [false, false, true], 'the streams of ended credentials end')
})
