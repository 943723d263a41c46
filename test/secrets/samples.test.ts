import { randomBytes } from 'node:crypto'
import t from 'tap'
import { checkSecret, weakness } from '../../lib/secrets/check-secret.js'

const rule = { minBytes: 32, path: 'the secret of the test' }
const refused = { code: 'AUTH_MISCONFIGURED' }
const sample = 'v1ZK9mJ0Qx3fWc7RtYh2Lb8NpUe5DgSa6XoTiMk4BzA'

t.test('refuses the sample keys of the RFCs, Wycheproof and jwt.io, as text and as bytes', async t => {
  for (const key of [
    'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow',
    'hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg',
    'AAPapAv4LbFbiVawEjagUBluYqN5rhna-8nuldDvOx8', '-ebuDNsVZ2iJtoZ-akfXTSCt4UO2cruLCsbWlBinggE'
  ]) {
    t.throws(() => checkSecret(key, rule), refused, key)
    t.throws(() => checkSecret(Buffer.from(key, 'base64url'), rule), refused, `${key} decoded`)
    t.throws(
      () => checkSecret(Buffer.from(key, 'base64url').toString('base64'), rule), refused, `${key} in the other alphabet`
    )
  }
  for (const key of [
    'your-256-bit-secret', 'a-string-secret-at-least-256-bits-long',
    'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long'
  ]) {
    t.throws(() => checkSecret(key, rule), refused, key)
  }
})

t.test('refuses secrets that people invent, however long', async t => {
  for (const secret of [
    'a'.repeat(64), 'abc'.repeat(20), '0123456789'.repeat(5), 'abcdefghijklmnopqrstuvwxyz0123456789',
    'qwertyuiopasdfghjklzxcvbnm1234567890', '1q2w3e4r5t6y7u8i9o0p1q2w3e4r5t6y7u8i9o0p',
    'changeme-changeme-changeme-changeme', 'this-is-my-super-secret-key-please-change-it',
    'correct horse battery staple and so on and so forth', 'MySuperSecretPasswordForTheProductionServer',
    'S3cr3tP4ssw0rdS3cr3tP4ssw0rdS3cr3t', '2024-01-01T00:00:00.000Z-2024-01-01', '550e8400-e29b-41d4-a716-446655440000',
    'f47ac10b-58cc-4372-a567-0e02b2c3d479', '12345678901234567890123456789012',
    '\u0000'.repeat(32), 'to be or not to be, that is the question', 'Whether tis nobler in the mind to suffer',
    'lorem ipsum dolor sit amet consectetur adipiscing elit'
  ]) {
    t.throws(() => checkSecret(secret, rule), refused, secret)
    t.throws(() => checkSecret(Buffer.from(secret), rule), refused, `${secret} as bytes`)
  }
  t.throws(
    () => checkSecret(Uint8Array.from({ length: 32 }, (_, i) => i), rule), refused,
    'bytes in ascending order are refused'
  )
  t.throws(() => checkSecret(new Uint8Array(64), rule), refused, 'bytes that are all zero are refused')
})

t.test('accepts 10,000 random secrets of 32 bytes, raw, as base64, as base64url and as hex', async t => {
  const wrong: string[] = []
  for (let i = 0; i < 10_000; i++) {
    const bytes = randomBytes(32)
    const secret = i % 4 === 0 ? bytes : bytes.toString((['hex', 'base64', 'base64url'] as const)[i % 4 - 1])
    if (weakness(secret) !== null) wrong.push(String(secret))
  }
  t.same(wrong, [])
})

t.test('accepts 128 random bits in hexadecimal, even if digits read like a word', async t => {
  for (const key of ['1c5954acce55d4dc9395acfad73cc541', 'ACCE55D4DC9395ACFAD73CC5411C5954']) {
    t.equal(weakness(key), null)
  }
  t.match(weakness('acce55acce55acce55acce55acce5500'), /too easy to guess/)
})

t.test('accepts a random key whose bytes happen to be text with a percent sign', async t => {
  for (const key of ['e1b1816855c3b22625334571eea78665', '4bGBaFXDsiYlM0Vx7qeGZQ==', '4bGBaFXDsiYlM0Vx7qeGZQ']) {
    t.equal(weakness(key), null)
  }
  t.match(weakness(encodeURIComponent('changeme changeme changeme')), /too easy to guess/)
})

t.test('names the option and the fix, never the secret, if one is missing, of another type or too short', async t => {
  t.throws(
    () => checkSecret(undefined, rule),
    { ...refused, message: /^the secret of the test is undefined.*environment variable.*npx fastify-gatehouse secret$/ }
  )
  for (const secret of [null, 42, {}, ['a'], true]) {
    t.throws(() => checkSecret(secret, rule), { ...refused, message: /must be a string or a Uint8Array/ })
  }
  t.throws(() => checkSecret('', rule), { ...refused, message: /has 0 bytes and needs at least 32/ })
  t.throws(() => checkSecret(sample.slice(0, 31), rule), { ...refused, message: /has 31 bytes and needs at least 32/ })
  for (const secret of [
    sample.slice(0, 31), 'hunter2hunter2hunter2hunter2hunter2hunter2',
    'bCN5WVVP7b2RL76n7AlYpxTap8s134l6eyqZckbryn2UOojCyjfwo2TpFcWXMaXm'
  ]) {
    try {
      checkSecret(secret, rule)
      t.fail(secret)
    } catch (error) {
      const { message, stack } = error as Error
      t.notMatch(`${message} ${stack}`, secret)
    }
  }
})

t.test('returns a good secret as a copy of its bytes', async t => {
  t.same(checkSecret(sample, rule), Buffer.from(sample))
  const given = randomBytes(32)
  const bytes = checkSecret(given, rule)
  t.same(bytes, given)
  t.not(bytes.buffer === given.buffer && bytes.byteOffset === given.byteOffset, true)
})

t.test('accepts a random secret behind a label, which does not count', async t => {
  t.equal(weakness(`session-secret-production-${sample}`), null)
  t.match(weakness('session-secret-production-2024-abcdef'), /too easy to guess/)
})

t.test('refuses a secret of which half is predictable, wherever that is, and accepts one with a character more', t => {
  const random = 'kQ!z7v#Xj9w^Pf2b&Gd8?rY+h6~Mc'
  for (const part of [
    'a'.repeat(20), 'acegikmoqsuwy', 'yuiopghjklcvbnm%^&*()', 'trewqgfdsabvcxz%$#@!', '2029-11-17',
    'administratorserverjwt', 'JwtAdministratorServer', 'passw0rd', 'adm1n1strator', 's3rv3rs3ss1on', 'ch4r4cter',
    'pa55word', 'adminis7ra7or', 'p@ssword', 'Pa$$word'
  ]) {
    const [half, more] = [random.slice(0, part.length), random.slice(0, part.length + 1)]
    for (const secret of [half + part, part + half]) t.match(weakness(secret), /half of it or more/, secret)
    for (const secret of [more + part, part + more]) t.equal(weakness(secret), null, secret)
  }
  t.equal(weakness('abklm!qrvwx#efwxy&hiopq+'), null, 'these are not sequences')
  t.end()
})
