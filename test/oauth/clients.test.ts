import t from 'tap'
import type { OAuthClientInput } from '../../lib/oauth/index.js'
import { jwt, memoryStore, session, type GatehouseOptions, type Store, type StoreChange } from '../../lib/index.js'
import { movableClock } from '../fixtures/clock.js'
import { secretOf } from '../fixtures/tokens.js'
import {
  authorizePath, basic, call, codeFor, decide, login, origin, partnerSecret, post, privateKey, redeem, serverApp, visit
} from './app.js'
import { exactly } from '../fixtures/exactly.js'

const owner = { realm: 'web', id: 'ann' }
const own = { grant_type: 'client_credentials' }
const input = { name: 'Robot', scopes: ['orders:read'], grants: ['client_credentials'] } as const

const clock = movableClock(t)

t.test('a person adds, lists, changes and removes clients, and sees nobody else\'s', async t => {
  const store = memoryStore()
  const [app, other] = [await serverApp(t, { store }), await serverApp(t, { store })]
  const { clients } = app.gatehouse.oauth
  const { client, secret } = await clients.of(owner).create(input)
  t.match(client, { id: /^client_[\w-]{22}$/, owner, ...input, redirectUris: [], confidential: true, createdAt: /Z$/ })
  const token = await post(app, '/oauth/token', own, basic(client.id, secret ?? ''))
  t.equal(token.status, 200)
  t.equal((await post(other, '/oauth/token', own, basic(client.id, secret ?? ''))).status, 200, 'on every instance')
  t.match(await call(app, token.body.access_token), { status: 200, body: { id: `client:${client.id}` } })
  t.same(await clients.of(owner).list(), [client])
  t.same(await clients.of(owner).get(client.id), client)
  const bob = clients.of({ realm: 'web', id: 'bob' })
  t.same([await bob.list(), await bob.get(client.id), await bob.update(client.id, { name: 'x' })], [[], null, null])
  t.same([await bob.rotateSecret(client.id, { overlap: 0 }), await bob.remove(client.id)], [null, false])
  t.same(await clients.ofAnyOwner().get(client.id), client)
  t.equal(await clients.ofAnyOwner().get('partner'), null, 'those of the table are not in the store')
  const updated = await clients.of(owner).update(client.id, { name: 'Robot 2', scopes: [] })
  t.match(updated, { name: 'Robot 2', scopes: exactly() })
  t.equal(await clients.ofAnyOwner().remove(client.id), true)
  t.equal(await clients.of(owner).remove(client.id), false)
  t.match(await post(app, '/oauth/token', own, basic(client.id, secret ?? '')), { status: 401 })
  t.match(await call(app, token.body.access_token), { status: 401 }, 'the tokens of the client end')
  clock.offset = 10_001
  t.equal((await call(other, token.body.access_token)).status, 401, 'on other instances too')
})

t.test('every scheme with the audience of a resource refuses the tokens of a removed client', async t => {
  const common = { issuer: origin, audience: origin, keys: privateKey, sign: { realm: 'web' } }
  const schemes = {
    web: session({ secret: secretOf(), loginPath: '/login' }),
    api: jwt(common),
    mcp: jwt({ ...common, audience: `${origin}/mcp` }),
    agents: jwt({ ...common, audience: [`${origin}/agents`, origin], delegated: true })
  }
  const app = await serverApp(t, { plugin: { schemes } as Partial<GatehouseOptions> })
  app.get('/agents', { config: { auth: { schemes: 'agents' } } }, async () => 'entered')
  const { clients } = app.gatehouse.oauth
  const { client, secret } = await clients.of(owner).create(input)
  const { body } = await post(app, '/oauth/token', own, basic(client.id, secret ?? ''))
  const statuses = async () => [
    (await call(app, body.access_token)).status,
    (await app.inject({ url: '/agents', headers: { authorization: `Bearer ${body.access_token}` } })).statusCode
  ]
  t.same(await statuses(), [200, 200])
  await clients.of(owner).remove(client.id)
  t.same(await statuses(), [401, 401])
})

t.test('an instance drops what it has cached when the store reports changes, or may have missed some', async t => {
  const inner = memoryStore()
  const listeners: Array<(change: StoreChange) => void> = []
  const store: Store = {
    add: inner.add.bind(inner),
    get: inner.get.bind(inner),
    swap: inner.swap.bind(inner),
    take: inner.take.bind(inner),
    find: inner.find.bind(inner),
    takeAll: inner.takeAll.bind(inner),
    increment: inner.increment.bind(inner),
    decrement: inner.decrement.bind(inner),
    migrate: inner.migrate.bind(inner),
    close: inner.close.bind(inner),
    subscribe: (kind, listener) => {
      if (kind !== 'oauth-client') return () => {}
      listeners.push(listener)
      return () => { listeners.splice(listeners.indexOf(listener), 1) }
    }
  }
  const [app, other] = [await serverApp(t, { store }), await serverApp(t, { store })]
  for (const all of [false, true]) {
    const { client: { id }, secret } = await app.gatehouse.oauth.clients.of(owner).create(input)
    const status = async () => (await post(other, '/oauth/token', own, basic(id, String(secret)))).status
    t.equal(await status(), 200)
    await app.gatehouse.oauth.clients.of(owner).remove(id)
    t.equal(await status(), 200, 'the client is still cached')
    for (const listener of listeners) listener(all ? null : { id })
    t.equal(await status(), 401)
  }
  await other.close()
  t.equal(listeners.length, 1, 'an instance that is closed hears of no changes')
})

t.test('introspection knows at once that another instance has removed a client', async t => {
  // without notifications, the other instance has the client cached
  const { subscribe: _, ...store } = memoryStore()
  const [app, other] = [await serverApp(t, { store }), await serverApp(t, { store })]
  const { client: { id }, secret } = await app.gatehouse.oauth.clients.of(owner).create(input)
  const { body: { access_token: token } } = await post(other, '/oauth/token', own, basic(id, String(secret)))
  const isActive = async () =>
    (await post(other, '/oauth/introspect', { token }, basic('partner', partnerSecret))).body.active
  t.equal(await isActive(), true)
  await app.gatehouse.oauth.clients.of(owner).remove(id)
  t.equal(await isActive(), false)
  const first = await other.gatehouse.tokens.issue({ id: 'ann', realm: 'web' }, { scheme: 'api' })
  const about = await post(other, '/oauth/introspect', { token: first }, basic('partner', partnerSecret))
  t.equal(about.body.active, true, 'a token that the application has issued itself has no client')
})

t.test('a secret is replaced with an overlap', async t => {
  const app = await serverApp(t)
  const clients = app.gatehouse.oauth.clients.of(owner)
  const { client: { id }, secret: first } = await clients.create(input)
  const status = async (secret: string | null | undefined) =>
    (await post(app, '/oauth/token', own, basic(id, String(secret)))).status
  const second = (await clients.rotateSecret(id, { overlap: '1h' }))?.secret
  t.same([await status(first), await status(second)], [200, 200])
  const third = (await clients.rotateSecret(id, { overlap: '1h' }))?.secret
  t.same([await status(first), await status(second), await status(third)], [401, 200, 200])
  clock.offset = 3_600_001
  t.same([await status(second), await status(third)], [401, 200])
  const fourth = (await clients.rotateSecret(id, { overlap: 0 }))?.secret
  t.same([await status(third), await status(fourth)], [401, 200])
})

t.test('the instance that changes a client knows it at once, where the store reports nothing', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const app = await serverApp(t, { store })
  const clients = app.gatehouse.oauth.clients.of(owner)
  const { client: { id }, secret: first } = await clients.create(input)
  const token = async (secret: string | null | undefined) =>
    await post(app, '/oauth/token', own, basic(id, String(secret)))
  t.match(await token(first), { status: 200, body: { scope: 'orders:read' } })
  await clients.update(id, { scopes: [] })
  const { body } = await token(first)
  t.equal(body.scope, '')
  const second = (await clients.rotateSecret(id, { overlap: 0 }))?.secret
  t.same([(await token(first)).status, (await token(second)).status], [401, 200])
  await clients.remove(id)
  t.equal((await token(second)).status, 401)
  t.equal((await call(app, body.access_token)).status, 401)
})

t.test('a public client of the store walks the code flow', async t => {
  const app = await serverApp(t)
  const uri = 'https://new.example.com/cb'
  const clients = app.gatehouse.oauth.clients.of(owner)
  const { client: { id }, secret } = await clients.create({
    name: 'New', redirectUris: [uri], scopes: ['orders:read'], confidential: false
  })
  t.equal(secret, null)
  t.equal(await clients.rotateSecret(id, { overlap: 0 }), null)
  const { cookie } = await login(app)
  const page = await visit(app, authorizePath({ client_id: id, redirect_uri: uri }), cookie)
  const { params } = await decide(app, page.answer.body, cookie)
  const tokens = await redeem(app, params['code'] ?? '', { client_id: id, redirect_uri: uri })
  t.equal(tokens.status, 200)
  const grants = app.gatehouse.tokens.of({ realm: 'web', id: 'ann' })
  t.match(await grants.list(), [{ client: id, ended: false }])
  await clients.remove(id)
  const [grant] = await grants.list()
  t.match(grant, { client: id, ended: true }, 'a grant of a removed client is listed as ended')
  const refresh = { grant_type: 'refresh_token', client_id: id, refresh_token: tokens.body.refresh_token }
  t.match(await post(app, '/oauth/token', refresh), { status: 400, body: { error: 'invalid_client' } })
  t.equal((await call(app, tokens.body.access_token)).status, 401)
  t.equal(await grants.revoke(String(grant?.id)), true, 'and can be revoked from the list')
  t.same(await grants.list(), [])
})

t.test('a consent covers the scopes that the page showed, and none that the client got later', async t => {
  const app = await serverApp(t, { oauth: { publicClients: true } })
  const clients = app.gatehouse.oauth.clients.of(owner)
  const uri = 'https://new.example.com/cb'
  for (const scope of ['orders:read orders:write', undefined]) {
    const { client } = await clients.create({
      name: 'New', redirectUris: [uri], scopes: ['orders:read'], confidential: false
    })
    const { cookie } = await login(app)
    const query = { client_id: client.id, redirect_uri: uri, ...scope === undefined ? {} : { scope } }
    const { answer } = await visit(app, authorizePath(query), cookie)
    await clients.update(client.id, { scopes: ['orders:read', 'orders:write'] })
    const forged = answer.body.replace('value="orders:read"', 'value="orders:read orders:write"')
    t.equal((await decide(app, forged, cookie)).status, 400)
    const { params: { code = '' } } = await decide(app, answer.body, cookie)
    const { body } = await redeem(app, code, { client_id: client.id, redirect_uri: uri })
    t.equal(body.scope, 'orders:read')
    const again = await visit(app, authorizePath({ ...query, scope: 'orders:read orders:write' }), cookie)
    await clients.update(client.id, { scopes: [] })
    t.equal((await decide(app, again.answer.body, cookie)).params.error, 'invalid_scope')
  }
  const { client } = await clients.create({
    name: 'New', redirectUris: [uri], scopes: ['orders:read'], confidential: false
  })
  const { cookie } = await login(app)
  const fields = { client_id: client.id, redirect_uri: uri, scope: undefined }
  const { answer } = await visit(app, authorizePath(fields), cookie)
  await clients.update(client.id, { scopes: ['orders:write'] })
  t.equal((await decide(app, answer.body, cookie)).params.error, 'invalid_scope', 'nothing is left of what was shown')
})

t.test('a client that is changed has only the new redirect URIs', async t => {
  const app = await serverApp(t)
  const clients = app.gatehouse.oauth.clients.of(owner)
  const [before, after] = ['https://before.example.com/cb', 'https://after.example.com/cb']
  const { client: { id } } = await clients.create({ name: 'Moved', scopes: ['orders:read'], redirectUris: [before] })
  t.match(await clients.update(id, { redirectUris: [after] }), { redirectUris: exactly(after) })
  t.match(await visit(app, authorizePath({ client_id: id, redirect_uri: before })), { status: 400 })
  t.match(await visit(app, authorizePath({ client_id: id, redirect_uri: after })), { status: 302 })
})

t.test('the consent page shows the scheme of a private-use URI, whose host proves nothing', async t => {
  const redirectUris = ['com.evil.app://shop.example.com/cb']
  const app = await serverApp(t, { oauth: { clients: { app: { redirectUris, scopes: ['orders:read'] } } } })
  const { cookie } = await login(app)
  const { answer } = await visit(app, authorizePath({ client_id: 'app', redirect_uri: redirectUris[0] }), cookie)
  t.match(answer.body, 'sent to <b>com.evil.app:</b>')
})

t.test('wrong input is a fault whose reason names the mistake', async t => {
  const app = await serverApp(t, { oauth: { publicClients: true } })
  const clients = app.gatehouse.oauth.clients.of(owner)
  const cases: ReadonlyArray<readonly [object, RegExp]> = [
    [{ ...input, name: undefined }, /name/], [{ grants: ['client_credentials'] }, /needs a name/],
    [{ name: 'x' }, /can do nothing/], [{ ...input, scopes: ['admin'] }, /scopes\[0\] is 'admin'/],
    [{ ...input, redirectUris: ['javascript:x'] }, /redirectUris\[0\]/],
    [{ ...input, roles: true }, /unknown key 'roles'/],
    [{ ...input, confidential: false }, /needs a secret/]
  ]
  for (const [wrong, detail] of cases) {
    await t.rejects(clients.create(wrong as OAuthClientInput), { code: 'AUTH_FAULT', detail }, String(detail))
  }
  const { client: { id } } = await clients.create(input)
  await t.rejects(clients.update(id, { confidential: false } as object), { code: 'AUTH_FAULT' })
  await t.rejects(clients.update(id, { grants: ['authorization_code'] }), { code: 'AUTH_FAULT' })
  await t.rejects(clients.rotateSecret(id, {} as { overlap: 0 }), { code: 'AUTH_FAULT' })
  t.throws(() => app.gatehouse.oauth.clients.of(null as never), { code: 'AUTH_FAULT' })
  const closed = await serverApp(t, { oauth: { clients: {} } })
  const uris = { name: 'x', redirectUris: ['https://a.example.com/'], confidential: false }
  const closedClients = closed.gatehouse.oauth.clients.of(owner)
  await t.rejects(closedClients.create(uris), { code: 'AUTH_FAULT', detail: /publicClients/ })
  await t.resolves(closed.gatehouse.oauth.clients.of(owner).create({ ...uris, confidential: true }))
})

t.test('a client that is changed by two calls at once keeps both changes', async t => {
  const app = await serverApp(t)
  const clients = app.gatehouse.oauth.clients.of(owner)
  const { client: { id } } = await clients.create(input)
  await Promise.all([
    clients.update(id, { name: 'A' }), clients.update(id, { scopes: [] }), clients.rotateSecret(id, { overlap: 0 })
  ])
  t.match(await clients.get(id), { name: 'A', scopes: exactly() })
})

t.test('without a server, every call is a fault', async t => {
  const { default: Fastify } = await import('fastify')
  const { default: gatehouse, basic: basicScheme } = await import('../../lib/index.js')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { ops: basicScheme({ verify: () => null }) } })
  const { oauth } = app.gatehouse
  t.throws(() => oauth.clients.of(owner), { code: 'AUTH_FAULT', detail: /register oauthServer/ })
  t.throws(() => oauth.clients.ofAnyOwner(), { code: 'AUTH_FAULT' })
  t.throws(() => oauth.consents.of(owner), { code: 'AUTH_FAULT' })
})

t.test('a code gives no scope that the client has lost since', async t => {
  const app = await serverApp(t)
  const uri = 'https://new.example.com/cb'
  const clients = app.gatehouse.oauth.clients.of(owner)
  const { client: { id } } = await clients.create({
    name: 'New', redirectUris: [uri], scopes: ['orders:read', 'orders:write'], confidential: false
  })
  const fields = { client_id: id, redirect_uri: uri }
  const code = await codeFor(app, fields)
  await clients.update(id, { scopes: ['orders:read'] })
  t.equal((await redeem(app, code, fields)).body.scope, 'orders:read')
  t.same((await app.gatehouse.tokens.of(owner).list()).map(({ scopes }) => scopes), [['orders:read']])
})
