import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { apiKey, session } from '../../../lib/index.js'
import { createSeals, deriveKeys } from '../../../lib/schemes/session/cookie.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'
import { alice, createInstance } from './app.js'
import { clock, secret } from './bare-app.js'
import { withoutSubscribe, switchableStore } from './stores.js'

t.test('lists live sessions with creation, last use, address and user agent, if there is a store', async t => {
  const time = clock(t)
  const { sessions, enter, status } = await createInstance({ store: memoryStore() })
  const phone = await enter({}, { 'user-agent': 'Phone/1.0' })
  time.advance(10)
  const desk = await enter({}, { 'user-agent': `Desk/${'x'.repeat(2_000)}` })
  await enter({ id: 'bob' })
  await enter({ realm: 'elsewhere' })
  time.advance(120)
  t.equal(await status(phone.cookie), 200)
  await new Promise(resolve => setImmediate(resolve))
  const list = await sessions.of(alice).list()
  t.same(list.map(each => each.id), [phone.id, desk.id], 'the last seen first')
  t.same(list[0], {
    id: phone.id,
    owner: alice,
    createdAt: new Date(time.now() - 130_000).toISOString(),
    lastSeenAt: new Date(time.now()).toISOString(),
    expiresAt: new Date(time.now() - 130_000 + 43_200_000).toISOString(),
    address: '127.0.0.1',
    userAgent: 'Phone/1.0'
  })
  t.equal(list[1]?.userAgent.length, 256)
  t.equal(list[1]?.lastSeenAt, new Date(time.now() - 120_000).toISOString())
  t.equal((await sessions.of({ realm: 'elsewhere', id: 'alice' }).list()).length, 1)
  t.same(await sessions.of({ realm: 'web', id: 'nobody' }).list(), [])
})

t.test('lists a session over a Unix socket without address and user agent', async t => {
  const { app, sessions } = await createInstance({ store: memoryStore() })
  t.after(() => app.close())
  // a socket path of more than about 100 bytes is truncated, and the truncated file is not removed
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  const path = join(folder, 's')
  await app.listen({ path })
  const request = http.request({ socketPath: path, method: 'POST', path: '/login' }).end()
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 200)
  t.match(await sessions.of(alice).list(), [{ address: '', userAgent: '' }])
})

t.test('does not list expired sessions', async t => {
  const time = clock(t)
  const { sessions, enter } = await createInstance({
    store: memoryStore(),
    session: { idleTimeout: '30m', absoluteTimeout: '12h', keepTimeout: '30d', keepIdleTimeout: '7d' }
  })
  const { id } = await enter()
  const kept = await enter({ keep: true })
  time.advance(30 * 60 + 59)
  t.equal((await sessions.of(alice).list()).length, 2, 'it may have been seen within the minute that is not noted')
  time.advance(1)
  t.same(
    (await sessions.of(alice).list()).map(each => each.id),
    [kept.id]
  )
  t.equal(
    await sessions.ofAnyOwner().revoke(id),
    true,
    'an idle session can be revoked, because a newer copy of its cookie may be valid'
  )
  time.advance(8 * 86_400)
  t.same(await sessions.of(alice).list(), [])
})

t.test('writes the last use at most once a minute, outside of the request, and logs a failure', async t => {
  const time = clock(t)
  const { store, state } = switchableStore()
  let log = ''
  const { sessions, enter, status } = await createInstance({
    store: withoutSubscribe(store),
    session: { staleness: 0 },
    logger: {
      level: 'warn',
      stream: {
        write (line: string) {
          log += line
        }
      }
    }
  })
  const { cookie, id } = await enter()
  const swaps = () => state.calls.filter(call => call === 'swap').length
  for (const [seconds, count] of [[59, 0], [1, 1], [30, 1], [29, 1], [1, 2]] as const) {
    time.advance(seconds)
    await Promise.all([status(cookie), status(cookie), status(cookie)])
    await new Promise(resolve => setImmediate(resolve))
    t.equal(swaps(), count)
  }
  t.equal((await sessions.of(alice).list())[0]?.lastSeenAt, new Date(time.now()).toISOString())
  time.advance(60)
  state.down.add('swap')
  t.equal(await status(cookie), 200)
  await new Promise(resolve => setImmediate(resolve))
  t.match(log, /last seen could not be written/)
  t.notOk(log.includes(cookie.slice(12, 40)) || log.includes(id))
  state.down.clear()
  t.equal(await status(cookie), 200)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(
    (await sessions.of(alice).list())[0]?.lastSeenAt,
    new Date(time.now()).toISOString(),
    'the next request writes it'
  )
})

for (const [kind, withStore] of [['a store', true], ['no store', false]] as const) {
  t.test(`with ${kind}, ends a session by its id, and only that of the owner if one is given`, async t => {
    const { sessions, enter, status } = await createInstance(withStore ? { store: memoryStore() } : {})
    const [one, two] = [await enter(), await enter()]
    const mallory = { realm: 'web', id: 'mallory' }
    t.equal(await sessions.of(mallory).revoke(one.id), !withStore, 'without a store nobody knows whose it is')
    t.equal(await sessions.of({ realm: 'other', id: 'alice' }).revoke(one.id), !withStore)
    t.equal(await status(one.cookie), 200)
    t.equal(await sessions.of(alice).revoke(one.id), true)
    t.same([await status(one.cookie), await status(two.cookie)], [401, 200])
    t.equal(await sessions.ofAnyOwner().revoke(two.id), true)
    t.equal(await status(two.cookie), 401)
    if (withStore) t.equal(await sessions.ofAnyOwner().revoke(two.id), false, 'a session can be revoked once')
    for (const id of ['', 'x', 'x'.repeat(5_000), `${'x'.repeat(21)}\0`, null as unknown as string]) {
      t.equal(await sessions.of(alice).revoke(id), false)
    }
    if (withStore) t.equal(await sessions.of(alice).revoke('x'.repeat(22)), false)
  })

  t.test(`with ${kind}, ends all other sessions of a person, who can log in again at once`, async t => {
    clock(t)
    const { ask, sessions, enter, status } = await createInstance(withStore ? { store: memoryStore() } : {})
    const [one, two, three, bob, other] = [
      await enter(),
      await enter(),
      await enter(),
      await enter({ id: 'bob' }),
      await enter({ realm: 'other' })
    ]
    await sessions.of(alice).revokeAll({ except: two.id })
    t.same(
      await Promise.all([one, two, three, bob, other].map(async each => await status(each.cookie))),
      [401, 200, 401, 200, 200]
    )
    const renewed = await ask('/login', { cookie: two.cookie, body: { renew: true } })
    t.equal(await status(renewed.cookie), 200, 'the session that is left can be renewed')
    const four = await enter()
    t.equal(await status(four.cookie), 200)
    await sessions.of(alice).revokeAll()
    t.same(await Promise.all([two, four, bob].map(async each => await status(each.cookie))), [401, 401, 200])
    const five = await enter()
    t.equal(await status(five.cookie), 200)
    await sessions.of(alice).revokeAll({ except: one.id })
    t.equal(await status(one.cookie), 401, 'a session that has ended stays ended, even if it is the exception')
  })

  t.test(`with ${kind}, a renewal changes the id of a session and keeps its times, data and person`, async t => {
    const time = clock(t)
    const { ask, sessions, enter, status } = await createInstance(withStore ? { store: memoryStore() } : {})
    const before = await enter({ data: { step: 1 }, keep: true })
    const { body: was } = await ask('/me', { method: 'GET', cookie: before.cookie })
    time.advance(600)
    const { cookie, setCookies } = await ask('/login', { cookie: before.cookie, body: { renew: true } })
    t.match(setCookies[0], /Max-Age=/, 'the renewed session is still kept')
    const { body: is } = await ask('/me', { method: 'GET', cookie })
    t.not(is.session, was.session)
    t.same([is.authenticatedAt, is.data], [was.authenticatedAt, { step: 1 }], 'the person did not authenticate again')
    t.equal(await status(before.cookie), 401)
    const { cookie: third } = await ask('/login', { cookie, body: { renew: true, data: { step: 2 } } })
    t.same((await ask('/me', { method: 'GET', cookie: third })).body.data, { step: 2 })
    time.advance(30 * 86_400 - 600 - 1)
    t.equal((await ask('/login', { cookie: third, body: { renew: true } })).status, 401, 'idle for too long')

    const again = await enter()
    t.equal(
      (await ask('/login', { cookie: again.cookie, body: { renew: true, id: 'bob' } })).body.code,
      'AUTH_FAULT',
      'not for somebody else'
    )
    t.equal(
      (await ask('/login', { cookie: again.cookie, body: { renew: true, realm: 'other' } })).body.code,
      'AUTH_FAULT'
    )
    t.equal((await ask('/login', { body: { renew: true } })).body.code, 'AUTH_REQUIRED', 'not without a session')
    const twice = await Promise.all(
      [0, 1].map(async () => await ask('/login', { cookie: again.cookie, body: { renew: true } }))
    )
    t.same(twice.map(each => each.status).sort(), [200, 401], 'of two renewals at once one wins')
    await sessions.of(alice).revokeAll()
    const late = await ask('/login', {
      cookie: twice.find(each => each.status === 200)?.cookie ?? '',
      body: { renew: true }
    })
    t.equal(late.status, 401)
    t.same(late.setCookies, [])
    if (withStore) t.same(await sessions.of(alice).list(), [], 'nothing is left of the attempt')
  })
}

t.test('a persistent session outlives the browser, lives longer, and ends', async t => {
  const time = clock(t)
  const { ask, enter, status } = await createInstance({ session: { keepTimeout: '30d', keepIdleTimeout: '7d' } })
  t.notMatch((await enter()).setCookie, /Max-Age/)
  let { cookie, setCookie } = await enter({ keep: true })
  t.match(setCookie, /; Max-Age=604800$/)
  for (let day = 0; day < 28; day += 6) {
    time.advance(6 * 86_400)
    const answer = await ask('/me', { method: 'GET', cookie })
    t.equal(answer.status, 200)
    cookie = answer.cookie
    setCookie = answer.setCookies[0] ?? ''
    if (day === 24) t.same(answer.status, 200)
    if (day === 18) t.match(setCookie, /; Max-Age=518400$/, 'the absolute timeout limits the age of the cookie')
    if (day === 18) break
  }
  time.advance(6 * 86_400 - 1)
  t.equal(await status(cookie), 200)
  time.advance(1)
  t.equal(await status(cookie), 401)

  const idle = await enter({ keep: true })
  time.advance(7 * 86_400)
  t.equal(await status(idle.cookie), 401)

  const key = secret()
  const keeps = await createInstance({ session: { secret: key } })
  const not = await createInstance({ session: { secret: key }, loads: false })
  const kept = await keeps.enter({ keep: true })
  t.match(kept.setCookie, /; Max-Age=1209600$/, 'fourteen days by default')
  time.advance(1_800)
  t.equal(await keeps.status(kept.cookie), 200)
  t.equal(await not.status(kept.cookie), 401, 'where sessions are kept no more, the usual times count')
  const refused = await not.ask('/login', { body: { keep: true } })
  t.equal(refused.body.code, 'AUTH_FAULT')
  t.same(refused.setCookies, [])
})

t.test('keeps no secret in the store: even with the sealing secret no cookie can be made from it', async t => {
  const inner = memoryStore()
  const entries: unknown[] = []
  const key = secret()
  const { enter, status } = await createInstance({
    session: { secret: key },
    store: {
      ...inner,
      add: async entry => {
        entries.push(entry)
        return await inner.add(entry)
      }
    }
  })
  const { cookie, id } = await enter()
  t.equal(await status(cookie), 200)
  const text = JSON.stringify(entries)
  t.ok(text.includes(id))
  const keys = deriveKeys([Buffer.from(key)], 'session cookie', 'web')
  const [seal] = await createSeals(Fastify(), 'web', [{ name: 'cookie', keys }])
  const payload = seal.open(cookie.slice('__Host-web='.length))?.payload ?? {}
  t.notOk(text.includes(String(payload['s'])))
  t.equal(await status(`__Host-web=${seal.seal(payload)}`), 200, 'a cookie is made like this')
  t.equal(await status(`__Host-web=${seal.seal({ ...payload, s: id })}`), 401)
})

t.test('explains that listing requires a store and a session scheme', async t => {
  const { sessions } = await createInstance()
  await t.rejects(sessions.of(alice).list(), { code: 'AUTH_FAULT', detail: /listed only with a store.*option store/ })
  const app = Fastify()
  await app.register(gatehouse, { schemes: { service: apiKey({ keys: { [secret()]: { id: 'shop' } } }) } })
  const { of, ofAnyOwner } = app.gatehouse.sessions
  for (const ask of [() => of(alice), () => ofAnyOwner()]) {
    const detail = 'no scheme of this application can keep sessions: add one, created by session()'
    t.throws(ask, { code: 'AUTH_FAULT', detail })
  }
})

t.test('separates two session schemes in one store, and lists both for the application', async t => {
  const time = clock(t)
  const app = Fastify()
  const key = secret()
  const load = (principal: { id: string }) => principal
  await app.register(
    gatehouse,
    {
      store: memoryStore(),
      default: ['web', 'web-staff'],
      schemes: { web: session({ secret: key, load }), 'web-staff': session({ secret: key, load }) }
    }
  )
  app.post('/login/:scheme', { config: { auth: { public: 'for tests' } } }, async (request, reply) => {
    await reply.login({ realm: 'people', id: 'alice' }, { scheme: (request.params as { scheme: 'web' }).scheme })
    return {}
  })
  app.get('/me', async ({ auth }) => ({ scheme: auth.scheme, id: (auth.credential as { id: string }).id }))
  const enter = async (scheme: string) => {
    const cookie =
      String((await app.inject({ method: 'POST', url: `/login/${scheme}` })).headers['set-cookie']).split(';')[0] ??
      ''
    return { cookie, ...(await app.inject({ url: '/me', headers: { cookie } })).json<{ id: string }>() }
  }
  const web = await enter('web')
  time.advance(1)
  const staff = await enter('web-staff')
  const owner = { realm: 'people', id: 'alice' }
  t.same((await app.gatehouse.sessions.of(owner).list()).map(each => each.id), [staff.id, web.id])
  t.equal(await app.gatehouse.sessions.of(owner).revoke(staff.id), true)
  t.same((await app.gatehouse.sessions.of(owner).list()).map(each => each.id), [web.id])
  const again = await enter('web-staff')
  await app.gatehouse.sessions.of(owner).revokeAll({ except: web.id })
  t.same(
    await Promise.all(
      [web, again].map(async ({ cookie }) => (await app.inject({ url: '/me', headers: { cookie } })).statusCode)
    ),
    [200, 401]
  )
})
