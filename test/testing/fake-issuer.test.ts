import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import Fastify, { type LightMyRequestResponse } from 'fastify'
import { createRemoteJWKSet, decodeJwt, jwtVerify, customFetch } from 'jose'
import t, { type Test } from 'tap'
import plugin, { jwt, session } from '../../lib/index.js'
import { oidcLogin } from '../../lib/oidc/index.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { FakeIssuer, FakeIssuerOptions, IssuerAlgorithm } from '../../lib/testing/index.js'
import { secretOf } from '../fixtures/tokens.js'

const algorithms: readonly IssuerAlgorithm[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519'
]

async function json (url: string): Promise<unknown> {
  const answer = await fetch(url)
  return await answer.json()
}

t.test('issues tokens of every algorithm that another library accepts by the published keys', async t => {
  await using provider = await fakeIssuer({ algorithms })
  const keys = createRemoteJWKSet(new URL(provider.jwksUri))
  t.equal(provider.kids.length, algorithms.length)
  const { keys: published } = await json(provider.jwksUri) as { readonly keys: ReadonlyArray<{ readonly n?: string }> }
  t.equal(new Set(published.flatMap(({ n }) => n ?? [])).size, 1, 'the algorithms of RSA share a key pair')
  for (const algorithm of algorithms) {
    const { payload, protectedHeader } = await jwtVerify(provider.token({ scope: 'a' }, { algorithm }), keys, {
      issuer: provider.issuer,
      audience: provider.audience,
      typ: 'at+jwt',
      requiredClaims: ['jti', 'iat', 'exp']
    })
    t.match(payload, { sub: 'user-1', scope: /^a$/ })
    t.same(protectedHeader, { alg: algorithm, kid: `${algorithm}-1`, typ: 'at+jwt' })
  }
  const other = provider.token({ sub: undefined, aud: 'https://other.test' }, { header: { kid: undefined } })
  t.equal(
    (
      await jwtVerify(
        other,
        createRemoteJWKSet(new URL(provider.jwksUri), {
          [customFetch]: async () =>
            Response.json({ keys: [((await json(provider.jwksUri)) as { keys: object[] }).keys[0]] })
        })
      )
    ).payload.sub,
    undefined
  )
})

t.test('serves its metadata only at the requested location', async t => {
  const forms: ReadonlyArray<readonly [FakeIssuerOptions, string]> = [
    [{}, '/.well-known/openid-configuration'],
    [{ path: '/one' }, '/one/.well-known/openid-configuration'],
    [{ path: '/one', metadata: 'oauth' }, '/.well-known/oauth-authorization-server/one'],
    [{ path: '/one', metadata: 'openid-inserted' }, '/.well-known/openid-configuration/one']
  ]
  for (const [options, path] of forms) {
    await using provider = await fakeIssuer(options)
    const { origin } = new URL(provider.issuer)
    t.match(await json(`${origin}${path}`), { issuer: `${origin}${options.path ?? ''}`, jwks_uri: provider.jwksUri })
    for (const [, other] of forms) if (other !== path) t.equal((await fetch(`${origin}${other}`)).status, 404)
    t.same(provider.requests, { metadata: 1, keys: 0 })
  }
})

t.test('rotates, withdraws and publishes keys', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256', 'EdDSA'], cacheControl: 'max-age=60' })
  const kids = async () => (await json(provider.jwksUri) as { keys: Array<{ kid: string }> }).keys.map(key => key.kid)
  t.same(await kids(), ['ES256-1', 'EdDSA-1'])
  t.same(provider.rotate(), ['ES256-2', 'EdDSA-2'])
  provider.withdraw('ES256-1')
  provider.publish({ kty: 'oct', k: 'AAAA', kid: 'secret' })
  t.same(provider.kids, ['EdDSA-1', 'ES256-2', 'EdDSA-2'])
  t.same(await kids(), ['EdDSA-1', 'ES256-2', 'EdDSA-2', 'secret'])
  t.equal((await fetch(provider.jwksUri)).headers.get('cache-control'), 'max-age=60')
  const header = (token: string): unknown => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
  t.match(header(provider.token()), { alg: 'ES256', kid: 'ES256-2' })
  t.match(header(provider.token({}, { kid: 'ES256-1' })), { kid: 'ES256-1' }, 'a withdrawn key still signs')
  t.throws(() => provider.token({}, { kid: 'ES256-3' }), { code: 'AUTH_MISCONFIGURED' })
  t.throws(() => { provider.withdraw('nope') }, { code: 'AUTH_MISCONFIGURED' })
})

t.test('fails in every way, at one endpoint or at both, until it is told to stop', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256'] })
  const metadata = `${provider.issuer}/.well-known/openid-configuration`
  provider.fail('404')
  for (const url of [metadata, provider.jwksUri]) t.equal((await fetch(url)).status, 404)
  provider.fail(null, 'metadata')
  t.equal((await fetch(metadata)).status, 200)
  t.equal((await fetch(provider.jwksUri)).status, 404)
  provider.fail('html')
  t.match(await (await fetch(provider.jwksUri)).text(), /^<!doctype html>/)
  provider.fail('redirect')
  t.same(
    await json(provider.jwksUri),
    { keys: ((await json(provider.jwksUri)) as { keys: object[] }).keys },
    'a client that follows redirects gets the keys'
  )
  provider.fail('huge')
  let bytes = 0
  for await (const chunk of (await fetch(provider.jwksUri)).body ?? []) bytes += chunk.length
  t.equal(bytes, 50_000_011)
  for (const [failure, expected] of [['hang', /timeout|aborted/i], ['slow', /timeout|aborted/i]] as const) {
    provider.fail(failure)
    await t.rejects(
      async () => await (await fetch(provider.jwksUri, { signal: AbortSignal.timeout(1_300) })).text(),
      { message: expected }
    )
  }
  provider.fail(null)
  t.equal((await fetch(provider.jwksUri)).status, 200)
  t.same(provider.requests, { metadata: 2, keys: 11 })
})

t.test('issues bad tokens, all of which another library rejects', async t => {
  await using provider = await fakeIssuer({ algorithms: ['RS256'] })
  const keys = createRemoteJWKSet(new URL(provider.jwksUri))
  const { bad } = provider
  t.ok(Object.keys(bad).length > 30)
  // claims that jose leaves to its caller
  const lenient = [
    'infiniteExpiry',
    'withoutExpiry',
    'numericSubject',
    'emptySubject',
    'issuedInTheFuture',
    'unknownExtension',
    'unencodedPayload',
    'boundToAKey'
  ]
  for (const [name, token] of Object.entries(bad)) {
    if (lenient.includes(name)) continue
    await t.rejects(
      jwtVerify(token, keys, { issuer: provider.issuer, audience: provider.audience, typ: 'at+jwt' }),
      name
    )
  }
  t.ok(Object.isFrozen(bad))
})

t.test('adds the claims of the option to its access tokens, so that a bad token has a single defect', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256'], claims: { oid: 'ada', groups: ['clerk'] } })
  const { issuer, audience, bad } = provider
  const app = Fastify()
  t.teardown(() => app.close())
  const user = jwt({ issuer, audience, principal: { id: 'oid', roles: 'groups' } })
  await app.register(plugin, { schemes: { user } })
  app.get('/me', async request => request.principal)
  const ask = async (token: string) =>
    (await app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })).json()

  t.match(await ask(provider.token()), { id: 'ada', roles: ['clerk'] })
  t.match(await ask(provider.token({ oid: 'eve' })), { id: 'eve', roles: ['clerk'] })
  t.match(await ask(provider.token({ oid: undefined })), { code: 'AUTH_INVALID_CREDENTIALS' })
  t.match(await ask(bad.expired), { code: 'AUTH_TOKEN_EXPIRED' })
  for (const [name, token] of Object.entries(bad)) t.match(await ask(token), { statusCode: 401 }, name)
})

t.test('refuses unknown options, and algorithms without a public key', async t => {
  for (const options of [
    { algorithm: 'RS256' },
    { algorithms: ['HS256'] },
    { algorithms: [] },
    { algorithms: 'RS256' },
    { audience: undefined },
    { claims: undefined },
    { claims: ['sub'] }
  ]) {
    await t.rejects(fakeIssuer(options as FakeIssuerOptions), { code: 'AUTH_MISCONFIGURED' }, JSON.stringify(options))
  }
})

t.test('names what it accepts in the refusal of a wrong option or argument', async t => {
  const all = "'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA' or 'Ed25519'"
  const messageOf = (run: () => unknown) => {
    try {
      run()
    } catch (error) {
      t.match(error, { code: 'AUTH_MISCONFIGURED' })
      return (error as Error).message
    }
    return 'it was accepted'
  }
  for (const [algorithms, message] of [
    [['RS256', 'Ed448'], `The option fakeIssuer.algorithms[1] must be ${all}. Got 'Ed448'.`],
    [['__proto__'], `The option fakeIssuer.algorithms[0] must be ${all}. Got '__proto__'.`],
    [[], `The option fakeIssuer.algorithms must be a list of one or more of ${all.replaceAll("'", '')}.`],
    ['RS256', "The option fakeIssuer.algorithms must be a list. Got 'RS256'."]
  ] as const) await t.rejects(fakeIssuer({ algorithms } as unknown as FakeIssuerOptions), { message })

  await using provider = await fakeIssuer({ algorithms: ['ES256'] })
  const { kids } = provider
  const failures = "null, 'hang', '404', 'html', 'huge', 'slow' or 'redirect'"
  const calls: ReadonlyArray<readonly [run: () => unknown, message: string]> = [
    [() => provider.token({}, { algorithm: 'Ed448' as never }),
      `The option token().algorithm must be ${all}. Got 'Ed448'.`],
    [() => provider.token({}, { algorithm: 'RS256' }), 'The fake issuer has no such key. It has ES256-1.'],
    [() => provider.token({}, { alg: 'none' } as never),
      "The options of token() have an unknown key 'alg'. Known: kid, algorithm or header."],
    [() => provider.token({}, { kid: '' }), "The option token().kid must be a non-empty string. Got ''."],
    [() => provider.token({}, { header: 'none' as never }),
      "The option token().header must be an object of members, such as { typ: 'JWT' }. Got 'none'."],
    [() => { provider.withdraw(undefined as never) },
      'The argument of withdraw() must be a non-empty string. Got undefined.'],
    [() => { provider.publish('jwk' as never) }, "publish() of the fake issuer needs a JWK. Got 'jwk'."],
    [() => { provider.fail('500' as never) }, `The failure of fail() must be ${failures}. Got '500'.`],
    [() => { provider.fail(undefined as never) }, `The failure of fail() must be ${failures}. Got undefined.`],
    [() => { provider.fail('404', 'jwks' as never) },
      "The endpoint of fail() must be 'metadata' or 'keys'. Got 'jwks'."],
    [() => { provider.fail('404', undefined as never) },
      "The endpoint of fail() must be 'metadata' or 'keys'. Got undefined."]
  ]
  for (const [run, message] of calls) t.equal(messageOf(run), message)
  t.strictSame(provider.kids, kids)
  t.equal((await fetch(provider.jwksUri)).status, 200, 'a wrong call changes nothing')
})

async function loginAt (t: Test, provider: FakeIssuer) {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  await app.register(plugin, { schemes: { web: session({ secret: secretOf(), loginPath: '/login/idp' }) } })
  await app.register(oidcLogin, {
    redirectUri: 'https://app.test/login/idp/callback',
    issuer: provider.issuer,
    clientId: 'app',
    session: 'web',
    person: ({ claims }) => ({ id: claims.sub, name: String(claims['name']) })
  })
  app.get('/me', async ({ auth }) => ({ ...auth.principal, since: auth.authenticatedAt }))
  const cookies = (response: LightMyRequestResponse) =>
    Object.fromEntries(response.cookies.map(({ name, value }) => [name, value]))
  return {
    /** Starts a login. Returns the URL at the provider, and a function that calls the callback. */
    async begin () {
      const begun = await app.inject('/login/idp')
      return {
        url: String(begun.headers.location),
        end: async (location: string) => {
          const { pathname, search } = new URL(location)
          return await app.inject({ url: `${pathname}${search}`, cookies: cookies(begun) })
        }
      }
    },
    me: async (response: LightMyRequestResponse) => await app.inject({ url: '/me', cookies: cookies(response) })
  }
}

const visit = async (url: string) => String((await fetch(url, { redirect: 'manual' })).headers.get('location'))

t.test('logs people in, with the claims that logIn sets', async t => {
  for (const path of ['', '/tenants/one']) {
    await using provider = await fakeIssuer({ algorithms: ['ES256'], path })
    const { begin, me } = await loginAt(t, provider)
    const first = await begin()
    const home = await first.end(await visit(first.url))
    t.match([home.statusCode, home.headers.location], [303, '/'])
    t.match((await me(home)).json(), { id: 'user-1', since: /Z$/ })

    provider.logIn({ sub: 'ada', name: 'Ada', auth_time: undefined })
    const second = await begin()
    const login = await second.end(await visit(second.url))
    t.match((await me(login)).json(), { id: 'ada', name: 'Ada', since: null })

    provider.logIn(null)
    const third = await begin()
    const refused = await third.end(await visit(third.url))
    t.equal(refused.statusCode, 400)
    t.equal(refused.cookies.some(({ name }) => name === '__Host-web'), false)
  }
})

t.test('exchanges a code once, for the client that asked for it', async t => {
  await using provider = await fakeIssuer()
  provider.logIn({ sub: 'ada' })
  const { origin } = new URL(provider.issuer)
  const challenge = createHash('sha256').update('verifier').digest('base64url')
  const redirect_uri = 'https://client.test/cb'
  const codeFor = async () => {
    const query = new URLSearchParams({ client_id: 'client', redirect_uri, code_challenge: challenge })
    const location = new URL(await visit(`${origin}/authorize?${query}`))
    t.equal(location.searchParams.get('iss'), provider.issuer)
    t.equal(location.searchParams.has('state'), false)
    return String(location.searchParams.get('code'))
  }
  const exchange = async (form: Record<string, string>) => {
    const answer = await fetch(`${origin}/token`, { method: 'POST', body: new URLSearchParams(form) })
    return { status: answer.status, body: await answer.json() as Record<'error' | 'id_token' | 'access_token', string> }
  }
  const code = await codeFor()
  const good = { code, redirect_uri, code_verifier: 'verifier' }
  const { status, body } = await exchange(good)
  t.equal(status, 200)
  t.match(decodeJwt(body.id_token), { iss: provider.issuer, sub: 'ada', aud: 'client' })
  t.equal(decodeJwt(body.id_token)['nonce'], undefined)
  t.match(decodeJwt(body.access_token), { sub: 'ada', aud: provider.audience })
  const wrong: ReadonlyArray<Record<string, string>> = [
    good, { ...good, code: 'unknown' }, {}, { ...good, code: await codeFor(), code_verifier: 'another' },
    { ...good, code: await codeFor(), redirect_uri: 'https://client.test/other' },
    { code: await codeFor(), redirect_uri }
  ]
  for (const form of wrong) t.match(await exchange(form), { status: 400, body: { error: 'invalid_grant' } })

  for (const search of ['', '?redirect_uri=nowhere']) {
    t.equal((await fetch(`${origin}/authorize${search}`)).status, 400)
  }
  // a client that disconnects in the middle of its form
  const { hostname, port } = new URL(origin)
  const socket = connect(Number(port), hostname)
  socket.write('POST /token HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\ncode=')
  await setTimeout(50)
  socket.destroy()
  t.equal((await exchange({ ...good, code: await codeFor() })).status, 200, 'the provider still works')
})

t.test('refuses claims that are not an object', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256'] })
  for (const claims of ['ada', 5, true, ['ada'], () => ({ sub: 'ada' }), Promise.resolve({ sub: 'ada' })]) {
    t.throws(() => provider.token(claims as never), { code: 'AUTH_MISCONFIGURED', message: /token\(\)/ })
    t.throws(() => { provider.logIn(claims as never) }, { code: 'AUTH_MISCONFIGURED', message: /logIn\(\)/ })
  }
  t.throws(() => provider.token(null as never), { code: 'AUTH_MISCONFIGURED' })
  t.throws(() => { provider.logIn(undefined as never) }, { code: 'AUTH_MISCONFIGURED', message: /or null/ })
  t.doesNotThrow(() => { provider.logIn(null) })
})
