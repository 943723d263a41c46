import t, { type Test } from 'tap'
import type { SessionCredential } from '../../lib/index.js'
import { call, codeFor, login, people, post, redeem, serverApp } from '../oauth/app.js'

/** Tests the recipe of docs/tokens.md: what ends when a password changes or a person is disabled. */

const owner = { realm: 'web', id: 'ann' }

/** Logs a person in with two sessions, a grant of the application, and one of a client. */
async function begin (t: Test) {
  const app = await serverApp(t)
  app.get('/session', async ({ auth }) => ({ id: (auth.credential as SessionCredential).id }))
  const open = { config: { auth: { public: 'holds a refresh token' } } }
  app.post<{ Body: { token: string } }>('/refresh', open, async ({ body }, reply) =>
    await app.gatehouse.tokens.refresh(reply, body.token))
  const [here, there] = [await login(app), await login(app)]
  const own = await app.gatehouse.tokens.grant({ ...owner, scopes: ['orders:read'] }, { scheme: 'api' })
  const { body: client } = await redeem(app, await codeFor(app, { scope: 'orders:read' }))
  const session = async (cookie: string) => await app.inject({ url: '/session', headers: { cookie } })
  /** Uses two sessions and the access tokens of both grants. Returns for each whether it is accepted. */
  const alive = async () => [
    (await session(here.cookie)).statusCode === 200,
    (await session(there.cookie)).statusCode === 200,
    (await call(app, own.access_token)).status === 200,
    (await call(app, client.access_token)).status === 200
  ]
  /** Refreshes each grant, and returns the statuses. */
  const refreshes = async () => [
    (await post(app, '/oauth/token', {
      grant_type: 'refresh_token', client_id: 'spa', refresh_token: client.refresh_token
    })).status,
    (await app.inject({ method: 'POST', url: '/refresh', payload: { token: own.refresh_token } })).statusCode
  ]
  return { app, here: (await session(here.cookie)).json().id as string, alive, refreshes }
}

t.test('a changed password ends every other session and every grant', async t => {
  const { app, here, alive, refreshes } = await begin(t)
  t.same(await alive(), [true, true, true, true])
  await app.gatehouse.sessions.of(owner).revokeAll({ except: here })
  await app.gatehouse.tokens.of(owner).revokeAll()
  t.same(await alive(), [true, false, false, false])
  t.same(await refreshes(), [400, 401])
})

t.test('a disabled person is out at once, and nothing comes back when they are let in again', async t => {
  const { app, alive, refreshes } = await begin(t)
  const { ann } = people
  delete people['ann']
  t.same(await alive(), [false, false, false, false], 'load alone keeps them out')
  await app.gatehouse.sessions.of(owner).revokeAll()
  await app.gatehouse.tokens.of(owner).revokeAll()
  Object.assign(people, { ann })
  t.same(await alive(), [false, false, false, false])
  t.same(await refreshes(), [400, 401])
})
