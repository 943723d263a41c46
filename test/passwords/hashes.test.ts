import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import { derive } from '../../lib/passwords/compute.js'
import { hashPassword, passwordProblem, passwords, verifyPassword } from '../../lib/passwords/index.js'
import { isWeaker, recipeFrom, workOf } from '../../lib/passwords/recipe.js'
import { readStored, writeStored, type Stored } from '../../lib/passwords/stored.js'

const stale = { valid: true, needsRehash: true }
const fresh = { valid: true, needsRehash: false }
const no = { valid: false, needsRehash: false }

/** Vectors of the reference implementation of argon2, of Openwall's crypt_blowfish, and of RFC 7914, 12. */
const vectors = [
  ['password', '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'],
  ['password', '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'],
  ['password', '$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc'],
  ['password', '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8'],
  ['password', '$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY'],
  ['U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  ['U*U*', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'],
  ['U*U*U', '$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
  [
    'pleaseletmein',
    `$scrypt$ln=14,r=8,p=1$${plain(Buffer.from('SodiumChloride'))}$${plain(Buffer.from(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2' +
      'd5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
      'hex'
    ))}`
  ]
] as const

function plain (bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

t.test('verifies every published vector with its password only, and reports that each needs a rehash', async t => {
  for (const [password, stored] of vectors) {
    t.same(await verifyPassword(password, stored), stale, stored)
    t.same(await passwords().verify(`${password}x`, stored), no, `${stored} with another password`)
  }
})

t.test('ignores the bits that bcrypt does not use', async t => {
  t.same(await verifyPassword('U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC/E5YPO9kmyuRGyh0XouQYb4YMJKvyOeX'), stale)
})

t.test('hashes with argon2id, the OWASP parameters and a new salt', async t => {
  const one = await hashPassword('correct horse')
  t.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.not(await hashPassword('correct horse'), one)
  t.same(await verifyPassword('correct horse', one), fresh)
  t.same(await verifyPassword('correct hearse', one), no)
  t.same(await verifyPassword('correct horse', null), no)
  t.same(await verifyPassword('correct horse', undefined), no)
})

t.test('creates hashes that another library verifies', async t => {
  const require = createRequire(import.meta.url)
  t.ok(await require('@node-rs/argon2').verify(await hashPassword('naïve', { memorySize: 7168, passes: 5 }), 'naïve'))
  t.ok(await require('@node-rs/bcrypt').verify('naïve', await hashPassword('naïve', { algorithm: 'bcrypt', cost: 10 })))
})

t.test('hashes with bcrypt and scrypt on request', async t => {
  for (const [hash, form] of [
    [{ algorithm: 'bcrypt', cost: 10 }, /^\$2b\$10\$[./A-Za-z0-9]{53}$/],
    [{ algorithm: 'scrypt', cost: 2 ** 13, parallelization: 10 }, /^\$scrypt\$ln=13,r=8,p=10\$/]
  ] as const) {
    const stored = await hashPassword('correct horse', hash)
    t.match(stored, form)
    t.same(await passwords({ hash }).verify('correct horse', stored), fresh)
    t.same(
      await verifyPassword('correct horse', stored), stale, 'and argon2id, where it is the default, takes their place'
    )
  }
})

t.test('fails on a stored text that is not a hash, says why, and shows nothing of it', async t => {
  const secret = 'c29tc2FsdHNhbHQ'
  const wrong: ReadonlyArray<readonly [stored: unknown, detail: RegExp]> = [
    ['', /is empty/],
    ['hunter2hunter2', /is not a PHC string/],
    [7, /not a string but number/],
    [`$argon2id$v=19$m=19456,t=2,p=1$${secret}`, /begins like a hash of argon2id, .* cut off/],
    [
      `$argon2id$v=19$m=19456,t=2,p=1,keyid=a$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`,
      /begins like a hash of argon2id/
    ],
    [
      `$argon2id$v=17$m=19456,t=2,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`,
      /begins like a hash of argon2id/
    ],
    [` $argon2id$v=19$m=19456,t=2,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /is not a PHC string/],
    [
      `$argon2id$v=19$m=19456,t=2,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n`,
      /begins like a hash of argon2id/
    ],
    [`$argon2id$v=19$m=19456,t=2,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/5`, /may have been cut off/],
    [`$argon2id$v=19$m=19456,t=2,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi`, /may have been cut off/],
    [`$scrypt$ln=14,r=8,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi`, /may have been cut off/],
    [`$argon2id$v=19$m=19456,t=2,p=1$${secret}$nf65EOgL`, /hash shorter than 16/],
    ['$argon2id$v=19$m=19456,t=2,p=1$YWJj$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4', /salt shorter than 8/],
    [`$argon2id$v=19$m=4000000000,t=1,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /more than 1 GiB/],
    [
      `$argon2id$v=19$m=19456,t=4000000000,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`,
      /more than about 20 seconds/
    ],
    [`$argon2id$v=19$m=8,t=1,p=2$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /8 KiB/],
    [`$argon2id$v=19$m=19456,t=0,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /at least 1 pass/],
    [`$argon2id$v=19$m=19456,t=1,p=0$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /1 to 255 lanes/],
    [`$argon2id$v=19$m=19456,t=1,p=256$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /1 to 255 lanes/],
    [`$scrypt$ln=14,r=0,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /are at least 1/],
    [`$scrypt$ln=14,r=8,p=0$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /are at least 1/],
    [`$scrypt$ln=16,r=1,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /power of two/],
    [`$scrypt$ln=0,r=8,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /power of two/],
    [`$scrypt$ln=30,r=8,p=1$${secret}$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4`, /more than 1 GiB/],
    ['$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', /4 to 31/],
    ['$2b$25$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', /20 seconds/],
    ['$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', /'2x' is not supported/],
    [`$pbkdf2-sha256$i=600000$${secret}$nf65EOgLrQMR`, /'pbkdf2-sha256' is not supported/]
  ]
  for (const [stored, detail] of wrong) {
    const error = await verifyPassword('password', stored as string).then(() => null, (cause: unknown) => cause)
    if (!(error instanceof AuthError)) { t.fail(`${String(stored)} passed`); continue }
    t.equal(error.code, 'AUTH_FAULT')
    t.match(error.detail, detail)
    t.notMatch(`${error.detail} ${error.message}`, /c29tc2Fsd|nf65|CCCC|hunter2/)
  }
})

const bytes = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most }).map(
  array => Buffer.from(array)
)
const keyId = fc.option(fc.stringMatching(/^[A-Za-z0-9._-]{1,32}$/), { nil: null })
const recipes = fc.oneof(
  fc.record({
    algorithm: fc.constantFrom('argon2id', 'argon2i', 'argon2d'),
    version: fc.constantFrom(16, 19),
    memorySize: fc.integer({ min: 2048, max: 2 ** 20 }),
    passes: fc.integer({ min: 1, max: 50 }),
    parallelism: fc.integer({ min: 1, max: 255 })
  }),
  fc.record({
    algorithm: fc.constant('scrypt'),
    cost: fc.integer({ min: 1, max: 15 }).map(log => 2 ** log),
    blockSize: fc.integer({ min: 1, max: 16 }),
    parallelization: fc.integer({ min: 1, max: 16 })
  })
)

t.test('parses what it formats', async t => {
  const some = fc.oneof(
    fc.record({ recipe: recipes, salt: bytes(8, 64), digest: bytes(16, 64), keyId }),
    fc.record({
      recipe: fc.record({ algorithm: fc.constant('bcrypt'), cost: fc.integer({ min: 4, max: 18 }) }),
      salt: bytes(16, 16),
      digest: bytes(23, 23),
      keyId
    })
  )
  fc.assert(fc.property(some, stored => {
    t.same(readStored(writeStored(stored as Stored)), stored)
  }))
  t.end()
})

t.test('never throws on arbitrary text, and never parses a truncated hash', async t => {
  const texts = vectors.map(([, text]) => text)
  fc.assert(fc.property(fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.tuple(fc.constantFrom(...texts), fc.nat(), fc.string()).map(
      ([text, at, more]) => text.slice(0, at % text.length) + more
    )
  ), text => {
    const read = readStored(text)
    return typeof read === 'string' || read.digest.length >= 16
  }))
  for (const text of texts.filter(each => each.startsWith('$2'))) t.type(readStored(text.slice(0, -1)), 'string')
})

t.test('stops the boot for wrong or weak options', async t => {
  const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [null, /The options of passwords must be an object/],
    [{ hsah: {} }, /unknown key 'hsah'. Did you mean 'hash'\?/],
    [{ hash: 'argon2id' }, /option passwords\.hash must be an object/],
    [{ hash: { algorithm: 'argon2i' } }, /must be 'argon2id', 'scrypt' or 'bcrypt'/],
    [{ hash: { algorithm: undefined } }, /undefined/],
    [{ hash: { cost: 12 } }, /unknown key 'cost'/],
    [{ hash: { passes: '3' } }, /option passwords\.hash\.passes must be a whole number/],
    [{ hash: { passes: 1.5 } }, /whole number/],
    [{ hash: { passes: 0 } }, /whole number, 1 or more/],
    [{ hash: { memorySize: 19_455 } }, /too weak for argon2id. The minimum is \(memorySize 47104, passes 1\)/],
    [{ hash: { memorySize: 2 ** 21 } }, /1 GiB/],
    [{ hash: { parallelism: 256 } }, /255 lanes/],
    [{ hash: { algorithm: 'bcrypt', cost: 9 } }, /too weak/],
    [{ hash: { algorithm: 'bcrypt', cost: 19 } }, /20 seconds/],
    [{ hash: { algorithm: 'scrypt', cost: 2 ** 16 } }, /too weak/],
    [{ hash: { algorithm: 'scrypt', cost: 100_000 } }, /power of two/],
    [{ hash: { algorithm: 'scrypt', blockSize: 4 } }, /too weak/],
    [{ legacy: { algorithm: 'bcrypt' } }, /legacy must be a list/],
    [{ legacy: [{ algorithm: 'md5' }] }, /option passwords\.legacy\[0\]\.algorithm must be/],
    [{ pepper: { id: 'a b', secret: 'x'.repeat(40) } }, /option passwords\.pepper\.id must be/],
    [{ pepper: { id: 'a', secret: undefined } }, /undefined/],
    [{ pepper: { id: 'a', secret: 'x'.repeat(40) } }, /passwords\.pepper\.secret .* easy to guess/],
    [{ oldPeppers: [{ id: 'a', secret: randomBytes(32) }] }, /oldPeppers but no pepper/],
    [{ maxLength: 63 }, /maxLength .* from 64 to 4096/],
    [{ concurrency: 0 }, /concurrency/],
    [{ queue: -1 }, /queue/],
    [{ maxWait: 'soon' }, /maxWait/]
  ]
  for (const [options, message] of wrong) {
    t.throws(
      () => passwords(options as object), { code: 'AUTH_MISCONFIGURED', message }, JSON.stringify(options)
    )
  }
  await t.rejects(hashPassword('correct horse', { memorySize: 8 }), { code: 'AUTH_MISCONFIGURED' })
})

t.test('needs a rehash for another algorithm or any weaker cost parameter', async t => {
  const argon2 = recipeFrom({}, 'a')
  const scrypt = recipeFrom({ algorithm: 'scrypt' }, 'a')
  const bcrypt = recipeFrom({ algorithm: 'bcrypt' }, 'a')
  for (const one of [argon2, scrypt, bcrypt]) {
    for (const other of [argon2, scrypt, bcrypt]) t.equal(isWeaker(one, other), one !== other)
  }
  t.equal(isWeaker(recipeFrom({ passes: 1, memorySize: 47_104 }, 'a'), argon2), true)
  t.equal(isWeaker(recipeFrom({ memorySize: 7168, passes: 5 }, 'a'), argon2), true)
  t.equal(isWeaker(recipeFrom({ memorySize: 65_536, passes: 3, parallelism: 4 }, 'a'), argon2), false)
  t.equal(isWeaker({ ...argon2, version: 16 } as typeof argon2, argon2), true)
  t.equal(isWeaker(recipeFrom({ algorithm: 'scrypt', cost: 2 ** 16, parallelization: 2 }, 'a'), scrypt), true)
  t.equal(isWeaker(recipeFrom({ algorithm: 'scrypt', blockSize: 7 }, 'a'), scrypt), true)
  t.equal(isWeaker(scrypt, recipeFrom({ algorithm: 'scrypt', parallelization: 2 }, 'a')), true)
  t.equal(isWeaker(recipeFrom({ algorithm: 'bcrypt', cost: 13 }, 'a'), bcrypt), false)
  t.ok(workOf(scrypt) > workOf(bcrypt) && workOf(bcrypt) > workOf(argon2))
})

t.test('throws a constant message if an engine fails', async t => {
  const input = { password: Buffer.from('x'), salt: Buffer.alloc(16), length: 32 }
  await t.rejects(
    derive({ ...input, recipe: { algorithm: 'scrypt', cost: 3, blockSize: 8, parallelization: 1 } }),
    { code: 'AUTH_FAULT', message: 'Internal Server Error', cause: Error }
  )
  await t.rejects(
    derive({ ...input, password: Buffer.alloc(73, 1), recipe: { algorithm: 'bcrypt', cost: 4 } }),
    { code: 'AUTH_FAULT' }
  )
})

t.test('the plain functions check the requirements of a password', async t => {
  t.equal(passwordProblem('correct horse'), null)
  t.equal(passwordProblem(''), 'empty')
})
