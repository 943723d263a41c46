import t from 'tap'
import { recordEvents } from '../fixtures/events.js'
import { claimsOf } from '../fixtures/tokens.js'
import { basic, call, codeFor, origin, partnerSecret, post, redeem, serverApp, webSecret } from './app.js'

t.test('revokes refresh tokens and access tokens, with everything of their grant', async t => {
  const app = await serverApp(t)
  for (const name of ['refresh_token', 'access_token'] as const) {
    const { body } = await redeem(app, await codeFor(app))
    const revoke = async (token: string) => await post(app, '/oauth/revoke', { token, client_id: 'spa' })
    t.match(await revoke(body[name]), { status: 200, body: '' })
    t.equal((await call(app, body.access_token)).status, 401)
    const refresh = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token }
    t.match(await post(app, '/oauth/token', refresh), { status: 400, body: { error: 'invalid_grant' } })
    t.equal((await revoke(body[name])).status, 200, 'a token can be revoked twice')
  }
  t.equal((await post(app, '/oauth/revoke', { token: 'garbage', client_id: 'spa' })).status, 200)
  const own = { grant_type: 'client_credentials', resource: `${origin}/mcp` }
  const { body } = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
  t.equal((await call(app, body.access_token, '/tools')).status, 200)
  const revoked = recordEvents(t, 'token-revoked')
  t.equal((await post(app, '/oauth/revoke', { token: body.access_token }, basic('partner', partnerSecret))).status, 200)
  t.equal((await call(app, body.access_token, '/tools')).status, 401, 'also of the second resource')
  const { jti } = claimsOf(body.access_token)
  t.match(revoked, [{ grant: null, tokenId: jti, realm: origin, id: 'client:partner', client: 'partner' }])
})

t.test('refuses to revoke tokens of another client, and unknown clients', async t => {
  const app = await serverApp(t)
  const { body } = await redeem(app, await codeFor(app))
  const foreign = await post(app, '/oauth/revoke', { token: body.access_token }, basic('web', webSecret))
  t.match(foreign, { status: 400, body: { error: 'invalid_grant' } })
  t.equal((await call(app, body.access_token)).status, 200)
  t.match(await post(app, '/oauth/revoke', { client_id: 'spa' }), { status: 400, body: { error: 'invalid_request' } })
  const wrong = await post(app, '/oauth/revoke', { token: 'x' }, basic('web', 'x'))
  t.match(wrong, { status: 401, body: { error: 'invalid_client' } })
})

t.test('access tokens that live until they expire cannot be revoked', async t => {
  const app = await serverApp(t, { sign: { staleness: false } })
  const { body } = await redeem(app, await codeFor(app))
  const revoked = await post(app, '/oauth/revoke', { token: body.access_token, client_id: 'spa' })
  t.match(revoked, { status: 400, body: { error: 'unsupported_token_type' } })
})

t.test('introspection describes live access tokens of the resources that a client may ask about', async t => {
  const app = await serverApp(t)
  const { body } = await redeem(app, await codeFor(app))
  const ask = async (token: string, more = {}) =>
    (await post(app, '/oauth/introspect', { token, ...more }, basic('partner', partnerSecret))).body
  const about = await ask(body.access_token, { token_type_hint: 'refresh_token' })
  t.same(Object.keys(about).sort(), [
    'active', 'aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'scope', 'sub', 'token_type'
  ])
  t.match(about, {
    active: true,
    scope: 'orders:read orders:write',
    client_id: 'spa',
    sub: 'ann',
    aud: origin,
    iss: origin,
    token_type: 'Bearer'
  })
  t.same(await ask(body.refresh_token), { active: false })
  t.same(await ask('garbage'), { active: false })
  const own = { grant_type: 'client_credentials', resource: `${origin}/mcp` }
  const other = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
  t.same(await ask(other.body.access_token), { active: false }, 'a resource that it may not ask about')
  await post(app, '/oauth/revoke', { token: body.refresh_token, client_id: 'spa' })
  t.same(await ask(body.access_token), { active: false }, 'after the grant ended')
})

t.test('introspection refuses clients that may not introspect', async t => {
  const app = await serverApp(t)
  t.match(await post(app, '/oauth/introspect', { token: 'x' }, basic('web', webSecret)), {
    status: 400, body: { error: 'unauthorized_client' }
  })
  t.match(await post(app, '/oauth/introspect', { token: 'x', client_id: 'spa' }), { status: 400 })
  t.match(await post(app, '/oauth/introspect', {}, basic('partner', partnerSecret)), {
    status: 400, body: { error: 'invalid_request' }
  })
})
