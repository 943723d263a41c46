import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, jwt, secretsFromEnvironment, session } from '../../lib/index.js'
import type { GatehouseOptions, JwtOptions } from '../../lib/index.js'
import { pair, secretOf, token } from '../fixtures/tokens.js'

const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const refused = { code: 'AUTH_MISCONFIGURED' }

async function boot (t: Test, schemes: unknown, more: object = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes, ...more } as GatehouseOptions)
  app.get('/', async request => request.principal)
  await app.ready()
  return app
}

async function withKeys (t: Test, keys: unknown, more: object = {}): Promise<FastifyInstance> {
  return boot(t, { user: jwt({ keys, issuer, audience, ...more } as JwtOptions) })
}

async function statusOf (app: FastifyInstance, alg: string, key: KeyObject | Uint8Array): Promise<number> {
  const now = Math.floor(Date.now() / 1000)
  const text = token({ iss: issuer, aud: audience, sub: 'mallory', exp: now + 60 }, { alg, key })
  return (await app.inject({ url: '/', headers: { authorization: `Bearer ${text}` } })).statusCode
}

const buffer = (value: string | Uint8Array): Buffer => Buffer.from(value as Uint8Array)
const base64 = (value: string | Uint8Array): string => buffer(value).toString('base64')
const base64url = (value: string | Uint8Array): string => buffer(value).toString('base64url')
const hex = (value: string | Uint8Array): string => buffer(value).toString('hex')

/** The forms in which environments and configuration files contain a key that is a text. */
const disguises: Readonly<Record<string, (text: string) => unknown>> = {
  'as it is': text => text,
  'as bytes': text => buffer(text),
  'in base64': base64,
  'in base64url': base64url,
  'in base64 without padding': text => base64(text).replace(/=/g, ''),
  'in base64 with line breaks': text => base64(text).replace(/.{76}/g, '$&\n'),
  'in base64 with literal line breaks': text => base64(text).replace(/.{76}/g, '$&\\n'),
  'in base64 behind its name': text => `base64:${base64(text)}`,
  'as a data URL': text => `data:application/json;base64,${base64(text)}`,
  'in base64 twice': text => base64(base64(text)),
  'in base64, as bytes': text => buffer(base64(text)),
  'in hexadecimal digits': hex,
  'in upper-case hexadecimal digits': text => hex(text).toUpperCase(),
  'in hexadecimal digits with colons': text => hex(text).replace(/..(?!$)/g, '$&:'),
  'in hexadecimal digits of base64': text => hex(base64(text)),
  'as decimal bytes': text => String(Uint8Array.from(buffer(text))),
  'in JSON quotes': JSON.stringify,
  'in JSON quotes twice': text => JSON.stringify(JSON.stringify(text)),
  'in double quotes': text => `"${text}"`,
  'in single quotes': text => `'${text}'`,
  'in base64 in quotes': text => JSON.stringify(base64(text)),
  'in quotes in base64': text => base64(JSON.stringify(text)),
  'in a list': text => [text],
  'in base64 in a list': text => [base64(text)],
  'in a list in JSON': text => JSON.stringify([text]),
  'in a list in base64': text => base64(JSON.stringify([text])),
  'in a record': text => ({ one: base64(text) }),
  'in a record in JSON': text => JSON.stringify({ one: text }),
  'with literal line breaks': text => text.replaceAll('\n', '\\n'),
  'with doubly escaped line breaks': text => text.replaceAll('\n', '\\\\n'),
  'with literal line breaks of Windows': text => text.replaceAll('\n', '\\r\\n'),
  'with literal line breaks in quotes': text => `"${text.replaceAll('\n', '\\n')}"`,
  'with escaped quotes': text => text.replaceAll('"', '\\"'),
  'percent-encoded': encodeURIComponent,
  'in UTF-16': text => Buffer.from(text, 'utf16le'),
  'in UTF-16 with a mark': text => Buffer.from(`\ufeff${text}`, 'utf16le'),
  'behind whitespace': text => ` \n${text}\n `,
  'behind a mark': text => `\ufeff${text}`,
  'as a secret KeyObject': text => createSecretKey(buffer(text)),
  'as a secret KeyObject of its base64': text => createSecretKey(buffer(base64(text))),
  'as a secret JWK': text => ({ kty: 'oct', k: base64url(text) }),
  'as a secret JWK of its base64': text => ({ kty: 'oct', k: base64url(base64(text)) }),
  'as a secret JWK in JSON': text => JSON.stringify({ kty: 'oct', k: base64url(text) })
}

/** Returns the secrets with which an attacker who knows the public key could sign. */
function forgeries (text: string, given: unknown): readonly Uint8Array[] {
  const own = typeof given === 'string' || given instanceof Uint8Array ? [buffer(given)] : []
  return [buffer(text), buffer(base64(text)), ...own]
}

t.test('never uses a public key as an HMAC secret: reads it as a key, or stops the boot', async t => {
  const pairs = [['ES256', pair('ec')], ['RS256', pair('rsa')], ['EdDSA', pair('ed25519')]] as const
  for (const [alg, { publicKey, privateKey }] of pairs) {
    const jwk = publicKey.export({ format: 'jwk' })
    const pem = { 'a PEM text': publicKey.export({ type: 'spki', format: 'pem' }) as string }
    const sets = {
      'a JWK': JSON.stringify(jwk),
      'a JWK set': JSON.stringify({ keys: [{ ...jwk, use: 'sig' }] }),
      'a JWK set of several lines': JSON.stringify({ keys: [jwk] }, null, 2)
    }
    const texts = { ...pem, ...alg === 'ES256' ? sets : {} }
    for (const [what, text] of Object.entries(texts)) {
      for (const [how, disguise] of Object.entries(disguises)) {
        const given = disguise(text)
        const which = `${alg}: ${what} ${how}`
        const asSecret = jwt({ keys: given, issuer, audience, algorithms: ['HS256'] } as JwtOptions)
        t.throws(() => asSecret({} as FastifyInstance, 'user', {} as never), refused, `${which}, as HS256`)
        const app = await withKeys(t, given).catch((error: unknown) => {
          t.match(error, refused)
          return null
        })
        if (app === null) continue
        t.equal(await statusOf(app, alg, privateKey), 200, `${which}: accepts a token of its private key`)
        for (const key of forgeries(text, given)) {
          t.equal(await statusOf(app, 'HS256', key), 401, `${which}: refuses a forged token`)
        }
      }
    }
  }
})

t.test('reads keys from environments with literal line breaks, base64 and quotes', async t => {
  const { publicKey, privateKey } = pair('ec')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const set = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'a' }] })
  const literal = pem.replaceAll('\n', '\\n')
  const forms = [
    literal, `"${literal}"`, `'${pem}'`, base64(pem), base64url(set), JSON.stringify(set), buffer(set),
    base64(set).replace(/.{76}/g, '$&\n'), JSON.stringify({ a: pem })
  ]
  for (const keys of forms) t.equal(await statusOf(await withKeys(t, keys), 'ES256', privateKey), 200)
  for (const key of [privatePem.replaceAll('\n', '\\n'), base64(privatePem)]) {
    const app = await withKeys(t, pem, { sign: { key } })
    const headers = { authorization: `Bearer ${await app.gatehouse.tokens.issue({ id: 'alice' })}` }
    t.equal((await app.inject({ url: '/', headers })).json().id, 'alice')
  }
})

t.test('stops the boot for unsupported key formats, and names the format', async t => {
  const { publicKey, privateKey } = pair('ec')
  const rsa = pair('rsa')
  const { x, y } = publicKey.export({ format: 'jwk' })
  const pointOf = (key: KeyObject): Buffer => {
    const numbers = key.export({ format: 'jwk' })
    return Buffer.concat([Buffer.from([4]), ...['x', 'y'].map(name => Buffer.from(`${numbers[name]}`, 'base64url'))])
  }
  const point = pointOf(publicKey)
  const ssh = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('ssh-rsa'), Buffer.alloc(300, 7)])
  const sshTypes = [
    'ssh-dss', 'ssh-ed25519', 'ecdsa-sha2-nistp256', 'sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com'
  ]
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const forms: ReadonlyArray<readonly [unknown, RegExp]> = [
    [spki, /DER form/],
    [spki.toString('base64'), /DER form/],
    [spki.toString('hex'), /DER form/],
    [JSON.stringify(spki.toString('base64')), /DER form/],
    [privateKey.export({ type: 'sec1', format: 'der' }).toString('base64'), /DER form/],
    [privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64url'), /DER form/],
    [rsa.publicKey.export({ type: 'pkcs1', format: 'der' }).toString('base64'), /DER form/],
    [point, /raw public key/],
    [point.toString('hex'), /raw public key/],
    [point.toString('base64url'), /raw public key/],
    ...['P-384', 'P-521'].map(namedCurve =>
      [pointOf(generateKeyPairSync('ec', { namedCurve }).publicKey), /raw public key/] as const),
    [ssh.toString('base64'), /OpenSSH/],
    [base64(`ssh-ed25519 ${base64(ssh)}`), /OpenSSH/],
    ...sshTypes.flatMap(type => {
      const blob = Buffer.concat([Buffer.from([0, 0, 0, type.length]), Buffer.from(type), Buffer.alloc(80, 7)])
      return [[base64(blob), /OpenSSH/], [`${type} ${base64(blob)} ann@example.com`, /OpenSSH/]] as const
    }),
    [`---- BEGIN SSH2 PUBLIC KEY ----\n${base64(ssh)}`, /OpenSSH/],
    ...['ECKeyValue', 'DSAKeyValue', 'KeyValue', 'ds:KeyValue'].map(
      name => [`<${name} Id="one"><P>uY2S4oPzpWQJqDkR</P></${name}>`, /XML/] as const
    ),
    ...['RSA', 'OKP', 'oct'].map(kty => [`{ kty: '${kty}', use: 'sig', kid: '${x}' }`, /not valid JSON/] as const),
    ['<RSAKeyValue><Modulus>uY2S4oPzpWQJqDkR</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>', /XML/],
    [`{ kty: 'EC', crv: 'P-256', x: '${x}', y: '${y}' }`, /not valid JSON/],
    [base64('https://issuer.test/.well-known/jwks.json'), /is a URL/],
    ['ftp://keys.issuer.test/of/every/tenant/jwks.json', /is a URL/],
    ['file:///etc/keys/of/some/issuer/public/jwks.json', /is a URL/],
    [base64('HTTPS://ISSUER.TEST/KEYS'), /is a URL/],
    ['issuer.test/keys/of/every/tenant/jwks.json', /is a URL/],
    ['//issuer.test/keys/of/every/tenant/jwks.json', /is a URL/],
    ['issuer.test:8443/keys/of/every/tenant/jwks.json', /is a URL/],
    ['/tenants/one/.well-known/openid-configuration', /is a URL/],
    ['-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE', /no readable key/],
    ['{"issuer":"https://issuer.test","jwks_uri":"https://issuer.test/jwks"}', /is a URL/]
  ]
  for (const [keys, message] of forms) await t.rejects(withKeys(t, keys), { ...refused, message })
  const noPoint = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 'k3yZ')])
  t.notMatch(await withKeys(t, noPoint).catch(String), /raw public key/)
})

t.test('refuses key material as a session secret, a device secret, an API key, and in the environment', async t => {
  const { publicKey, privateKey } = pair('ec')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const set = JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })
  const der = privateKey.export({ type: 'pkcs8', format: 'der' })
  const literal = pem.replaceAll('\n', '\\n')
  const secrets = [pem, set, base64(pem), base64url(set), JSON.stringify(pem), hex(pem), base64(der), hex(der), literal]
  for (const secret of secrets) {
    await t.rejects(boot(t, { web: session({ secret }) }), { ...refused, message: /public or private key/ })
    const limits = { guesses: { deviceSecret: secret } }
    const web = session({ secret: secretOf() })
    await t.rejects(boot(t, { web }, { limits }), { ...refused, message: /public or private key/ })
    for (const purpose of ['session', 'jwt', 'device', 'apiKey', 'pepper', 'secret'] as const) {
      t.throws(() => secretsFromEnvironment({ A_SECRET: purpose }, { A_SECRET: secret }), refused)
    }
  }
  for (const key of [base64(pem), base64url(pem), base64url(set), hex(pem), base64(der)]) {
    const service = apiKey({ keys: { [key]: { id: 'a' } } })
    await t.rejects(boot(t, { service }), { ...refused, message: /public or private key|cannot be sent/ })
  }
})

t.test('accepts random secrets in every encoding', async t => {
  const app = {} as FastifyInstance
  const made = (keys: string | Uint8Array) => (): unknown => jwt({ keys, issuer, audience })(app, 'user', {} as never)
  t.doesNotThrow(made(`100%ff${secretOf()}`), 'percent signs that encode nothing')
  for (let i = 0; i < 50; i++) {
    const bytes = buffer(secretOf(48))
    for (const keys of [secretOf(), base64(bytes), hex(bytes), bytes]) t.doesNotThrow(made(keys))
  }
})
