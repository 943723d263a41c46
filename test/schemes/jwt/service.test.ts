import { createHash, generateKeyPairSync } from 'node:crypto'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { createLocalJWKSet, decodeProtectedHeader, importJWK, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import gatehouse, {
  apiKey, AuthError, basic, jwt, memoryStore, session, type GatehouseOptions, type JwtOptions, type Store
} from '../../../lib/index.js'
import { hashPassword } from '../../../lib/passwords/index.js'
import type { TokenService } from '../../../types/tokens.js'
import { newHandle, withService } from '../../fixtures/token-service.js'
import { claimsOf, pair, secretOf } from '../../fixtures/tokens.js'
import { exactly } from '../../fixtures/exactly.js'

const { privateKey } = pair('ec')
const issuer = 'https://api.example.com'
const secret = secretOf()
const person = { realm: 'web', id: 'ann', scopes: ['orders:read', 'orders:write'], roles: ['clerk'] }

function own (sign: object = {}, more: object = {}): JwtOptions {
  return {
    issuer,
    audience: [issuer, `${issuer}/old`],
    keys: privateKey,
    sign: { expiresIn: '10m', realm: 'web', refresh: { secret }, ...sign },
    ...more
  }
}

async function serviceWith (
  t: Test, options: JwtOptions, more: Partial<GatehouseOptions> = {}
): Promise<{ readonly app: FastifyInstance, readonly service: TokenService }> {
  const api = withService(options)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { api: api.scheme }, load: principal => principal, ...more })
  app.get('/me', async ({ principal }) => principal)
  app.get('/orders', { config: { auth: { scopes: 'orders:read' } } }, async ({ principal }) => principal)
  return { app, service: api.service }
}

const request = {} as FastifyRequest

const grant = {
  principal: person, client: 'shop', scopes: ['orders:read'], authenticatedAt: null, refresh: true, roles: true
}

async function ask (app: FastifyInstance, token: string, url = '/orders') {
  const { statusCode, json } = await app.inject({ url, headers: { authorization: `Bearer ${token}` } })
  return { status: statusCode, body: json<Record<string, unknown>>() }
}

t.test('describes the scheme', async t => {
  const { service } = await serviceWith(t, own())
  t.match(service, {
    scheme: 'api',
    issuer,
    resource: issuer,
    audiences: [issuer, `${issuer}/old`],
    realm: 'web',
    expiresIn: 600,
    canRefresh: true,
    firstParty: 'first-party'
  })
  const { service: plain } = await serviceWith(t, own({ refresh: undefined, realm: undefined }, { sign: true }))
  t.match(plain, { realm: issuer, canRefresh: false })
})

t.test('begins one grant per handle, and repeats its tokens until they are refreshed', async t => {
  const store = memoryStore()
  const { app, service } = await serviceWith(t, own(), { store })
  const same = { ...grant, handle: newHandle() }
  const begun = await Promise.all(Array.from({ length: 20 }, () => service.begin(same)))
  t.equal(begun.filter(each => each?.isNew === true).length, 1)
  t.equal(new Set(begun.map(each => each?.tokens.refresh_token)).size, 1)
  t.equal((await store.find('refresh-family', person)).length, 1)
  const [first] = begun
  const { access_token: token = '', refresh_token: refresh = '' } = first?.tokens ?? {}
  t.match(await ask(app, token), { status: 200, body: { realm: 'web', id: 'ann', roles: exactly('clerk') } })
  t.match(claimsOf(token), { client_id: 'shop', sid: /^[\w-]{43}$/ })
  t.notOk('auth_time' in claimsOf(token))
  t.match(await service.refresh(request, refresh, { client: 'shop' }), { refresh_token: /^rt_/ })
  t.equal(await service.begin(same), null, 'a grant that was refreshed cannot be begun again')
  t.equal(await service.end(same.handle), true)
  t.equal(await service.end(same.handle), false)
  t.equal((await ask(app, token)).status, 401, 'and its access tokens are refused at once')
})

t.test('begins a grant without a refresh token, which ends with its access token', async t => {
  const store = memoryStore()
  const { app, service } = await serviceWith(t, own(), { store })
  const { tokens } = await service.begin({ ...grant, handle: newHandle(), refresh: false }) ?? {}
  t.notOk('refresh_token' in (tokens ?? {}))
  t.equal((await ask(app, tokens?.access_token ?? '')).status, 200)
  const [record] = await store.find('refresh-family', person)
  t.ok(Number(record?.expiresAt) <= Date.now() + 600_000)
  t.equal(await service.end(String(record?.id)), false, 'a grant ends by its handle, not by the id of its record')
  const { service: plain } = await serviceWith(t, own({}, { sign: { realm: 'web' } }))
  const { tokens: without } = await plain.begin({ ...grant, handle: newHandle() }) ?? {}
  t.notOk('refresh_token' in (without ?? {}))
  const refreshed = await plain.refresh(request, `rt_${newHandle()}.0.${'A'.repeat(43)}`, { client: 'shop' })
  t.same(refreshed, { kind: 'foreign' })
})

t.test('refuses a person of another realm, or with the id of a client', async t => {
  const { service } = await serviceWith(t, own())
  const begin = (principal: typeof person) => service.begin({ ...grant, principal, handle: newHandle() })
  await t.rejects(begin({ ...person, realm: 'other' }), { code: 'AUTH_FAULT' })
  await t.rejects(begin({ ...person, id: 'client:x' }), { code: 'AUTH_FAULT' })
})

t.test('gives a client a token of its own, in the realm of the issuer, that load does not see', async t => {
  const { app, service } = await serviceWith(t, own(), { load: () => null })
  const { access_token: token, ...rest } = await service.clientToken('partner', ['orders:read'])
  t.same(rest, { token_type: 'Bearer', expires_in: 600, scope: 'orders:read' })
  t.match(claimsOf(token), { sub: 'client:partner', client_id: 'partner' })
  t.notOk('sid' in claimsOf(token))
  const body = { realm: issuer, id: 'client:partner', scopes: ['orders:read'] }
  t.match(await ask(app, token), { status: 200, body })
  t.equal(await service.revoke(token, 'other'), 'foreign client')
  t.equal(await service.revoke(token, 'partner'), 'revoked')
  t.equal(await service.revoke(token, 'partner'), 'unknown')
  t.equal((await ask(app, token)).status, 401)
})

t.test('uses the load of the scheme, else the one that a refresh names, else that of the plugin', async t => {
  const only = (id: string) => ({ id: who }: { readonly id: string }) => who === id ? person : null
  for (const [scheme, call, plugin, isGood] of [
    ['ann', 'bob', 'bob', true], [null, 'ann', 'bob', true], [null, null, 'ann', true], [null, 'bob', 'ann', false]
  ] as const) {
    const more = scheme === null ? {} : { load: only(scheme) }
    const { service } = await serviceWith(t, own({}, more), { load: only(plugin) })
    const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
    const options = { client: 'shop', ...call === null ? {} : { load: only(call) } }
    t.equal('access_token' in await service.refresh(request, tokens?.refresh_token ?? '', options), isGood)
  }
})

t.test('revokes by refresh token or access token, and only for the client of the token', async t => {
  const { app, service } = await serviceWith(t, own())
  for (const kind of ['refresh_token', 'access_token'] as const) {
    const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
    const { [kind]: token = '', access_token: access = '' } = tokens ?? {}
    t.equal(await service.revoke(token, 'other'), 'foreign client')
    t.equal((await ask(app, access)).status, 200)
    t.equal(await service.revoke(token, 'shop'), 'revoked')
    t.equal((await ask(app, access)).status, 401)
    t.equal(await service.revoke(token, 'shop'), 'unknown')
  }
  const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
  const forged = `${String(tokens?.refresh_token).slice(0, -43)}${'A'.repeat(43)}`
  for (const garbage of ['', 'x', 'a.b.c', `rt_${newHandle()}.0.${'A'.repeat(43)}`, forged]) {
    t.equal(await service.revoke(garbage, 'shop'), 'unknown')
  }
})

t.test('introspects what would be accepted now', async t => {
  let load: (principal: object) => unknown = principal => principal
  const { service } = await serviceWith(t, own({}, { load: (principal: object) => load(principal) }))
  const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
  const token = tokens?.access_token ?? ''
  t.match(await service.introspect(request, token), { sub: 'ann', client_id: 'shop', scope: /^orders:read$/ })
  load = () => null
  t.equal(await service.introspect(request, token), null)
  load = principal => principal
  await service.revoke(token, 'shop')
  t.equal(await service.introspect(request, token), null)
  for (const garbage of ['', 'a.b.c', tokens?.refresh_token ?? '']) {
    t.equal(await service.introspect(request, garbage), null)
  }
})

t.test('introspection asks the store, while requests accept what is cached', async t => {
  const { subscribe: _, ...store } = memoryStore()
  const here = await serviceWith(t, own({ staleness: '1m' }), { store })
  const elsewhere = await serviceWith(t, own(), { store: { ...store } })
  const begun = await here.service.begin({ ...grant, handle: newHandle() })
  const forClient = await here.service.clientToken('shop', ['orders:read'])
  for (const token of [begun?.tokens.access_token ?? '', forClient.access_token]) {
    t.equal((await ask(here.app, token)).status, 200)
    t.match(await here.service.introspect(request, token), { client_id: 'shop' })
    t.equal(await elsewhere.service.revoke(token, 'shop'), 'revoked')
    t.equal((await ask(here.app, token)).status, 200, 'the other instance still has the token in its cache')
    t.equal(await here.service.introspect(request, token), null)
    t.equal((await ask(here.app, token)).status, 401, 'the answer of the store is cached too')
  }
})

t.test('publishes public members only, which other libraries verify with', async t => {
  const pairs = [
    pair('rsa'), pair('ec'), generateKeyPairSync('ec', { namedCurve: 'P-384' }), pair('ed25519'), pair('ed448')
  ]
  for (const { privateKey } of pairs) {
    const { service } = await serviceWith(t, own({}, { keys: { first: privateKey } }))
    const jwks = service.jwks()
    const [jwk] = jwks.keys
    t.match(jwk, { kid: 'first', use: 'sig', alg: String })
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) t.notOk(member in (jwk ?? {}), member)
    if (privateKey.asymmetricKeyType === 'ed448') continue
    const { access_token: token } = await service.clientToken('a', [])
    const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: [{ ...jwk, kty: String(jwk?.['kty']) }] }))
    t.equal(payload.sub, 'client:a')
  }
  const { service: symmetric } = await serviceWith(t, own({}, { keys: secretOf() }))
  t.throws(() => symmetric.jwks(), { code: 'AUTH_MISCONFIGURED', message: /schemes\.api.*secrets/ })
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
  const { service: unnamed } = await serviceWith(t, own({}, { keys: { first: privateKey, old: pss.publicKey } }))
  t.throws(() => unnamed.jwks(), { code: 'AUTH_MISCONFIGURED', message: /RSA-PSS/ })
})

t.test('signs under the name of a curve, as the key says', async t => {
  for (const [curve, { privateKey }] of [['Ed25519', pair('ed25519')], ['Ed448', pair('ed448')]] as const) {
    const keys = { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: curve, kid: 'first' }] }
    const { app, service } = await serviceWith(t, own({}, { keys }))
    const { access_token: token } = await service.clientToken('a', ['orders:read'])
    t.match(decodeProtectedHeader(token), { alg: curve, kid: 'first', typ: 'at+jwt' })
    t.match(service.jwks().keys, [{ alg: curve, kid: 'first' }])
    t.equal((await ask(app, token)).status, 200)
    if (curve === 'Ed25519') {
      const [jwk] = service.jwks().keys
      const key = await importJWK({ ...jwk, kty: String(jwk?.['kty']) })
      await t.resolves(jwtVerify(token, key), 'the package jose verifies the token too')
    }
  }
})

t.test('tokens of a client depend on the client, once clients are checked', async t => {
  const { app, service } = await serviceWith(t, own())
  const clients = new Set(['shop', 'partner'])
  const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
  const { access_token: token = '', refresh_token: refresh = '' } = tokens ?? {}
  const { access_token: machine } = await service.clientToken('partner', ['orders:read'])
  const firstParty = await app.gatehouse.tokens.grant(person)
  for (const isClient of [(id: string) => clients.has(id), async (id: string) => clients.has(id)]) {
    service.checkClients(isClient)
    for (const each of [token, machine, firstParty.access_token]) t.equal((await ask(app, each)).status, 200)
  }
  clients.clear()
  for (const each of [token, machine]) {
    t.equal((await ask(app, each)).status, 401)
    t.equal(await service.introspect(request, each), null)
  }
  t.equal((await ask(app, firstParty.access_token)).status, 200)
  t.match(await service.refresh(request, refresh, { client: 'shop' }), { kind: 'invalid' })
  clients.add('shop')
  t.match(await service.refresh(request, refresh, { client: 'shop' }), { access_token: String })
})

t.test('answers AUTH_UNAVAILABLE if the store fails', async t => {
  const store = memoryStore()
  const broken: Store = { ...store, get: async () => { throw new Error('down') } }
  const { app, service } = await serviceWith(t, own(), { store: broken })
  const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
  const token = tokens?.access_token ?? ''
  t.equal((await ask(app, token)).status, 503)
  await t.rejects(service.introspect(request, token), { code: 'AUTH_UNAVAILABLE' })
  await t.rejects(service.revoke(tokens?.refresh_token ?? '', 'shop'), { code: 'AUTH_UNAVAILABLE' })
})

t.test('gives up on a store that never exchanges a grant', async t => {
  let swaps = 0
  const store = { ...memoryStore(), swap: async () => { swaps++; return false } }
  const { service } = await serviceWith(t, own(), { store })
  const { tokens } = await service.begin({ ...grant, handle: newHandle() }) ?? {}
  const { refresh_token: token = '' } = tokens ?? {}
  await t.rejects(service.refresh(request, token, { client: 'shop' }), { code: 'AUTH_UNAVAILABLE' })
  t.equal(swaps, 20)
})

t.test('keys or clients that cannot be looked up are AUTH_UNAVAILABLE', async t => {
  let isDown = false
  const keys = (): typeof privateKey => {
    if (isDown) throw new AuthError('AUTH_UNAVAILABLE', 'the vault is sealed')
    return privateKey
  }
  const { service } = await serviceWith(t, own({ key: privateKey }, { keys, cache: false }))
  const { access_token: token } = await service.clientToken('partner', [])
  service.checkClients(async () => { throw new AuthError('AUTH_UNAVAILABLE', 'no answer') })
  await t.rejects(service.introspect(request, token), { code: 'AUTH_UNAVAILABLE' })
  service.checkClients(() => true)
  t.match(await service.introspect(request, token), { sub: 'client:partner' })
  isDown = true
  await t.rejects(service.introspect(request, token), { code: 'AUTH_UNAVAILABLE', detail: 'the vault is sealed' })
  await t.rejects(service.revoke(token, 'partner'), { code: 'AUTH_UNAVAILABLE' })
})

t.test('a refresh token is bound to every character of its client, however long', async t => {
  const { service } = await serviceWith(t, own())
  const clients = ['shop', 'shop2', 'sh\u00f6p', ...[170, 480, 600].flatMap(length => [
    '\u00f6'.repeat(length), `${'\u00f6'.repeat(length - 1)}\u00fc`
  ])]
  for (const client of clients) {
    const { tokens } = await service.begin({ ...grant, client, handle: newHandle() }) ?? {}
    const refreshed = await Promise.all(clients.map(
      async each => 'access_token' in await service.refresh(request, tokens?.refresh_token ?? '', { client: each })
    ))
    t.same(clients.filter((_, i) => refreshed[i] === true), [client])
  }
})

t.test('the id of a grant does not reveal its handle', async t => {
  const { service } = await serviceWith(t, own())
  const given = newHandle()
  const { tokens } = await service.begin({ ...grant, handle: given }) ?? {}
  t.equal(claimsOf(tokens?.access_token ?? '')['sid'], createHash('sha256').update(given).digest('base64url'))
})

t.test('nothing but a token of a client has the identity of a client', async t => {
  const api = withService(own({ realm: 'web' }))
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { api: api.scheme, web: session({ secret }) }, default: 'web' })
  app.post<{ Body: { id: string, realm: string } }>(
    '/login',
    { config: { auth: { public: 'logs people in' } } },
    async ({ body }, reply) => { await reply.login(body) }
  )
  for (const [realm, id, status] of [
    [issuer, 'client:shop', 500], [issuer, 'ann', 200], ['web', 'client:shop', 200], ['web', 'ann', 200]
  ] as const) {
    t.equal((await app.inject({ method: 'POST', url: '/login', payload: { realm, id } })).statusCode, status)
  }
  const named = { api: jwt({ ...own(), issuer: 'web' } as JwtOptions), web: session({ secret }) }
  await t.rejects(async () => await Fastify().register(gatehouse, { schemes: named, default: 'web' }), {
    code: 'AUTH_MISCONFIGURED', message: /schemes\.web has the name of an issuer/
  })
})

t.test('a scheme with the realm of clients stops the boot', async t => {
  const boot = async (other: GatehouseOptions['schemes'][string], sign = {}) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, { schemes: { api: jwt(own(sign) as JwtOptions), other }, default: 'other' })
  }
  const password = secretOf()
  const hashed = await hashPassword(password)
  const schemesOf = (realm: string) => [
    apiKey({ keys: { [secretOf()]: { id: 'billing' }, [secretOf()]: { id: 'ann', realm } } }),
    basic({ users: { bob: { password }, ann: { password: secretOf(), realm } } }),
    basic({ users: { ann: { hash: hashed, realm } }, cache: { ttl: '1m' } }),
    jwt({ issuer: 'https://other.example.com', audience: 'x', keys: secretOf(), sign: { realm } })
  ]
  for (const [i, scheme] of schemesOf(issuer).entries()) {
    await t.rejects(boot(scheme), {
      code: 'AUTH_MISCONFIGURED',
      message: `The option schemes.other has a principal in the realm '${issuer}'. That is the realm of ` +
        'clients, because this application signs tokens with the same issuer. Leave the realm out, or set another one.'
    }, `scheme ${i}`)
  }
  for (const scheme of schemesOf('people')) await t.resolves(boot(scheme))
  await t.resolves(boot(basic({ verify: () => null }), { realm: issuer }), 'the realm of people may be the issuer')
})
