import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { memoryStore } from '../../../lib/index.js'
import { clock } from './bare-app.js'
import { alice, createInstance } from './app.js'

/** Returns a function that adds a login with a time of authentication, as from an identity provider. */
const withCallback = (authenticatedAt: unknown, more: object = {}) => async (app: FastifyInstance) => {
  app.post('/callback', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'alice' }, { authenticatedAt: authenticatedAt as Date, ...more })
    return {}
  })
  app.get('/danger', { config: { auth: { maxAge: '5m' } } }, async () => ({}))
}

t.test('takes the time of authentication from the login', async t => {
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000)
  const cases = [[minutesAgo(2), 200], [minutesAgo(10), 401], [null, 401], [minutesAgo(-600), 200]] as const
  for (const [at, status] of cases) {
    const { ask } = await createInstance({ after: withCallback(at) })
    const { cookie } = await ask('/callback')
    t.equal((await ask('/danger', { method: 'GET', cookie })).status, status)
    const { body } = await ask('/me', { method: 'GET', cookie })
    if (at === null) t.equal(body.authenticatedAt, null)
    else if (at.getTime() < Date.now()) t.equal(body.authenticatedAt, at.toISOString())
    else t.ok(new Date(body.authenticatedAt as string).getTime() <= Date.now(), 'never in the future')
  }
})

t.test('a session lives from its login on, however old the authentication is', async t => {
  const time = clock(t)
  for (const at of [null, new Date(time.now() - 30 * 86_400_000)]) {
    const store = memoryStore()
    const { ask, sessions } = await createInstance({ store, after: withCallback(at) })
    const begun = new Date(time.now()).toISOString()
    const { cookie } = await ask('/callback')
    const renewed = await ask('/login', { body: { renew: true }, cookie })
    const { body } = await ask('/me', { method: 'GET', cookie: renewed.cookie })
    t.equal(body.authenticatedAt, at?.toISOString() ?? null, 'a renewal proves nothing')
    t.match(await sessions.of(alice).list(), [{ createdAt: begun }])
    time.advance(25 * 60)
    t.equal((await ask('/me', { method: 'GET', cookie: renewed.cookie })).status, 200)
    await store.close?.()
  }
})

t.test('refuses a value that is not a time, and any time for a renewal', async t => {
  for (const wrong of [new Date(NaN), '2026-01-01', 1_700_000_000]) {
    const { ask } = await createInstance({ after: withCallback(wrong) })
    t.equal((await ask('/callback')).status, 500)
  }
  const { ask, enter } = await createInstance({ after: withCallback(new Date(), { renew: true }) })
  const { cookie } = await enter()
  t.equal((await ask('/callback', { cookie })).status, 500)
  t.equal((await ask('/me', { method: 'GET', cookie })).status, 200, 'the session continues')
})
