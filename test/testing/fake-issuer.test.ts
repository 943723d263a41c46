import { createRemoteJWKSet, jwtVerify, customFetch } from 'jose'
import t from 'tap'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { FakeIssuerOptions, IssuerAlgorithm } from '../../lib/testing/index.js'

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
  'EdDSA'
]

async function json (url: string): Promise<unknown> {
  const answer = await fetch(url)
  return await answer.json()
}

t.test('issues tokens of every algorithm that another library accepts by the published keys', async t => {
  await using provider = await fakeIssuer({ algorithms })
  const keys = createRemoteJWKSet(new URL(provider.jwksUri))
  t.equal(provider.kids.length, algorithms.length)
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
    t.same(await json(`${origin}${path}`), { issuer: `${origin}${options.path ?? ''}`, jwks_uri: provider.jwksUri })
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
    'who follows a redirect gets the keys'
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
  // what jose leaves to its caller: see the facts about libraries in the documentation of the scheme
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

t.test('refuses unknown options, and algorithms without a public key', async t => {
  for (const options of [
    { algorithm: 'RS256' },
    { algorithms: ['HS256'] },
    { algorithms: [] },
    { algorithms: 'RS256' },
    { audience: undefined }
  ]) {
    await t.rejects(fakeIssuer(options as FakeIssuerOptions), { code: 'AUTH_MISCONFIGURED' }, JSON.stringify(options))
  }
})
