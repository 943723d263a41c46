import t from 'tap'
import { movableClock } from '../fixtures/clock.js'
import { authorizePath, login, origin, people, serverApp, visit } from './app.js'

const silent = authorizePath({ prompt: 'none' })

t.test('prompt=none is login_required for a session that is not valid, whatever form errors have', async t => {
  for (const errors of ['fastify', 'problem', 'oauth', () => { t.fail('the client must know') }] as const) {
    const app = await serverApp(t, { plugin: { errors } })
    const { status, params } = await visit(app, silent, '__Host-web=forged')
    t.match([status, params], [303, { error: 'login_required', state: 'a b', iss: origin }], String(errors))
  }
})

t.test('prompt=none tells the client that the application failed, or cannot answer now', async t => {
  let failure: Error | null = null
  const fail = async () => { if (failure !== null) throw failure }
  for (const errors of ['fastify', 'problem'] as const) {
    failure = null
    const app = await serverApp(t, {
      plugin: { errors, load: async ({ id }) => { await fail(); return people[id] ?? null } }
    })
    const busy = await serverApp(t, {
      before: async app => {
        app.addHook('onRequest', async (_request, reply) => { reply.header('retry-after', '7'); await fail() })
      }
    })
    const { cookie } = await login(app)
    const cases = [
      [app, new Error('broken'), 'server_error'],
      [busy, Object.assign(new Error('too busy'), { statusCode: 503 }), 'temporarily_unavailable']
    ] as const
    for (const [failing, thrown, error] of cases) {
      failure = thrown
      const { status, params, answer } = await visit(failing, silent, cookie)
      t.match([status, params], [303, { error, state: 'a b', iss: origin }], `${errors}: ${error}`)
      t.notOk('retry-after' in answer.headers, 'which would delay the redirect')
      const unknown = await visit(failing, authorizePath({ prompt: 'none', client_id: 'nobody' }), cookie)
      t.match(unknown, { status: 400, location: undefined })
    }
  }
})

t.test('a 401 of the application itself is not a missing login: nobody gets a code or a login page', async t => {
  let isOpen = true
  const app = await serverApp(t, {
    before: async app => {
      app.addHook('preHandler', async () => {
        if (!isOpen) throw Object.assign(new Error('not from here'), { statusCode: 401 })
      })
    }
  })
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb' }
  const { cookie } = await login(app)
  t.ok((await visit(app, authorizePath(own), cookie)).params['code'])
  isOpen = false
  t.match(await visit(app, authorizePath(own), cookie), { status: 401, location: undefined })
  const { status, params } = await visit(app, authorizePath({ ...own, prompt: 'none' }), cookie)
  t.match([status, params], [303, { error: 'invalid_request' }])
})

t.test('a person with an invalid session counts as logged out, and logs in once', async t => {
  const clock = movableClock(t)
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb' }
  for (const errors of ['fastify', 'problem'] as const) {
    const app = await serverApp(t, { plugin: { errors } })
    const forged = '__Host-web=forged'
    const wrong = await visit(app, authorizePath({ ...own, scope: 'unknown' }), forged)
    t.match(wrong.params, { error: 'invalid_scope' }, 'before anybody has to log in')
    const redirect = await visit(app, authorizePath({ ...own, prompt: 'login' }), forged)
    t.match(redirect, { status: 302, location: /^\/login\?returnTo=/ })
    clock.offset += 1_000
    const { cookie, returnTo } = await login(app, 'ann', String(redirect.location).replace('/login', ''))
    t.ok((await visit(app, returnTo, cookie)).params['code'])
    const program = await app.inject({ url: authorizePath(own), headers: { cookie: forged } })
    t.match(program, { statusCode: 401, headers: { 'www-authenticate': /^Cookie / } })
  }
})
