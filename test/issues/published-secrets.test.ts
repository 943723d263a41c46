import { createPublicKey, randomBytes, type JsonWebKey } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, { apiKey, jwt, secretsFromEnvironment, session } from '../../lib/index.js'
import type { GatehouseOptions, JwtOptions } from '../../lib/index.js'
import { pair, sampleJwtIoPem } from '../fixtures/tokens.js'

const refused = { code: 'AUTH_MISCONFIGURED' }

async function boot (schemes: unknown): Promise<void> {
  const app = Fastify()
  try {
    await app.register(gatehouse, { schemes } as GatehouseOptions)
    await app.ready()
  } finally {
    await app.close()
  }
}

const withKeys = async (keys: unknown): Promise<void> => {
  await jwt({ keys, issuer: false, audience: false } as JwtOptions)({} as FastifyInstance, 'user', {} as never)
}

/** The long lines of jwt-common.txt of jwt_tool, and samples of documentation that are often copied. */
const published = [
  '012345678901234567890123456789XY', '12345678901234567890123456789012',
  '61306132616264382D363136322D343163332D383364362D316366353539623436616663',
  '61306132616264382d363136322d343163332d383364362d316366353539623436616663',
  '872e4e50ce9990d8b041330c47c9ddd11bec6b503ae9386a99da8584e9bb12c4', '8zUpiGcaPkNhNGi8oyrq',
  'A43CC200A1BD292682598DA42DAA9FD14589F3D8BF832FFA206BE775259EE1EA', 'C2A4EB068AF8ABEF18D80B1689C7D785',
  'GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk', 'J5hZTw1vtee0PGaoAuaW', 'R9MyWaEoyiMYViVWo8Fk4TUGWiSoaW6U1nOqXri8_XU',
  'RfxRP43BIKoSQ7P1GfeO', 'Secret key. You can use `mix guardian.gen.secret` to get one',
  'YoUR sUpEr S3krEt 1337 HMAC kEy HeRE', 'a43cc200a1bd292682598da42daa9fd14589f3d8bf832ffa206be775259ee1ea',
  'c2a4eb068af8abef18d80b1689c7d785', 'fe1a1915a379f3be5394b64d14794932', 'gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C',
  'my_very_long_and_safe_secret_key', 'averylogphrasebiggerthanthirtytwochars',
  'a secret with minimum length of 32 characters', 'complex_password_at_least_32_characters_long',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  '404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970',
  'cc7e0d44fd473002f1c42167459001140ec6389b7353f8088f4d9a95f2f596f2',
  'base64:/9QshpxORp0Mt68zOLiDNqdwRjxQFbThs0y1bsJ9+L4=', '550e8400-e29b-41d4-a716-446655440000'
]

const spellings: Readonly<Record<string, (text: string) => string | Uint8Array>> = {
  'as it is': text => text,
  'as bytes': text => Buffer.from(text),
  'with a line end': text => `${text}\n`,
  'in quotes': text => `"${text}"`,
  'in base64': text => Buffer.from(text).toString('base64'),
  'in base64url': text => Buffer.from(text).toString('base64url'),
  'in hexadecimal digits': text => Buffer.from(text).toString('hex'),
  'decoded from base64': text => wholly(text, 'base64'),
  'decoded from base64url': text => wholly(text, 'base64url'),
  'decoded from hexadecimal digits': text => wholly(text, 'hex')
}

/** Decodes a text if all of it is in an encoding; otherwise returns it unchanged. */
function wholly (text: string, encoding: 'base64' | 'base64url' | 'hex'): string | Uint8Array {
  const bytes = Buffer.from(text, encoding)
  return bytes.toString(encoding).toLowerCase() === text.toLowerCase() ? bytes : text
}

t.test('refuses published secrets in every spelling', async t => {
  const app = {} as FastifyInstance
  for (const text of published) {
    for (const [how, spell] of Object.entries(spellings)) {
      const secret = spell(text)
      const user = jwt({ keys: secret, issuer: false, audience: false })
      t.throws(() => user(app, 'user', {} as never), refused, `${text} ${how} as an HMAC key`)
      if (typeof secret !== 'string') continue
      const service = apiKey({ keys: { [secret]: { id: 'a' } } })
      t.throws(() => service(app, 'service', {} as never), refused, `${text} ${how} as an API key`)
      const read = (): unknown => secretsFromEnvironment({ A: 'apiKey' }, { A: secret })
      t.throws(read, refused, `${text} ${how} in the environment`)
    }
    await t.rejects(boot({ web: session({ secret: text }) }), refused, `${text} as a session secret`)
  }
})

/** Returns a public key in every accepted form. */
function formsOf (der: Buffer, jwk: JsonWebKey | null): readonly unknown[] {
  const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`
  const set = jwk === null ? [] : [jwk, JSON.stringify(jwk), { keys: [jwk] }]
  const wrapped = [pem.replaceAll('\n', '\\n'), Buffer.from(pem).toString('base64'), { one: pem }, [pem]]
  return [pem, createPublicKey(pem), ...wrapped, ...set]
}

/** Returns a point whose bytes between the first and the last are all the same, in hex. */
function point (first: string, between: string, last: string, bytes = 32): string {
  return `${first}${between.repeat(bytes - 2)}${last}`
}

t.test('refuses every small-order public key of Ed25519, and non-canonical encodings', async t => {
  const [one, other] = [
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc'
  ]
  const small = [
    point('00', '00', '00'), point('00', '00', '80'), point('01', '00', '00'), point('01', '00', '80'),
    point('ec', 'ff', '7f'), point('ec', 'ff', 'ff'), point('ed', 'ff', '7f'), point('ed', 'ff', 'ff'),
    point('ee', 'ff', '7f'), point('ee', 'ff', 'ff'), `${one}7a`, `${one}fa`, `${other}05`, `${other}85`
  ]
  t.equal(new Set(small).size, 14)
  for (const encoded of [...small, point('f0', 'ff', '7f'), point('ff', 'ff', 'ff')]) {
    const bytes = Buffer.from(encoded, 'hex')
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes])
    for (const keys of formsOf(der, { kty: 'OKP', crv: 'Ed25519', x: bytes.toString('base64url') })) {
      await t.rejects(withKeys(keys), { ...refused, message: /small order/ }, encoded)
    }
  }
})

t.test('refuses every small-order public key of Ed448', async t => {
  const minusOne = `fe${'ff'.repeat(27)}fe${'ff'.repeat(27)}`
  const small = [
    point('00', '00', '00', 57), point('00', '00', '80', 57), point('01', '00', '00', 57), point('01', '00', '80', 57),
    `${minusOne}00`, `${minusOne}80`, `${'ff'.repeat(28)}fe${'ff'.repeat(27)}00`
  ]
  for (const encoded of small) {
    const bytes = Buffer.from(encoded, 'hex')
    const der = Buffer.concat([Buffer.from('3043300506032b6571033a00', 'hex'), bytes])
    for (const keys of formsOf(der, { kty: 'OKP', crv: 'Ed448', x: bytes.toString('base64url') })) {
      await t.rejects(withKeys(keys), { ...refused, message: /small order/ }, encoded)
    }
  }
  for (const type of ['ed25519', 'ed448'] as const) {
    for (let i = 0; i < 20; i++) await t.resolves(withKeys(pair(type).publicKey), `a random ${type} key is accepted`)
  }
})

/** Encodes a DER value with its tag and length. */
function tlv (tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

function bytesOf (value: bigint): Buffer {
  const digits = value.toString(16)
  return Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex')
}

function integer (value: bigint): Buffer {
  const bytes = bytesOf(value)
  return tlv(2, bytes.readUInt8() >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}

function rsaDer (modulus: bigint, exponent: bigint, oid: string): Buffer {
  const key = tlv(0x30, integer(modulus), integer(exponent))
  return tlv(0x30, tlv(0x30, Buffer.from(oid, 'hex')), tlv(3, Buffer.from([0]), key))
}

const rsaOid = '06092a864886f70d0101010500'
const pssOid = '06092a864886f70d01010a'

/** Returns a modulus of 2,048 bits that is a power of 65537 modulo every prime up to 167. */
function faultyModulus (): bigint {
  const numbers = Array.from({ length: 166 }, (_, i) => i + 2)
  const primes = numbers.filter(number => numbers.every(other => other >= number || number % other !== 0))
  const product = primes.map(BigInt).reduce((a, b) => a * b)
  return ((1n << 2047n) / product + 1n) * product + 65537n ** 5n % product
}

t.test('refuses RSA keys with the exponent 1 and with the fingerprint of CVE-2017-15361, also for RSA-PSS', async t => {
  const { n } = pair('rsa').publicKey.export({ format: 'jwk' })
  const good = BigInt(`0x${Buffer.from(`${n}`, 'base64url').toString('hex')}`)
  const faulty = faultyModulus()
  const forms = (modulus: bigint, exponent: bigint, oid: string): readonly unknown[] => {
    const [n = '', e = ''] = [modulus, exponent].map(value => bytesOf(value).toString('base64url'))
    return formsOf(rsaDer(modulus, exponent, oid), oid === rsaOid ? { kty: 'RSA', n, e } : null)
  }
  for (const oid of [rsaOid, pssOid]) {
    for (const keys of forms(good, 1n, oid)) await t.rejects(withKeys(keys), { ...refused, message: /exponent/ })
    for (const exponent of [3n, 65537n, 0x80000001n]) {
      for (const keys of forms(faulty, exponent, oid)) {
        await t.rejects(withKeys(keys), { ...refused, message: /CVE-2017-15361/ })
      }
      for (const keys of forms(good, exponent, oid)) await t.resolves(withKeys(keys), 'a good modulus is accepted')
    }
  }
})

t.test('refuses the key pairs of RFCs and of jwt.io, whose private halves are public', async t => {
  const x = 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU'
  const y = 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0'
  const samples: readonly unknown[] = [
    { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }, { kty: 'EC', crv: 'P-256', x, y },
    sampleJwtIoPem, Buffer.from(sampleJwtIoPem).toString('base64'), createPublicKey(sampleJwtIoPem),
    { one: sampleJwtIoPem }
  ]
  for (const keys of samples) await t.rejects(withKeys(keys), { ...refused, message: /published sample/ })
  await t.rejects(withKeys({ own: pair('ec').publicKey, sample: sampleJwtIoPem }), {
    ...refused,
    message: /key 2 of .* published sample/
  })
})

t.test('accepts random secrets of 128 bits and more, in every encoding', async t => {
  const uuid = (bytes: Buffer): string => bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  for (let i = 0; i < 500; i++) {
    const bytes = randomBytes(16)
    for (const key of [bytes.toString('hex'), bytes.toString('base64'), bytes.toString('base64url'), uuid(bytes)]) {
      t.doesNotThrow(() => secretsFromEnvironment({ A: 'apiKey' }, { A: key }), key)
    }
  }
})
