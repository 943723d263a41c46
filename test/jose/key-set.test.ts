import { createHmac, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import t from 'tap'
import type { VerificationKey } from '../../lib/jose/jwk.js'
import { usableKeys } from '../../lib/jose/remote/remote-keys.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import { pair, sampleJwtIoPem } from '../fixtures/tokens.js'
import { clock, createApp } from './remote-app.js'

const rsa = pair('rsa').publicKey.export({ format: 'jwk' })
const ec = pair('ec').publicKey.export({ format: 'jwk' })
const ed = pair('ed25519').publicKey.export({ format: 'jwk' })

function judge (
  keys: unknown, previous: readonly VerificationKey[] = [], algorithms: readonly ('RS256' | 'ES256')[] | null = null
) {
  return usableKeys({ keys }, { algorithms, previous, check: () => {} })
}

/** Every encoding of a point of small order in 32 bytes, with either sign. */
const small = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`
].flatMap(hex => {
  const plain = Buffer.from(hex, 'hex')
  const signed = Buffer.from(plain)
  signed.writeUInt8(signed.readUInt8(31) | 0x80, 31)
  return [plain, signed]
})

/** Returns an odd number of this many bytes, as a member of a JWK. */
const odd = (bytes: number): string => Buffer.alloc(bytes, 0xff).toString('base64url')

t.test('skips unusable keys with a reason for each, and uses the others', async t => {
  const cases: ReadonlyArray<readonly [unknown, RegExp]> = [
    [{ kty: 'oct', k: 'A'.repeat(43), kid: 'o' }, /a secret/], [{ kty: ['oct'], k: 'A'.repeat(43) }, /must be/], [
      { ...pair('ec').privateKey.export({ format: 'jwk' }), kid: 'p' }, /a private key/
    ],
    [{ ...rsa, use: 'enc' }, /'use'/], [{ ...rsa, key_ops: ['encrypt'] }, /'key_ops'/], [
      { ...rsa, alg: 'RSA-OAEP' }, /'alg'/
    ], [{ ...rsa, alg: 'HS256' }, /'alg'/], [{ ...ec, alg: 'ES384' }, /'alg'/], [{ ...rsa, alg: 7 }, /'alg'/],
    [generateKeyPairSync('rsa', { modulusLength: 512 }).publicKey.export({ format: 'jwk' }), /512 bits/], [
      { ...rsa, e: 'AQ' }, /exponent|holds no key/
    ], [{ ...rsa, e: odd(33) }, /exponent of more than 256 bits/], [{ ...rsa, e: odd(190_000) }, /exponent of more/], [
      { ...rsa, n: odd(2_049) }, /16392 bits; .* more than 16384 are not supported/
    ], [{ ...ec, crv: 'P-257' }, /holds no key/], [{ ...ec, x: ec.y }, /holds no key/],
    [
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ format: 'jwk' }),
      /no supported algorithm/
    ], [generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }), /no supported algorithm/],
    [{ ...rsa, e: JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) as unknown }, /holds no key/],
    [{ kty: 'AKP' }, /holds no key/], [{}, /must be/], ['secret'.repeat(10), /not an object/], [
      null, /not an object/
    ], [[], /not an object/], [7, /not an object/], [{ ...rsa, kid: 7 }, /'kid'/], [{ ...rsa, kid: '' }, /'kid'/],
    ...small.map(x => [{ kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') }, /small order/] as const)
  ]
  for (const [jwk, reason] of cases) {
    const judged = judge([jwk, { ...ed, kid: 'good' }])
    if (typeof judged === 'string') { t.fail(judged); continue }
    t.same(judged.keys.map(key => key.kid), ['good'])
    t.equal(judged.ignored.length, 1)
    t.match(judged.ignored[0]?.reason, reason)
    t.ok((judged.ignored[0]?.reason.length ?? 0) <= 200)
    t.equal(judge([jwk]), 'the JWK set has no key that can be used')
  }
})

t.test('uses RSA keys as large as OpenSSL and FIPS 186-5 allow', async t => {
  for (const members of [{ e: odd(32) }, { n: odd(2_048) }]) {
    t.match(judge([{ ...rsa, ...members }]), { keys: [{ algorithm: 'RS256' }], ignored: { length: 0 } })
  }
})

t.test('refuses small-order points of Ed448, and no others', async t => {
  const p = 2n ** 448n - 2n ** 224n - 1n
  for (const y of [0n, 1n, p - 1n, p, p + 1n]) {
    for (const sign of ['00', '80']) {
      const x = Buffer.concat([
        Buffer.from(y.toString(16).padStart(112, '0'), 'hex').reverse(), Buffer.from(sign, 'hex')
      ])
      const judged = judge([{ kty: 'OKP', crv: 'Ed448', x: x.toString('base64url') }])
      t.equal(judged, 'the JWK set has no key that can be used')
    }
  }
  for (const kind of ['ed25519', 'ed448'] as const) {
    for (let i = 0; i < 20; i++) t.type(judge([pair(kind).publicKey.export({ format: 'jwk' })]), 'object')
  }
})

t.test('a small-order point verifies forged signatures, which is why they are refused', {
  skip: Number.parseFloat(process.versions.openssl) >= 3.5 && 'OpenSSL 3.5.8 refuses them itself'
}, async t => {
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64url') },
    format: 'jwk'
  })
  const signature = Buffer.concat([Buffer.from(`01${'00'.repeat(31)}`, 'hex'), Buffer.alloc(32)])
  t.equal(verify(null, Buffer.from('anything'), key, signature), true)
})

t.test('skips every key with a duplicate kid', async t => {
  const judged = judge([{ ...rsa, kid: 'a' }, { ...ec, kid: 'a' }, { ...ed, kid: 'b' }, { ...ec }, { ...ed }])
  t.match(
    judged,
    {
      keys: [{ kid: 'b' }, { kid: null }, { kid: null }],
      ignored: [{ kid: 'a', reason: /same kid/ }, { kid: 'a', reason: /same kid/ }]
    }
  )
  t.match(
    judge([{ ...rsa, kid: 'a' }, { kty: 'oct', k: 'AAAA', kid: 'a' }]),
    { keys: [{ kid: 'a' }], ignored: [{ kid: 'a' }] },
    'a key that cannot be used takes no kid away'
  )
  t.equal(judge([{ ...rsa, kid: 'a' }, { ...ec, kid: 'a' }]), 'the JWK set has no key that can be used')
})

t.test('uses only the algorithms that the application allows', async t => {
  t.match(
    judge([{ ...rsa, kid: 'r' }, { ...ec, kid: 'e' }], [], ['RS256']),
    { keys: [{ kid: 'r', algorithm: 'RS256' }], ignored: [{ kid: 'e', reason: /fits none/ }] }
  )
  t.match(
    judge([{ ...rsa, kid: 'r', alg: 'PS256' }, { ...ec, kid: 'e' }], [], ['RS256', 'ES256']),
    { keys: [{ kid: 'e' }], ignored: [{ kid: 'r', reason: /does not name/ }] }
  )
})

t.test('keeps the key object if the key is unchanged, even if other JWK members change', async t => {
  const first = judge([{ ...rsa, kid: 'a', x5t: 'one' }, { ...ec }])
  if (typeof first === 'string') return t.fail(first)
  const second = judge([{ x5t: 'two', kid: 'a', ...rsa }, { ...ec, use: 'sig' }, { ...ed }], first.keys)
  t.ok(typeof second !== 'string' && second.keys[0] === first.keys[0] && second.keys[1] === first.keys[1])
  for (const changed of [
    { ...rsa, kid: 'b' }, { ...rsa, kid: 'a', alg: 'PS256' },
    { ...pair('rsa').publicKey.export({ format: 'jwk' }), kid: 'a' }
  ]) {
    const other = judge([changed], first.keys)
    t.ok(typeof other !== 'string' && other.keys[0] !== first.keys[0])
  }
})

t.test('refuses invalid sets and sets of more than 100 keys', async t => {
  for (const document of [null, [], 'text', 7, {}, { keys: {} }, { keys: 'a' }, { jwks: [] }]) {
    t.equal(usableKeys(document, { algorithms: null, previous: [], check: () => {} }), 'the answer is not a JWK set')
  }
  t.equal(judge([]), 'the JWK set has no key that can be used')
  t.match(judge(Array.from({ length: 101 }, () => ed)), /more than 100 keys/)
  t.match(judge(Array.from({ length: 100 }, () => ed)), { keys: { length: 100 } })
})

t.test('rejects tokens signed by a skipped key, and warns about each key once', async t => {
  await using provider = await fakeIssuer({ algorithms: ['RS256'] })
  const secret = 'A'.repeat(43)
  provider.publish({ kty: 'oct', k: secret, kid: 'o1', alg: 'HS256' })
  provider.publish({ ...rsa, kid: `enc-${'x'.repeat(300)}`, use: 'enc' })
  provider.publish({ ...createPublicKey(sampleJwtIoPem).export({ format: 'jwk' }), kid: 'sample' })
  provider.publish({
    kty: 'OKP', crv: 'Ed25519', x: Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64url'), kid: 'small'
  })
  const time = clock(t)
  const { statuses, log } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const [, payload = ''] = provider.token().split('.')
  const encoded = (header: object): string => Buffer.from(JSON.stringify(header)).toString('base64url')
  const signature = Buffer.from(`01${'00'.repeat(63)}`, 'hex').toString('base64url')
  const forged = `${encoded({ alg: 'EdDSA', kid: 'small' })}.${payload}.${signature}`
  const input = `${encoded({ alg: 'HS256', kid: 'o1' })}.${payload}`
  const hmac = createHmac('sha256', Buffer.from(secret, 'base64url')).update(input).digest('base64url')
  const symmetric = `${input}.${hmac}`
  t.same(await statuses(provider.token(), forged, symmetric), [200, 401, 401])
  time.advance(30)
  t.same(await statuses(symmetric, forged), [401, 401])
  t.equal(provider.requests.keys, 3)
  const warned = log.map(line => JSON.parse(line)).filter(line => /cannot be used/.test(line.msg))
  t.equal(warned.length, 4)
  t.match(
    warned,
    [
      { scheme: 'user', issuer: provider.issuer, url: provider.jwksUri, kid: 'o1' }, { kid: `enc-${'x'.repeat(96)}` },
      { kid: 'sample', reason: /published sample/ }, { kid: 'small', reason: /small order/ }
    ]
  )
})
