import { generateKeyPairSync, webcrypto } from 'node:crypto'
import { importJWK } from 'jose'
import t from 'tap'
import { AuthError, unavailable } from '../../lib/index.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import { pair, secretOf, token } from '../fixtures/tokens.js'
import { clock, createApp, until } from './remote-app.js'

const audience = 'https://api.example.com'

function claims (iss: string): object {
  const now = Math.floor(Date.now() / 1000)
  return { iss, aud: audience, sub: 'user-1', iat: now, exp: now + 3600 }
}

t.test('accepts tokens of other issuers while one issuer hangs', async t => {
  await using one = await fakeIssuer({ algorithms: ['ES256'] })
  await using two = await fakeIssuer({ algorithms: ['EdDSA'], path: '/two', metadata: 'oauth' })
  await using hanging = await fakeIssuer({ algorithms: ['ES256'] })
  hanging.fail('hang')
  const { ask, app } = await createApp(
    t,
    {
      issuers: [
        { issuer: hanging.issuer, audience }, { issuer: one.issuer, audience },
        { issuer: two.issuer, audience, keys: two.jwksUri }
      ]
    }
  )
  let answered = 0
  const waiting = Array.from({ length: 20 }, async () => { await ask(hanging.token()); answered++ })
  await until(() => hanging.requests.metadata === 1)
  for (let i = 0; i < 100; i++) {
    for (const provider of [one, two]) {
      t.match(await ask(provider.token()), { status: 200, body: { realm: provider.issuer } })
    }
  }
  t.same(
    [one.requests, two.requests, hanging.requests],
    [{ metadata: 1, keys: 1 }, { metadata: 0, keys: 1 }, { metadata: 1, keys: 0 }]
  )
  t.equal(answered, 0, 'those of the one that hangs still wait')
  t.same((await ask(one.token({ iss: two.issuer }))).status, 401, 'no issuer verifies by the keys of another')
  t.same((await ask(one.token({ iss: 'https://nobody.test' }))).status, 401)
  await app.close()
  await Promise.all(waiting)
})

t.test('calls an issuer function once per accepted issuer, and once a minute per rejected one', async t => {
  await using one = await fakeIssuer({ algorithms: ['ES256'] })
  await using two = await fakeIssuer({ algorithms: ['ES256'] })
  const time = clock(t)
  const secret = secretOf()
  const answers: Record<string, unknown> = {
    [one.issuer]: { audience },
    [two.issuer]: { audience, keys: two.jwksUri, algorithms: ['ES256'] },
    local: { audience: false, keys: secret }
  }
  for (const isAsync of [false, true]) {
    const calls: string[] = []
    const { ask, statuses } = await createApp(t, {
      issuers: (iss: string) => {
        calls.push(iss)
        return isAsync ? Promise.resolve(answers[iss]) : answers[iss]
      }
    })
    const local = token(claims('local'), { alg: 'HS256', key: secret })
    t.match(await ask(one.token()), { status: 200, body: { realm: one.issuer } })
    t.same(await statuses(one.token(), two.token(), two.token(), local, local), [200, 200, 200, 200, 200])
    await Promise.all(
      Array.from(
        { length: 20 }, async () => { t.equal((await ask(one.token({ iss: 'https://nobody.test' }))).status, 401) }
      )
    )
    t.same(
      await statuses(
        one.token({ iss: undefined }),
        one.token({ iss: 7 }),
        one.token({ iss: '' }),
        one.token({ iss: `https://${'x'.repeat(500)}` })
      ),
      [401, 401, 401, 401]
    )
    t.same(
      calls, [one.issuer, two.issuer, 'local', 'https://nobody.test'], 'once each, and never for what is not an issuer'
    )
    time.advance(61)
    t.same(await statuses(one.token(), one.token({ iss: 'https://nobody.test' })), [200, 401])
    t.equal(calls.length, 5)
    t.equal(calls[4], 'https://nobody.test')
  }
})

t.test('answers 503 if the issuer function is unavailable, 500 if it fails, and caches neither', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256'] })
  const faults: Array<() => unknown> = [
    () => { throw new Error('secret text') }, () => ({ audience, keys: 'weak' }), () => ({ audience, key: 1 }),
    () => ({}), () => ({ audience, issuer: 'other' }), () => 'yes', () => true, () => ({ audience, keys: undefined })
  ]
  for (const fault of faults) {
    for (const isAsync of [false, true]) {
      let answer = fault
      const { ask } = await createApp(t, { issuers: isAsync ? async () => answer() : () => answer() })
      const { status, body } = await ask(provider.token())
      t.equal(status, 500, String(fault))
      t.notMatch(JSON.stringify(body), /secret text|weak|audience/)
      answer = () => ({ audience })
      t.equal((await ask(provider.token())).status, 200)
    }
  }
  for (const cannot of [
    () => unavailable('the directory is down'),
    () => { throw new AuthError('AUTH_UNAVAILABLE', 'the directory is down') }
  ]) {
    for (const isAsync of [false, true]) {
      let answer: () => unknown = cannot
      const { ask, log } = await createApp(t, { issuers: isAsync ? async () => answer() : () => answer() })
      t.match(await ask(provider.token()), { status: 503, retryAfter: 5 })
      t.match(log.join(''), /the directory is down/)
      answer = () => ({ audience })
      t.equal((await ask(provider.token())).status, 200)
      for (const no of [null, undefined, false, { valid: false }]) {
        answer = () => no
        t.equal((await ask(provider.token({ iss: `https://${String(no)}.test` }))).status, 401)
      }
    }
  }
})

t.test('caches a bounded number of issuers', async t => {
  const secret = secretOf()
  let calls = 0
  const { ask } = await createApp(
    t, { issuers: (iss: string) => { calls++; return iss.startsWith('good') ? { audience, keys: secret } : null } }
  )
  const send = async (iss: string) => (await ask(token(claims(iss), { alg: 'HS256', key: secret }))).status
  for (let i = 0; i < 1_001; i++) t.equal(await send(`good-${i}`), 200)
  t.equal(calls, 1_001)
  for (let i = 0; i < 1_100; i++) await send(`bad-${i}`)
  t.equal(calls, 2_101)
  await send('good-1000')
  t.equal(calls, 2_101, 'strangers push no issuer out')
})

t.test('accepts keys of Web Crypto and jose from a key function', async t => {
  const rsa = pair('rsa')
  const ed = pair('ed25519')
  const ec = pair('ec', { namedCurve: 'P-384' })
  const secret = Buffer.from(secretOf())
  const sha = (bits: number) => ({ hash: `SHA-${bits}` })
  const rsaJwk = rsa.publicKey.export({ format: 'jwk' })
  const { subtle } = webcrypto
  const made: ReadonlyArray<readonly [string, unknown, string, Parameters<typeof token>[1]['key']]> = [
    [
      'RSA PKCS #1',
      await subtle.importKey(
        'jwk', rsaJwk as webcrypto.JsonWebKey, { name: 'RSASSA-PKCS1-v1_5', ...sha(512) }, true, ['verify']
      ),
      'RS512', rsa.privateKey
    ],
    [
      'RSA-PSS',
      await subtle.importKey(
        'jwk', rsaJwk as webcrypto.JsonWebKey, { name: 'RSA-PSS', ...sha(256) }, false, ['verify']
      ),
      'PS256', rsa.privateKey
    ],
    [
      'ECDSA',
      await subtle.importKey(
        'jwk',
        ec.publicKey.export({ format: 'jwk' }) as webcrypto.JsonWebKey,
        { name: 'ECDSA', namedCurve: 'P-384' },
        true,
        ['verify']
      ),
      'ES384', ec.privateKey
    ],
    [
      'HMAC', await subtle.importKey('raw', secret, { name: 'HMAC', ...sha(256) }, false, ['verify', 'sign']), 'HS256',
      secret
    ],
    ['jose, EdDSA', await importJWK(ed.publicKey.export({ format: 'jwk' }) as never, 'EdDSA'), 'EdDSA', ed.privateKey],
    ['jose, ES384', await importJWK(ec.publicKey.export({ format: 'jwk' }) as never, 'ES384'), 'ES384', ec.privateKey]
  ]
  for (const [name, key, alg, signer] of made) {
    for (const keys of [() => key, async () => key, key]) {
      const { statuses } = await createApp(t, { issuer: 'me', audience, keys })
      const text = token(claims('me'), { alg, key: signer })
      t.same(
        await statuses(text, text, token(claims('me'), { alg: 'RS256', key: rsa.privateKey })), [200, 200, 401], name
      )
    }
  }
  const { privateKey } = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])
  const signing = await createApp(t, { issuer: 'me', audience, keys: privateKey, sign: true })
  t.same(await signing.statuses(await signing.app.gatehouse.tokens.issue({ id: 'alice' })), [200])
  const wrong = [
    await subtle.importKey('jwk', rsaJwk as webcrypto.JsonWebKey, { name: 'RSA-OAEP', ...sha(256) }, true, ['encrypt']),
    await subtle.importKey(
      'jwk', rsaJwk as webcrypto.JsonWebKey, { name: 'RSASSA-PKCS1-v1_5', ...sha(1) }, true, ['verify']
    ),
    await subtle.importKey(
      'jwk',
      generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' }) as webcrypto.JsonWebKey,
      { name: 'RSA-PSS', ...sha(256) },
      true,
      ['verify']
    )
  ]
  for (const key of wrong) {
    await t.rejects(createApp(t, { issuer: 'me', audience, keys: key }), { code: 'AUTH_MISCONFIGURED' })
    const { statuses } = await createApp(t, { issuer: 'me', audience, keys: () => key })
    t.same(await statuses(token(claims('me'), { alg: 'RS256', key: rsa.privateKey })), [500])
  }
})

t.test('answers 503 if a key function is unavailable, and 500 if it throws anything else', async t => {
  const ed = pair('ed25519')
  const text = token(claims('me'), { alg: 'EdDSA', key: ed.privateKey })
  for (const isAsync of [false, true]) {
    let answer: () => unknown = () => ed.publicKey
    const { ask, log } = await createApp(
      t, { issuer: 'me', audience, keys: isAsync ? async () => answer() : () => answer() }
    )
    t.equal((await ask(text)).status, 200)
    t.equal((await ask(text)).status, 200, 'a token is remembered when it comes again')
    for (const cannot of [
      () => unavailable('the vault is down', 7), () => { throw new AuthError('AUTH_UNAVAILABLE', 'the vault is down') }
    ]) {
      answer = cannot
      t.equal((await ask(text)).status, 503, 'also for a remembered token')
      t.equal(
        (await ask(token(claims('me'), { alg: 'EdDSA', key: ed.privateKey, header: { typ: 'JWT' } }))).status, 503
      )
    }
    t.match(log.join(''), /the vault is down/)
    answer = () => { throw new AuthError('AUTH_FAULT', 'no vault') }
    t.equal((await ask(text)).status, 500)
    answer = () => { throw new TypeError('no vault') }
    t.equal((await ask(text)).status, 500)
    answer = () => ed.publicKey
    t.equal((await ask(text)).status, 200)
  }
})

t.test('stops the boot for key options that cannot be fetched, and says why', async t => {
  const issuer = 'https://id.example.com'
  const { publicKey } = pair('ed25519')
  const cases: ReadonlyArray<readonly [object, RegExp]> = [
    [{ issuer: false, audience }, /keys is missing, and without an issuer/], [
      { issuer: 'accounts.example.com', audience }, /keys is missing.*https URL/
    ], [{ issuer: 'http://id.example.com', audience }, /plain http/],
    [{ issuer: `${issuer}?a`, audience }, /query or fragment/],
    [{ issuer: `${issuer}#a`, audience }, /query or fragment/],
    [{ issuer: 'https://a:b@id.example.com', audience }, /user name/],
    [{ issuers: [{ issuer: 'urn:a', audience }] }, /issuers\[0\]\.keys is missing/],
    [{ issuer, audience, keys: 'http://id.example.com/jwks' }, /\.keys .*plain http/], [
      { issuer, audience, keys: new URL('ftp://id.example.com/jwks') }, /\.keys .*https URL/
    ], [{ issuer, audience, keys: 'https://a:b@id.example.com/' }, /user name/],
    [{ issuer, audience, keys: ['https://id.example.com/jwks'] }, /A URL of keys is https, and stands alone/], [
      { issuer, audience, keys: { a: 'https://id.example.com/jwks' } }, /A URL of keys is https, and stands alone/
    ], [{ issuer, audience, keys: undefined }, /set to undefined/],
    [{ issuer, audience, algorithms: ['HS256'] }, /never published/], [
      { issuer, audience, cooldown: 0 }, /cooldown.*more than 0/
    ], [{ issuer, audience, cooldown: 'soon' }, /cooldown/], [{ issuer, audience, staleFor: -1 }, /staleFor/],
    [{ issuer, audience, agent: {} }, /agent.*Agent/], [{ issuer, audience, agent: 'proxy' }, /agent.*Agent/],
    ...['keycloak', ['http://keycloak'], ['keycloak:80'], ['Keycloak'], [''], [7], ['a/b'], ['a b']].map(
      insecureHosts => [{ issuer, audience, insecureHosts }, /insecureHosts.*host names/] as const
    ),
    [{ issuer, audience, keys: publicKey, cooldown: 30 }, /cooldown is about fetched keys/], [
      { issuer, audience, keys: () => publicKey, staleFor: 0 }, /staleFor is about fetched keys/
    ], [{ issuers: [{ issuer, audience, keys: publicKey }], insecureHosts: [] }, /insecureHosts is about fetched keys/],
    [{ issuer: `${issuer}/.well-known/openid-configuration`, audience }, /\.issuer must be what its metadata calls/],
    [{ issuers: () => null, sign: true }, /signs has one issuer/], [
      { issuers: () => null, audience }, /audience cannot be combined with issuers/
    ], [{ issuers: 'me' }, /a function/]
  ]
  for (const [options, message] of cases) {
    await t.rejects(createApp(t, options), { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
  await t.resolves(
    createApp(
      t,
      {
        issuer: 'http://keycloak:8080/realms/a',
        audience,
        insecureHosts: ['keycloak'],
        staleFor: 0,
        cooldown: '1s',
        algorithms: ['ES256']
      }
    )
  )
  await t.resolves(
    createApp(t, { issuer: 'http://keycloak', audience, keys: 'https://keycloak/jwks' }),
    'an issuer that is not asked may be any text'
  )
})
