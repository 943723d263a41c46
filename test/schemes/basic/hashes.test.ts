import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { basic, type BasicOptions } from '../../../lib/index.js'
import type { FoundUser } from '../../../lib/schemes/basic/scheme.js'
import { hashPassword, passwords, verifyPassword } from '../../../lib/passwords/index.js'
import { VerifiedCache } from '../../../lib/schemes/basic/cache.js'
import { createApplication, contextOf, createScheme } from '../../fixtures/schemes.js'

// replaces the functions of the libraries, which are loaded for the first hash, by ones that count
const require = createRequire(import.meta.url)
let work: string[] = []
for (const [name, method, cost] of [
  ['@node-rs/argon2', 'hashRaw', 'memoryCost'],
  ['@node-rs/bcrypt', 'hash', 'cost']
] as const) {
  const library = require(name) as Record<string, (...args: unknown[]) => unknown>
  const original = library[method]
  library[method] = (...args) => {
    work.push(`${name.slice(9)} ${String((args[1] as Record<string, unknown>)[cost])}`)
    return original?.(...args)
  }
}

/** Returns the hashes that were computed since the last call. */
function evaluated (): readonly string[] {
  const done = work.sort()
  work = []
  return done
}

const password = 'correct horse battery'
/** Openwall's vector for the password U*U*U. */
const bcrypt = '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'
const hashed = await hashPassword(password)

async function serving (options: object) {
  const { app, log } = await createApplication({
    schemes: { ops: basic(options as BasicOptions) },
    limits: { guesses: false }
  })
  app.get('/', async request => request.principal)
  await app.ready()
  evaluated()
  return {
    log,
    async ask (name: string, given: string) {
      const answer = await app.inject({
        url: '/',
        headers: { authorization: `Basic ${Buffer.from(`${name}:${given}`).toString('base64')}` }
      })
      return {
        status: answer.statusCode,
        id: answer.json().id,
        code: answer.json().code,
        retryAfter: answer.headers['retry-after'],
        body: answer.body
      }
    }
  }
}

t.test('accepts hashes in a table instead of passwords', async t => {
  const { ask } = await serving({
    users: { ann: { hash: hashed, roles: ['ops'] }, old: { hash: bcrypt }, bob: { password: 'battery staple' } }
  })
  t.match(await ask('ann', password), { status: 200, id: 'ann' })
  t.same(
    JSON.parse((await ask('ann', password)).body),
    { id: 'ann', realm: 'ops', scopes: [], roles: ['ops'] },
    'the hash is not a part of the principal'
  )
  t.match(await ask('old', 'U*U*U'), { status: 200, id: 'old' })
  t.match(await ask('bob', 'battery staple'), { status: 200, id: 'bob' })
  for (const [name, given] of [
    ['ann', 'wrong'],
    ['ann', hashed],
    ['old', password],
    ['bob', password],
    ['nobody', password]
  ] as const) { t.match(await ask(name, given), { status: 401 }, `${name} ${given}`) }
})

t.test('computes the slowest kind of hash in the table on every failure', async t => {
  const { ask } = await serving({
    users: { ann: { hash: hashed }, old: { hash: bcrypt }, bob: { password: 'battery staple' } }
  })
  for (const name of ['ann', 'bob', 'nobody']) {
    t.match(await ask(name, 'wrong'), { status: 401 })
    t.same(evaluated(), ['argon2 19456'], name)
  }
  t.match(await ask('old', 'wrong'), { status: 401 })
  t.same(evaluated(), ['argon2 19456', 'bcrypt 5'], 'a wrong password evaluates its own hash, and the slowest')
  t.match(await ask('old', 'x'.repeat(73)), { status: 401 })
  t.same(evaluated(), ['argon2 19456'], 'also by a password that bcrypt does not take')
  const only = await serving({ users: { old: { hash: bcrypt } } })
  t.match(await only.ask('nobody', 'wrong'), { status: 401 })
  t.same(evaluated(), ['bcrypt 5'], 'and a kind that is not in it costs nobody anything')
})

t.test('finds users on each request, and applies changes of hash, principal or existence at once', async t => {
  let found: FoundUser | null = { hash: hashed, principal: { id: '7', roles: ['ops'] } }
  const calls: string[] = []
  const { ask } = await serving({
    find: async (name: string, request: { url: string }) => {
      calls.push(`${name} ${request.url}`)
      return name === 'ann' ? found : null
    },
    cache: { ttl: '5m' }
  })
  t.match(await ask('ann', password), { status: 200, id: '7' })
  t.match(await ask('ann', password), { status: 200 })
  t.same(evaluated(), ['argon2 19456'])
  found = { ...found, principal: { id: '8' } }
  t.match(await ask('ann', password), { status: 200, id: '8' })
  t.same(evaluated(), [])
  found = { ...found, hash: await hashPassword('another horse') }
  evaluated()
  t.match(await ask('ann', password), { status: 401 })
  t.match(await ask('ann', 'another horse'), { status: 200 })
  t.same(evaluated(), ['argon2 19456', 'argon2 19456'])
  found = { ...found, hash: null }
  t.match(await ask('ann', 'another horse'), { status: 401 })
  t.same(evaluated(), ['argon2 19456'], 'a user without a password costs as much as one with a wrong password')
  found = null
  t.match(await ask('ann', 'another horse'), { status: 401 })
  t.same(evaluated(), ['argon2 19456'])
  t.equal(calls[0], 'ann /')
  t.equal(calls.length, 7, 'a request looks its user up once, also for a password that is not cached')
})

t.test('answers 500 for an invalid user or hash, and shows neither', async t => {
  for (const found of [
    true,
    7,
    { hash: undefined, principal: { id: 'a' } },
    { hash: 7, principal: { id: 'a' } },
    { hash: '$md5$c2VjcmV0', principal: { id: 'a' } },
    { hash: hashed, principal: { id: '' } }
  ]) {
    const { ask, log } = await serving({ find: () => found })
    const answer = await ask('ann', password)
    t.match(answer, { status: 500, code: 'AUTH_FAULT' }, inspect(found))
    t.notMatch(answer.body + JSON.stringify(log), /c2VjcmV0|correct horse/)
  }
  const { ask } = await serving({ find: () => { throw new Error('down') } })
  t.match(await ask('ann', password), { status: 500 })
})

t.test('verifies hashes with a pepper by the passwords object that has it', async t => {
  const peppered = passwords({ pepper: { id: 'a', secret: randomBytes(32).toString('base64url') } })
  const hash = await peppered.hash(password)
  const find = () => ({ hash, principal: { id: 'ann' } })
  t.match(await (await serving({ find, passwords: peppered })).ask('ann', password), { status: 200 })
  t.match(await (await serving({ find })).ask('ann', password), { status: 500 })
})

t.test('caches successes for their user only, and never failures', async t => {
  const { ask } = await serving({ users: { ann: { hash: hashed }, ben: { hash: hashed } }, cache: { ttl: 60 } })
  for (let i = 0; i < 5; i++) t.match(await ask('ann', password), { status: 200, id: 'ann' })
  t.same(evaluated(), ['argon2 19456'])
  t.match(await ask('ben', password), { status: 200, id: 'ben' })
  t.same(evaluated(), ['argon2 19456'], 'even with the same hash')
  for (let i = 0; i < 3; i++) t.match(await ask('ann', 'wrong'), { status: 401 })
  t.same(evaluated().length, 3)
  for (let i = 0; i < 3; i++) t.match(await ask('nobody', password), { status: 401 })
  t.same(evaluated().length, 3)
  t.match(await ask('ann', password), { status: 200 }, 'failures push nobody out')
  t.same(evaluated(), [])
})

t.test('verifies every request without a cache', async t => {
  const { ask } = await serving({ users: { ann: { hash: hashed } } })
  for (let i = 0; i < 3; i++) t.match(await ask('ann', password), { status: 200 })
  t.equal(evaluated().length, 3)
})

/** Creates a cache with a clock of the test, and counts its verifications. */
function cached (ttlMs: number, size?: number) {
  const clock = { now: 0, verified: 0 }
  const cache = new VerifiedCache(ttlMs, size, () => clock.now)
  const check = async (name: string, given = 'right', stored = 'hash', address = '192.0.2.1'): Promise<boolean> =>
    cache.check([name, given, stored, address], async () => {
      clock.verified++
      return given === 'right'
    })
  return { clock, check, cache }
}

t.test('expires a cache entry after its time, however often it is used', async t => {
  const { clock, check } = cached(60_000)
  for (const [now, verified] of [[0, 1], [30_000, 1], [59_999, 1], [60_000, 2], [119_999, 2], [500_000, 3]] as const) {
    clock.now = now
    t.equal(await check('ann'), true)
    t.equal(clock.verified, verified, `after ${now} ms`)
  }
})

t.test('cache keys are unambiguous', async t => {
  const { clock, check } = cached(60_000)
  await check('a', 'right', 'b')
  for (const [name, given, stored] of [
    ['a","right', 'b', ''],
    ['a', 'right","b', ''],
    ['', 'a","right', 'b'],
    ['aright', 'b', '']
  ] as const) { t.equal(await check(name, given, stored), false) }
  t.equal(clock.verified, 5)
})

t.test('the cache is bounded, and evicts the oldest first', async t => {
  const { clock, check } = cached(60_000, 3)
  for (const name of ['a', 'b', 'c', 'd']) await check(name)
  t.equal(clock.verified, 4)
  for (const name of ['b', 'c', 'd']) await check(name)
  t.equal(clock.verified, 4)
  await check('a')
  t.equal(clock.verified, 5)
})

t.test('caches a password for its address until five others were tried there', async t => {
  const { clock, check, cache } = cached(60_000)
  const remembers = (given: string, address = '192.0.2.1'): boolean => cache.has(['ann', given, 'hash', address])
  await check('ann')
  t.equal(remembers('right', '192.0.2.2'), false)
  for (let i = 0; i < 100; i++) remembers('wrong', '192.0.2.2')
  for (let i = 0; i < 4; i++) remembers('wrong')
  t.equal(remembers('right'), true)
  remembers('wrong')
  t.equal(remembers('right'), false)
  await check('ann')
  t.equal(clock.verified, 2)
  t.equal(remembers('right'), true, 'verified again, it is cached again')
  t.equal(cache.has(['ann', 'right', 'another hash', '192.0.2.1']), false, 'not after a change of the password')
  t.equal(cache.has(['ben', 'right', 'hash', '192.0.2.1']), false, 'nor for somebody else')
})

t.test('shares one check between equal concurrent requests, and caches no error', async t => {
  const { clock, check, cache } = cached(60_000)
  t.same(
    await Promise.all(Array.from({ length: 50 }, () => check('ann'))),
    Array.from({ length: 50 }, () => true)
  )
  t.same(
    await Promise.all(Array.from({ length: 50 }, () => check('ann', 'wrong'))),
    Array.from({ length: 50 }, () => false)
  )
  t.equal(clock.verified, 2)
  const broken = () => cache.check(['ben', 'right', 'hash', '192.0.2.1'], async () => { throw new Error('down') })
  await Promise.all([broken(), broken()].map(each => t.rejects(each, { message: 'down' })))
  t.equal(await check('ben'), true)
  t.equal(cache.has(['ben', 'right', 'hash', '192.0.2.1']), true, 'a cached result needs no promise')
  t.equal(cache.has(['ann', 'wrong', 'hash', '192.0.2.1']), false)
})

t.test('answers 503 if the hash queue is full, without counting a wrong guess', async t => {
  const busy = passwords({ concurrency: 1, queue: 0 })
  for (const options of [
    { find: () => ({ hash: hashed, principal: { id: 'ann' } }), passwords: busy },
    { verify: async (_name: string, given: string) => (await busy.verify(given, hashed)).valid ? { id: 'ann' } : null }
  ]) {
    const { ask } = await serving(options)
    const answers = await Promise.all([ask('ann', password), ask('ann', password), ask('ann', 'wrong')])
    t.match(answers[0], { status: 200 })
    for (const answer of answers.slice(1)) {
      t.match(answer, { status: 503, code: 'AUTH_UNAVAILABLE', retryAfter: /^\d+$/ })
    }
  }
})

t.test('verifies outside of an application', async t => {
  const value = `Basic ${Buffer.from(`ann:${password}`).toString('base64')}`
  const request = { raw: { headers: { authorization: value }, rawHeaders: ['authorization', value] } } as never
  const outcome = async (options: object) => {
    const { scheme } = await createScheme(
      basic(options as BasicOptions), Fastify() as unknown as FastifyInstance, 'ops'
    )
    return await scheme.authenticate(request)
  }
  t.match(await outcome({ verify: async () => ({ id: 'ann' }) }), {
    kind: 'authenticated',
    principal: { id: 'ann', realm: 'ops' }
  })
  t.match(await outcome({ verify: () => null }), { kind: 'invalid' })
  t.match(await outcome({ users: { ann: { password } } }), { kind: 'authenticated' })
  t.match(await outcome({ users: { ann: { hash: hashed } } }), { kind: 'authenticated' })
})

t.test('stops the boot for a wrong option, without showing a hash', async t => {
  const users = { ann: { hash: hashed } }
  const find = () => null
  const wrong: ReadonlyArray<readonly [options: object, message: RegExp]> = [
    [{ users, find }, /must have exactly one of verify, users and find/],
    [{ find: 'x' }, /\.find must be a function \(username, request\)/],
    [{ find, passwords: 7 }, /\.passwords must be .* fastify-gatehouse\/passwords/],
    [{ find, passwords: {} }, /\.passwords must be .* fastify-gatehouse\/passwords/],
    [{ users, passwords: passwords() }, /\.passwords is only used by find/],
    [{ verify: find, cache: { ttl: 1 } }, /\.cache has to see the stored hash.* Use find/],
    [{ users: { ann: { password } }, cache: { ttl: 1 } }, /\.cache has no effect without a user with a hash/],
    [{ users, cache: 60 }, /\.cache must be an object/],
    [{ users, cache: { ttl: 60, size: 1 } }, /unknown key 'size'/],
    [{ users, cache: {} }, /cache.ttl/],
    [{ users, cache: { ttl: 0 } }, /more than 0 seconds and at most 5 minutes/],
    [{ users, cache: { ttl: '6m' } }, /at most 5 minutes/],
    [{ users: { ann: { hash: null } } }, /user 'ann' .* cannot be used: it is not a string but null/],
    [{ users: { ann: { hash: undefined } } }, /user 'ann' .* a hash that is undefined.* npx fastify-gatehouse hash/],
    [{ users: { ann: { hash: hashed, password } } }, /both a password and a hash/],
    [
      { users: { ann: { hash: hashed.slice(0, 50) } } },
      /user 'ann' .* cannot be used: it begins like a hash of argon2id/
    ],
    [{ users: { ann: { hash: password } } }, /not a PHC string/],
    [{ users: { ann: { hash: `$hmac-sha256$keyid=a${hashed}` } } }, /under a pepper.* Use find/],
    [{ users: { ann: { hash: hashed, scopes: 'a' } } }, /scopes of a principal must be a list/]
  ]
  for (const [options, message] of wrong) {
    const error = await Promise.resolve()
      .then(() => basic(options as BasicOptions)(Fastify() as unknown as FastifyInstance, 'ops', contextOf()))
      .then(
        () => null,
        (error: unknown) => error
      )
    t.match(error, { code: 'AUTH_MISCONFIGURED', message }, String(message))
    t.notMatch(
      inspect(error, { showHidden: true }),
      new RegExp(`${password}|${hashed.slice(31, 50).replace(/[+/$]/g, '.')}`)
    )
  }
})

t.test('the plain functions keep working alongside', async t => {
  t.match(await verifyPassword(password, hashed), { valid: true })
})
