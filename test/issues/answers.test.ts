import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, { apiKey, basic, jwt, session, type GatehouseOptions, type Scheme } from '../../lib/index.js'
import type { No } from '../../types/principal.js'
import { hashPassword, verifyPassword } from '../../lib/passwords/index.js'

/** Every value without a principal that a function of the application returns is a refusal. */

const secret = randomBytes(32).toString('base64url')
const nos: readonly No[] = [null, undefined, false, { valid: false }]

async function application (t: Test, options: GatehouseOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, options)
  return app
}

/** Creates an application with a login like those in the examples: it tests for `null` only. */
async function login (t: Test, check: () => unknown, guesses: false | object = {}): Promise<FastifyInstance> {
  const app = await application(t, {
    schemes: { web: session({ secret }) },
    publicPaths: ['/login'],
    limits: { guesses }
  })
  app.post('/login', async (_request, reply) => {
    const person: unknown = await app.gatehouse.guesses.attempt(reply, 'ann', check)
    if (person === null) return reply.code(401).send()
    await reply.login({ id: 'ann' })
    return { person }
  })
  return app
}

t.test('guesses.attempt returns null for every falsy answer, so that a wrong password logs nobody in', async t => {
  const hash = await hashPassword('correct horse')
  for (const guesses of [{}, false] as const) {
    for (const answer of [...nos, 0, '', NaN, await verifyPassword('wrong', hash)]) {
      for (const check of [() => answer, async () => answer]) {
        const app = await login(t, check, guesses)
        const { statusCode, headers } = await app.inject({ method: 'POST', url: '/login' })
        t.equal(statusCode, 401, String(answer))
        t.notOk('set-cookie' in headers)
      }
    }
  }
})

t.test('guesses.attempt returns a positive answer unchanged', async t => {
  const hash = await hashPassword('correct horse')
  for (const guesses of [{}, false] as const) {
    for (const answer of [
      true,
      { id: 'ann' },
      { valid: true, id: 'ann' },
      'ann',
      [],
      await verifyPassword('correct horse', hash)
    ]) {
      const app = await login(t, async () => answer, guesses)
      const response = await app.inject({ method: 'POST', url: '/login' })
      t.same([response.statusCode, response.json()], [200, { person: answer }])
    }
  }
})

t.test('guesses.attempt counts falsy answers, and locks the account', async t => {
  const app = await login(t, () => undefined)
  const statuses: number[] = []
  for (let i = 0; i < 6; i++) statuses.push((await app.inject({ method: 'POST', url: '/login' })).statusCode)
  t.same(statuses, [401, 401, 401, 401, 401, 429])
})

interface Asked { readonly schemes: GatehouseOptions['schemes'], readonly headers?: Record<string, string> }

const password = { authorization: `Basic ${Buffer.from('ann:correct horse').toString('base64')}` }
const key = { 'x-api-key': 'k' }
const plain = {
  authenticate: () => ({ kind: 'authenticated', principal: { id: 'ann' } }),
  openapi: { type: 'http', scheme: 'x' }
} as unknown as Scheme

/**
 * For each function of the application: schemes in which it returns a value, and the headers of a request that calls
 * it.
 */
const functions: Readonly<Record<string, (answer: never) => Asked>> = {
  'verify of apiKey': answer => ({ schemes: { a: apiKey({ verify: () => answer }) }, headers: key }),
  'an asynchronous verify of apiKey': answer => ({
    schemes: { a: apiKey({ verify: async () => answer }) },
    headers: key
  }),
  'verify of basic': answer => ({ schemes: { a: basic({ verify: () => answer }) }, headers: password }),
  'find of basic': answer => ({ schemes: { a: basic({ find: () => answer }) }, headers: password }),
  'find of basic with a cache': answer => ({
    schemes: { a: basic({ find: async () => answer, cache: { ttl: '1m' } }) },
    headers: password
  }),
  'load of a scheme': answer => ({
    schemes: { a: apiKey({ verify: () => ({ id: 'ann' }), load: () => answer }) },
    headers: key
  }),
  'an asynchronous load': answer => ({
    schemes: { a: apiKey({ verify: () => ({ id: 'ann' }), load: async () => answer }) },
    headers: key
  }),
  'authenticate of a scheme of its own': answer => ({ schemes: { a: { ...plain, authenticate: () => answer } } }),
  'an asynchronous authenticate': answer => ({ schemes: { a: { ...plain, authenticate: async () => answer } } })
}

t.test('every check refuses with 401 on a falsy answer, and fails on one that is neither yes nor no', async t => {
  for (const [name, optionsFor] of Object.entries(functions)) {
    for (const [answers, status, code] of [
      [nos, 401, 'AUTH_INVALID_CREDENTIALS'],
      [[true, 7, 'ann', { valid: true }], 500, 'AUTH_FAULT']
    ] as const) {
      for (const answer of answers) {
        if (name.includes('load') && status === 500 && typeof answer === 'object') {
          continue // no more than a field called valid
        }
        const { schemes, headers = {} } = optionsFor(answer as never)
        const app = await application(t, { schemes, limits: { guesses: false } })
        app.get('/', async () => 'reached')
        const response = await app.inject({ url: '/', headers })
        t.match([response.statusCode, response.json()], [status, { code }], `${name}: ${JSON.stringify(answer)}`)
      }
    }
  }
})

t.test('every check fails on a collection, a date or an error, which has no fields to grant anything', async t => {
  const wrong = [
    new Map([['roles', ['admin']]]), new Set(['admin']), new Error('the database is down'), new Date(0), [],
    Buffer.from('ann'), new URLSearchParams('id=ann'), Object('ann')
  ]
  for (const [name, optionsFor] of Object.entries(functions)) {
    for (const answer of wrong) {
      const { schemes, headers = {} } = optionsFor(answer as never)
      const app = await application(t, { schemes, limits: { guesses: false } })
      app.get('/', async () => 'reached')
      const { statusCode, body } = await app.inject({ url: '/', headers })
      t.equal(statusCode, 500, `${name}: ${Object.prototype.toString.call(answer)}`)
      t.notMatch(body, /database/)
    }
  }
})

t.test('guesses.attempt fails if the check returns an error, which would log in with any password', async t => {
  for (const guesses of [{}, false] as const) {
    for (const check of [() => new Error('the database is down'), async () => new TypeError('no such user')]) {
      const app = await login(t, check, guesses)
      for (let i = 0; i < 6; i++) {
        const { statusCode, headers, body } = await app.inject({ method: 'POST', url: '/login' })
        t.equal(statusCode, 500, 'it counts neither as wrong nor as right')
        t.notOk('set-cookie' in headers)
        t.notMatch(body, /database|no such/)
      }
    }
  }
})

t.test('refuses with 401 if the principal mapping of jwt is falsy', async t => {
  for (const answer of nos) {
    const app = await application(t, {
      schemes: { user: jwt({ keys: secret, issuer: 'i', audience: 'a', sign: true, principal: () => answer }) }
    })
    app.get('/', async () => 'reached')
    const token = await app.gatehouse.tokens.issue({ id: 'ann' })
    const response = await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
    t.match([response.statusCode, response.json()], [401, { code: 'AUTH_INVALID_CREDENTIALS' }])
  }
})

t.test('refuses a managed key if load rejects its owner', async t => {
  for (const answer of nos) {
    let owner: { id: string } | No = { id: 'ann' }
    const app = await application(t, {
      schemes: { service: apiKey({ managed: { prefix: 'acme', staleness: 0 }, load: () => owner }) }
    })
    app.get('/', async () => 'reached')
    const { key: made } = await app.gatehouse.apiKeys.of({ realm: 'web', id: 'ann' }).create({ name: 'laptop' })
    const ask = async () => (await app.inject({ url: '/', headers: { 'x-api-key': made } })).statusCode
    t.equal(await ask(), 200)
    owner = answer
    t.equal(await ask(), 401, JSON.stringify(answer))
    await t.rejects(app.gatehouse.apiKeys.of({ realm: 'web', id: 'ann' }).create({ name: 'another' }), {
      code: 'AUTH_ACCESS_DENIED'
    })
  }
})

t.test('refuses with 403 if when is falsy, alone and in anyOf', async t => {
  const app = await application(t, { schemes: { a: plain } })
  const answers = [...nos, true]
  for (const [i, answer] of answers.entries()) {
    const when = async () => answer as boolean
    app.get(`/when/${i}`, { config: { auth: { when } } }, async () => 'reached')
    app.get(`/any/${i}`, { config: { auth: { anyOf: [{ when }, { roles: 'admin' }] } } }, async () => 'reached')
    app.get(`/other/${i}`, { config: { auth: { anyOf: [{ when }, { when: () => true }] } } }, async () => 'reached')
  }
  for (const [i, answer] of answers.entries()) {
    const statuses = []
    for (const route of ['when', 'any', 'other']) statuses.push((await app.inject(`/${route}/${i}`)).statusCode)
    t.same(statuses, answer === true ? [200, 200, 200] : [403, 403, 200], JSON.stringify(answer))
  }
})
