import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import gatehouse, { apiKey, jwt, session } from '../../lib/index.js'
import { oauthServer, type OAuthServerOptions } from '../../lib/oauth/index.js'
import { tracing } from '../fixtures/secrets.js'
import { secretOf } from '../fixtures/tokens.js'
import { authorizePath, clients, login, origin, privateKey, redeem, serverApp, spaUri, visit } from './app.js'

const secret = secretOf()

t.test('wrong options stop the boot with an error that names them', async t => {
  const spa = { redirectUris: [spaUri], scopes: ['orders:read'] }
  const cases: ReadonlyArray<readonly [object, RegExp]> = [
    [{ session: 'api' }, /oauthServer\.session must be a scheme that is made by session\(\): web\. Got 'api'/],
    [{ resources: [] }, /oauthServer\.resources is empty/],
    [{ resources: ['api', 'api'] }, /oauthServer\.resources names a scheme twice/],
    [{ resources: ['web'] }, /oauthServer\.resources\[0\] must be a jwt\(\) scheme with sign/],
    [{ clients: [] }, /oauthServer\.clients must be an object of clients by id/],
    [{ clients: { 'a b': spa } }, /has the id 'a b'/],
    [{ clients: { 'first-party': spa } }, /has the id 'first-party', which is reserved/],
    [{ clients: { client_x: spa } }, /has the id 'client_x', which is reserved/],
    [{ clients: { spa: {} } }, /oauthServer\.clients\.spa can do nothing/],
    [{ clients: { spa: { ...spa, scopes: ['admin'] } } }, /scopes\[0\] is 'admin', which the option scopes/],
    [{ clients: { spa: { ...spa, scopes: ['a b'] } } }, /scopes\[0\] must be a scope/],
    [{ clients: { spa: { ...spa, secrets: ['short'] } } }, /secrets\[0\] is too short/],
    [{ clients: { spa: { ...spa, secrets: ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'] } } }, /secrets\[0\] is too easy/],
    [{ clients: { spa: { ...spa, secrets: [] } } }, /must have one secret, or two different ones/],
    [{ clients: { spa: { ...spa, secrets: [secret, secret] } } }, /must have one secret, or two different ones/],
    [{ clients: { spa: { ...spa, grants: ['client_credentials'] } } }, /has only one of redirectUris and the grant/],
    [{ clients: { spa: { grants: ['refresh_token'] } } }, /has the grant refresh_token without/],
    [{ clients: { spa: { grants: ['client_credentials'] } } }, /needs a secret/],
    [{ clients: { spa: { ...spa, introspect: ['api'] } } }, /introspect needs secrets/],
    [{ clients: { spa: { ...spa, introspect: ['web'] } } }, /introspect\[0\] must be/],
    [{ consent: true }, /oauthServer\.consent must be 'remember', false, or a function/],
    ...['oauth', 'oauth/v2', '/oauth/', '/', '/:a', ''].map(
      prefix => [{ prefix }, /oauthServer\.prefix must be a path/] as const
    ),
    [{ publicClients: false }, /publicClients is false, but the client 'spa' has no secret/],
    [{ session: undefined }, /session/],
    [{ unknown: 1 }, /unknown key 'unknown'/]
  ]
  for (const [oauth, message] of cases) {
    const booted = serverApp(t, { oauth: oauth as Partial<OAuthServerOptions> })
    await t.rejects(booted, { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
})

t.test('redirect URIs that are unsafe stop the boot', async t => {
  const wrong = [
    'javascript:alert(1)', 'JavaScript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'blob:https://a.test/x',
    'about:blank', 'vbscript:x', 'filesystem:https://a.test/x', 'view-source:https://a.test/x',
    'http://app.example.com/cb', 'https://app.example.com/cb#x',
    'https://app.example.com/cb#', '/cb', '', 'https://a b/', 'https://app.example.com/a b',
    'https:login', 'https:/login', 'https:///app.example.com', 'http:localhost/cb',
    'https://user@app.example.com/', 'https://@app.example.com/', 'https://*.example.com/cb',
    'http://localhost.evil.test/', 'http://evil-localhost/'
  ]
  for (const uri of wrong) {
    const oauth = { clients: { spa: { redirectUris: [uri] } } }
    await t.rejects(serverApp(t, { oauth }), { code: 'AUTH_MISCONFIGURED', message: /redirectUris\[0\]/ }, uri)
  }
  const right = ['https://app.example.com/cb?a=b', 'http://127.0.0.1:8080/cb', 'http://[::1]/', 'cursor:/cb', 'com.a:/']
  await t.resolves(serverApp(t, { oauth: { clients: { spa: { redirectUris: right } } } }))
})

t.test('the schemes must fit each other', async t => {
  await t.rejects(serverApp(t, { sign: { realm: 'people' } }), {
    message: /'api' signs for people of another realm.*Set schemes\.api\.sign\.realm to 'web'/
  })
  await t.rejects(serverApp(t, { issuer: 'http://api.example.com' }), { message: /schemes\.api\.issuer must/ })
  await t.rejects(serverApp(t, { issuer: 'https://api.example.com/?a' }), { message: /must not have a query/ })
  await t.rejects(serverApp(t, { issuer: 'https://api.example.com/a:b' }), { message: /which no route can serve/ })
  const symmetric = serverApp(t, { jwt: { keys: secret, algorithms: ['HS256'] } as object })
  await t.rejects(symmetric, { code: 'AUTH_MISCONFIGURED' }, 'a secret has no public key')
  const two = Fastify()
  t.teardown(() => two.close())
  const own = (issuer: string) => jwt({ issuer, audience: issuer, keys: privateKey, sign: { realm: 'web' } })
  await two.register(gatehouse, {
    schemes: { web: session({ secret }), api: own(origin), other: own('https://other.example.com') }, default: 'web'
  })
  await t.rejects(async () => { await two.register(oauthServer, { session: 'web', resources: ['api', 'other'] }) }, {
    message: /schemes with different issuers: 'other'/
  })
  const none = Fastify()
  t.teardown(() => none.close())
  await none.register(gatehouse, { schemes: { key: apiKey({ keys: { [secret]: { id: 'a' } } }) } })
  await t.rejects(async () => { await none.register(oauthServer, { session: 'web', resources: ['api'] }) }, {
    message: /made by session\(\)\. Got 'web'/
  })
})

t.test('requires the plugin, one registration, and the paths of its metadata', async t => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(async () => { await bare.register(oauthServer, { session: 'web', resources: ['api'] }) }, {
    code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED'
  })
  const app = await serverApp(t)
  await t.rejects(async () => { await app.register(oauthServer, { session: 'web', resources: ['api'] }) }, {
    message: /registered twice/
  })
  const prefixed = Fastify()
  t.teardown(() => prefixed.close())
  await t.rejects(async () => {
    await prefixed.register(async child => {
      const api = jwt({ issuer: origin, audience: origin, keys: privateKey, sign: { realm: 'web' } })
      await child.register(gatehouse, { schemes: { web: session({ secret }), api }, default: 'web' })
      await child.register(oauthServer, { session: 'web', resources: ['api'] })
    }, { prefix: '/v1' })
  }, { message: /context with the prefix \/v1/ })
  await t.rejects(serverApp(t, {
    before: async app => { app.get('/.well-known/jwks.json', async () => ({})) }, plugin: { outside: 'allow' }
  }), { message: /GET \/\.well-known\/jwks\.json, where another route is declared/ })
})

t.test('the metadata lists exactly what the server supports', async t => {
  const app = await serverApp(t, { oauth: { prefix: '/auth/v2' } })
  const answer = await app.inject('/.well-known/oauth-authorization-server')
  t.match(answer.headers, { 'cache-control': 'public, max-age=3600', 'access-control-allow-origin': '*' })
  t.same(answer.json(), {
    issuer: origin,
    authorization_endpoint: `${origin}/auth/v2/authorize`,
    token_endpoint: `${origin}/auth/v2/token`,
    revocation_endpoint: `${origin}/auth/v2/revoke`,
    introspection_endpoint: `${origin}/auth/v2/introspect`,
    jwks_uri: `${origin}/.well-known/jwks.json`,
    scopes_supported: ['orders:read', 'orders:write'],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token', 'client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    revocation_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true
  })
  const { keys } = (await app.inject('/.well-known/jwks.json')).json()
  t.equal(keys.length, 1, 'each key once')
  t.notOk('d' in keys[0])
  const { partner } = clients ?? {}
  const closed = await serverApp(t, {
    oauth: { clients: { partner: partner ?? {} } }, issuer: 'https://api.example.com/tenant/'
  })
  const document = (await closed.inject('/.well-known/oauth-authorization-server/tenant')).json()
  t.match(document, { issuer: 'https://api.example.com/tenant/', token_endpoint: `${origin}/oauth/token` })
  t.notOk(document.token_endpoint_auth_methods_supported.includes('none'), 'there are no public clients')
})

t.test('works without load and declared scopes, and leaves them out of the metadata', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const api = jwt({ issuer: origin, audience: origin, keys: privateKey, sign: { realm: 'web' } })
  await app.register(gatehouse, { schemes: { web: session({ secret }), api }, default: ['web', 'api'] })
  const spa = { redirectUris: [spaUri], scopes: ['a', 'b'] }
  await app.register(oauthServer, { session: 'web', resources: ['api'], clients: { spa }, consent: false })
  app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann', scopes: ['a'] })
    return { returnTo: '' }
  })
  const document = (await app.inject('/.well-known/oauth-authorization-server')).json()
  t.notOk('scopes_supported' in document)
  t.same(document.grant_types_supported, ['authorization_code', 'client_credentials'], 'nothing can be refreshed')
  t.equal((await visit(app, authorizePath())).status, 401, 'there is no login page')
  const { cookie } = await login(app)
  const { params } = await visit(app, authorizePath(), cookie)
  const { status, body } = await redeem(app, String(params['code']))
  t.match({ status, body }, { status: 200, body: { scope: /^a$/ } })
  t.notOk('refresh_token' in body, 'the scheme has no refresh tokens')
})

t.test('another copy of the package stops the boot', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fp(async other => { other.decorate('gatehouse', {} as never) }, { name: 'fastify-gatehouse' }))
  await t.rejects(async () => { await app.register(oauthServer, { session: 'web', resources: ['api'] }) }, {
    code: 'AUTH_MISCONFIGURED', message: /two copies/
  })
})

t.test('the audit names every route, public ones with their reason', async t => {
  const app = await serverApp(t, { plugin: { requireReason: true } })
  await app.ready()
  const rows = app.gatehouse.audit().filter(({ url }) => url.startsWith('/oauth') || url.startsWith('/.well-known'))
  t.same(rows.filter(({ method }) => method !== 'OPTIONS').map(({ method, url, access }) => [method, url, access]), [
    ['GET', '/.well-known/jwks.json', 'public'],
    ['GET', '/.well-known/oauth-authorization-server', 'public'],
    ['GET', '/oauth/authorize', 'optional'],
    ['POST', '/oauth/consent', 'required'],
    ['POST', '/oauth/introspect', 'public'],
    ['POST', '/oauth/revoke', 'public'],
    ['POST', '/oauth/token', 'public']
  ])
})

t.test('logLevel and logSerializers hold for every route of the server', async t => {
  const cases = [[{ logSerializers: { req: () => 'own' } }, /"req":"own"/], [{ logLevel: 'silent' }, /^$/]] as const
  for (const [log, message] of cases) {
    const { logger, lines } = tracing()
    const app = await serverApp(t, { fastify: { logger }, oauth: log as object })
    await app.ready()
    for (const [method, url] of [
      ['GET', '/oauth/authorize'], ['POST', '/oauth/consent'], ['POST', '/oauth/token'], ['POST', '/oauth/introspect'],
      ['GET', '/.well-known/jwks.json']
    ] as const) {
      const before = lines().length
      await app.inject({ method, url })
      t.match(lines().slice(before), message, url)
    }
  }
})
