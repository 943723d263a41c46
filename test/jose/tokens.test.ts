import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { claimProblem, clockProblem } from '../../lib/jose/claims.js'
import type { Claims } from '../../lib/jose/claims.js'
import { parseAlgorithms, hasRocaFingerprint } from '../../lib/jose/jwk.js'
import { isCompact, parseCompact, parseObject, verifyCompact } from '../../lib/jose/jws.js'
import { createKeyFinder, parseKeyring } from '../../lib/jose/keyring.js'
import { createTokenCache, Sightings } from '../../lib/util/cache.js'
import { decodeBase64url } from '../../lib/util/encoding.js'
import { pair, secretOf, token } from '../fixtures/tokens.js'

const place = 'the keys of the test'
const refused = { code: 'AUTH_MISCONFIGURED' }
const rsa = pair('rsa')
const ec = pair('ec')
const ed = pair('ed25519')
const secret = secretOf()

/** A self-signed P-256 certificate that is valid until 2126, without the first and last line of PEM. */
const certificate =
  'MIIBdDCCARugAwIBAgIUFQGh1TldP8RTYcFDdCrEh04DupwwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIw' +
  'MDM1MTFaGA8yMTI2MTAyOTAwMzUxMVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA5IBRnNpW3p' +
  '2DOho9hU0/eba+ELWSoCiyBvMgBFIwa8WyowSuz2qJz4eJ/q+QFVLTRMKHNcs0WLlKEQ4/aTSDqjUzBRMB0GA1UdDgQWBBTxK5E6' +
  'OGXhVyazAWvT4QfDs+m1mzAfBgNVHSMEGDAWgBTxK5E6OGXhVyazAWvT4QfDs+m1mzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49' +
  'BAMCA0cAMEQCIHOrIO7z7ZRVY0AuLVIoClU3AS5K69UgcCGAa73qSEtaAiBB+0z4giXBZpiluYnT3G3byqxrj7urXdlglifqUdt0' +
  'ww=='

function ring (keys: unknown, algorithms: unknown = null) {
  return parseKeyring(
    keys, { algorithms: algorithms === null ? null : parseAlgorithms(algorithms, 'The option algorithms'), path: place }
  )
}

function verdict (text: string, keys: unknown, algorithms: unknown = null): string {
  const verified = verifyCompact(text, ring(keys, algorithms))
  return typeof verified === 'string' ? verified : 'valid'
}

t.test('imports a key in every form, and verifies signatures of its private half', async t => {
  for (const [alg, keys] of [
    ['RS256', rsa], ['ES256', ec], ['EdDSA', ed], ['EdDSA', pair('ed448')],
    ['ES384', pair('ec', { namedCurve: 'P-384' })], ['ES512', pair('ec', { namedCurve: 'P-521' })]
  ] as const) {
    const text = token({ sub: 'a' }, { alg, key: keys.privateKey })
    const jwk = keys.publicKey.export({ format: 'jwk' })
    const pem = keys.publicKey.export({ type: 'spki', format: 'pem' })
    const privatePem = keys.privateKey.export({ type: 'pkcs8', format: 'pem' })
    for (const form of [
      keys.publicKey, keys.privateKey, pem, Buffer.from(pem), privatePem, jwk, JSON.stringify(jwk), { keys: [jwk] },
      JSON.stringify({ keys: [jwk] }), [pem], { one: pem }, new Map([['one', jwk]])
    ]) {
      t.equal(verdict(text, form), 'valid', alg)
    }
  }
  const text = token({ sub: 'a' }, { alg: 'HS256', key: secret })
  for (const form of [
    secret, Buffer.from(secret), createSecretKey(Buffer.from(secret)),
    { kty: 'oct', k: Buffer.from(secret).toString('base64url') }, [secret], { one: secret }
  ]) {
    t.equal(verdict(text, form), 'valid')
  }
})

t.test('verifies EdDSA and the name of each curve (RFC 9864), each only under its own name', async t => {
  for (const [curve, keys, others] of [
    ['Ed25519', ed, ['EdDSA', 'Ed448']], ['Ed448', pair('ed448'), ['EdDSA', 'Ed25519']]
  ] as const) {
    const jwk = keys.publicKey.export({ format: 'jwk' })
    const text = token({}, { alg: curve, key: keys.privateKey })
    for (const form of [jwk, { ...jwk, alg: curve }]) t.equal(verdict(text, form, [curve]), 'valid')
    t.equal(verdict(text, { ...jwk, alg: curve }), 'valid')
    t.match(verdict(text, jwk), /alg of the token/, 'a key that names no algorithm is for EdDSA')
    for (const alg of others) {
      t.match(verdict(token({}, { alg, key: keys.privateKey }), jwk, [curve]), /alg of the token/)
    }
    const [, other] = others
    t.throws(() => ring({ ...jwk, alg: other }), { ...refused, message: new RegExp(`could be EdDSA or ${curve}`) })
    t.throws(() => ring(jwk, [other]), { ...refused, message: /fits none/ })
  }
  for (const alg of ['EdDSA', 'Ed25519']) {
    const small = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64url') }
    t.throws(() => ring({ ...small, alg }), { ...refused, message: /small order/ })
  }
})

t.test('verifies RS, PS and HMAC of every length, each only under its own name', async t => {
  for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const) {
    const text = token({}, { alg, key: rsa.privateKey })
    t.equal(verdict(text, rsa.publicKey, [alg]), 'valid')
    for (const other of ['RS256', 'RS384', 'PS256', 'PS384']) {
      if (other !== alg) t.match(verdict(text, rsa.publicKey, [other]), /alg of the token/)
    }
  }
  const long = randomBytes(64)
  for (const alg of ['HS256', 'HS384', 'HS512'] as const) {
    t.equal(verdict(token({}, { alg, key: long }), long, [alg]), 'valid')
  }
  const pem = {
    publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }
  } as const
  const pss = generateKeyPairSync(
    'rsa-pss', { modulusLength: 2048, hashAlgorithm: 'sha384', mgf1HashAlgorithm: 'sha384', ...pem }
  )
  t.equal(verdict(token({}, { alg: 'PS384', key: createPrivateKey(`${pss.privateKey}`) }), pss.publicKey), 'valid')
  t.throws(() => ring(pss.publicKey, ['PS256']), refused)
})

t.test('never takes a public key in a recognisable form for an HMAC secret', async t => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string
  const jwk = JSON.stringify(rsa.publicKey.export({ format: 'jwk' }))
  for (const text of [pem, jwk]) {
    for (const form of [text, Buffer.from(text)]) {
      t.match(verdict(token({}, { alg: 'HS256', key: text }), form), /alg of the token is not the algorithm/)
      t.throws(() => ring(form, ['HS256']), refused)
    }
  }
  for (const type of ['spki', 'pkcs1'] as const) {
    const der = rsa.publicKey.export({ type, format: 'der' } as { type: 'spki', format: 'der' })
    t.throws(() => ring(der), { ...refused, message: /DER/ })
    t.throws(() => ring(der.toString('base64')), { ...refused, message: /inside of a PEM text/ })
  }
  t.throws(() => ring(rsa.privateKey.export({ type: 'pkcs8', format: 'der' })), refused)
  t.throws(() => ring(certificate), { ...refused, message: /inside of a PEM text/ })
  t.throws(() => ring(Buffer.from(certificate, 'base64')), { ...refused, message: /DER/ })
  t.equal(ring(`-----BEGIN CERTIFICATE-----\n${certificate}\n-----END CERTIFICATE-----\n`).keys[0]?.algorithm, 'ES256')
  t.equal(ring(`{not JSON: ${secret}`).keys[0]?.algorithm, 'HS256', 'a secret may begin with a brace')
  t.throws(
    () => ring(
      'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7vbqajDw4o6gJy8UtmIbkcpnkO3Kwc4qsEnSZp/TR+fQi62F79RHWmwKOtFmw' +
      'teURgLbj7D/WGuNLGOfa'
    ),
    { ...refused, message: /OpenSSH/ }
  )
  t.throws(() => ring('https://issuer.test/.well-known/jwks.json'), { ...refused, message: /is a URL/ })
})

t.test('stops the boot for weak keys and keys of another use', async t => {
  const jwk = rsa.publicKey.export({ format: 'jwk' })
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
  for (const [keys, message] of [
    [randomBytes(31), /too short: HS256 needs at least 32 .* has 31\. Make one with: npx fastify-gatehouse secret$/],
    ['', /empty/], [undefined, /undefined/], [null, /must be/], [42, /must be/],
    [{}, /no key/], [[], /no key/], [{ keys: [] }, /no key/],
    [small.publicKey, /1024 bits/], [{ ...jwk, e: 'AQ' }, /exponent|no key/], [
      { ...jwk, e: 'BA' }, /exponent|no key/
    ], [{ ...jwk, use: 'enc' }, /'use'/], [{ ...jwk, key_ops: ['encrypt'] }, /'key_ops'/],
    [{ ...jwk, key_ops: ['sign'] }, /'key_ops'/], [{ ...jwk, alg: 'none' }, /'alg'/],
    [{ ...jwk, alg: 'ES256' }, /'alg'/], [{ ...jwk, kid: 7 }, /'kid'/], [{ kty: 'RSA' }, /holds no key/],
    [{ kty: 'oct', k: 'a+b' }, /base64url/], [{ kty: 'oct', k: 7 }, /base64url/],
    [{ kty: 'oct', k: 'AA', key_ops: ['encrypt'] }, /'key_ops' lacks verify or sign/],
    [{ kty: 'oct', k: '' }, /empty/], [
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey, /no supported algorithm/
    ], [generateKeyPairSync('x25519').publicKey, /no supported algorithm/],
    ['-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', /no readable key/], [
      [secret, rsa.publicKey], /mixes/
    ], [[{ ...jwk, kid: 'a' }, { ...jwk, kid: 'a' }], /same kid/],
    [[rsa.publicKey, pair('rsa').publicKey], /several keys for RS256, of which not all have a kid/],
    [[{ ...jwk, kid: 'a' }, ec.publicKey, pair('rsa').publicKey], /several keys for RS256/],
    [{ a: { ...jwk, kid: 'b' } }, /another kid/],
    [new Map([[7, secret]]), /kid/], [{ a: undefined }, /must be/]
  ] as const) t.throws(() => ring(keys), { ...refused, message }, String(message))
})

t.test('accepts key_ops of a secret or private JWK with sign only', async t => {
  const text = token({}, { alg: 'RS256', key: rsa.privateKey })
  t.equal(verdict(text, { ...rsa.privateKey.export({ format: 'jwk' }), key_ops: ['sign'] }), 'valid')
  t.equal(
    verdict(
      token({}, { alg: 'HS256', key: secret }),
      { kty: 'oct', k: Buffer.from(secret).toString('base64url'), key_ops: ['sign'] }
    ),
    'valid'
  )
})

t.test('requires algorithms to be a non-empty list of known names with exactly one matching key each', async t => {
  for (const bad of [
    ['none'], ['none', 'RS256'], ['HS256', 'RS256'], [], null, undefined, 'RS256', ['RS256', ' none'],
    ['RS256', 'RS256'], ['rs256'], ['RS256 '], [['RS256']], ['toString'], ['__proto__'], {}, { 0: 'RS256', length: 1 }
  ]) {
    t.throws(() => parseAlgorithms(bad, 'The option algorithms'), refused, JSON.stringify(bad))
  }
  t.throws(() => ring(rsa.publicKey, ['RS256', 'PS256']), { ...refused, message: /fits RS256 and PS256/ })
  t.throws(() => ring(rsa.publicKey, ['RS256', 'ES256']), { ...refused, message: /no key for ES256/ })
  t.throws(() => ring(rsa.publicKey, ['ES256']), { ...refused, message: /fits none/ })
  t.throws(
    () => ring({ ...rsa.publicKey.export({ format: 'jwk' }), alg: 'PS256' }, ['RS256']),
    { ...refused, message: /does not name/ }
  )
  t.equal(ring([rsa.publicKey, ec.publicKey], ['RS256', 'ES256']).keys.length, 2)
})

t.test('detects a modulus with the fingerprint of CVE-2017-15361', async t => {
  const primes = [
    2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n, 29n, 31n, 37n, 41n, 43n, 47n, 53n, 59n, 61n, 67n, 71n, 73n, 79n, 83n, 89n,
    97n, 101n, 103n, 107n, 109n, 113n, 127n, 131n, 137n, 139n, 149n, 151n, 157n, 163n, 167n
  ]
  const product = primes.reduce((a, b) => a * b)
  let power = 1n
  for (let i = 0; i < 1234; i++) power = power * 65537n % product
  t.equal(hasRocaFingerprint(power + product * (1n << 1000n)), true)
  for (let i = 0; i < 200; i++) t.equal(hasRocaFingerprint(BigInt(`0x${randomBytes(256).toString('hex')}`) | 1n), false)
})

t.test('selects keys by kid, and without one uses the only key or the only key of the algorithm', async t => {
  const other = pair('rsa')
  const keys = { one: rsa.publicKey, two: other.publicKey, three: ec.publicKey }
  const by = (
    kid: string | undefined, key = rsa.privateKey, alg: 'RS256' | 'ES256' = 'RS256'
  ) => token({}, { alg, key, header: kid === undefined ? {} : { kid } })
  t.equal(verdict(by('one'), keys), 'valid')
  t.match(verdict(by('two'), keys), /does not verify/)
  t.match(verdict(by('nope'), keys), /no key is known/)
  t.match(verdict(by(undefined), keys), /no key is known/, 'two keys have RS256')
  t.equal(verdict(by(undefined, ec.privateKey, 'ES256'), keys), 'valid', 'one key has ES256')
  t.match(verdict(token({}, { alg: 'HS256', key: secret }), keys), /no key is known/, 'no key has HS256')
  t.equal(verdict(by(undefined), { one: rsa.publicKey }), 'valid')
  t.equal(verdict(by('one'), { one: { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'one' } }), 'valid')
  t.match(verdict(by('nope'), { one: rsa.publicKey }), /no key is known/)
  t.equal(verdict(by('nope'), rsa.publicKey), 'valid', 'a key without a kid does not ask for one')
  for (const kid of ['__proto__', 'constructor', 'toString', '']) {
    t.match(verdict(by(kid), keys), /no key is known/, kid)
  }
  t.match(verdict(token({}, { alg: 'RS256', key: rsa.privateKey, header: { kid: ['one'] } }), keys), /not a string/)
})

t.test('parses and checks each key that a function returns once', async t => {
  const pem = ec.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  for (const key of [pem, { ...ec.publicKey.export({ format: 'jwk' }), kty: 'EC' }]) {
    let checked = 0
    const find = createKeyFinder(() => key, { algorithms: null, path: place }, () => { checked++ })
    t.ok(await find({ alg: 'ES256' }))
    t.equal(await find({ alg: 'ES256' }), await find({ alg: 'ES256' }))
    t.equal(checked, 1)
  }
})

t.test('refuses headers with extensions, embedded keys or another algorithm', async t => {
  const evil = pair('ec')
  for (const header of [
    { crit: ['exp'], exp: 1 }, { crit: [] }, { b64: true }, { b64: false, crit: ['b64'] }, { typ: 7 }
  ]) {
    t.not(verdict(token({}, { alg: 'HS256', key: secret, header }), secret), 'valid')
  }
  t.match(
    verdict(
      token({}, { alg: 'ES256', key: evil.privateKey, header: { jwk: evil.publicKey.export({ format: 'jwk' }) } }),
      ec.publicKey
    ),
    /does not verify/
  )
  for (const alg of ['none', 'None', 'HS384', 'hs256', '', 7, null, ['HS256'], { toString: 'HS256' }]) {
    t.match(verdict(token({}, { alg: 'HS256', key: secret, header: { alg } }), secret), /alg of the token/)
  }
})

t.test('refuses a token if node:crypto throws during verification', async t => {
  const [key] = ring(secret).keys
  if (key === undefined) return t.fail('no key was found')
  const broken = { ...key, verify: () => { throw new Error('unsupported') } }
  t.match(
    verifyCompact(token({}, { alg: 'HS256', key: secret }), { keys: [broken], find: () => broken }), /cannot be checked/
  )
})

t.test('requires ECDSA signatures as r and s in full length, both non-zero', async t => {
  const text = token({}, { alg: 'ES256', key: ec.privateKey })
  const input = text.slice(0, text.lastIndexOf('.'))
  const der = sign('sha256', Buffer.from(input), ec.privateKey)
  for (const signature of [der, Buffer.alloc(64), Buffer.alloc(0), Buffer.alloc(63), Buffer.alloc(65)]) {
    t.match(verdict(`${input}.${signature.toString('base64url')}`, ec.publicKey), /does not verify|cannot be checked/)
  }
})

t.test('accepts base64url only in its canonical form', async t => {
  t.equal(decodeBase64url('')?.length, 0)
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 40 }),
      bytes => decodeBase64url(Buffer.from(bytes).toString('base64url'))?.equals(bytes) === true
    )
  )
  fc.assert(fc.property(fc.string({ maxLength: 12 }), text => {
    const bytes = decodeBase64url(text)
    return bytes === null || bytes.toString('base64url') === text
  }), { numRuns: 2000 })
  for (const text of ['A', 'AB=', 'AA==', 'AB', 'AAB', 'A+AA', 'A/AA', 'AA A', 'AA\nA', 'ÄAAA']) {
    t.equal(decodeBase64url(text), null, text)
  }
})

t.test('refuses a valid token with any one character changed, added or removed', async t => {
  for (const [alg, key, keys] of [
    ['HS256', secret, secret], ['EdDSA', ed.privateKey, ed.publicKey], ['ES256', ec.privateKey, ec.publicKey]
  ] as const) {
    const good = token({ sub: 'alice', scope: 'a b' }, { alg, key, header: { typ: 'JWT' } })
    const known = ring(keys)
    t.not(typeof verifyCompact(good, known), 'string')
    fc.assert(fc.property(fc.nat(good.length - 1), fc.constantFrom(
      'change', 'add', 'remove'
    ), fc.string({ minLength: 1, maxLength: 1, unit: 'binary-ascii' }), (at, how, char) => {
      const text = how === 'remove'
        ? good.slice(0, at) + good.slice(at + 1)
        : good.slice(0, at) + char + good.slice(how === 'add' ? at : at + 1)
      return text === good || typeof verifyCompact(text, known) === 'string'
    }), { numRuns: 1500 })
    fc.assert(fc.property(fc.nat(good.length * 6 - 1), bit => {
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      const at = Math.floor(bit / 6)
      if (good[at] === '.') return true
      const flipped = alphabet[alphabet.indexOf(good.charAt(at)) ^ (1 << bit % 6)] ?? ''
      return typeof verifyCompact(good.slice(0, at) + flipped + good.slice(at + 1), known) === 'string'
    }), { numRuns: 1500 })
  }
})

t.test('never throws on, and never accepts, arbitrary text', async t => {
  const rings = [ring(secret), ring(rsa.publicKey), ring(ec.publicKey), ring(ed.publicKey)]
  const part = fc.oneof(fc.string(), fc.json().map(
    text => Buffer.from(text).toString('base64url')
  ), fc.base64String(), fc.uint8Array().map(bytes => Buffer.from(bytes).toString('base64url')),
  fc.record({ alg: fc.constantFrom('HS256', 'RS256', 'ES256', 'EdDSA', 'none') }).map(
    header => Buffer.from(JSON.stringify(header)).toString('base64url')
  ))
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.array(part, { maxLength: 6 }).map(parts => parts.join('.'))),
      text => rings.every(each => typeof verifyCompact(text, each) === 'string')
    ),
    { numRuns: 3000 }
  )
})

t.test('rejects a token of 15,000 dots without splitting it', async t => {
  t.equal(isCompact('.'.repeat(15_000)), false)
  t.equal(parseCompact('.'.repeat(15_000)), 'the token is not a compact JWS')
  for (const text of ['', '.', '..', 'a', 'a.b', 'a.b.c.d', 'a.b.c.d.e', '.b.c']) t.equal(isCompact(text), false, text)
  for (const text of ['a.b.c', 'a..', 'a..c']) t.equal(isCompact(text), true, text)
})

t.test('requires exactly the claims of the rules, at any time', async t => {
  const rules = {
    issuer: 'https://issuer.test', audience: ['https://api.test', 'other'], typ: null, requiresIat: false, required: []
  }
  const good = { iss: 'https://issuer.test', aud: 'https://api.test', sub: 'a', exp: 1000 }
  t.equal(claimProblem({}, good, rules), null)
  for (const aud of [['x', 'other'], ['https://api.test'], 'other']) {
    t.equal(claimProblem({}, { ...good, aud }, rules), null)
  }
  for (const bad of [
    { iss: undefined }, { iss: 'https://issuer.test/' }, { iss: ['https://issuer.test'] }, {
      iss: 'HTTPS://issuer.test'
    }, { aud: undefined }, { aud: [] }, { aud: 'https://api.test/' }, { aud: ['https://api.test', 7] }, { aud: 7 },
    { aud: { 0: 'other' } }, { exp: undefined }, { exp: '9999999999' }, { exp: Infinity }, { exp: NaN }, { exp: 1e300 },
    { exp: null }, { nbf: '1' }, { nbf: null }, { iat: 'x' }, { iat: Infinity }, { sub: '' }, { sub: 7 }, { sub: null },
    { sub: 'a\0' }, { sub: '\ud800' }
  ]) t.type(claimProblem({}, { ...good, ...bad }, rules), 'string', JSON.stringify(bad))
  const any = { ...rules, issuer: null, audience: null }
  t.equal(claimProblem({}, { exp: 1 }, any), null)
  t.type(claimProblem({}, { exp: 1 }, { ...any, requiresIat: true }), 'string', 'no iat under a maximum age')
  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt', 'Application/JWT']) {
    t.equal(claimProblem(typ === undefined ? {} : { typ }, good, rules), null, String(typ))
  }
  for (const typ of [
    'refresh+jwt', 'logout+jwt', 'dpop+jwt', '', 'application/', 'application/application/jwt', 'jwt '
  ]) {
    t.type(claimProblem({ typ }, good, rules), 'string', typ)
  }
  for (const typ of [undefined, 'JWT']) {
    t.type(claimProblem(typ === undefined ? {} : { typ }, good, { ...rules, typ: 'at+jwt' }), 'string')
  }
  t.equal(claimProblem({ typ: 'application/at+JWT' }, good, { ...rules, typ: 'at+jwt' }), null)
})

t.test('distinguishes expired from invalid at the exact boundaries of the RFC', async t => {
  const at = (claims: Partial<Claims>, rules: { tolerance?: number, maxAge?: number } = {}) => {
    const fault = clockProblem(
      { exp: 2000, ...claims }, { tolerance: rules.tolerance ?? 0, maxAge: rules.maxAge ?? null }, 1000
    )
    return fault === null ? 'good' : fault.expired ? 'expired' : 'invalid'
  }
  t.equal(at({ exp: 1001 }), 'good')
  t.equal(at({ exp: 1000 }), 'expired')
  t.equal(at({ exp: 941 }, { tolerance: 60 }), 'good')
  t.equal(at({ exp: 940 }, { tolerance: 60 }), 'expired', 'a token expires exactly at the end of the tolerance')
  t.equal(at({ nbf: 1000, iat: 1000 }), 'good')
  t.equal(at({ nbf: 1001 }), 'invalid')
  t.equal(at({ nbf: 1060 }, { tolerance: 60 }), 'good')
  t.equal(at({ iat: 1060 }), 'good', 'iat is not an nbf, and clocks differ')
  t.equal(at({ iat: 1061 }), 'invalid')
  t.equal(at({ iat: 1120 }, { tolerance: 120 }), 'good')
  t.equal(at({ iat: 901 }, { maxAge: 100 }), 'good')
  t.equal(at({ iat: 900 }, { maxAge: 100 }), 'expired')
  t.equal(at({ iat: 841 }, { maxAge: 100, tolerance: 60 }), 'good')
})

t.test('freezes claims at every depth', async t => {
  t.not(parseObject(Buffer.from(`{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`)), null)
  const claims = parseObject(Buffer.from('{"__proto__":{"d":2},"a":{"b":[{"c":1}]}}')) as { a: { b: [{ c: number }] } }
  const [inner] = claims.a.b
  for (const each of [claims, claims.a, claims.a.b, inner]) t.ok(Object.isFrozen(each))
  for (const each of [claims, claims.a, inner]) t.equal(Object.getPrototypeOf(each), null)
  t.same(Object.keys(claims), ['__proto__', 'a'])
})

t.test('recognises repeated signatures with a table of fixed size', async t => {
  const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const sightings = new Sightings(1)
  t.equal(sightings.isRepeated(one), false)
  t.equal(sightings.isRepeated(one), true)
  t.equal(
    sightings.isRepeated(Buffer.concat([one.subarray(0, 8), other])), false,
    'a signature with the same beginning is another one'
  )
  t.equal(sightings.isRepeated(other), false, 'the later token has replaced the one with the same beginning')
  t.equal(sightings.isRepeated(one), false)
})

t.test('the cache compares whole tokens, is bounded and keeps recently used ones', async t => {
  const cache = createTokenCache<{ token: string }>(8)
  const tail = 't'.repeat(32)
  cache.add({ token: `good${tail}` })
  t.equal(cache.get(`evil${tail}`), undefined, 'a token with the same end is another one')
  t.equal(cache.get(`good${tail}`)?.token, `good${tail}`)
  const text = (i: number) => `token-${String(i).padStart(40, '0')}`
  for (let i = 0; i < 1000; i++) {
    cache.add({ token: text(i) })
    t.equal(cache.get(`good${tail}`)?.token, `good${tail}`, 'asked for in every generation')
  }
  const kept = Array.from({ length: 1000 }, (_, i) => cache.get(text(i))).filter(each => each !== undefined).length
  t.ok(kept >= 1 && kept <= 8, `${kept} of 1000`)
})

t.test('verifies with the public half of a private key, and keeps the key to sign with', async t => {
  const [key] = ring(rsa.privateKey).keys
  t.equal(key?.key.type, 'public')
  t.equal(key?.signing?.type, 'private')
  t.ok(key?.key.equals(createPublicKey(rsa.privateKey)))
  t.equal(ring(rsa.publicKey).keys[0]?.signing, null)
})
