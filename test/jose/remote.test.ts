import { generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import t from 'tap'
import { RemoteKeys } from '../../lib/jose/remote/remote-keys.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { IssuerAlgorithm } from '../../lib/testing/index.js'
import { token } from '../fixtures/tokens.js'
import { recordEvents } from '../fixtures/events.js'
import { clock, createApp, routes, serve, until } from './remote-app.js'

const algorithms: readonly IssuerAlgorithm[] = ['RS256', 'PS384', 'ES256', 'ES512', 'EdDSA']
const es: readonly IssuerAlgorithm[] = ['ES256']

t.test('accepts tokens by discovery, fetches nothing at boot, and fetches once', async t => {
  await using provider = await fakeIssuer({ algorithms })
  const { ask } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  t.same(provider.requests, { metadata: 0, keys: 0 })
  for (const algorithm of algorithms) {
    t.match(
      await ask(provider.token({ sub: algorithm }, { algorithm })),
      { status: 200, body: { id: algorithm, realm: provider.issuer } }
    )
  }
  t.same(provider.requests, { metadata: 1, keys: 1 })
})

t.test('accepts tokens by the URL of a JWK set, as a string and as a URL', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  for (const keys of [provider.jwksUri, new URL(provider.jwksUri)]) {
    const { statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience, keys })
    t.same(await statuses(provider.token(), provider.token()), [200, 200])
  }
  t.same(provider.requests, { metadata: 0, keys: 2 })
  const { ask } = await createApp(t, { issuer: false, audience: provider.audience, keys: provider.jwksUri })
  t.match(await ask(provider.token({ iss: 'anybody' })), { status: 200, body: { realm: 'user' } })
})

t.test('refuses every bad token, however the keys are found', async t => {
  await using provider = await fakeIssuer({ algorithms: ['RS256'] })
  await using ec = await fakeIssuer({ algorithms: es })
  const { issuer, audience } = provider
  for (const [from, options] of [
    [provider, { issuer, audience }], [
      provider, { issuer, audience, keys: provider.jwksUri }
    ], [provider, { issuer, audience, algorithms: ['RS256'] }],
    [
      ec, { issuers: [{ issuer, audience }, { issuer: ec.issuer, audience, keys: ec.jwksUri }] }
    ], [ec, { issuers: () => ({ audience }) }]
  ] as const) {
    const { ask } = await createApp(t, options)
    t.equal((await ask(from.token())).status, 200, Object.keys(options).join(' '))
    for (const [name, bad] of Object.entries(from.bad)) {
      t.equal(
        (await ask(bad)).status, typeof options.issuers === 'function' && name === 'otherIssuer' ? 503 : 401, name
      )
    }
    t.equal((await ask(from.token())).status, 200)
  }
})

t.test('backs off from 1 second to the cooldown while no key is known, with Retry-After', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { ask } = await createApp(t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri })
  provider.fail('404')
  let fetches = 0
  for (const pause of [1, 2, 4, 8, 16, 30, 30]) {
    for (let i = 0; i < 3; i++) {
      const { status, retryAfter } = await ask(provider.token())
      t.same([status, retryAfter], [503, pause])
    }
    t.equal(provider.requests.keys, ++fetches)
    time.advance(pause)
  }
  provider.fail(null)
  t.equal((await ask(provider.token())).status, 200)
})

t.test('picks up a rotation within the cooldown, and keeps cached tokens of unchanged keys', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { statuses, credentials } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const old = provider.token()
  t.same(await statuses(old, old, old), [200, 200, 200])
  provider.rotate()
  t.same(await statuses(provider.token(), old), [200, 200], 'the first unknown kid is asked for at once')
  provider.rotate()
  const newest = provider.token()
  t.equal((await statuses(newest))[0], 401)
  time.advance(30)
  t.same(await statuses(newest, old), [200, 200])
  const [, second, third, , fourth, , fifth] = credentials
  t.ok(second === third && third === fourth && fourth === fifth, 'the old token was cached when it came again')
})

t.test('refuses cached tokens of a withdrawn key as soon as the set is fetched', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const { statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const old = provider.token()
  t.same(await statuses(old, old, old), [200, 200, 200])
  provider.rotate()
  provider.withdraw('ES256-1')
  t.same(await statuses(old), [200])
  t.same(await statuses(provider.token(), old), [200, 401])
})

t.test('accepts a new key under a known kid, and refuses cached tokens of the old one', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const time = clock(t)
  const { ask, statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const old = provider.token({ exp: Math.floor(Date.now() / 1000) + 3600 })
  t.same(await statuses(old), [200])
  provider.withdraw('ES256-1')
  provider.publish({ ...other.publicKey.export({ format: 'jwk' }), kid: 'ES256-1', alg: 'ES256' })
  time.advance(601)
  t.same(await statuses(old), [200], 'the key is used while the set is fetched beside')
  await until(() => provider.requests.keys === 2)
  const payload = JSON.parse(Buffer.from(provider.token().split('.')[1] ?? '', 'base64url').toString())
  const replaced = token(payload, { alg: 'ES256', key: other.privateKey, header: { kid: 'ES256-1' } })
  await until(async () => (await ask(replaced)).status === 200)
  t.same(await statuses(old), [401])
})

t.test('does not wait for a fetch while a key is fresh or up to an hour past that, whatever max-age', async t => {
  const time = clock(t)
  for (const [cacheControl, fresh] of [
    ['max-age=0', 60], ['public, MAX-AGE="300"', 300], ['max-age=86400', 3600], ['no-cache', 600], [undefined, 600]
  ] as const) {
    await using provider = await fakeIssuer({ algorithms: es, ...cacheControl === undefined ? {} : { cacheControl } })
    const { statuses } = await createApp(
      t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri }
    )
    t.same(await statuses(provider.token()), [200])
    provider.fail('hang')
    time.advance(fresh - 1)
    t.same(await statuses(provider.token()), [200])
    t.equal(provider.requests.keys, 1, `${String(cacheControl)}: nothing is fetched while fresh`)
    time.advance(1)
    t.same(await statuses(provider.token(), provider.token()), [200, 200], 'used while a fetch hangs')
    await until(() => provider.requests.keys === 2)
    time.advance(3599)
    t.same(await statuses(provider.token()), [200])
  }
})

t.test('waits for a fetch an hour after freshness, and uses known keys if it fails', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { ask, statuses } = await createApp(
    t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri }
  )
  const old = provider.token({ exp: Math.floor(Date.now() / 1000) + 10 * 86_400 })
  t.same(await statuses(old), [200])
  time.advance(600 + 3601)
  provider.fail('404')
  t.same(await statuses(old), [200])
  t.equal(provider.requests.keys, 2, 'it was waited for, and failed')
  time.advance(31)
  provider.fail(null)
  provider.withdraw('ES256-1')
  provider.rotate()
  t.same(await statuses(old), [200], 'a fetch that follows a failed one is not waited for')
  await until(() => provider.requests.keys === 3)
  await until(async () => (await ask(old)).status === 401)
  t.same(await statuses(provider.token()), [200])
})

t.test('waits for a fetch again an hour after one that failed', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { statuses } = await createApp(
    t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri }
  )
  const old = provider.token({ exp: Math.floor(Date.now() / 1000) + 10 * 86_400 })
  t.same(await statuses(old), [200])
  time.advance(600 + 3601)
  provider.fail('404')
  t.same(await statuses(old), [200])
  provider.fail(null)
  provider.withdraw('ES256-1')
  provider.rotate()
  time.advance(3601)
  t.same(await statuses(old), [401], 'the key was withdrawn while no request came')
  time.advance(600 + 3601)
  provider.fail('404')
  const token = provider.token({ exp: Math.floor(Date.now() / 1000) + 10 * 86_400 })
  t.same(await statuses(token), [200])
  time.advance(3601)
  t.same(await statuses(token), [200], 'known keys go on if it fails again')
})

t.test('uses known keys until staleFor after the last success, then answers 503, and recovers', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { statuses, ask } = await createApp(t, { issuer: provider.issuer, audience: provider.audience, staleFor: '2h' })
  t.same(await statuses(provider.token()), [200])
  provider.fail('html')
  time.advance(7100)
  t.same(await statuses(provider.token()), [200])
  time.advance(101)
  t.match(await ask(provider.token()), { status: 503, retryAfter: 30 })
  t.match(await ask(provider.token({}, { header: { kid: 'unknown' } })), { status: 503 })
  provider.fail(null)
  t.same(await statuses(provider.token()), [503], 'within the cooldown')
  time.advance(30)
  t.same(await statuses(provider.token()), [200])
})

t.test('staleFor 0: uses only fresh keys while the source fails', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const time = clock(t)
  const { statuses } = await createApp(
    t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri, staleFor: 0 }
  )
  t.same(await statuses(provider.token()), [200])
  provider.fail('404')
  t.same(
    await statuses(provider.token({}, { header: { kid: 'unknown' } }), provider.token()),
    [503, 200],
    'nobody makes fresh keys fail by sending strange ones'
  )
  time.advance(601)
  t.same(await statuses(provider.token()), [503])
})

t.test('uses the only key of the algorithm for a token without kid, and refetches on a mismatch', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256', 'EdDSA'] })
  const time = clock(t)
  const { statuses } = await createApp(
    t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri }
  )
  const without = (algorithm: IssuerAlgorithm, kid?: string) => provider.token(
    {}, { algorithm, header: { kid: undefined }, ...kid === undefined ? {} : { kid } }
  )
  t.same(await statuses(without('ES256'), without('EdDSA')), [200, 200])
  t.equal(provider.requests.keys, 1)
  provider.rotate()
  provider.withdraw('ES256-1')
  t.same(await statuses(without('ES256')), [200], 'the key was replaced')
  t.equal(provider.requests.keys, 2)
  t.same(
    await statuses(without('EdDSA'), without('ES256', 'ES256-1')),
    [401, 401],
    'two keys of the algorithm; a withdrawn one'
  )
  t.equal(provider.requests.keys, 2, 'both count as unknown')
  time.advance(30)
  t.same(await statuses(without('ES256', 'ES256-1')), [401])
  t.equal(provider.requests.keys, 3)
  time.advance(30)
  provider.fail('404')
  t.same(
    await statuses(without('ES256', 'ES256-1'), without('ES256')),
    [503, 200],
    'the key may have been replaced, so the token is not called invalid'
  )
  const named = provider.token({}, { kid: 'ES256-1', header: { kid: 'ES256-2' } })
  t.same(await statuses(named), [401], 'a key that is named is the one that is meant')
})

t.test('treats a set without usable keys as a failed fetch', async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const other = generateKeyPairSync('ed25519')
  const documents: Record<string, unknown> = { '/jwks': { keys: [{ ...publicKey.export({ format: 'jwk' }) }] } }
  const host = await serve(t, routes(documents))
  const time = clock(t)
  const audience = 'https://api.example.com'
  const { statuses, log } = await createApp(t, { issuer: 'me', audience, keys: `http://${host}/jwks` })
  const signed = (key: KeyObject, kid?: string) => token(
    { iss: 'me', aud: audience, sub: 'user-1', exp: Math.floor(Date.now() / 1000) + 300 },
    { alg: 'EdDSA', key, header: kid === undefined ? {} : { kid } }
  )
  t.same(
    await statuses(signed(privateKey), signed(privateKey, 'any')), [200, 200], 'a key without kid is meant by every kid'
  )
  documents['/jwks'] = { keys: [{ kty: 'oct', k: 'AAAA' }] }
  t.same(await statuses(signed(other.privateKey), signed(privateKey)), [503, 200])
  t.match(log.join(''), /no key that can be used/)
  documents['/jwks'] = { keys: [{ ...other.publicKey.export({ format: 'jwk' }) }] }
  time.advance(30)
  t.same(
    await statuses(signed(generateKeyPairSync('ed25519').privateKey)), [401],
    'a signature by neither the old key nor the new one is refused'
  )
  t.same(await statuses(signed(other.privateKey), signed(privateKey)), [200, 401])
})

t.test('aborts fetches when the application closes', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  provider.fail('hang')
  const { app, ask } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const waiting = ask(provider.token())
  await until(() => provider.requests.metadata === 1)
  await app.close()
  t.equal((await waiting).status, 503)
})

t.test('keeps nothing of a fetch that has ended', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const fetches = new Set<AbortController>()
  const options = {
    scheme: 'user', cooldown: 0, staleFor: 0, insecureHosts: [], agent: null, warn: () => {}, fetches
  }
  for (const url of [new URL(provider.jwksUri), new URL('/missing', provider.jwksUri)]) {
    const keys = new RemoteKeys({ issuer: null, url, algorithms: null, check: () => {} }, options)
    const found = keys.find({ alg: 'ES256' })
    t.equal(fetches.size, 1, 'a running one can be aborted')
    await found
    t.equal(fetches.size, 0)
  }
})

t.test('publishes events for fetches and failures', async t => {
  await using provider = await fakeIssuer({ algorithms: ['ES256', 'EdDSA'] })
  const events = recordEvents(t, 'keys-fetched', 'keys-failed')
  const { statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  provider.publish({ kty: 'oct', k: 'AAAA', kid: 'secret' })
  await statuses(provider.token())
  provider.fail('404')
  await statuses(provider.token({}, { header: { kid: 'unknown' } }))
  t.same(events, [
    {
      scheme: 'user', issuer: provider.issuer, url: provider.jwksUri, kids: ['ES256-1', 'EdDSA-1'], keys: 2, ignored: 1
    },
    { scheme: 'user', issuer: provider.issuer, url: provider.jwksUri, reason: 'the answer has status 404', keys: 2 }
  ])
})

t.test('a failure before the first success has no keys', async t => {
  await using provider = await fakeIssuer()
  const events = recordEvents(t, 'keys-failed')
  const { statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  provider.fail('404')
  await statuses(provider.token())
  t.match(events, [{ keys: 0 }])
})
