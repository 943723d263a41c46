import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import fc from 'fast-check'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { jwtVerify } from 'jose'
import t from 'tap'
import { authFailure } from '../../../lib/errors.js'
import gatehouse from '../../../lib/index.js'
import { describeSources } from '../../../lib/kit/sources.js'
import { jwt } from '../../../lib/schemes/jwt/scheme.js'
import type { JwtCredential, JwtOptions } from '../../../lib/schemes/jwt/scheme.js'
import type { AuthErrorCode, AuthFailure, Outcome } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { Scheme } from '../../../types/scheme.js'
import { createScheme } from '../../fixtures/schemes.js'
import { pair, secretOf, token } from '../../fixtures/tokens.js'
import type { Signing } from '../../fixtures/tokens.js'
import { exactly } from '../../fixtures/exactly.js'

type Answer = Outcome<Principal, JwtCredential>

const hs = secretOf()
const rsa = pair('rsa')
const ec = pair('ec')
const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const base: JwtOptions = { keys: hs, issuer, audience }
const refused = { code: 'AUTH_MISCONFIGURED' }

function now (): number {
  return Math.floor(Date.now() / 1000)
}

function claims (more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  return {
    iss: issuer,
    aud: audience,
    sub: 'user-1',
    iat: now(),
    nbf: now(),
    exp: now() + 300,
    scope: 'orders:read',
    ...more
  }
}

function hsToken (more: Readonly<Record<string, unknown>> = {}, header: Signing['header'] = {}): string {
  return token(claims(more), { alg: 'HS256', key: hs, header })
}

/** Creates a scheme without an application, which is enough for one that does not sign. */
async function made (options: unknown): Promise<Scheme<Principal, JwtCredential>> {
  return (await createScheme(jwt(options as JwtOptions), {} as FastifyInstance, 'user')).scheme
}

/** Returns the part of a request that a scheme reads. */
function bearer (text: string | null): FastifyRequest {
  const lines = text === null ? [] : ['Authorization', `Bearer ${text}`]
  return {
    raw: { headers: text === null ? {} : { authorization: lines[1] }, rawHeaders: lines }
  } as unknown as FastifyRequest
}

async function ask (scheme: Scheme<Principal, JwtCredential>, text: string | null): Promise<Answer> {
  return await scheme.authenticate(bearer(text))
}

/** Returns the outcome in one word. */
async function word (scheme: Scheme<Principal, JwtCredential>, text: string | null): Promise<string> {
  const outcome = await ask(scheme, text)
  return outcome.kind === 'invalid' && outcome.expired ? 'expired' : outcome.kind
}

t.test('returns principal, expiry and authentication time for a good token', async t => {
  const scheme = await made(base)
  const authTime = now() - 60
  const exp = now() + 100
  const outcome = scheme.authenticate(
    bearer(
      hsToken({ auth_time: authTime, roles: ['clerk'], exp, extra: { deep: [1] } }, { typ: 'at+jwt', kid: 'any' })
    )
  )
  if (outcome instanceof Promise || outcome.kind !== 'authenticated') return t.fail('it is not accepted at once')
  t.same(outcome.principal, { realm: issuer, id: 'user-1', scopes: ['orders:read'], roles: ['clerk'] })
  t.ok(Object.isFrozen(outcome.principal) && Object.isFrozen(outcome.principal.scopes))
  t.equal(outcome.authenticatedAt?.getTime(), authTime * 1000)
  t.equal(outcome.expiresAt?.getTime(), exp * 1000)
  t.same(outcome.credential.header, { alg: 'HS256', typ: 'at+jwt', kid: 'any' })
  t.equal(outcome.credential.claims.sub, 'user-1')
  t.ok(
    Object.isFrozen(outcome.credential) &&
      Object.isFrozen(outcome.credential.claims) &&
      Object.isFrozen((outcome.credential.claims['extra'] as { deep: object }).deep)
  )
  t.equal(scheme.reportsAuthTime, true)
  t.notOk('load' in scheme)
  const load = () => null
  t.equal((await made({ ...base, load })).load, load)
  t.equal(scheme.ambient, false)
  t.same(scheme.openapi, { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' })
})

t.test('distinguishes absent, foreign, invalid and expired', async t => {
  const scheme = await made(base)
  t.equal(await word(scheme, null), 'absent')
  t.equal(await word(scheme, hsToken()), 'authenticated')
  for (const text of [
    'an-api-key',
    'one.dot',
    'a.b.c.d',
    'a.b.c.d.e',
    '.'.repeat(15_000),
    hsToken({ iss: 'https://other.test' })
  ]) { t.equal(await word(scheme, text), 'foreign', text.slice(0, 20)) }
  for (const text of [
    'a.b.c',
    'a..',
    'eyJhbGciOiJIUzI1NiJ9.W10.AA',
    hsToken({ iss: undefined }),
    hsToken({ iss: [issuer] }),
    hsToken({ aud: 'https://other.test' }),
    hsToken({ exp: undefined }),
    hsToken({ exp: '9999999999' }),
    hsToken({ nbf: now() + 3600 }),
    hsToken({ iat: now() + 3600 }),
    hsToken({ sub: undefined }),
    hsToken({ sub: 12345 }),
    hsToken({}, { typ: 'refresh+jwt' }),
    `${hsToken()}=`,
    token('[{"sub":"user-1"}]', { alg: 'HS256', key: hs }),
    token('{"exp":1e999,"iss":"https://issuer.test"}', { alg: 'HS256', key: hs }),
    token(claims(), { alg: 'HS256', key: secretOf() })
  ]) {
    t.equal(await word(scheme, text), 'invalid', text.slice(0, 40))
  }
  t.equal(await word(scheme, hsToken({ exp: now() - 1 })), 'expired')
  t.equal(
    await word(scheme, token(claims({ exp: now() - 1 }), { alg: 'HS256', key: secretOf() })),
    'invalid',
    'an expired token that is not authentic is invalid, not expired'
  )
})

t.test('no detail of a refusal contains a part of the token', async t => {
  const scheme = await made(base)
  for (const text of [
    hsToken({ aud: 'secret-audience' }),
    token(claims(), { alg: 'HS256', key: secretOf(), header: { kid: 'secret-kid' } }),
    hsToken({}, { typ: 'secret-typ' })
  ]) {
    const outcome = await ask(scheme, text)
    t.equal(outcome.kind, 'invalid')
    t.notMatch(JSON.stringify(outcome), /secret-/)
  }
})

t.test('clockTolerance moves the limits of exp: 61 seconds late is expired with 60', async t => {
  const scheme = await made({ ...base, clockTolerance: '60s' })
  t.equal(await word(scheme, hsToken({ exp: now() - 30 })), 'authenticated')
  t.equal(await word(scheme, hsToken({ exp: now() - 60 })), 'expired')
  t.equal(await word(scheme, hsToken({ exp: now() - 61 })), 'expired')
  t.equal(await word(scheme, hsToken({ nbf: now() + 30, iat: now() + 30 })), 'authenticated')
})

t.test('maxTokenAge requires iat, and counts from it', async t => {
  const scheme = await made({ ...base, maxTokenAge: '5m' })
  t.equal(await word(scheme, hsToken({ iat: now() - 200 })), 'authenticated')
  t.equal(await word(scheme, hsToken({ iat: now() - 301 })), 'expired')
  t.equal(await word(scheme, hsToken({ iat: undefined })), 'invalid')
})

t.test('accepts whole words in scope or scp and a list of roles, and refuses anything else', async t => {
  const scheme = await made(base)
  const principal = async (more: Readonly<Record<string, unknown>>) => {
    const outcome = await ask(scheme, hsToken(more))
    return outcome.kind === 'authenticated' ? [outcome.principal.scopes, outcome.principal.roles] : outcome.kind
  }
  t.same(await principal({ scope: 'a b  c a' }), [['a', 'b', 'c'], []])
  t.same(await principal({ scope: '' }), [[], []])
  t.same(await principal({ scope: undefined, scp: 'a b' }), [['a', 'b'], []])
  t.same(await principal({ scope: undefined, scp: ['a b', 'c'] }), [['a b', 'c'], []])
  t.same(await principal({ scope: 'a', scp: ['b'], roles: ['x', 'x'] }), [['a'], ['x']])
  for (const bad of [
    { scope: ['a'] },
    { scope: 7 },
    { scope: null },
    { scope: undefined, scp: [7] },
    { scope: undefined, scp: {} },
    { roles: 'admin' },
    { roles: [null] },
    { roles: { admin: true } }
  ]) { t.equal(await principal(bad), 'invalid', JSON.stringify(bad)) }
})

t.test('is safe against a claim, header or scope __proto__', async t => {
  const scheme = await made({ ...base, principal: (all: object) => ({ ...all, id: 'x' }) })
  const text = token(
    `{"iss":"${issuer}","aud":"${audience}","sub":"u","exp":${now() + 300},` +
    '"__proto__":{"scope":"admin","scopes":["admin"]},"constructor":{"prototype":{"x":1}}}',
    { alg: 'HS256', key: hs }
  )
  const outcome = await ask(scheme, text)
  t.equal(({} as Record<string, unknown>)['scope'], undefined)
  t.same(outcome.kind === 'authenticated' ? outcome.principal.scopes : outcome.kind, [])
  const plain = await ask(await made(base), text)
  t.same(plain.kind === 'authenticated' ? plain.principal.scopes : plain.kind, [])
})

t.test('calls the mapping on each request, synchronous or asynchronous, and refuses if it does', async t => {
  let calls = 0
  const mapping = (all: { sub?: string, tenant?: unknown }) => {
    calls++
    return all.sub === 'banned'
      ? null
      : { id: `${all.sub}`, tenant: all.tenant, realm: all.sub === 'moved' ? 'elsewhere' : undefined }
  }
  const scheme = await made({ ...base, principal: mapping })
  const text = hsToken({ tenant: 't1' })
  const outcome = await ask(scheme, text)
  t.match(outcome, {
    kind: 'authenticated',
    principal: { id: 'user-1', tenant: 't1', realm: issuer, scopes: [], roles: [] }
  })
  await ask(scheme, text)
  t.equal(calls, 2, 'the second time from the cache')
  t.match(await ask(scheme, hsToken({ sub: 'moved' })), { principal: { realm: 'elsewhere' } })
  t.equal(await word(scheme, hsToken({ sub: 'banned' })), 'invalid')
  t.equal(await word(await made({ ...base, principal: async () => null }), text), 'invalid')
  t.match(await ask(await made({ ...base, principal: async () => ({ id: 'later' }) }), text), {
    principal: { id: 'later' }
  })
  const throwing = await made({
    ...base,
    principal: () => {
      throw new Error('database')
    }
  })
  t.throws(
    () => throwing.authenticate(bearer(text)),
    { message: 'database' },
    'a fault of the application is not an invalid token'
  )
  for (const no of [undefined, false, { valid: false }] as const) {
    t.equal(await word(await made({ ...base, principal: () => no }), text), 'invalid')
  }
  for (const bad of [{}, { id: 7 }, { id: 'a', scopes: 'a' }, 'alice']) {
    const scheme = await made({ ...base, principal: () => bad })
    t.throws(() => scheme.authenticate(bearer(text)), { code: 'AUTH_FAULT' })
  }
})

t.test('makes the principal from the claims that the option principal names', async t => {
  const principal = { id: 'oid', scopes: ['app', 'permissions'], roles: ['realm_access', 'roles'] }
  const scheme = await made({ ...base, principal })
  const good = { oid: 'o-1', app: { permissions: ['a', 'b', 'a'] }, realm_access: { roles: ['clerk'] }, roles: ['no'] }
  for (const [more, expected] of [
    [{}, { realm: issuer, id: 'o-1', scopes: ['a', 'b'], roles: ['clerk'] }],
    [{ app: { permissions: 'a  b' }, realm_access: { roles: 'head clerk' } }, {
      scopes: ['a', 'b'], roles: ['head clerk']
    }],
    [{ app: undefined, realm_access: {} }, { scopes: [], roles: [] }],
    [{ app: 'a', realm_access: ['roles'] }, { scopes: [], roles: [] }],
    [{ app: { permissions: '' } }, { scopes: [] }]
  ] as const) {
    t.match(await ask(scheme, hsToken({ ...good, ...more })), { kind: 'authenticated', principal: expected })
  }
  for (const more of [
    { oid: undefined }, { oid: '' }, { oid: 7 }, { oid: 'a\0' }, { app: { permissions: 7 } },
    { app: { permissions: ['a', 7] } }, { realm_access: { roles: { a: true } } }, { realm_access: { roles: [['a']] } }
  ]) {
    t.equal(await word(scheme, hsToken({ ...good, ...more })), 'invalid', JSON.stringify(more))
  }
  const byPrototype = await made({ ...base, principal: { id: ['constructor', 'name'] } })
  t.equal(await word(byPrototype, hsToken()), 'invalid', 'inherited properties are not claims')
  const inPart = await made({ ...base, principal: { roles: 'groups' } })
  t.match(await ask(inPart, hsToken({ groups: ['admin'], roles: 7 })), {
    principal: { id: 'user-1', scopes: ['orders:read'], roles: ['admin'] }
  })
})

t.test('selects one of several issuers by exact iss, and verifies only with its keys', async t => {
  const scheme = await made({
    issuers: [
      { issuer: 'A', audience, keys: rsa.publicKey },
      { issuer: 'B', audience: ['x', 'y'], keys: { es: ec.publicKey } },
      { issuer: 'C', audience: false, keys: hs }
    ]
  })
  const from = (iss: string, alg: string, key: KeyObject | string, aud: unknown = audience) =>
    token(claims({ iss, aud }), { alg, key })
  t.match(await ask(scheme, from('A', 'RS256', rsa.privateKey)), { kind: 'authenticated', principal: { realm: 'A' } })
  t.match(await ask(scheme, from('B', 'ES256', ec.privateKey, 'y')), {
    kind: 'authenticated',
    principal: { realm: 'B' }
  })
  t.match(await ask(scheme, from('C', 'HS256', hs, undefined)), { kind: 'authenticated', principal: { realm: 'C' } })
  for (const text of [
    from('A', 'ES256', ec.privateKey),
    from('B', 'RS256', rsa.privateKey, 'x'),
    from('A', 'HS256', hs),
    from('C', 'RS256', rsa.privateKey),
    from('B', 'ES256', ec.privateKey)
  ]) { t.equal(await word(scheme, text), 'invalid') }
  t.equal(await word(scheme, from('D', 'RS256', rsa.privateKey)), 'foreign')
})

t.test('issuer: false and audience: false accept any, under the realm of the scheme', async t => {
  const scheme = await made({ keys: hs, issuer: false, audience: false })
  for (const more of [{}, { iss: undefined, aud: undefined }, { iss: 'anyone', aud: 7 }]) {
    t.match(await ask(scheme, hsToken(more)), { kind: 'authenticated', principal: { realm: 'user' } })
  }
  t.equal(await word(scheme, hsToken({ iss: ['a'] })), 'invalid')
})

t.test('requires the claims of the option claims to have one of their accepted values', async t => {
  const required = { token_use: 'access', client_id: ['shop', 'admin'], anonymous: false, level: [2, 3] }
  const scheme = await made({ ...base, audience: false, claims: required })
  const good = { token_use: 'access', client_id: 'shop', anonymous: false, level: 2 }
  for (const more of [{}, { client_id: ['x', 'admin'] }, { level: 3 }, { aud: undefined }]) {
    t.equal(await word(scheme, hsToken({ ...good, ...more })), 'authenticated', JSON.stringify(more))
  }
  for (const more of [
    { token_use: 'id' }, { client_id: 'other' }, { client_id: undefined }, { client_id: [] }, { client_id: [['shop']] },
    { client_id: 'shop admin' }, { anonymous: 'false' }, { anonymous: undefined }, { level: '2' }, { level: null }
  ]) {
    t.equal(await word(scheme, hsToken({ ...good, ...more })), 'invalid', JSON.stringify(more))
  }
  t.match(scheme.accepts, { issuers: [{ audience: null, claims: { token_use: ['access'] } }] })
  const several = await made({
    issuers: [
      { issuer: 'A', audience, keys: hs, claims: { token_use: 'access' } },
      { issuer: 'B', audience, keys: rsa.publicKey }
    ]
  })
  t.equal(await word(several, hsToken({ iss: 'A' })), 'invalid')
  t.equal(await word(several, hsToken({ iss: 'A', token_use: 'access' })), 'authenticated')
  const other = token(claims({ iss: 'B' }), { alg: 'RS256', key: rsa.privateKey })
  t.equal(await word(several, other), 'authenticated', 'each issuer has its own')
})

t.test('resolves keys by header, refuses a token without a key, and answers 500 if the resolver fails', async t => {
  const keys: Record<string, unknown> = {
    rs: rsa.publicKey,
    weak: 'x'.repeat(40),
    empty: '',
    pem: rsa.publicKey.export({ type: 'spki', format: 'pem' }),
    jwk: { ...ec.publicKey.export({ format: 'jwk' }), alg: 'ES256' }
  }
  for (const resolver of [
    (header: { kid?: string }) => keys[header.kid ?? ''],
    async (header: { kid?: string }) => keys[header.kid ?? '']
  ]) {
    const scheme = await made({ keys: resolver, issuer, audience })
    const by = (kid: string, alg = 'RS256', key: KeyObject | string = rsa.privateKey) =>
      token(claims(), { alg, key, header: { kid } })
    for (let i = 0; i < 2; i++) {
      t.equal(await word(scheme, by('rs')), 'authenticated')
      t.equal(await word(scheme, by('pem')), 'authenticated')
      t.equal(await word(scheme, by('jwk', 'ES256', ec.privateKey)), 'authenticated')
    }
    for (const kid of ['nope', 'empty', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '../../dev/null']) {
      for (const key of ['', '[object Object]', String(keys['pem'])]) {
        t.equal(await word(scheme, by(kid, 'HS256', key)), 'invalid', kid)
      }
    }
    t.equal(await word(scheme, by('pem', 'HS256', String(keys['pem']))), 'invalid', 'a PEM text is not a secret')
    await t.rejects(async () => await ask(scheme, by('weak', 'HS256', 'x'.repeat(40))), refused)
  }
  const failing = await made({ keys: () => { throw new Error('network') }, issuer, audience })
  t.throws(() => failing.authenticate(bearer(hsToken())), { message: 'network' })
  const rejecting = await made({ keys: async () => { throw new Error('network') }, issuer, audience })
  await t.rejects(ask(rejecting, hsToken()), { message: 'network' })
})

t.test('refuses a key at once if a resolver no longer returns it, also for cached tokens', async t => {
  let current: unknown = hs
  const scheme = await made({ keys: () => current, issuer, audience })
  const text = hsToken()
  t.equal(await word(scheme, text), 'authenticated')
  t.equal(await word(scheme, text), 'authenticated')
  current = secretOf()
  t.equal(await word(scheme, text), 'invalid')
  current = null
  t.equal(await word(scheme, text), 'invalid')
})

t.test('checks a cached token again with the current keys', async t => {
  let current: unknown = hs
  for (const keys of [() => current, async () => current]) {
    current = hs
    const scheme = await made({ keys, issuer, audience })
    const text = hsToken()
    await ask(scheme, text)
    await ask(scheme, text)
    const cached = await ask(scheme, text)
    if (cached.kind !== 'authenticated') return t.fail(cached.kind)
    t.equal((await cached.recheck?.(bearer(text)))?.kind, 'authenticated')
    current = null
    t.equal((await cached.recheck?.(bearer(text)))?.kind, 'invalid')
  }
})

t.test('cached tokens expire, are compared whole, and are safe from changes by handlers', async t => {
  const scheme = await made(base)
  const real = Date.now
  t.teardown(() => { Date.now = real })
  const text = hsToken({ exp: now() + 5, jti: 'c1' })
  t.equal(await word(scheme, text), 'authenticated', 'a token is cached when it comes again')
  const first = await ask(scheme, text)
  t.equal(first.kind, 'authenticated')
  if (first.kind === 'authenticated') {
    t.throws(() => { (first.credential.claims as Record<string, unknown>)['scope'] = 'admin' }, TypeError)
    t.throws(() => { (first.principal.scopes as string[]).push('admin') }, TypeError)
    t.throws(() => { (first as { expiresAt: unknown }).expiresAt = null }, TypeError, 'requests share the outcome')
  }
  const second = await ask(scheme, text)
  t.match(second, { kind: 'authenticated', principal: { scopes: exactly('orders:read') } })
  const dot = text.lastIndexOf('.')
  t.equal(
    await word(scheme, text.slice(0, dot + 1) + (text[dot + 1] === 'A' ? 'B' : 'A') + text.slice(dot + 2)),
    'invalid',
    'another signature with the same tail'
  )
  t.equal(
    await word(scheme, hsToken({ exp: now() + 5, jti: 'c2' }).slice(0, dot) + text.slice(dot)),
    'invalid',
    'another payload with the same signature'
  )
  Date.now = () => real() + 66_000
  t.equal(await word(scheme, text), 'expired')
})

t.test('a cached header does not make another token valid', async t => {
  const scheme = await made(base)
  for (let i = 0; i < 70; i++) t.equal(await word(scheme, hsToken({}, { kid: `key-${i}` })), 'authenticated')
  const text = hsToken({}, { kid: 'key-0' })
  const [header = '', payload = '', signature = ''] = text.split('.')
  const [, otherPayload = ''] = hsToken({ sub: 'admin' }).split('.')
  t.equal(await word(scheme, [header, otherPayload, signature].join('.')), 'invalid')
  t.equal(await word(scheme, [header, payload, randomBytes(32).toString('base64url')].join('.')), 'invalid')
  t.equal(await word(scheme, [`${header}x`, payload, signature].join('.')), 'invalid')
  for (const extra of [{ crit: ['exp'] }, { b64: false }, { alg: 'none' }, { typ: 'refresh+jwt' }]) {
    t.equal(await word(scheme, hsToken({}, { kid: 'key-0', ...extra })), 'invalid')
  }
})

t.test('gives the same answers with the cache, without it and with a small one', async t => {
  const tokens = Array.from({ length: 40 }, (_, i) => hsToken({ sub: `user-${i}` }))
  for (const cache of [false, 2, 16, 4096]) {
    const scheme = await made({ ...base, cache })
    for (let round = 0; round < 3; round++) {
      for (const [i, text] of tokens.entries()) {
        t.match(await ask(scheme, text), { kind: 'authenticated', principal: { id: `user-${i}` } })
      }
    }
  }
})

t.test('never throws on, and never authenticates, arbitrary text', async t => {
  const schemes = await Promise.all([made(base), made({ keys: rsa.publicKey, issuer: false, audience: false })])
  const json = fc.json().map(text => Buffer.from(text).toString('base64url'))
  const text = fc.oneof(
    fc.string(),
    fc
      .array(fc.oneof(json, fc.string(), fc.base64String()), { minLength: 3, maxLength: 3 })
      .map(parts => parts.join('.'))
  )
  fc.assert(
    fc.property(text, each =>
      schemes.every(scheme => {
        const outcome = scheme.authenticate(bearer(each))
        return !(outcome instanceof Promise) && outcome.kind !== 'authenticated'
      })
    ),
    { numRuns: 3000 }
  )
})

t.test('typ restricts tokens to exactly one type', async t => {
  const scheme = await made({ ...base, typ: 'application/AT+jwt' })
  t.equal(await word(scheme, hsToken({}, { typ: 'at+jwt' })), 'authenticated')
  for (const header of [{}, { typ: 'JWT' }, { typ: 'refresh+jwt' }]) {
    t.equal(await word(scheme, hsToken({}, header)), 'invalid')
  }
})

t.test('treats a token in a cookie as ambient, and forbids caching of one in a query', async t => {
  const cookie = await made({ ...base, from: ['bearer', 'cookie:token'] })
  t.equal(cookie.ambient, true)
  t.equal(cookie.cacheControl, 'private')
  t.same((await made({ ...base, from: 'cookie:token' })).openapi, { type: 'apiKey', in: 'cookie', name: 'token' })
  t.equal((await made({ ...base, from: 'query:access_token' })).cacheControl, 'private, no-store')
  t.same((await made({ ...base, from: 'header:x-token' })).openapi, { type: 'apiKey', in: 'header', name: 'x-token' })
  t.same(describeSources(['bearer']).openapi, { type: 'http', scheme: 'bearer' })
  const raw = { raw: { headers: { cookie: `a=b; token=${hsToken()}` }, rawHeaders: [] } } as unknown as FastifyRequest
  t.match(await cookie.authenticate(raw), { kind: 'authenticated' })
})

t.test('sends the challenge of RFC 6750 and RFC 9470', async t => {
  const scheme = await made({ ...base, realm: 'orders' })
  const of = (code: AuthErrorCode, name: string | null, more: Partial<AuthFailure> = {}) =>
    scheme.challenge?.({ ...authFailure(code, name, 'the reason'), ...more })
  t.same(of('AUTH_REQUIRED', null), { scheme: 'Bearer', params: { realm: 'orders' } })
  t.same(of('AUTH_INVALID_CREDENTIALS', 'user'), {
    scheme: 'Bearer',
    params: { realm: 'orders', error: 'invalid_token', error_description: 'The token is invalid' }
  })
  t.same(of('AUTH_TOKEN_EXPIRED', 'user'), {
    scheme: 'Bearer',
    params: { realm: 'orders', error: 'invalid_token', error_description: 'The token expired' }
  })
  t.same(of('AUTH_ACCESS_DENIED', 'user', { scopes: ['a', 'b'] }), {
    scheme: 'Bearer',
    params: { realm: 'orders', error: 'insufficient_scope', scope: 'a b' }
  })
  t.same(of('AUTH_ACCESS_DENIED', 'user'), {
    scheme: 'Bearer',
    params: { realm: 'orders', error: 'insufficient_scope' }
  })
  t.match(of('AUTH_STEP_UP_REQUIRED', 'user', { maxAge: 300 }), {
    params: { error: 'insufficient_user_authentication', max_age: 300 }
  })
  t.same(Object.keys([of('AUTH_STEP_UP_REQUIRED', 'user') ?? []].flat()[0]?.params ?? {}).sort(), [
    'error',
    'error_description',
    'realm'
  ])
  t.equal(of('AUTH_UNAVAILABLE', 'user'), null)
  t.same((await made(base)).challenge?.(authFailure('AUTH_REQUIRED', null, '')), {
    scheme: 'Bearer',
    params: { realm: 'user' }
  })
})

t.test('stops the boot for wrong options, and names the scheme and the option', async t => {
  const entry = { issuer: 'A', audience, keys: rsa.publicKey }
  for (const [options, message] of [
    [undefined, /must be an object/],
    [{ ...base, key: 1 }, /unknown key 'key'.*'keys'/],
    [{ ...base, keys: undefined }, /'keys' set to undefined/],
    [{ keys: hs, audience }, /schemes\.user\.issuer must be the exact 'iss'/],
    [{ keys: hs, issuer }, /schemes\.user\.audience must be the 'aud'/],
    [{ ...base, issuer: true }, /schemes\.user\.issuer must be the exact 'iss'/],
    [{ ...base, issuer: '' }, /schemes\.user\.issuer must be the exact 'iss'/],
    [{ ...base, issuer: `${issuer}\n` }, /schemes\.user\.issuer must be .* Got a text with white space around it/],
    [{ ...base, issuer: [issuer] }, /schemes\.user\.issuer must be the exact 'iss'/],
    [{ ...base, issuer: /x/ }, /schemes\.user\.issuer must be the exact 'iss'/],
    [{ ...base, audience: ' ' }, /schemes\.user\.audience must be .* Got a text with white space around it/],
    [{ ...base, audience: [] }, /schemes\.user\.audience must be the 'aud'/],
    [{ ...base, audience: ['a', 7] }, /schemes\.user\.audience must be the 'aud'/],
    [{ ...base, audience: null }, /schemes\.user\.audience must be the 'aud'/],
    [{ ...base, claims: undefined }, /'claims' set to undefined/],
    [{ ...base, claims: {} }, /schemes\.user\.claims must be an object from claims to their accepted values/],
    [{ ...base, claims: [['azp', 'x']] }, /schemes\.user\.claims must be an object/],
    [{ ...base, claims: { azp: undefined } }, /schemes\.user\.claims\.azp must be the accepted value/],
    [{ ...base, claims: { azp: [] } }, /schemes\.user\.claims\.azp must be the accepted value/],
    [{ ...base, claims: { azp: 'x\n' } }, /schemes\.user\.claims\.azp must be .* Got a text with white space/],
    [{ ...base, claims: { azp: '' } }, /schemes\.user\.claims\.azp must be the accepted value/],
    [{ ...base, claims: { azp: ['a', { a: 1 }] } }, /schemes\.user\.claims\.azp must be the accepted value/],
    [{ ...base, claims: { level: NaN } }, /schemes\.user\.claims\.level must be the accepted value/],
    [{ ...base, claims: { aud: 'x' } }, /schemes\.user\.claims\.aud is not possible/],
    [{ ...base, claims: { azp: 'x' }, sign: true }, /schemes\.user\.claims is about tokens of others/],
    [{ issuers: [entry], claims: { azp: 'x' } }, /schemes\.user\.claims cannot be combined with issuers/],
    [{ ...base, issuers: [entry] }, /schemes\.user\.issuer cannot be combined with issuers/],
    [{ issuers: [entry], sign: true }, /signs has one issuer/],
    [{ issuers: [] }, /non-empty list/],
    [{ issuers: entry }, /non-empty list/],
    [{ issuers: [entry, entry] }, /names an issuer twice/],
    [{ issuers: [{ ...entry, issuer: false }] }, /schemes\.user\.issuers\[0\]\.issuer must be the exact 'iss'/],
    [{ issuers: [{ ...entry, scheme: 1 }] }, /unknown key/],
    [{ issuers: [{ issuer: 'A', audience }] }, /schemes\.user\.issuers\[0\]\.keys is missing/],
    [{ ...base, clockTolerance: -1 }, /clockTolerance/],
    [{ ...base, clockTolerance: '1 minute' }, /clockTolerance/],
    [{ ...base, maxTokenAge: 0 }, /maxTokenAge/],
    [{ ...base, clockTolerance: '11m' }, /clockTolerance/],
    [{ ...base, from: 'header:Cookie' }, /means something else/],
    [{ ...base, typ: 7 }, /typ/],
    [{ ...base, typ: 'at+jwt\n' }, /schemes\.user\.typ must be the typ of the tokens, such as 'at\+jwt'\. Got/],
    [{ ...base, typ: 'a b' }, /schemes\.user\.typ must be the typ of the tokens/],
    [{ ...base, realm: '' }, /realm/],
    [{ ...base, cache: true }, /cache/],
    [{ ...base, cache: 1.5 }, /cache/],
    [{ ...base, principal: 'oid' }, /schemes\.user\.principal must be a function/],
    [{ ...base, principal: { name: 'x' } }, /schemes\.user\.principal has an unknown key/],
    [{ ...base, principal: { id: [] } }, /schemes\.user\.principal\.id must be the name of a claim/],
    [{ ...base, principal: { roles: ['a', ''] } }, /schemes\.user\.principal\.roles must be the name of a claim/],
    [{ ...base, load: 1 }, /load/],
    [{ ...base, from: 'body' }, /from/],
    [{ ...base, sign: false }, /sign/],
    [{ ...base, sign: { keys: 1 } }, /unknown key/],
    [{ ...base, keys: 'secret' }, /too short/],
    [{ ...base, keys: 'x'.repeat(40) }, /too easy to guess/],
    [{ ...base, keys: { a: 'x'.repeat(40) } }, /too easy to guess/],
    [{ ...base, keys: { kty: 'oct', k: Buffer.alloc(40).toString('base64url') } }, /too easy to guess/],
    [{ ...base, algorithms: ['HS384'] }, /too short: HS384 .* Make one with: npx fastify-gatehouse secret --bytes 48$/],
    [{ ...base, algorithms: ['none'] }, /algorithms/],
    [{ ...base, keys: () => hs, algorithms: ['HS256', 'RS256'] }, /public-key algorithms/]
  ] as const) {
    await t.rejects(made(options), { ...refused, message }, String(message))
  }
})

t.test('signs tokens that it accepts, and others', async t => {
  for (const [options, verifier] of [
    [{ ...base, sign: true }, Buffer.from(hs)],
    [{ keys: rsa.privateKey, issuer, audience: [audience, 'second'], sign: true }, rsa.publicKey],
    [
      {
        keys: { now: { ...ec.publicKey.export({ format: 'jwk' }), alg: 'ES256' } },
        issuer,
        audience,
        sign: { key: ec.privateKey }
      },
      ec.publicKey
    ],
    [
      {
        keys: rsa.publicKey,
        algorithms: ['PS256'],
        issuer,
        audience,
        sign: { key: rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }) }
      },
      rsa.publicKey
    ],
    [{ keys: () => rsa.publicKey, issuer, audience, sign: { key: rsa.privateKey, kid: 'k' } }, rsa.publicKey],
    [{ keys: hs, issuer, audience, typ: 'at+jwt', maxTokenAge: '1h', sign: { kid: 'k' } }, Buffer.from(hs)]
  ] as const) {
    const app = Fastify()
    const {
      scheme,
      features: { tokens }
    } = await createScheme(jwt(options as JwtOptions), app, 'user')
    const text =
      (await tokens?.issue(
        { id: 'alice', scopes: ['a', 'b'], roles: ['clerk'] },
        { expiresIn: '10m', claims: { auth_time: now(), tenant: 't1' } }
      )) ?? ''
    t.match(await ask(scheme, text), {
      kind: 'authenticated',
      principal: { id: 'alice', realm: issuer, scopes: ['a', 'b'], roles: ['clerk'] },
      credential: { claims: { tenant: 't1' } }
    })
    const { payload, protectedHeader } = await jwtVerify(text, verifier, {
      issuer,
      audience,
      typ: 'at+jwt',
      requiredClaims: ['jti', 'iat', 'exp']
    })
    t.equal((payload.exp ?? 0) - (payload.iat ?? 0), 600)
    t.match(payload, { aud: audience, sub: 'alice', scope: /^a b$/, roles: exactly('clerk') })
    if ('sign' in options && typeof options.sign === 'object' && 'kid' in options.sign) {
      t.equal(protectedHeader.kid, 'k')
    }
    const other = (await tokens?.issue({ id: 'alice' }, {})) ?? ''
    t.not(other, text)
    t.equal((await jwtVerify(other, verifier)).payload.scope, undefined)
    await app.close()
  }
})

t.test('signs without issuer and audience if it does not check them', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const {
    scheme,
    features: { tokens }
  } = await createScheme(jwt({ keys: hs, issuer: false, audience: false, sign: true }), app, 'user')
  const outcome = await ask(scheme, (await tokens?.issue({ id: 'alice' }, {})) ?? '')
  t.match(outcome, { kind: 'authenticated', principal: { realm: 'user', id: 'alice' } })
  t.notOk(
    outcome.kind === 'authenticated' && ('iss' in outcome.credential.claims || 'aud' in outcome.credential.claims)
  )
})

t.test('sign: refuses reserved claims, scopes with spaces and an empty lifetime', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { features: { tokens } } = await createScheme(jwt({ ...base, sign: true }), app, 'user')
  if (tokens === undefined) return t.fail('the scheme issues no tokens')
  const { issue } = tokens
  const fault = { code: 'AUTH_FAULT', message: 'Internal Server Error' }
  for (const name of ['iss', 'aud', 'sub', 'exp', 'nbf', 'iat', 'jti', 'scope', 'scp', 'roles']) {
    await t.rejects(issue({ id: 'a' }, { claims: { [name]: 1 } }), { ...fault, detail: new RegExp(name) })
  }
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic
  const broken = { toJSON () { throw Object.assign(new Error('own'), { statusCode: 404 }) } }
  for (const claim of [1n, NaN, new Date(), () => {}, cyclic, broken]) {
    await t.rejects(issue({ id: 'a' }, { claims: { claim } }), { ...fault, detail: /^schemes\.user: claims\.claim/ })
  }
  const hostile = { get claim () { throw Object.assign(new Error('own'), { statusCode: 404 }) } }
  await t.rejects(issue({ id: 'a' }, { claims: hostile }), { ...fault, detail: /writing a token of schemes\.user/ })
  await t.rejects(issue({ id: 'a', scopes: ['orders admin'] }, {}), fault)
  await t.rejects(issue({ id: 'a' }, { expiresIn: 0 }), fault)
  await t.rejects(issue({ id: 'a' }, { expiresIn: NaN }), fault)
  await t.rejects(issue({ id: '' }, {}), { code: 'AUTH_FAULT' })
  await t.rejects(
    issue(
      { id: 'a' },
      {
        get expiresIn (): number {
          throw new RangeError('own')
        }
      }
    ),
    new RangeError('own'),
    'an error of the application stays its own'
  )
})

t.test('stops the boot if it could not sign, or would not accept its own tokens', async t => {
  const next = { ...rsa.privateKey.export({ format: 'jwk' }), kid: 'next', next: true }
  for (const [options, message] of [
    [{ keys: rsa.publicKey, sign: true }, /no key to sign with/],
    [{ keys: () => rsa.publicKey, sign: true }, /no key to sign with/],
    [{ keys: rsa.publicKey, sign: { key: pair('rsa').privateKey } }, /belongs to none/],
    [{ keys: rsa.publicKey, sign: { key: rsa.publicKey } }, /is a public key/],
    [{ keys: { a: rsa.privateKey, b: hs } }, /mixes/],
    [{ keys: { a: rsa.privateKey }, sign: { kid: 'b' } }, /would not accept/],
    [{ keys: hs, sign: { expiresIn: 'soon' } }, /expiresIn/],
    [{ keys: () => hs, sign: { key: 'x'.repeat(40) } }, /too easy to guess/],
    [{ keys: hs, sign: { key: undefined } }, /undefined/],
    [{ keys: hs, sign: true, typ: 'JWT' }, /schemes\.user\.typ must be 'at\+jwt'/],
    [{ keys: { 2026: hs, 2025: secretOf() }, sign: true }, /schemes\.user\.keys has names that consist of digits/],
    [{ keys: JSON.stringify({ 2026: hs, 2025: secretOf() }), sign: true }, /names that consist of digits/],
    [{ keys: next, sign: true }, /have next: true/],
    [{ keys: [next, ec.privateKey], sign: { key: next } }, /schemes\.user\.sign\.key has next: true/],
    [{ keys: () => hs, sign: { key: next } }, /schemes\.user\.sign\.key has next: true/],
    [{ keys: { ...next, next: 'yes' } }, /'next' is neither true nor false/],
    [{ keys: { a: JSON.stringify({ ...next, next: 'yes' }) } }, /'next' is neither true nor false/]
  ] as const) {
    const app = Fastify()
    await t.rejects(
      async () => await createScheme(jwt({ issuer, audience, ...options } as unknown as JwtOptions), app, 'user'),
      { ...refused, message },
      String(message)
    )
    await app.close()
  }
})

t.test('signs with the first key as written; names of digits are accepted where no order depends on them', async t => {
  const [current, previous] = [pair('ec').privateKey, pair('ec').privateKey]
  for (const [keys, kid, sign] of [
    [{ '2026-02': current, '2025-02': previous }, '2026-02', true],
    [new Map([['2026', current], ['2025', previous]]), '2026', true],
    [{ 2026: current, 2025: createPublicKey(previous) }, '2026', true],
    [{ 2026: current, 2025: previous }, '2026', { key: current }],
    [['2026', '2025'].map((kid, i) => ({ ...[current, previous][i]?.export({ format: 'jwk' }), kid })), '2026', true]
  ] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, { schemes: { user: jwt({ issuer, audience, keys, sign } as unknown as JwtOptions) } })
    const token = await app.gatehouse.tokens.issue({ id: 'ann' })
    t.equal(JSON.parse(Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString()).kid, kid)
  }
})

t.test('sign: works beside @fastify/jwt, registered before or after', async t => {
  const own = secretOf()
  for (const order of ['before', 'after'] as const) {
    const app = Fastify()
    if (order === 'before') await app.register(fastifyJwt, { secret: own })
    const schemes: Array<Awaited<ReturnType<typeof createScheme>>> = []
    await app.register(async app => {
      for (const name of ['user', 'service']) {
        schemes.push(await createScheme(jwt({ ...base, issuer: name, keys: secretOf(), sign: true }), app, name))
      }
    })
    if (order === 'after') await app.register(fastifyJwt, { secret: own })
    app.get('/own', async request => await request.jwtVerify())
    await app.ready()
    const text = app.jwt.sign({ whose: 'own' })
    t.same(
      (await app.inject({ url: '/own', headers: { authorization: `Bearer ${text}` } })).json<{ whose: string }>()
        .whose,
      'own'
    )
    for (const {
      scheme,
      features: { tokens }
    } of schemes) {
      const issued = (await tokens?.issue({ id: 'alice' }, {})) ?? ''
      t.equal(
        (await app.inject({ url: '/own', headers: { authorization: `Bearer ${issued}` } })).statusCode,
        401,
        'another key'
      )
      t.match(await scheme.authenticate(bearer(issued)), { kind: 'authenticated' })
    }
    await app.close()
  }
})

t.test('lets two applications use one definition without sharing state', async t => {
  const definition = jwt({ ...base, sign: true })
  const apps = [Fastify(), Fastify()]
  const schemes = await Promise.all(
    apps.map(async (app, i) => (await createScheme(definition, app, `user${i}`)).scheme)
  )
  const text = hsToken({ jti: 'x' }, { typ: 'at+jwt' })
  for (const scheme of schemes) t.equal(await word(scheme, text), 'authenticated')
  t.not(schemes[0], schemes[1])
  await Promise.all(apps.map(async app => await app.close()))
})

t.test('authenticates a route over HTTP', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { scheme } = await createScheme(jwt(base), app, 'user')
  app.get('/', async request => ({ kind: (await scheme.authenticate(request)).kind }))
  const kind = async (headers: Record<string, string>) =>
    (await app.inject({ url: '/', headers })).json<{ kind: string }>().kind
  t.equal(await kind({ authorization: `Bearer ${hsToken()}` }), 'authenticated')
  t.equal(await kind({ authorization: `bearer ${hsToken()}` }), 'authenticated')
  t.equal(await kind({}), 'absent')
  t.equal(await kind({ authorization: 'Basic YTpi' }), 'absent')
  t.equal(await kind({ authorization: `Bearer ${hsToken()}, Bearer ${hsToken()}` }), 'invalid')
})
