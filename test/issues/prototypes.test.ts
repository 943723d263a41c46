import { randomBytes } from 'node:crypto'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import authPlugin, {
  absent,
  apiKey,
  apiKeyRoutes,
  authenticated,
  basic,
  jwt,
  memoryStore,
  session,
  type GatehouseOptions,
  type Scheme
} from '../../lib/index.js'
import { hashPassword } from '../../lib/passwords/index.js'
import { contextOf } from '../fixtures/schemes.js'
import { exactly } from '../fixtures/exactly.js'

/** Properties of Object.prototype are not roles, claims, options or headers. */

const secret = randomBytes(32).toString('base64url')
const key = { 'x-api-key': 'k' }

/** Runs a function with fields on `Object.prototype`, as an unsafe merge of request JSON adds them. */
async function polluted<T> (fields: Readonly<Record<string, unknown>>, run: () => T | Promise<T>): Promise<T> {
  for (const [name, value] of Object.entries(fields)) {
    Reflect.defineProperty(Object.prototype, name, { value, configurable: true, writable: true })
  }
  try {
    return await run()
  } finally {
    for (const name of Object.keys(fields)) Reflect.deleteProperty(Object.prototype, name)
  }
}

async function application (t: Test, options: GatehouseOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(authPlugin, { limits: { guesses: false }, ...options })
  app.get('/me', async request => request.principal)
  app.get('/admin', { config: { auth: { roles: 'admin' } } }, async () => 'reached')
  return app
}

const admin = { roles: ['admin'], scopes: ['admin'] }

/** Every way in which an application provides a principal, each without roles. */
const sources: Readonly<
  Record<
    string,
    (person: never) => { schemes: GatehouseOptions['schemes']; headers: Record<string, string>; load?: () => never }
  >
> = {
  'verify of apiKey': person => ({ schemes: { a: apiKey({ verify: () => person }) }, headers: key }),
  'verify of basic': person => ({
    schemes: { a: basic({ verify: () => person }) },
    headers: { authorization: `Basic ${btoa('ann:x')}` }
  }),
  'a scheme of its own': person => ({ schemes: { a: own(() => authenticated(person)) }, headers: key }),
  'a bare outcome': person => ({
    schemes: { a: own(() => ({ kind: 'authenticated', principal: person })) }, headers: key
  }),
  load: person => ({ schemes: { a: apiKey({ verify: () => ({ id: 'ann' }) }) }, headers: key, load: () => person })
}

function own (authenticate: () => unknown): Scheme {
  return {
    openapi: { type: 'http', scheme: 'x' },
    authenticate: ({ headers }) => (headers['x-api-key'] === undefined ? absent : (authenticate() as never))
  }
}

t.test('gives a principal no role or scope from Object.prototype', async t => {
  for (const [name, source] of Object.entries(sources)) {
    const { headers, ...options } = source({ id: 'ann' } as never)
    const app = await application(t, options)
    await app.ready()
    await polluted({ ...admin, realm: 'elsewhere' }, async () => {
      t.equal((await app.inject({ url: '/admin', headers })).statusCode, 403, name)
      const { realm, roles, scopes } = (await app.inject({ url: '/me', headers })).json()
      t.strictSame([realm, roles, scopes], ['a', [], []], name)
    })
  }
})

t.test('reads nothing from the Object.prototype of another realm', async t => {
  const person: unknown = runInNewContext('Object.prototype.roles = ["admin"]; ({ id: "ann" })')
  for (const [name, source] of Object.entries(sources)) {
    const { headers, ...options } = source(person as never)
    const app = await application(t, options)
    t.equal((await app.inject({ url: '/admin', headers })).statusCode, 403, name)
    t.equal((await app.inject({ url: '/me', headers })).json().id, 'ann', name)
  }
})

t.test('takes no id from Object.prototype, and fails for a principal without one', async t => {
  for (const [name, source] of Object.entries(sources)) {
    if (name === 'load') continue // identity is the credential's
    const lines: string[] = []
    const app = Fastify({
      logger: {
        level: 'error',
        stream: {
          write: line => {
            lines.push(line)
          }
        }
      }
    }) as unknown as FastifyInstance
    t.teardown(() => app.close())
    const { headers, ...options } = source({ name: 'Ann' } as never)
    await app.register(authPlugin, { limits: { guesses: false }, ...options })
    app.get('/', async () => 'reached')
    await app.ready()
    await polluted({ id: 'root' }, async () => {
      t.match((await app.inject({ url: '/', headers })).json(), { statusCode: 500, code: 'AUTH_FAULT' }, name)
    })
    t.match(lines.join(''), / must be an object with a non-empty string id\. Got an object whose id is undefined/, name)
  }
})

class Entity {
  readonly #row = { id: 'ann', roles: 'admin clerk', team: 7 }
  get id (): string { return this.#row.id }
  get roles (): string[] { return this.#row.roles.split(' ') }
}

class Person extends Entity {
  get scopes (): string[] { return ['orders'] }
}

t.test('reads the accessors of the class of an entity, and of its base classes', async t => {
  for (const [name, source] of Object.entries(sources)) {
    const { headers, ...options } = source(new Person() as never)
    const app = await application(t, options)
    t.match(
      (await app.inject({ url: '/me', headers })).json(),
      { id: 'ann', roles: ['admin', 'clerk'], scopes: ['orders'] },
      name
    )
    t.equal((await app.inject({ url: '/admin', headers })).statusCode, 200, name)
  }
})

t.test('reads an object without a prototype', async t => {
  for (const source of Object.values(sources)) {
    const { headers, ...options } = source(
      Object.assign(Object.create(null) as object, { id: 'ann', roles: ['admin'] }) as never
    )
    const app = await application(t, options)
    t.equal((await app.inject({ url: '/admin', headers })).statusCode, 200)
  }
})

t.test('removes the roles of the credential if load returns an entity without roles', async t => {
  class Retired {
    get roles (): string[] {
      return []
    }
  }
  const app = await application(t, {
    schemes: { a: apiKey({ verify: () => ({ id: 'ann', roles: ['admin'] }) }) },
    load: () => new Retired() as never
  })
  t.equal((await app.inject({ url: '/admin', headers: key })).statusCode, 403)
})

t.test('reads the hash, the principal and the result of a check from own properties', async t => {
  const hash = await hashPassword('correct horse')
  const headers = { authorization: `Basic ${btoa('ann:correct horse')}` }
  for (const [found, fields, status] of [
    [{ principal: { id: 'ann' } }, { hash }, 500],
    [{ hash }, { principal: { id: 'root' } }, 500],
    [{ hash, principal: { id: 'ann' } }, { valid: false }, 200]
  ] as const) {
    const app = await application(t, { schemes: { a: basic({ find: () => found as never }) } })
    await app.ready()
    t.equal(
      (await polluted(fields, () => app.inject({ url: '/me', headers }))).statusCode,
      status,
      JSON.stringify(found)
    )
  }
})

t.test('reads an outcome from own properties: no kind, date or limit is inherited', async t => {
  const answers: unknown[] = []
  const app = await application(t, { schemes: { a: own(() => answers[0]) } })
  app.get('/dates', async request => [request.auth.authenticatedAt, request.auth.expiresAt, request.auth.credential])
  await app.ready()
  const fields = {
    kind: 'authenticated',
    principal: { id: 'root' },
    authenticatedAt: new Date(),
    expiresAt: new Date(0),
    credential: 'x',
    rateLimit: { id: 'a', max: 0, window: 1 },
    headers: { 'x-polluted': '1' },
    owner: { roles: ['admin'] }
  }
  const person = Object.freeze({ realm: 'a', id: 'ann', scopes: Object.freeze([]), roles: Object.freeze([]) })
  for (const outcome of [
    { kind: 'authenticated', principal: { id: 'ann' } },
    { kind: 'authenticated', principal: person },
    authenticated({ id: 'ann' }),
    authenticated(person, { expiresAt: null })
  ]) {
    answers[0] = outcome
    const answer = await polluted(fields, () => app.inject({ url: '/dates', headers: key }))
    t.same([answer.statusCode, answer.json()], [200, [null, null, null]])
    t.notOk('x-polluted' in answer.headers || 'ratelimit' in answer.headers)
  }
  answers[0] = {}
  t.equal((await polluted(fields, () => app.inject({ url: '/dates', headers: key }))).statusCode, 500)
})

t.test('never takes a refusal for a pass or an identity', async t => {
  const app = await application(t, { schemes: { a: apiKey({ verify: () => null }) } })
  app.get('/when', { config: { auth: { when: () => false } } }, async () => 'reached')
  await app.ready()
  const identity = {
    bound: { name: 'a', scheme: {} },
    outcome: { principal: { id: 'root', realm: 'a', ...admin }, headers: null }
  }
  for (const fields of [identity, { policy: {}, identities: [] }]) {
    for (const headers of [{}, key]) {
      t.equal((await polluted(fields, () => app.inject({ url: '/me', headers }))).statusCode, 401)
    }
  }
})

t.test('reads the claims of a token from own properties', async t => {
  const bytes = new TextEncoder().encode(secret)
  const sign = async (claims: Record<string, unknown>) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('5m').sign(bytes)
  const common = { keys: secret, issuer: 'i', audience: 'a' } as const
  const whole = { iss: 'i', aud: 'a', sub: 'ann' }
  const lacking = async (claim: string) => { const { [claim as 'sub']: _, ...rest } = whole; return sign(rest) }
  const app = await application(t, { schemes: { user: jwt(common) } })
  app.get('/old', { config: { auth: { maxAge: '5m' } } }, async () => 'reached')
  await app.ready()
  const ask = async (url: string, token: string) =>
    (await app.inject({ url, headers: { authorization: `Bearer ${token}` } })).statusCode
  for (const claim of Object.keys(whole)) {
    const token = await lacking(claim)
    t.equal(await polluted({ [claim]: whole[claim as 'sub'] }, () => ask('/me', token)), 401, claim)
  }
  const token = await sign(whole)
  for (let i = 0; i < 2; i++) {
    await polluted(
      {
        roles: ['admin'],
        scope: 'admin',
        nbf: 9e9,
        iat: 9e9,
        cnf: {},
        auth_time: Math.floor(Date.now() / 1000),
        crit: ['x'],
        typ: 'rt+jwt'
      },
      async () => {
        t.same([await ask('/me', token), await ask('/admin', token), await ask('/old', token)], [200, 403, 401])
      }
    )
  }
  const mapped = await application(t, {
    schemes: {
      user: jwt({
        ...common,
        principal: claims => ({
          id: String(claims.sub),
          roles: [claims['roles'], (claims['access'] as { roles?: string[] }).roles]
            .flat()
            .filter(Boolean) as string[]
        })
      })
    }
  })
  await mapped.ready()
  const nested = await sign({ ...whole, access: {} })
  t.equal(
    (
      await polluted({ roles: ['admin'] }, () =>
        mapped.inject({ url: '/admin', headers: { authorization: `Bearer ${nested}` } })
      )
    ).statusCode,
    403,
    'nor does a mapping see what is inherited, at any depth'
  )
})

t.test('reads headers from own properties', async t => {
  const app = await application(t, {
    schemes: {
      a: apiKey({ verify: sent => ({ id: sent }) }),
      c: apiKey({ verify: sent => ({ id: sent }), from: 'cookie:c' }),
      b: basic({ verify: name => ({ id: name }) })
    },
    default: ['a', 'b', 'c']
  })
  app.post('/change', async () => 'reached')
  await app.ready()
  await polluted({
    'x-api-key': 'mallory', authorization: `Basic ${btoa('mallory:x')}`, cookie: 'c=mallory'
  }, async () => {
    t.equal((await app.inject('/me')).statusCode, 401)
  })
  await polluted({ 'sec-fetch-site': 'same-origin' }, async () => {
    const answer = await app.inject({
      method: 'POST',
      url: '/change',
      headers: { cookie: 'c=ann', origin: 'https://evil.test' }
    })
    t.equal(answer.statusCode, 403)
  })
})

t.test('opens no route, and accepts no option, from Object.prototype', async t => {
  await polluted(
    { auth: false, mode: 'optional', public: 'polluted', publicPaths: ['/me'], any: ['x'], when: () => true },
    async () => {
      const app = await application(t, { schemes: { a: apiKey({ verify: () => ({ id: 'ann' }) }) } })
      app.get('/config', { config: {} }, async () => 'reached')
      for (const url of ['/me', '/config', '/admin']) t.equal((await app.inject(url)).statusCode, 401, url)
      t.equal((await app.inject({ url: '/admin', headers: key })).statusCode, 403)
    }
  )
  t.throws(() => basic({ users: { ann: {} as never } })(Fastify(), 'ops', contextOf()), /the password is undefined/)
  await polluted({ password: 'correct horse battery' }, () => {
    t.throws(() => basic({ users: { ann: {} as never } })(Fastify(), 'ops', contextOf()), /the password is undefined/)
  })
})

t.test('reads sessions, keys and their owners from own properties', async t => {
  const store = memoryStore()
  const app = await application(t, {
    store,
    schemes: { web: session({ secret }), service: apiKey({ managed: { prefix: 'acme', staleness: 0 } }) },
    default: ['web', 'service'],
    publicPaths: ['/login']
  })
  app.post('/login', async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return ''
  })
  await app.register(apiKeyRoutes, { prefix: '/keys' })
  await app.ready()
  await polluted({ ...admin, realm: 'web', id: 'root', within: {}, keep: true }, async () => {
    const login = await app.inject({ method: 'POST', url: '/login' })
    t.equal(login.statusCode, 200)
    const headers = { cookie: String(login.headers['set-cookie']).split(';', 1)[0] ?? '' }
    t.equal((await app.inject({ url: '/admin', headers })).statusCode, 403)
    const made = await app.inject({ method: 'POST', url: '/keys', headers, payload: { name: 'laptop' } })
    t.match([made.statusCode, made.json()], [201, { record: { roles: exactly(), scopes: exactly(), expiresAt: null } }])
    t.equal((await app.inject({ url: '/admin', headers: { 'x-api-key': made.json().key } })).statusCode, 403)
    for (const nobody of [{}, { id: 'ann' }]) {
      t.throws(() => app.gatehouse.sessions.of(nobody as never), { code: 'AUTH_FAULT' })
      t.throws(() => app.gatehouse.apiKeys.of(nobody as never), { code: 'AUTH_FAULT' })
    }
    await t.rejects(
      app.gatehouse.apiKeys.of({ realm: 'web', id: 'ann' }).create({ name: 'k' }, { within: { id: 'ann' } as never }),
      { code: 'AUTH_FAULT' }
    )
  })
})
