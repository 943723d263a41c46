import cookie from '@fastify/cookie'
import secureSession from '@fastify/secure-session'
import fastifySession from '@fastify/session'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import gatehouse from '../../../lib/index.js'
import { session } from '../../../lib/schemes/session/scheme.js'
import { createScheme } from '../../fixtures/schemes.js'
import { addRoutes, alice, requester, clock, credentialOf, bareApp, secret } from './bare-app.js'

const get = (cookie: string) => ({ method: 'GET' as const, cookie })

/** Other plugins that an application may use. */
const neighbours: Record<string, (app: FastifyInstance) => Promise<unknown>> = {
  cookie: async app => { await app.register(cookie) },
  session: async app => {
    await app.register(cookie)
    await app.register(fastifySession, { secret: secret(), cookie: { secure: false } })
  },
  'secure-session': async app => {
    await app.register(secureSession, { key: Buffer.alloc(32, 7), sessionName: 'session', cookie: { path: '/' } })
  }
}

for (const [name, register] of Object.entries(neighbours)) {
  for (const order of ['before', 'after'] as const) {
    t.test(`works beside @fastify/${name} registered ${order} it`, async t => {
      const time = clock(t)
      const { app, ask, scheme, sessions } = await bareApp({}, { [order]: register })
      app.post('/theirs', async (request, reply) => {
        reply.setCookie('theirs', 'a')
        const own = (request as unknown as { session?: { set: (key: string, value: string) => void } }).session
        own?.set('visits', 'many')
        await sessions?.login(request, reply, alice, {})
        reply.setCookie('more', 'b')
        return { own: own === undefined }
      })
      app.get('/both', async (request, reply) => {
        reply.setCookie('theirs', 'c').header('set-cookie', 'raw=d')
        const own = (request as unknown as { session?: { get: (key: string) => string } }).session
        const outcome = await scheme.authenticate(request)
        return { kind: outcome.kind, visits: own?.get('visits') ?? null }
      })
      const begun = await ask('/theirs')
      const names = begun.setCookies.map(each => each.split('=')[0])
      t.same(names.filter(each => each === '__Host-web' || each === 'theirs' || each === 'more').toSorted(), [
        '__Host-web',
        'more',
        'theirs'
      ])
      t.equal(names.length, name === 'cookie' ? 3 : 4, 'their own session is set beside')
      time.advance(120)
      const jar = begun.setCookies.map(each => each.split(';')[0]).join('; ')
      const { body, setCookies } = await ask('/both', get(jar))
      t.same(body, { kind: 'authenticated', visits: name === 'cookie' ? null : 'many' })
      for (const each of ['__Host-web=', 'theirs=c', 'raw=d']) {
        t.equal(setCookies.filter(line => line.startsWith(each)).length, 1, each)
      }
    })
  }
}

t.test('works inside a plugin between plugins that load before and after it', async t => {
  const app = Fastify()
  app.register(cookie)
  app.register(async child => { child.get('/child', async () => ({})) })
  app.register(fp(async app => { addRoutes(app, await createScheme(session({ secret: secret() }), app, 'web')) }))
  app.register(secureSession, { key: Buffer.alloc(32, 7) })
  const ask = requester(app)
  const begun = await ask('/login')
  t.match((await ask('/me', get(begun.cookie))).body, { kind: 'authenticated' })
  t.equal((await ask('/child', get(begun.cookie))).status, 200)
  await app.close()
})

t.test('separates the users of two session schemes of one application', async t => {
  const app = Fastify()
  const key = secret()
  const [web, staff] = [
    await createScheme(session({ secret: key }), app, 'web'),
    await createScheme(session({ secret: key }), app, 'staff')
  ]
  addRoutes(app, web, '/web')
  addRoutes(app, staff, '/staff')
  const ask = requester(app)
  const one = await ask('/web/login', { body: { principal: { id: 'alice' } } })
  const two = await ask('/staff/login', { body: { principal: { id: 'bob', realm: 'hq' } } })
  const jar = `${one.cookie}; ${two.cookie}`
  t.match((await ask('/web/me', get(jar))).body.principal, { id: 'alice', realm: 'web' })
  t.match((await ask('/staff/me', get(jar))).body.principal, { id: 'bob', realm: 'hq' })
  t.same((await ask('/staff/me', get(one.cookie))).body, { kind: 'absent' })
  t.same((await ask('/staff/me', get(one.cookie.replace('web', 'staff')))).body, { kind: 'invalid' })
  await ask('/web/logout', { cookie: jar })
  t.match((await ask('/staff/me', get(jar))).body, { kind: 'authenticated' })
  await t.rejects(
    async () => await createScheme(session({ secret: key, cookieName: 'staff' }), app, 'third'),
    /cookie name __Host-staff, and so does the one of schemes\.staff/
  )
})

t.test('keeps separate revocations for two applications with one definition', async t => {
  const definition = session({ secret: secret() })
  const [one, two] = await Promise.all([0, 1].map(async () => {
    const app = Fastify()
    addRoutes(app, await createScheme(definition, app, 'web'))
    return requester(app)
  }))
  if (one === undefined || two === undefined) throw new Error('two applications')
  const { cookie } = await one('/login')
  t.match((await two('/me', get(cookie))).body, { kind: 'authenticated' }, 'instances accept each other\'s sessions')
  await one('/logout', { cookie })
  t.same((await one('/me', get(cookie))).body, { kind: 'absent' })
  t.match((await two('/me', get(cookie))).body, { kind: 'authenticated' }, 'a revocation in memory is not shared')
})

/**
 * Creates an application of several contexts, each of which registers the plugin with a session scheme called `web`.
 */
async function siblings (...schemes: ReadonlyArray<ReturnType<typeof session>>) {
  const app = Fastify()
  const prefixes = ['/one', '/two', '/three'].slice(0, schemes.length)
  for (const [i, web] of schemes.entries()) {
    app.register(
      async child => {
        await child.register(gatehouse, { schemes: { web } })
        const open = { config: { auth: { public: 'for tests' } } }
        child.get('/me', async ({ principal }) => ({ id: principal?.id }))
        child.post('/login', open, async (_request, reply) => {
          await reply.login({ id: 'alice' })
        })
        child.post('/logout', open, async (_request, reply) => {
          await reply.logout()
        })
        child.post('/end', open, async () => {
          await child.gatehouse.sessions.of({ realm: 'web', id: 'alice' }).revokeAll()
        })
      },
      { prefix: prefixes[i] ?? '' }
    )
  }
  await app.ready()
  const ask = requester(app)
  const both = async (cookie: string) =>
    Promise.all(prefixes.map(async prefix => (await ask(`${prefix}/me`, get(cookie))).status))
  return { ask, both }
}

t.test('shares logouts between contexts with the same cookie and secret, even without a store', async t => {
  const key = secret()
  const definition = session({ secret: key })
  const longer = session({ secret: [key, secret()], absoluteTimeout: '20h', idleTimeout: '20h' })
  for (const [one, two] of [[definition, definition], [definition, longer], [longer, definition]] as const) {
    const { ask, both } = await siblings(one, two)
    for (const [here, there] of [['/one', '/two'], ['/two', '/one']]) {
      const { cookie } = await ask(`${here}/login`)
      t.same(await both(cookie), [200, 200])
      await ask(`${there}/logout`, { cookie })
      t.same(await both(cookie), [401, 401])
    }
  }
  const { ask, both } = await siblings(definition, longer)
  const { cookie } = await ask('/one/login')
  await ask('/two/end')
  t.same(await both(cookie), [401, 401], 'all of a person\'s')
})

t.test('shares logouts with a context that has the newest secret, despite a third with an old one', async t => {
  const [old, newest] = [secret(), secret()]
  const { ask, both } = await siblings(
    session({ secret: old }),
    session({ secret: [newest, old] }),
    session({ secret: newest })
  )
  const { cookie } = await ask('/two/login')
  t.same(await both(cookie), [401, 200, 200])
  await ask('/three/logout', { cookie })
  t.same(await both(cookie), [401, 401, 401])
})

t.test('keeps separate revocations for contexts with separate secrets, whatever the scheme name', async t => {
  const { ask, both } = await siblings(session({ secret: secret() }), session({ secret: secret() }))
  const [{ cookie: one }, { cookie: two }] = [await ask('/one/login'), await ask('/two/login')]
  t.same([await both(one), await both(two)], [[200, 401], [401, 200]])
  await ask('/one/end')
  t.same([await both(one), await both(two)], [[401, 401], [401, 200]])
})

t.test('keeps concurrent requests apart', async t => {
  const time = clock(t)
  const { app, scheme, ask } = await bareApp()
  app.get('/slow', async request => {
    const outcome = await scheme.authenticate(request)
    await new Promise(resolve => setImmediate(resolve))
    return { id: outcome.kind === 'authenticated' ? outcome.principal.id : null }
  })
  const people = await Promise.all(
    Array.from({ length: 50 }, async (_, n) => ({
      id: `p${n}`,
      cookie: (await ask('/login', { body: { principal: { id: `p${n}` } } })).cookie
    }))
  )
  time.advance(100)
  const answers = await Promise.all(
    people.map(async ({ id, cookie }) => ({ id, answer: await ask('/slow', get(cookie)) }))
  )
  for (const { id, answer } of answers) {
    t.equal(answer.body.id, id)
    t.equal((await ask('/me', get(answer.cookie))).body.principal.id, id, 'the renewed cookie is their own')
  }
})

t.test('does not renew a session that ended during the request', async t => {
  const time = clock(t)
  const { app, scheme, ask } = await bareApp()
  app.get('/overtaken', async request => {
    await scheme.authenticate(request)
    await ask('/logout', { cookie: String(request.headers.cookie) })
    return {}
  })
  const { cookie } = await ask('/login')
  time.advance(100)
  t.same((await ask('/overtaken', get(cookie))).setCookies, [])
})

t.test('keeps in a renewed session the data that the request has set before', async t => {
  const { app, scheme, sessions, ask } = await bareApp()
  app.post('/promote', async (request, reply) => {
    credentialOf(await scheme.authenticate(request)).update({ step: 2 })
    await sessions?.login(request, reply, alice, { renew: true })
    return {}
  })
  const { cookie } = await ask('/login', { body: { data: { step: 1 } } })
  const renewed = await ask('/promote', { cookie })
  t.same((await ask('/me', get(renewed.cookie))).body.credential.data, { step: 2 })
})

t.test('forbids shared caching of a response with a session cookie, whatever the handler set', async t => {
  const time = clock(t)
  const { app, scheme, ask } = await bareApp()
  for (const [path, value] of Object.entries({
    none: '', public: 'public, max-age=60', private: 'max-age=60, private', 'not-private': 'x-private=1'
  })) {
    app.get(`/${path}`, async (request, reply) => {
      await scheme.authenticate(request)
      if (value !== '') reply.header('cache-control', value)
      return {}
    })
  }
  const { cookie } = await ask('/login')
  t.equal(
    (await ask('/public', get(cookie))).headers['cache-control'],
    'public, max-age=60',
    "without a new cookie it is the handler's matter"
  )
  time.advance(100)
  t.equal((await ask('/none', get(cookie))).headers['cache-control'], 'no-store')
  t.equal((await ask('/public', get(cookie))).headers['cache-control'], 'no-store')
  t.equal((await ask('/private', get(cookie))).headers['cache-control'], 'max-age=60, private')
  t.equal((await ask('/not-private', get(cookie))).headers['cache-control'], 'no-store')
})
