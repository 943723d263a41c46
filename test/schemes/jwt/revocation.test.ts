import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  jwt, memoryStore, type GatehouseOptions, type GrantedTokens, type JwtOptions, type Scheme, type Store
} from '../../../lib/index.js'
import { movableClock } from '../../fixtures/clock.js'
import { recordEvents } from '../../fixtures/events.js'
import { until } from '../../fixtures/time-limit.js'
import { claimsOf, pair, secretOf } from '../../fixtures/tokens.js'
import { backends } from '../../stores/fixtures/backends.js'

const { privateKey } = pair('ec')
const issuer = 'https://api.example.com'
const secret = secretOf()
const person = { realm: issuer, id: 'ann', scopes: ['orders:read'], roles: ['clerk'] }

/** Awaited before the first test, because tap ends as soon as no test is left. */
const stores = await backends()

const clock = movableClock(t)

function own (sign: object = {}, more: object = {}): JwtOptions {
  const common = { issuer, audience: issuer, keys: privateKey }
  return { ...common, sign: { expiresIn: '10m', refresh: { secret }, ...sign }, ...more }
}

async function appWith (t: Test, options: Partial<GatehouseOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(
    gatehouse, { schemes: { api: jwt(own()) }, load: principal => principal, ...options } as GatehouseOptions
  )
  app.get('/me', async ({ principal }) => principal)
  app.get('/events', (request, reply) => {
    reply.hijack()
    reply.raw.write('open')
    request.auth.signal?.addEventListener('abort', () => { reply.raw.end(String(request.auth.signal?.reason.code)) })
  })
  app.post<{ Body: { token: unknown } }>(
    '/refresh',
    { config: { auth: { public: 'holds a refresh token' } } },
    async ({ body }, reply) => await app.gatehouse.tokens.refresh(reply, body.token)
  )
  return app
}

async function statusOf (app: FastifyInstance, token: string): Promise<number> {
  return (await app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })).statusCode
}

async function refreshStatus (app: FastifyInstance, { refresh_token: token }: GrantedTokens): Promise<number> {
  return (await app.inject({ method: 'POST', url: '/refresh', payload: { token } })).statusCode
}

t.test('revokes a grant by its refresh token, or by one of its access tokens', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  const app = await appWith(t)
  for (const kind of ['refresh_token', 'access_token'] as const) {
    const tokens = await app.gatehouse.tokens.grant(person)
    t.equal(await statusOf(app, tokens.access_token), 200)
    t.equal(await app.gatehouse.tokens.revoke(tokens[kind]), undefined)
    t.equal(await statusOf(app, tokens.access_token), 401)
    t.equal(await refreshStatus(app, tokens), 401)
    t.equal(await app.gatehouse.tokens.revoke(tokens[kind]), undefined, 'a token can be revoked twice')
    t.match(revoked.splice(0), [{ grant: claimsOf(tokens.access_token)['sid'], tokenId: null, id: 'ann' }])
  }
})

t.test('revokes an access token without a grant alone, until it expires', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  const store = memoryStore()
  const app = await appWith(t, { store })
  const [one, other] = [await app.gatehouse.tokens.issue(person), await app.gatehouse.tokens.issue(person)]
  t.equal(await statusOf(app, one), 200)
  await app.gatehouse.tokens.revoke(one)
  await app.gatehouse.tokens.revoke(one)
  t.same([await statusOf(app, one), await statusOf(app, other)], [401, 200])
  const { jti, exp } = claimsOf(one)
  t.match(revoked, [{ grant: null, tokenId: jti, realm: issuer, id: 'ann', client: null }])
  t.equal(revoked.length, 1)
  const record = await store.get('token-ended', String(jti))
  t.same([record?.owner, record?.value, record?.expiresAt?.getTime()], [null, {}, Number(exp) * 1000])
})

t.test('revokes a token by the scheme that issued it, whatever the order of the schemes', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  const schemes = { api: jwt(own()), mcp: jwt(own({}, { audience: `${issuer}/mcp` })) }
  const app = await appWith(t, { schemes, default: ['api', 'mcp'] })
  for (const scheme of ['api', 'mcp'] as const) {
    for (const kind of ['refresh_token', 'access_token'] as const) {
      const tokens = await app.gatehouse.tokens.grant(person, { scheme })
      await app.gatehouse.tokens.revoke(tokens[kind])
      t.match(revoked.splice(0), [{ scheme, grant: claimsOf(tokens.access_token)['sid'] }], `${scheme}: ${kind}`)
    }
  }
})

t.test('reveals nothing about a token that is unknown, of another key, expired or no text', async t => {
  const app = await appWith(t)
  const stranger = await appWith(t, { schemes: { api: jwt(own({}, { keys: pair('ec').privateKey })) } })
  const expired = await app.gatehouse.tokens.issue(person, { expiresIn: 1 })
  clock.offset = 2_000
  const forged = await stranger.gatehouse.tokens.issue(person)
  for (const token of [undefined, null, {}, 7, '', 'x', 'a.b.c', expired, forged]) {
    t.equal(await app.gatehouse.tokens.revoke(token), undefined)
  }
})

t.test('an expired access token does not end its grant', async t => {
  const app = await appWith(t)
  const tokens = await app.gatehouse.tokens.grant(person)
  clock.offset = 601_000
  await app.gatehouse.tokens.revoke(tokens.access_token)
  t.equal(await refreshStatus(app, tokens), 200)
})

t.test('lists and ends the grants of one person, of all schemes', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  const schemes = {
    api: jwt(own()),
    mcp: jwt(own({}, { audience: `${issuer}/mcp` })),
    plain: jwt({ issuer: 'https://plain.example.com', audience: 'plain', keys: privateKey, sign: true })
  }
  const app = await appWith(t, { schemes, default: ['api', 'mcp', 'plain'] })
  const { tokens } = app.gatehouse
  const first = await tokens.grant(person, { scheme: 'api' })
  clock.offset = 1_000
  const second = await tokens.grant(person, { scheme: 'mcp', client: 'partner', scopes: [] })
  const others = await tokens.grant({ ...person, id: 'bob' }, { scheme: 'api' })
  const mine = tokens.of(person)
  const sidOf = (granted: GrantedTokens) => String(claimsOf(granted.access_token)['sid'])
  const iso = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/
  const list = await mine.list()
  t.match(list, [
    { id: sidOf(second), scheme: 'mcp', client: 'partner', scopes: [], ended: false },
    {
      id: sidOf(first),
      owner: { realm: issuer, id: 'ann' },
      scheme: 'api',
      client: null,
      scopes: ['orders:read'],
      createdAt: iso,
      lastUsedAt: iso,
      expiresAt: iso,
      ended: false
    }
  ])
  t.equal(list.length, 2)
  t.equal(Date.parse(String(list[1]?.expiresAt)) - Date.parse(String(list[1]?.createdAt)), 14 * 86_400_000)
  t.equal((await tokens.of(person, { scheme: 'api' }).list()).length, 1)
  t.same(await tokens.of({ realm: 'other', id: 'ann' }).list(), [])
  t.equal(await mine.revoke(sidOf(others)), false, 'a grant of somebody else')
  t.equal(await mine.revoke('x'), false)
  t.equal(await statusOf(app, others.access_token), 200)
  t.equal(await mine.revoke(sidOf(second)), true)
  t.equal(await mine.revoke(sidOf(second)), false)
  t.same([await statusOf(app, first.access_token), await statusOf(app, second.access_token)], [200, 401])
  clock.offset = 2_000
  const third = await tokens.grant(person, { scheme: 'mcp' })
  clock.offset = 3_000
  await tokens.grant(person, { scheme: 'api' })
  t.same((await mine.list()).map(({ scheme }) => scheme), ['api', 'mcp', 'api'], 'the last used first')
  await mine.revokeAll({ except: sidOf(third) })
  t.same([await statusOf(app, first.access_token), await statusOf(app, third.access_token)], [401, 200])
  await mine.revokeAll()
  t.equal(await statusOf(app, third.access_token), 401)
  t.equal(await statusOf(app, others.access_token), 200)
  t.equal(revoked.length, 4)
})

t.test('refuses wrong arguments with AUTH_FAULT', async t => {
  const { gatehouse: { tokens } } = await appWith(t)
  for (const owner of [undefined, null, {}, { id: 'ann' }, { realm: issuer }, 'ann']) {
    const of = () => tokens.of(owner as unknown as typeof person)
    t.throws(of, { code: 'AUTH_FAULT', detail: /The owner of tokens\.of\(\)/ })
  }
  t.throws(() => tokens.of(person, { scheme: 'x' } as never), { code: 'AUTH_FAULT', detail: /'x' cannot sign tokens/ })
  const mine = tokens.of(person)
  for (const options of [{ except: undefined }, { expect: 'a' }, { except: 1 }]) {
    await t.rejects(mine.revokeAll(options as object), { code: 'AUTH_FAULT', detail: /tokens\.of\(\)\.revokeAll\(\)/ })
  }
  const bare = await appWith(t, { schemes: { api: jwt({ issuer, audience: issuer, keys: privateKey }) } })
  const detail = /no scheme of this application can sign tokens/
  await t.rejects(bare.gatehouse.tokens.revoke('x'), { code: 'AUTH_FAULT', detail })
  t.throws(() => bare.gatehouse.tokens.of(person), { code: 'AUTH_FAULT', detail })
  t.throws(() => bare.gatehouse.tokens.jwks(), { code: 'AUTH_FAULT', detail })
})

t.test('publishes the keys of the only issuer, or of the scheme that is named', async t => {
  const other = jwt({ ...own(), issuer: 'https://other.example.com', keys: pair('ed25519').privateKey } as JwtOptions)
  const one = await appWith(t, { schemes: { api: jwt(own()), mcp: jwt(own({}, { audience: 'mcp' })) }, default: 'api' })
  t.match(one.gatehouse.tokens.jwks(), { keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' }] })
  const two = await appWith(t, { schemes: { api: jwt(own()), other }, default: 'api' })
  t.throws(() => two.gatehouse.tokens.jwks(), { code: 'AUTH_FAULT', detail: /several schemes/ })
  t.match(two.gatehouse.tokens.jwks({ scheme: 'other' } as never), { keys: [{ kty: 'OKP' }] })
})

t.test('publishes the keys of a scheme of the application', async t => {
  const scheme: Scheme = { openapi: { type: 'http', scheme: 'bearer' }, authenticate: () => ({ kind: 'absent' }) }
  const tokens = { issue: async () => 'x', jwks: () => ({ keys: [] }) }
  const app = await appWith(t, { schemes: { own: () => ({ scheme, features: { tokens } }) } })
  t.same(app.gatehouse.tokens.jwks(), { keys: [] })
})

t.test('symmetric keys cannot be published: an error at boot, a fault afterwards', async t => {
  const app = await appWith(t, { schemes: { api: jwt(own({}, { keys: secretOf() })) } })
  t.throws(() => app.gatehouse.tokens.jwks(), { code: 'AUTH_MISCONFIGURED', message: /keys of schemes\.api.*key pair/ })
  await app.ready()
  t.throws(() => app.gatehouse.tokens.jwks(), { code: 'AUTH_FAULT', message: 'Internal Server Error' })
})

t.test('another instance accepts an ended grant for the staleness, if the store reports nothing', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const [here, there] = [await appWith(t, { store }), await appWith(t, { store })]
  const tokens = await here.gatehouse.tokens.grant(person)
  const alone = await here.gatehouse.tokens.issue(person)
  for (const token of [tokens.access_token, alone]) {
    t.equal(await statusOf(there, token), 200)
    await here.gatehouse.tokens.revoke(token)
    t.equal(await statusOf(here, token), 401)
    t.equal(await statusOf(there, token), 200)
  }
  clock.offset = 5_000
  t.equal(await statusOf(there, tokens.access_token), 200)
  clock.offset = 10_100
  t.same([await statusOf(there, tokens.access_token), await statusOf(there, alone)], [401, 401])
})

t.test('two schemes for one audience list a grant once, and both refuse at once what either has ended', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const common = own()
  const schemes = { api: jwt(common), page: jwt({ ...common, from: 'cookie:token' } as JwtOptions) }
  const app = await appWith(t, { schemes, store, default: ['api', 'page'] } as Partial<GatehouseOptions>)
  const { access_token: token } = await app.gatehouse.tokens.grant(person, { scheme: 'api' })
  t.match(await app.gatehouse.tokens.of(person).list(), [{ scheme: 'api' }])
  const alone = await app.gatehouse.tokens.issue(person, { scheme: 'api' })
  const inCookie = async (token: string) => (await app.inject({ url: '/me', cookies: { token } })).statusCode
  for (const each of [token, alone]) {
    t.same([await statusOf(app, each), await inCookie(each)], [200, 200])
    await app.gatehouse.tokens.revoke(each)
    t.same([await statusOf(app, each), await inCookie(each)], [401, 401])
  }
})

t.test('a grant that makes room for one of another scheme is refused at once', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const common = own()
  const schemes = { api: jwt(common), mcp: jwt({ ...common, audience: `${issuer}/mcp` } as JwtOptions) }
  const app = await appWith(t, { schemes, store, default: ['api', 'mcp'] } as Partial<GatehouseOptions>)
  const { access_token: oldest } = await app.gatehouse.tokens.grant(person, { scheme: 'mcp' })
  t.equal(await statusOf(app, oldest), 200)
  clock.offset += 1
  for (let i = 0; i < 100; i++) await app.gatehouse.tokens.grant(person, { scheme: 'api' })
  t.equal(await statusOf(app, oldest), 401)
})

for (const { name, skip, reportsChanges, make } of stores) {
  if (!reportsChanges) continue
  t.test(`another instance is notified at once that a grant has ended: ${name}`, { skip }, async t => {
    const state = make(t)
    const [here, there] = [await appWith(t, { store: state.open() }), await appWith(t, { store: state.open() })]
    await Promise.all([here.ready(), there.ready()])
    const tokens = await here.gatehouse.tokens.grant(person)
    const alone = await here.gatehouse.tokens.issue(person)
    for (const token of [tokens.access_token, alone]) {
      t.equal(await statusOf(there, token), 200)
      await here.gatehouse.tokens.revoke(token)
      t.ok(await until(async () => await statusOf(there, token) === 401, 5_000), 'long before the staleness')
    }
  })
}

t.test('ends a stream when its grant or token is revoked', async t => {
  const app = await appWith(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const { access_token: token } = await app.gatehouse.tokens.grant(person)
  for (const each of [token, await app.gatehouse.tokens.issue(person)]) {
    const stream = get({ port, path: '/events', headers: { authorization: `Bearer ${each}` } })
    const [response] = await once(stream, 'response') as [IncomingMessage]
    let text = ''
    response.on('data', chunk => { text += String(chunk) })
    await once(response, 'data')
    await app.gatehouse.tokens.revoke(each)
    await once(response, 'end')
    t.equal(text, 'openAUTH_INVALID_CREDENTIALS')
  }
})

t.test('while the store is down, cached grants are accepted for the staleness, then 503', async t => {
  const store = memoryStore()
  let down = false
  const shaky: Store = {
    ...store,
    get: async (kind, id) => {
      if (down) throw new Error('down')
      return await store.get(kind, id)
    }
  }
  const app = await appWith(t, { store: shaky })
  const { access_token: token } = await app.gatehouse.tokens.grant(person)
  t.equal(await statusOf(app, token), 200)
  down = true
  t.equal(await statusOf(app, token), 200)
  clock.offset = 10_001
  t.equal(await statusOf(app, token), 503)
  down = false
  t.equal(await statusOf(app, token), 200)
})

t.test('with staleness: false, access tokens stay valid until they expire, and cannot be revoked', async t => {
  const store = memoryStore()
  const app = await appWith(t, { store, schemes: { api: jwt(own({ staleness: false })) } })
  const tokens = await app.gatehouse.tokens.grant(person)
  for (const token of [tokens.access_token, await app.gatehouse.tokens.issue(person)]) {
    await t.rejects(app.gatehouse.tokens.revoke(token), { code: 'AUTH_FAULT', detail: /schemes\.api.*sign\.staleness/ })
  }
  await app.gatehouse.tokens.revoke(tokens.refresh_token)
  t.equal(await refreshStatus(app, tokens), 401)
  t.equal(await statusOf(app, tokens.access_token), 200)
  clock.offset = 600_001
  t.equal(await statusOf(app, tokens.access_token), 401)
})

t.test('staleness: 0 asks the store for every request', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const schemes = { api: jwt(own({ staleness: 0 })) }
  const [here, there] = [await appWith(t, { store, schemes }), await appWith(t, { store, schemes })]
  const { access_token: token } = await here.gatehouse.tokens.grant(person)
  t.equal(await statusOf(there, token), 200)
  await here.gatehouse.tokens.revoke(token)
  t.equal(await statusOf(there, token), 401)
  const stale = appWith(t, { schemes: { api: jwt(own({ staleness: '2m' })) } })
  await t.rejects(stale, { message: /sign\.staleness must be at most 1 minute/ })
})

t.test('a sid that is not an id of a grant is refused, and a jti that is not an id cannot be revoked', async t => {
  const { SignJWT } = await import('jose')
  const app = await appWith(t)
  const sign = (claims: Record<string, unknown>) => new SignJWT({ iss: issuer, aud: issuer, sub: 'ann', ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' }).setExpirationTime('1m').sign(privateKey)
  for (const sid of ['', 7, null, 'x'.repeat(43)]) t.equal(await statusOf(app, await sign({ sid })), 401)
  for (const jti of [undefined, '', 'x'.repeat(300), 'a b']) {
    const token = await sign(jti === undefined ? {} : { jti })
    await app.gatehouse.tokens.revoke(token)
    t.equal(await statusOf(app, token), 200)
  }
})

t.test('a key with next: true is published and verifies, and does not sign yet', async t => {
  const { SignJWT } = await import('jose')
  const [current, next] = [pair('ec').privateKey, pair('ec').privateKey]
  const jwk = (key: typeof current, more: object) => ({ ...key.export({ format: 'jwk' }), kty: 'EC', ...more })
  const keys = [jwk(next, { kid: 'new', next: true }), jwk(current, { kid: 'old' })]
  const app = await appWith(t, { schemes: { api: jwt(own({}, { keys })) } })
  const token = await app.gatehouse.tokens.issue(person)
  t.match(JSON.parse(Buffer.from(String(token.split('.')[0]), 'base64url').toString()), { kid: 'old' })
  const published = app.gatehouse.tokens.jwks()
  t.same(published.keys.map(({ kid }) => kid), ['new', 'old'])
  t.notMatch(JSON.stringify(published), /next|"d"/)
  const signed = await new SignJWT({ iss: issuer, aud: issuer, sub: 'ann' })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'new' }).setExpirationTime('1m').sign(next)
  t.same([await statusOf(app, token), await statusOf(app, signed)], [200, 200])
})

t.test('schemes of one issuer share keys and sign, or the boot stops', async t => {
  const mcp = { audience: `${issuer}/mcp` }
  const message = /schemes\.api and schemes\.mcp have the same issuer/
  const jwks = [pair('ec').privateKey, pair('ec').privateKey].map((key, i) => ({
    ...key.export({ format: 'jwk' }), kty: 'EC', kid: `k${i}`
  }))
  const rsa = { ...pair('rsa').privateKey.export({ format: 'jwk' }), kty: 'RSA', kid: 'k0' }
  const [first, second] = jwks
  const otherKey = { ...pair('ec').privateKey.export({ format: 'jwk' }), kty: 'EC', kid: 'k1' }
  const different: ReadonlyArray<readonly [JwtOptions, JwtOptions]> = [
    [own(), own({}, { ...mcp, keys: pair('ec').privateKey })],
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: jwks.slice(0, 1) })],
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: jwks.toReversed() })],
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: [first, otherKey] })],
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: [first, { ...second, kid: 'k2' }] })],
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: [first, { ...second, next: true }] })],
    [own({}, { keys: { ...rsa, alg: 'RS256' } }), own({}, { ...mcp, keys: { ...rsa, alg: 'PS256' } })],
    [own(), own({ realm: 'web' }, mcp)],
    [own(), own({ claims: () => ({}) }, mcp)],
    [own(), own({ refresh: { secret: secretOf() } }, mcp)],
    [own(), { issuer, ...mcp, keys: privateKey }],
    [{ issuer, audience: issuer, keys: privateKey }, own({}, mcp)],
    [own({ key: privateKey }, { keys: () => privateKey }), own({ key: privateKey }, mcp)],
    [own({ key: privateKey }), own({ key: privateKey }, { ...mcp, keys: () => privateKey })],
    [own({ key: privateKey }, { keys: () => privateKey }), own({ key: privateKey }, { ...mcp, keys: () => privateKey })]
  ]
  for (const [api, other] of different) {
    const boot = appWith(t, { schemes: { api: jwt(api), mcp: jwt(other) }, default: 'api' })
    await t.rejects(boot, { code: 'AUTH_MISCONFIGURED', message })
  }
  const listed = { issuers: [{ issuer, audience: issuer, keys: privateKey }] }
  const boot = appWith(t, { schemes: { api: jwt(own()), mcp: jwt(listed) }, default: 'api' })
  await t.rejects(boot, { message })
  const find = () => privateKey
  const same: ReadonlyArray<readonly [JwtOptions, JwtOptions]> = [
    [own({}, { keys: jwks }), own({}, { ...mcp, keys: JSON.stringify({ keys: jwks }) })],
    [own({ key: privateKey }, { keys: find }), own({ key: privateKey }, { ...mcp, keys: find })],
    [{ issuer, audience: issuer, keys: privateKey }, { issuer, ...mcp, keys: pair('ec').publicKey }]
  ]
  for (const [api, other] of same) {
    const app = await appWith(t, { schemes: { api: jwt(api), mcp: jwt(other) }, default: 'api' })
    await app.ready()
  }
})

t.test('a token for another scheme of the issuer is foreign, and for an unknown audience invalid', async t => {
  const { SignJWT } = await import('jose')
  const schemes = {
    api: jwt(own()),
    mcp: jwt(own({}, { audience: [`${issuer}/mcp`, `${issuer}/tools`] })),
    admin: jwt(own({}, { audience: `${issuer}/admin` }))
  }
  const app = await appWith(t, { schemes, default: ['api', 'mcp', 'admin'] })
  app.get('/api', { config: { auth: 'api' } }, async () => 'ok')
  const sign = (aud: string | string[]) => new SignJWT({ iss: issuer, aud, sub: 'ann' })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' }).setExpirationTime('1m').sign(privateKey)
  for (const [aud, either, api] of [
    [issuer, 200, 200], [`${issuer}/mcp`, 200, 401], [[`${issuer}/tools`], 200, 401],
    [`${issuer}/admin`, 200, 401], [`${issuer}/other`, 401, 401]
  ] as const) {
    const token = await sign(typeof aud === 'string' ? aud : [...aud])
    t.equal(await statusOf(app, token), either)
    const { statusCode } = await app.inject({ url: '/api', headers: { authorization: `Bearer ${token}` } })
    t.equal(statusCode, api)
  }
})

t.test('a scheme that signs accepts at+jwt and application/at+jwt only', async t => {
  const { SignJWT } = await import('jose')
  const app = await appWith(t)
  for (const [typ, status] of [
    ['at+jwt', 200], ['application/at+jwt', 200], ['AT+JWT', 200], ['JWT', 401], [undefined, 401], ['rt+jwt', 401]
  ] as const) {
    const header = { alg: 'ES256', ...typ === undefined ? {} : { typ } }
    const token = await new SignJWT({ iss: issuer, aud: issuer, sub: 'ann' })
      .setProtectedHeader(header).setExpirationTime('1m').sign(privateKey)
    t.equal(await statusOf(app, token), status, String(typ))
  }
})
