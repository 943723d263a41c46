import t, { type Test } from 'tap'
import { jwt, memoryStore, session, type GatehouseOptions, type Store } from '../../lib/index.js'
import { secretOf } from '../fixtures/tokens.js'
import {
  authorizePath, basic, call, codeFor, decide, login, origin, post, privateKey, redeem, serverApp, visit
} from './app.js'

/** Two authorization servers with the same store, people, clients and resources. */

const owner = { realm: 'web', id: 'ann' }
const sessionSecret = secretOf()
const refresh = { secret: secretOf(), reuseGrace: 0 }

async function server (t: Test, issuer: string, store: Store) {
  const own = { issuer, keys: privateKey, sign: { realm: 'web', refresh } }
  const schemes = {
    web: session({ secret: sessionSecret, loginPath: '/login' }),
    api: jwt({ ...own, audience: origin }),
    mcp: jwt({ ...own, audience: `${origin}/mcp` })
  }
  const plugin = { schemes } as Partial<GatehouseOptions>
  return await serverApp(t, { store, plugin, oauth: { consent: 'remember', publicClients: true } })
}

async function servers (t: Test) {
  const store = memoryStore()
  return [await server(t, 'https://one.example.com', store), await server(t, 'https://two.example.com', store)] as const
}

t.test('a code is redeemed by the server that issued it, and the other does not touch it', async t => {
  const [one, two] = await servers(t)
  const code = await codeFor(one)
  t.match(await redeem(two, code), { status: 400, body: { error: 'invalid_grant' } })
  await two.gatehouse.tokens.of(owner, { scheme: 'api' }).revokeAll()
  t.equal((await redeem(one, code)).status, 200)
  t.equal((await redeem(two, code)).status, 400)
  t.match(await one.gatehouse.tokens.of(owner).list(), { length: 1 }, 'a second use at the other ends nothing')
})

t.test('a grant is refreshed, listed and ended by the server that issued it', async t => {
  const [one, two] = await servers(t)
  const { body } = await redeem(one, await codeFor(one))
  const again = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token }
  t.match(await post(two, '/oauth/token', again), { status: 400, body: { error: 'invalid_grant' } })
  for (const token of [body.refresh_token, body.access_token]) {
    t.equal((await post(two, '/oauth/revoke', { client_id: 'spa', token })).status, 200)
    await two.gatehouse.tokens.revoke(token)
  }
  t.same(await two.gatehouse.tokens.of(owner).list(), [])
  await two.gatehouse.tokens.of(owner).revokeAll()
  t.equal((await call(two, body.access_token)).status, 401)
  t.equal((await call(one, body.access_token)).status, 200)
  t.equal((await post(one, '/oauth/token', again)).status, 200)
})

t.test('the grants of one server take no room from those of the other', async t => {
  const [one, two] = await servers(t)
  const { body } = await redeem(one, await codeFor(one))
  for (let i = 0; i < 100; i++) await two.gatehouse.tokens.grant({ realm: 'web', id: 'ann' }, { scheme: 'api' })
  t.equal((await call(one, body.access_token)).status, 200)
  t.match(await one.gatehouse.tokens.of(owner).list(), { length: 1 })
  t.match(await two.gatehouse.tokens.of(owner).list(), { length: 100 })
})

t.test('a consent is remembered for the server that asked for it', async t => {
  const [one, two] = await servers(t)
  const { cookie } = await login(one)
  const page = await visit(one, authorizePath(), cookie)
  t.ok((await decide(one, page.answer.body, cookie)).params['code'])
  t.equal((await visit(one, authorizePath(), cookie)).status, 303)
  t.equal((await visit(two, authorizePath(), cookie)).status, 200, 'the other server asks for consent')
  t.same(await two.gatehouse.oauth.consents.of(owner).list(), [])
  t.equal(await two.gatehouse.oauth.consents.of(owner).remove('spa'), false)
  t.match(await one.gatehouse.oauth.consents.of(owner).list(), [{ client: 'spa' }])
})

t.test('a client is known to the server that added it', async t => {
  const [one, two] = await servers(t)
  const input = { name: 'Robot', scopes: ['orders:read'], grants: ['client_credentials'] } as const
  const { client: { id }, secret } = await one.gatehouse.oauth.clients.of(owner).create(input)
  const { clients } = two.gatehouse.oauth
  t.same(await clients.of(owner).list(), [])
  t.same([await clients.of(owner).get(id), await clients.ofAnyOwner().get(id)], [null, null])
  t.equal(await clients.of(owner).update(id, { name: 'Other' }), null)
  t.equal(await clients.of(owner).rotateSecret(id, { overlap: 0 }), null)
  t.same([await clients.of(owner).remove(id), await clients.ofAnyOwner().remove(id)], [false, false])
  const form = { grant_type: 'client_credentials' }
  t.equal((await post(two, '/oauth/token', form, basic(id, secret ?? ''))).status, 401)
  t.equal((await post(one, '/oauth/token', form, basic(id, secret ?? ''))).status, 200)
})
