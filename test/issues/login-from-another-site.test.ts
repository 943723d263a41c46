import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, { session } from '../../lib/index.js'
import type { LoginOptions } from '../../types/sessions.js'
import { secret } from '../schemes/session/bare-app.js'

/**
 * There was no way to log in with the callback of an identity provider or a link in web mail, which are requests from
 * another site.
 */

interface Line { readonly msg: string, readonly auth?: { readonly code: string, readonly reason: string } }

async function application (t: Test, options: unknown) {
  const log: Line[] = []
  const logger = { stream: { write: (line: string) => { log.push(JSON.parse(line) as Line) } } }
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(authPlugin, { schemes: { web: session({ secret: secret() }) } })
  const open = { config: { auth: { public: 'for tests' } } }
  app.route({
    method: ['GET', 'POST'],
    url: '/callback',
    ...open,
    handler: async (_request, reply) => {
      await reply.login({ id: 'alice' }, options as LoginOptions)
      return {}
    }
  })
  app.get('/logout', open, async (_request, reply) => {
    await reply.logout(options as never)
    return {}
  })
  app.get('/me', async ({ principal }) => ({ id: principal?.id }))
  return { app, log, refusals: () => log.filter(({ msg }) => msg === 'session refused') }
}

/** The headers of browsers for a link and for a form on another site. */
const requests = [
  {
    method: 'GET',
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  },
  { method: 'GET', headers: { 'sec-fetch-site': 'same-site' } },
  { method: 'POST', headers: { 'sec-fetch-site': 'cross-site', origin: 'https://id.example.com' } },
  { method: 'POST', headers: { 'sec-fetch-site': 'cross-site', origin: 'null' } }
] as const

t.test('logs in on a cross-site request if the application verified its own state', async t => {
  const { app } = await application(t, { stateChecked: true })
  for (const request of requests) {
    const answer = await app.inject({ url: '/callback', ...request })
    t.equal(answer.statusCode, 200)
    const cookie = String(answer.headers['set-cookie']).split(';')[0]
    t.same((await app.inject({ url: '/me', headers: { cookie } })).json(), { id: 'alice' })
  }
})

t.test('refuses with AUTH_CROSS_SITE otherwise, and logs the fix', async t => {
  for (const options of [{}, { stateChecked: false }]) {
    const { app, refusals } = await application(t, options)
    for (const request of requests) {
      const answer = await app.inject({ url: '/callback', ...request })
      t.match([answer.statusCode, answer.json()], [403, { code: 'AUTH_CROSS_SITE' }])
      t.equal(answer.headers['set-cookie'], undefined)
    }
    t.equal(refusals().length, requests.length)
    for (const { auth } of refusals()) {
      t.match(auth, { code: 'AUTH_CROSS_SITE', reason: 'reply.login(principal, { stateChecked: true })' })
    }
  }
})

t.test('accepts only true for it', async t => {
  for (const stateChecked of ['true', 1, null, undefined]) {
    const { app, refusals } = await application(t, { stateChecked })
    const answer = await app.inject({ url: '/callback', ...requests[0] })
    t.equal(answer.statusCode, 500)
    t.match(refusals(), [{ auth: { code: 'AUTH_FAULT', reason: 'stateChecked' } }])
  }
})

t.test('never logs out on a cross-site request', async t => {
  const { app, refusals } = await application(t, {})
  t.equal((await app.inject({ url: '/logout', ...requests[0] })).statusCode, 403)
  t.notMatch(refusals(), [{ auth: { reason: 'stateChecked' } }])

  const wrong = await application(t, { stateChecked: true })
  t.equal((await wrong.app.inject({ url: '/logout', ...requests[0] })).statusCode, 500)
})
