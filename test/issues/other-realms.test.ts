// Jest and node:vm run an application in a separate JavaScript realm, with its own Object, Map, Date and Promise.
import { createContext, runInContext } from 'node:vm'
import Fastify from 'fastify'
import t from 'tap'
import gatehouse, {
  apiKey, AuthError, authenticated, jwt, memoryStore, session, type GatehouseOptions, type Scheme
} from '../../lib/index.js'
import { as, headerScheme } from '../fixtures/policies.js'
import { secretOf } from '../fixtures/tokens.js'
import { exactly } from '../fixtures/exactly.js'

const key = secretOf()
const realm = createContext({ key, jwt, session, apiKey, authenticated, headerScheme, console })

/** Evaluates code in another realm. */
function foreign (code: string): never {
  return runInContext(`(${code})`, realm) as never
}

async function boot (options: unknown, more: object = {}) {
  const app = Fastify()
  await app.register(gatehouse, Object.assign(options as object, more) as GatehouseOptions)
  t.teardown(() => app.close())
  return app
}

const bytes = 'Uint8Array.from({ length: 32 }, (_, i) => (i * 89 + 7) ** 3 % 251)'

t.test('Objects of another realm are options, declarations and principals', async t => {
  t.not((foreign('{}') as object).constructor, Object, 'they are of another realm')
  const app = await boot(foreign(`{
    schemes: { user: headerScheme('user'), service: apiKey({ keys: { [key]: { id: 'a', tags: { deep: [1] } } } }) },
    default: ['user', 'service'],
    scopes: { 'a:b': 'text' },
    roles: { admin: { scopes: ['a:b'] } },
    publicPaths: [{ path: '/open', reason: 'test' }],
    limits: { requests: { max: 9, window: '1m' }, plans: { free: { max: 2, window: 60 } } },
    load: async principal => ({ ...principal, roles: ['admin'] })
  }`))
  app.get('/open', async () => 'in')
  app.get('/rules', foreign('{ config: { auth: { anyOf: [{ scopes: { all: [\'a:b\'] } }], rateLimit: \'free\' } } }'),
    async request => ({ frozen: Object.isFrozen(request.principal), ...request.principal }))
  app.get('/function', foreign('{ config: { auth: { scopes: () => Promise.reject(new Error(\'unseen\')) } } }'),
    async () => 'in')
  t.equal((await app.inject('/open')).statusCode, 200)
  const response = await app.inject({ url: '/rules', headers: { 'x-api-key': key } })
  t.match(response.json(), { frozen: true, id: 'a', roles: exactly('admin'), tags: { deep: [1] } })
  t.equal((await app.inject({ url: '/rules', headers: as({ id: 'b' }) })).statusCode, 200)
  t.equal((await app.inject({ url: '/function', headers: as() })).statusCode, 500, 'nothing is left unhandled')
  const table = foreign('{ keys: new Map([[key, { id: "a", t: {} }]]) }')
  const tagged = await boot({ schemes: { service: apiKey(table) } })
  let principal: unknown
  tagged.get('/', async request => { principal = request.principal })
  await tagged.inject({ url: '/', headers: { 'x-api-key': key } })
  t.ok(Object.isFrozen((principal as { t: object }).t), 'a principal of a table is frozen deeply')
})

t.test('An object of a class is not an options object, whatever its realm', async t => {
  for (const made of ['new (class Options { schemes = {} })', 'Object.create({ schemes: {} })']) {
    await t.rejects(boot({ schemes: { user: jwt(foreign(made)) } }), /must be a plain object/, made)
  }
})

t.test('Byte arrays, maps and dates of another realm are secrets, keys and instants', async t => {
  const app = await boot({
    schemes: {
      bytes: jwt(foreign(`{ keys: ${bytes}, issuer: 'a', audience: 'b', sign: true }`)),
      map: jwt(foreign(`{ keys: new Map([['one', ${bytes}.map(each => each ^ 85)]]), issuer: 'c', audience: 'd' }`)),
      resolver: jwt(foreign(`{ keys: async () => ${bytes}, issuer: 'a2', audience: 'b', algorithms: ['HS256'] }`)),
      web: session(foreign(`{ secret: [${bytes}] }`)),
      issued: apiKey(foreign('{ managed: { prefix: \'acme\' } }'))
    },
    default: ['bytes', 'map']
  })
  app.get('/', async request => request.principal?.id)
  const authorization = `Bearer ${await app.gatehouse.tokens.issue({ id: 'ada' })}`
  t.equal((await app.inject({ url: '/', headers: { authorization } })).body, 'ada')
  const keys = app.gatehouse.apiKeys.of(foreign('{ realm: \'staff\', id: \'ann\' }'))
  const expiresAt: Date = foreign('new Date(Date.now() + 60_000)')
  t.match((await keys.create({ name: 'k', expiresAt })).record, { expiresAt: expiresAt.toISOString() })
  await t.rejects(keys.create({ name: 'k', expiresAt: foreign('new Date(NaN)') }), { code: 'AUTH_FAULT' })
})

t.test('A scheme of another realm may return its objects, dates and promises', async t => {
  const scheme: Scheme = foreign(`{
    openapi: { type: 'http', scheme: 'bearer' },
    reportsAuthTime: true,
    authenticate: async () => ({ kind: 'authenticated', principal: { id: 'ann' }, authenticatedAt: new Date() })
  }`)
  const app = await boot({ schemes: { own: scheme } })
  app.get('/', { config: { auth: { maxAge: 60 } } }, async ({ auth }) => auth)
  t.match((await app.inject('/')).json(), { principal: { realm: 'own', id: 'ann' }, authenticatedAt: /Z$/ })
})

t.test('Errors of another realm are described, without their messages', async t => {
  const store = {
    ...memoryStore(),
    migrate: foreign('async () => { throw Object.assign(new Error("hidden"), { code: "ECONNREFUSED" }) }')
  }
  const throwing: Scheme = {
    openapi: { type: 'http', scheme: 'bearer' },
    authenticate: foreign('() => { throw new TypeError("hidden") }')
  }
  await t.rejects(boot({ schemes: { own: throwing }, store }), /The option store is not ready \(.*ECONNREFUSED/)
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: line => { lines.push(line) } } } })
  await app.register(gatehouse, { schemes: { own: throwing } })
  app.get('/', async () => 'in')
  t.teardown(() => app.close())
  t.equal((await app.inject('/')).statusCode, 500)
  t.match(lines.join(''), /TypeError/)
  t.notMatch(lines.join(''), /hidden/)
})

t.test('names what a custom scheme lacks', async t => {
  const own = { authenticate: () => null as never }
  const made = { openapi: { type: 'http', scheme: 'bearer' } }
  const table: [scheme: unknown, message: string][] = [
    [own, "The option schemes.own has no openapi. Describe where its credential is, such as openapi: { type: 'http'"],
    [made, 'The option schemes.own has no authenticate(request), which returns authenticated(principal), absent or'],
    [() => own, 'The option schemes.own is a function whose scheme has no openapi.'],
    [async () => ({ scheme: own, features: {} }), 'The option schemes.own is a function whose scheme has no openapi.'],
    [{}, 'The option schemes.own must be the result of apiKey(), jwt(), basic() or session(), or a scheme of your own.']
  ]
  for (const [scheme, message] of table) {
    const error = await boot({ schemes: { own: scheme } }).then(() => null, (error: unknown) => error)
    t.ok(error instanceof AuthError)
    t.match((error as Error).message, message)
  }
})

t.test('the error for a weak key names the option for keys that customers already have', async t => {
  for (const weak of ['short', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']) {
    await t.rejects(boot({ schemes: { service: apiKey({ keys: { [weak]: { id: 'a' } } }) } }), {
      message: /If customers already hold this key, use schemes\.service\.verify in place of keys: your function/
    })
  }
})
