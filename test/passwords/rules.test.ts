import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import {
  defaultConcurrency, defaultQueueSettings, createHashQueue, poolThreads, sharedQueue
} from '../../lib/passwords/compute.js'
import { passwordSettings } from '../../lib/passwords/options.js'
import { recipeFrom } from '../../lib/passwords/recipe.js'
import { counted, nameOf } from './counter.js'

const fresh = { valid: true, needsRehash: false }
const stale = { valid: true, needsRehash: true }
const no = { valid: false, needsRehash: false }

const argon2 = nameOf(recipeFrom({}, 'a'))
const bcrypt = nameOf(recipeFrom({ algorithm: 'bcrypt' }, 'a'))
const scrypt = nameOf(recipeFrom({ algorithm: 'scrypt' }, 'a'))
const secret = (): string => randomBytes(32).toString('base64url')

t.test('verifies every acceptable password against its own hash and no other', async t => {
  const passwords = counted()
  await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({
    unit: 'grapheme', minLength: 1
  }), async (one, other) => {
    if (passwords.problem(one) !== null) return t.rejects(passwords.hash(one), { code: 'AUTH_FAULT' }).then(() => {})
    const stored = await passwords.hash(one)
    t.same(await passwords.verify(one, stored), fresh)
    if (one.normalize('NFC') !== other.normalize('NFC')) t.same(await passwords.verify(other, stored), no)
  }))
})

t.test('treats the normal forms of a password as equal, and no other spelling', async t => {
  const passwords = counted()
  const stored = await passwords.hash('Ångström café')
  for (const form of ['NFC', 'NFD'] as const) {
    t.same(await passwords.verify('Ångström café'.normalize(form), stored), fresh)
  }
  for (const other of ['ångström café', 'Ångström café ', 'Angstrom cafe', 'Ångström\u00a0café']) {
    t.same(await passwords.verify(other, stored), no)
  }
})

t.test('refuses an invalid password before hashing, for known and unknown users', async t => {
  const passwords = counted()
  const stored = await passwords.hash('correct horse')
  t.same(passwords.evaluated(), [argon2])
  const refused: ReadonlyArray<readonly [password: unknown, problem: string]> = [
    ['', 'empty'],
    ['a'.repeat(1025), 'too-long'],
    ['é'.repeat(513), 'too-long'],
    // 300 characters, each of which NFC turns into two of three bytes
    ['\u0958'.repeat(300), 'too-long'],
    ['correct horse\u0000', 'nul'],
    ['\u0000', 'nul'],
    ['correct \ud800 horse', 'ill-formed'],
    [undefined, 'not-text'],
    [['correct horse'], 'not-text']
  ]
  for (const [password, problem] of refused) {
    t.equal(passwords.problem(password), problem)
    t.same(await passwords.verify(password as string, stored), no)
    t.same(await passwords.verify(password as string, null), no)
    await t.rejects(passwords.hash(password as string), { code: 'AUTH_FAULT', detail: new RegExp(problem) })
  }
  t.same(passwords.evaluated(), [])
  t.equal(passwords.problem('a'.repeat(1024)), null)
  t.equal(counted({ maxLength: 64 }).problem('a'.repeat(65)), 'too-long')
})

t.test('accepts 72 bytes with bcrypt, and refuses 73 without truncation at the cost of a wrong password', async t => {
  const passwords = counted({ hash: { algorithm: 'bcrypt' } })
  const stored = await passwords.hash('é'.repeat(36))
  t.same(await passwords.verify('é'.repeat(36), stored), fresh)
  t.equal(passwords.problem(`${'é'.repeat(36)}x`), 'too-long')
  passwords.evaluated()
  t.same(await passwords.verify(`${'é'.repeat(36)}x`, stored), no)
  t.same(passwords.evaluated(), [bcrypt])
  const today = counted({ legacy: [{ algorithm: 'bcrypt' }] })
  t.same(await today.verify('x'.repeat(73), stored), no)
  t.same(today.evaluated(), [bcrypt])
  t.equal(today.problem('x'.repeat(73)), null)
  t.equal(
    counted({ hash: { algorithm: 'bcrypt' }, pepper: { id: 'a', secret: secret() } }).problem('x'.repeat(73)),
    null,
    'a pepper makes every password 43 bytes'
  )
})

t.test('an unknown user costs as much as a wrong password', async t => {
  const passwords = counted()
  const stored = await passwords.hash('correct horse')
  passwords.evaluated()
  t.same(await passwords.verify('wrong', stored), no)
  const known = passwords.evaluated()
  t.same(await passwords.verify('wrong', null), no)
  t.same(passwords.evaluated(), known)
  t.same(known, [argon2])
  t.same(await passwords.verify('correct horse', stored), fresh)
  t.same(passwords.evaluated(), [argon2], 'and a right one costs one evaluation')
})

t.test('computes the slowest hash in use on every failure', async t => {
  const fast = await counted({ hash: { algorithm: 'bcrypt', cost: 10 } }).hash('correct horse')
  const slow = await counted({ hash: { algorithm: 'scrypt' } }).hash('correct horse')
  const passwords = counted({ legacy: [12, 10].map(cost => ({ algorithm: 'bcrypt', cost })) })
  const stored = await passwords.hash('correct horse')
  const failure = async (hash: string | null): Promise<readonly string[]> => {
    passwords.evaluated()
    t.same(await passwords.verify('wrong', hash), no)
    return passwords.evaluated()
  }
  t.same(await failure(null), [bcrypt])
  t.same(await failure(stored), [argon2, bcrypt].sort(), 'a wrong password evaluates its own hash, and the slowest')
  t.same(await failure(fast), ['bcrypt 10', bcrypt], 'a wrong password evaluates its own hash, and the slowest')
  t.same(await failure(slow), [scrypt], 'a slower hash that was not in legacy')
  t.same(await failure(null), [scrypt], 'which is the slowest in use from then on')
  t.same(await failure(fast), ['bcrypt 10', scrypt])
  t.same(await passwords.verify('correct horse', fast), stale)
  t.same(passwords.evaluated(), ['bcrypt 10'], 'a success costs one evaluation')
})

t.test('records the pepper in a hash, and verifies old peppers with needsRehash', async t => {
  const [one, two] = [{ id: '2024', secret: secret() }, { id: '2025', secret: secret() }]
  const before = counted()
  const first = counted({ pepper: one })
  const second = counted({ pepper: two, oldPeppers: [one] })
  const bare = await before.hash('correct horse')
  const old = await first.hash('correct horse')
  const current = await second.hash('correct horse')
  t.match(old, /^\$hmac-sha256\$keyid=2024\$argon2id\$v=19\$/)
  t.match(current, /^\$hmac-sha256\$keyid=2025\$argon2id\$v=19\$/)
  t.same(await first.verify('correct horse', old), fresh)
  t.same(await second.verify('correct horse', current), fresh)
  t.same(await second.verify('correct horse', old), stale)
  t.same(await second.verify('correct horse', bare), stale, 'and so do hashes without one')
  for (const stored of [bare, old, current]) t.same(await second.verify('wrong', stored), no)
  t.same(
    await counted({ pepper: { id: '2024', secret: secret() } }).verify('correct horse', old),
    no,
    'the id alone is not the pepper'
  )
  for (const passwords of [before, counted({ pepper: two })]) {
    await t.rejects(
      passwords.verify('correct horse', old),
      { code: 'AUTH_FAULT', detail: "a stored password hash names the pepper '2024', which is not configured" }
    )
  }
  t.throws(
    () => counted({ pepper: one, oldPeppers: [{ ...two, id: '2024' }] }), { message: /two peppers with the id '2024'/ }
  )
})

t.test('needs a rehash for a salt of less than 16 bytes', async t => {
  const { verify } = counted()
  t.same(
    await verify('wrong', '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'), no
  )
  const { passwords } = await import('../../lib/passwords/index.js')
  const { hash } = await import('@node-rs/argon2')
  t.same(await passwords().verify('password', await hash('password', { salt: Buffer.from('somesalt') })), stale)
})

/** Creates computations that end when the test says so. */
function works () {
  const ends: Array<() => void> = []
  let most = 0
  let running = 0
  const work = async (): Promise<void> => {
    most = Math.max(most, ++running)
    await new Promise<void>(resolve => ends.push(resolve))
    running--
  }
  const tick = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })
  return {
    work,
    most: () => most,
    started: () => ends.length,
    async end (count: number) { for (const end of ends.splice(0, count)) end(); await tick() },
    async endAll () { while (ends.length > 0) { for (const end of ends.splice(0)) end(); await tick() } }
  }
}

const settled = (promises: readonly Promise<unknown>[]) => Promise.allSettled(promises).then(
  all => all.map(each => each.status === 'fulfilled' ? 'done' : (each.reason as AuthError).code)
)

t.test('computes a few of 200 concurrent hashes, queues some and refuses the rest as unavailable', async t => {
  const { run } = createHashQueue({ concurrency: 3, queue: 40, maxWait: 10 })
  const some = works()
  const all = Array.from({ length: 200 }, () => run(some.work))
  const results = settled(all)
  t.equal(some.started(), 3)
  await some.endAll()
  const codes = await results
  t.equal(some.most(), 3)
  t.same(
    [codes.slice(0, 43).every(code => code === 'done'), codes.slice(43).every(code => code === 'AUTH_UNAVAILABLE')],
    [true, true]
  )
  await t.rejects(
    all[199] ?? Promise.resolve(),
    {
      statusCode: 503,
      message: 'Authentication is temporarily unavailable',
      detail: '40 password hashes are waiting already'
    }
  )
  const more = run(some.work)
  await some.endAll()
  await t.resolves(more, 'and it goes on afterwards')
})

t.test('releases the slot of a failed computation', async t => {
  const { run } = createHashQueue({ concurrency: 1, queue: 1, maxWait: 10 })
  await t.rejects(run(async () => { throw new Error('broken') }), { message: 'broken' })
  await t.rejects(run(() => { throw new Error('at once') }), { message: 'at once' })
  t.equal(await run(async () => 7), 7)
})

t.test('refuses a queued computation that waited too long, without running it', async t => {
  let now = 0
  const { run } = createHashQueue({ concurrency: 1, queue: 10, maxWait: 10 }, () => now)
  const some = works()
  const first = run(some.work)
  const waited = [run(some.work), run(some.work)]
  now = 5000
  const late = run(some.work)
  const results = settled([first, ...waited, late])
  now = 10_001
  await some.end(1)
  t.equal(some.started(), 1, 'the one that waited five seconds runs')
  await some.endAll()
  t.same(await results, ['done', 'AUTH_UNAVAILABLE', 'AUTH_UNAVAILABLE', 'done'])
})

t.test('shares the hash queue of the process unless an option asks for another one', async t => {
  t.equal(passwordSettings({}, 'a').hashQueue, sharedQueue)
  for (const options of [{ queue: 1 }, { concurrency: 1 }, { maxWait: 5 }]) {
    t.not(passwordSettings(options, 'a').hashQueue, sharedQueue)
  }
  t.ok(defaultQueueSettings.concurrency >= 1)
})

t.test('leaves one core and half of the thread pool free by default', async t => {
  t.same(
    [[1, 4], [2, 4], [3, 4], [64, 4], [64, 32], [8, 1]].map(
      ([cores = 0, threads = 0]) => defaultConcurrency(cores, threads)
    ),
    [1, 1, 2, 2, 16, 1]
  )
  t.same([undefined, '16', '0', 'many', '9999'].map(poolThreads), [4, 16, 1, 1, 1024])
})

t.test('refuses hashes beyond the queue in every part of the API', async t => {
  const passwords = counted({ concurrency: 1, queue: 2 })
  const stored = await passwords.hash('correct horse')
  const all = Array.from(
    { length: 10 },
    (_, i) => i === 9 ? passwords.hash('correct horse') : passwords.verify('correct horse', i % 2 === 0 ? stored : null)
  )
  t.same(
    await settled(all),
    [...Array.from({ length: 3 }, () => 'done'), ...Array.from({ length: 7 }, () => 'AUTH_UNAVAILABLE')]
  )
})
