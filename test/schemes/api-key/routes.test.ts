import { createSign, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  apiKey,
  apiKeyRoutes,
  authenticated,
  memoryStore,
  read,
  session,
  type ApiKeyRecord,
  type ApiKeyRoutesOptions,
  type GatehouseOptions,
  type NewApiKey,
  type Scheme
} from '../../../lib/index.js'
import { OwnerLock } from '../../../lib/schemes/api-key/owners.js'
import { clock, tappedStore } from './app.js'
import { exactly } from '../../fixtures/exactly.js'
import { registerSwagger, type Document } from '../../openapi/document.js'

const secret = randomBytes(32).toString('base64url')
const people: Record<string, { scopes: string[]; roles?: string[] } | undefined> = {
  ann: { scopes: ['a', 'b'], roles: ['clerk'] },
  bob: { scopes: [] }
}

/** A token scheme that reports the time of authentication, and is not a session. */
const token: Scheme = {
  openapi: { type: 'http', scheme: 'bearer' },
  reportsAuthTime: true,
  authenticate (request) {
    const id = read(request, 'bearer')
    return typeof id === 'string'
      ? authenticated({ id, realm: 'staff', scopes: ['a'], roles: [] }, { authenticatedAt: new Date() })
      : id
  }
}

async function desk (
  t: Test,
  routes: ApiKeyRoutesOptions = {},
  options: Partial<GatehouseOptions> = {},
  prepare: (app: FastifyInstance) => unknown = () => {}
) {
  const app = Fastify({ logger: false }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await prepare(app)
  await app.register(gatehouse, {
    schemes: { web: session({ secret }), service: apiKey({ managed: { prefix: 'acme' } }), token },
    default: ['web', 'service', 'token'],
    publicPaths: ['/login'],
    scopes: { a: 'A', b: 'B', c: 'C' },
    roles: { clerk: { scopes: ['c'] } },
    ...options
  })
  app.post<{ Querystring: { id: string } }>('/login', async (request, reply) => {
    await reply.login({ realm: 'staff', id: request.query.id, ...people[request.query.id] })
    return {}
  })
  app.get('/', async ({ principal }) => principal)
  await app.register(apiKeyRoutes, { prefix: '/account/keys', ...routes })
  await app.ready()
  const enter = async (id: string) => {
    const { headers } = await app.inject({ method: 'POST', url: `/login?id=${id}` })
    const cookie = String(headers['set-cookie']).split(';')[0] ?? ''
    const call = async (
      method: 'GET' | 'POST' | 'DELETE',
      path = '',
      payload?: object,
      more: Record<string, string> = {}
    ) =>
      app.inject({
        method,
        url: `/account/keys${path}`,
        headers: { cookie, ...more },
        ...(payload === undefined ? {} : { payload })
      })
    const make = async (body: object = { name: 'k' }) => (await call('POST', '', body)).json<NewApiKey>()
    return { cookie, call, make, list: async () => (await call('GET')).json<{ keys: ApiKeyRecord[] }>().keys }
  }
  const status = async (key: string) => (await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode
  return { app, enter, status }
}

t.test('lets users list, create, rotate and revoke their own keys', async t => {
  const { enter, status, app } = await desk(t, { rateLimit: { max: 100, window: '1m' } })
  const ann = await enter('ann')
  const created = await ann.call('POST', '', {
    name: 'laptop',
    scopes: ['a'],
    roles: ['clerk'],
    expiresAt: new Date(Date.now() + 60_000).toISOString()
  })
  t.equal(created.statusCode, 201)
  t.equal(created.headers['cache-control'], 'no-store')
  const { key, record } = created.json<NewApiKey>()
  t.match(record, {
    name: 'laptop',
    owner: { realm: 'staff', id: 'ann' },
    scopes: ['a'],
    roles: ['clerk'],
    rateLimit: { max: 100, window: 60 },
    lastUsedAt: null
  })
  t.equal(await status(key), 200)
  const listed = await ann.call('GET')
  t.notMatch(listed.body, key, 'a key is shown once')
  t.match(listed.json(), { keys: [{ id: record.id, name: 'laptop' }] })
  t.strictSame(Object.keys(listed.json().keys[0]).sort(), [
    'createdAt', 'expiresAt', 'id', 'lastUsedAt', 'name', 'owner', 'rateLimit', 'replacedAt', 'replacedBy', 'roles',
    'scopes', 'start', 'sunsetAt'
  ])
  t.equal(listed.headers['cache-control'], 'no-store')

  const rotated = await ann.call('POST', `/${record.id}/rotate`, { overlap: 60 })
  t.equal(rotated.statusCode, 201)
  t.equal(await status(rotated.json<NewApiKey>().key), 200)
  t.equal(await status(key), 200)
  const revoked = await ann.call('DELETE', `/${record.id}`)
  t.equal(revoked.statusCode, 204)
  t.equal(revoked.body, '')
  t.equal(await status(key), 401)
  t.equal((await ann.call('DELETE', `/${record.id}`)).statusCode, 404)
  t.equal((await ann.list()).length, 1)
  t.match(
    app.gatehouse
      .audit()
      .filter(row => row.url.startsWith('/account'))
      .map(row => row.schemes),
    ['web', 'web', 'web', 'web']
  )
})

t.test('describes its four routes in OpenAPI documents', async t => {
  const { app } = await desk(t, {}, {}, app => registerSwagger(app))
  const { paths } = app.swagger() as unknown as Document
  const json = (properties: object) => ({ content: { 'application/json': { schema: { properties } } } })
  const tags = ['API keys']
  const list = { tags, summary: 'List your API keys', responses: { 200: json({ keys: { type: 'array' } }) } }
  const created = json({ key: { type: 'string' }, record: { properties: { id: { type: 'string' } } } })
  const create = { tags, summary: 'Create an API key', responses: { 201: created } }
  const rotate = { tags, summary: 'Replace an API key by a new one', responses: { 201: created } }
  const revoke = { tags, summary: 'Revoke an API key', responses: { 204: { description: 'The key is revoked' } } }
  t.match(paths, {
    '/account/keys/': { get: list, post: create },
    '/account/keys/{id}/rotate': { post: rotate },
    '/account/keys/{id}': { delete: revoke }
  })
})

t.test("answers 404 for another owner's key as for a missing one", async t => {
  const { enter, status } = await desk(t)
  const [ann, bob] = [await enter('ann'), await enter('bob')]
  const { key, record } = await ann.make()
  const never = await bob.call('DELETE', `/${'x'.repeat(43)}`)
  for (const id of [record.id, 'x', 'x'.repeat(90), '%00', '..%2f..']) {
    const deleted = await bob.call('DELETE', `/${id}`)
    t.equal(deleted.statusCode, 404)
    t.equal(deleted.body, never.body)
    t.equal((await bob.call('POST', `/${id}/rotate`, { overlap: 0 })).statusCode, 404)
  }
  t.strictSame(await bob.list(), [])
  t.equal(await status(key), 200)
})

t.test('accepts only a session with a recent authentication', async t => {
  const time = clock(t)
  const { app, enter } = await desk(t)
  const ann = await enter('ann')
  const { key, record } = await ann.make({ name: 'k', scopes: ['a'] })
  for (const headers of [{ 'x-api-key': key }, { authorization: 'Bearer ann' }, {}]) {
    for (const [method, path, payload] of [
      ['GET', ''],
      ['POST', '', { name: 'x' }],
      ['POST', `/${record.id}/rotate`, { overlap: 0 }],
      ['DELETE', `/${record.id}`]
    ] as const) {
      t.equal(
        (
          await app.inject({
            method,
            url: `/account/keys${path}`,
            headers,
            ...(payload === undefined ? {} : { payload })
          })
        ).statusCode,
        401,
        `${method} ${path.slice(-7)}`
      )
    }
  }
  time.advance(15 * 60 - 30)
  t.equal((await ann.call('GET')).statusCode, 200)
  time.advance(32)
  const late = await ann.call('POST', '', { name: 'x' })
  t.equal(late.statusCode, 401)
  t.equal(late.json<{ code: string }>().code, 'AUTH_STEP_UP_REQUIRED')
  t.equal((await enter('ann').then(async again => again.list())).length, 1, 'no key was created')
})

t.test('refuses to create a key for a cross-site request', async t => {
  const { enter } = await desk(t)
  const ann = await enter('ann')
  const elsewhere: Array<Record<string, string>> = [
    { origin: 'https://evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' }
  ]
  for (const headers of elsewhere) {
    t.equal((await ann.call('POST', '', { name: 'x' }, headers)).statusCode, 403)
  }
  t.strictSame(await ann.list(), [])
})

t.test('refuses rights that the user does not have', async t => {
  const { enter } = await desk(t)
  const [ann, bob] = [await enter('ann'), await enter('bob')]
  t.match(
    (await ann.make({ name: 'k', scopes: ['a', 'c'] })).record.scopes,
    ['a', 'c'],
    'what a role includes is had'
  )
  for (const body of [
    { name: 'k', scopes: ['a'] },
    { name: 'k', roles: ['clerk'] },
    { name: 'k', scopes: ['undeclared'] },
    { name: 'k', roles: ['__proto__', 'admin'] }
  ]) {
    const refused = await bob.call('POST', '', body)
    t.equal(refused.statusCode, 403, JSON.stringify(body))
    t.equal(refused.json<{ code: string }>().code, 'AUTH_ACCESS_DENIED')
  }
  t.equal((await bob.call('POST', '', { name: 'k' })).statusCode, 201)
  t.match(
    (await bob.make({ name: 'k', owner: { realm: 'staff', id: 'ann' }, rateLimit: { max: 1e9, window: 1 } })).record,
    { owner: { id: 'bob' }, rateLimit: null },
    "the owner is who asks, and the limit is the application's"
  )
})

t.test('limits a rotated key to the current rights of the user', async t => {
  const { enter } = await desk(t)
  const before = await enter('ann')
  const { record } = await before.make({ name: 'k', scopes: ['a', 'b'], roles: ['clerk'] })
  const was = people.ann
  people.ann = { scopes: ['b'] }
  const after = await enter('ann')
  people.ann = was
  const rotated = (await after.call('POST', `/${record.id}/rotate`, { overlap: 0 })).json<NewApiKey>()
  t.match(rotated.record, { scopes: exactly('b'), roles: exactly() })
})

t.test('validates bodies', async t => {
  const { enter } = await desk(t, { maxOverlap: '1h' })
  const ann = await enter('ann')
  const { record } = await ann.make({ name: '😀'.repeat(100) })
  for (const body of [
    {},
    { name: '' },
    { name: '  ' },
    { name: 'x'.repeat(101) },
    { name: 'k', scopes: [''] },
    { name: 'k', scopes: Array(101).fill('a') },
    { name: 'k', expiresAt: 'soon' },
    { name: 'k', expiresAt: '2001-01-01T00:00:00Z' }
  ]) {
    t.equal((await ann.call('POST', '', body)).statusCode, 400, JSON.stringify(body).slice(0, 40))
  }
  for (const body of [{}, { overlap: -1 }, { overlap: 3_601 }, { overlap: 1.5 }, { overlap: 'long' }]) {
    t.equal((await ann.call('POST', `/${record.id}/rotate`, body)).statusCode, 400, JSON.stringify(body))
  }
  t.equal((await ann.call('POST', '', { name: 'k', expiresAt: null })).statusCode, 201)
  t.equal((await ann.call('POST', '', { name: 'k', scopes: ['x'.repeat(40_000)] })).statusCode, 413)
})

t.test('limits the number of keys of a user', async t => {
  const { enter } = await desk(t, { maxKeys: 2 })
  const ann = await enter('ann')
  const { record } = await ann.make()
  await ann.make()
  const full = await ann.call('POST', '', { name: 'k' })
  t.equal(full.statusCode, 409)
  await ann.call('DELETE', `/${record.id}`)
  t.equal((await ann.call('POST', '', { name: 'k' })).statusCode, 201)
})

t.test("hands errors to the application's error handler", async t => {
  const { enter } = await desk(t, { maxKeys: 1 }, {}, app => {
    app.setErrorHandler<Error & { statusCode: number }>(({ statusCode, message }, _request, reply) =>
      reply.code(statusCode).send({ problem: message }))
  })
  const ann = await enter('ann')
  await ann.make()
  const refused = [
    await ann.call('POST', '', { name: 'k' }),
    await ann.call('DELETE', '/0123456789abcdef'),
    await ann.call('POST', '', { name: 'k', expiresAt: '2020-01-01T00:00:00Z' }),
    await ann.call('POST', '', {})
  ]
  t.same(refused.map(answer => [answer.statusCode, answer.json<unknown>()]), [
    [409, { problem: 'The maximum number of keys (1) is reached: revoke one first' }],
    [404, { problem: 'There is no such key' }],
    [400, { problem: 'body/expiresAt must be in the future' }],
    [400, { problem: "body must have required property 'name'" }]
  ])
})

t.test('allows twice as many keys during overlaps, and not more', async t => {
  const { enter } = await desk(t, { maxKeys: 1 })
  const ann = await enter('ann')
  const rotate = async (id: string, overlap: number) => ann.call('POST', `/${id}/rotate`, { overlap })
  const first = await rotate((await ann.make()).record.id, 60)
  t.equal(first.statusCode, 201)
  const { record } = first.json<NewApiKey>()
  const full = await rotate(record.id, 60)
  t.equal(full.statusCode, 409)
  t.match(full.json(), { error: 'Conflict', message: /rotate with overlap 0, or revoke one/ })
  t.equal((await rotate(record.id, 0)).statusCode, 201)
})

t.test('allows 50 keys, and an overlap of 7 days, by default', async t => {
  const { app, enter } = await desk(t)
  const ann = await enter('ann')
  const { record } = await ann.make()
  const keys = app.gatehouse.apiKeys.of({ realm: 'staff', id: 'ann' })
  for (let i = 0; i < 48; i++) await keys.create({ name: 'k' })
  t.equal((await ann.call('POST', '', { name: 'k' })).statusCode, 201)
  t.equal((await ann.call('POST', '', { name: 'k' })).statusCode, 409)
  const week = 7 * 86_400
  t.equal((await ann.call('POST', `/${record.id}/rotate`, { overlap: week + 1 })).statusCode, 400)
  t.equal((await ann.call('POST', `/${record.id}/rotate`, { overlap: week })).statusCode, 201)
})

t.test('answers 503 if the store is unavailable', async t => {
  const tap = tappedStore()
  const { enter } = await desk(t, {}, { store: tap.store })
  const ann = await enter('ann')
  tap.down = true
  t.equal((await ann.call('GET')).statusCode, 503)
  tap.down = false
  t.equal((await ann.call('GET')).statusCode, 200)
})

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()

function sign (body: string, key: KeyObject = pair.privateKey): string {
  return createSign('sha256').update(body).sign(key, 'base64')
}

/** Returns a function that reports leaked keys as GitHub does. */
function reporter (app: FastifyInstance) {
  return async (body: string, more: Record<string, string | undefined> = {}) => {
    const headers = {
      'content-type': 'application/json',
      'github-public-key-identifier': 'one',
      'github-public-key-signature': sign(body),
      ...more
    }
    return app.inject({
      method: 'POST',
      url: '/account/keys/leaks',
      headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)) as Record<
        string,
        string
      >,
      payload: body
    })
  }
}

t.test('revokes a reported key, with the same answer for every report', async t => {
  const { app, enter, status } = await desk(t, { leaks: { publicKeys: { one: pem } } })
  const ann = await enter('ann')
  const [leaked, kept] = [await ann.make(), await ann.make()]
  const report = reporter(app)
  const entry = (token: string) => ({ token, type: 'acme_api_key', url: 'https://example.com/leak' })
  const answers = [
    await report(JSON.stringify([entry(leaked.key), entry('acme_unknown'), entry('ghp_other')])),
    await report(JSON.stringify([entry(leaked.key)])),
    await report(JSON.stringify([entry('nothing')])),
    await report('[]')
  ]
  for (const answer of answers) {
    t.equal(answer.statusCode, 204)
    t.strictSame([answer.body, { ...answer.headers, date: 0 }], ['', { ...answers[0]?.headers, date: 0 }])
  }
  t.equal(await status(leaked.key), 401)
  t.equal(await status(kept.key), 200)
  const others = Array.from({ length: 999 }, () => entry('other'))
  t.equal((await report(JSON.stringify([...others, entry('one more'), entry(kept.key)]))).statusCode, 400)
  t.equal(await status(kept.key), 200, 'a report that is too long has no effect')
  t.equal((await report(JSON.stringify([...others, entry(kept.key)]))).statusCode, 204)
  t.equal(await status(kept.key), 401)
  t.equal((await ann.call('POST', '', { name: 'still' })).statusCode, 201, 'the other routes read JSON as before')
})

t.test('asks for no public key for a report that names none, or one that cannot be', async t => {
  const asked: string[] = []
  const { app } = await desk(t, { leaks: { publicKeys: async name => { asked.push(name); return pem } } })
  for (const identifier of [undefined, '', 'one two', 'é', 'x'.repeat(201)]) {
    t.equal((await reporter(app)('[]', { 'github-public-key-identifier': identifier })).statusCode, 403)
  }
  t.equal((await reporter(app)('[]', { 'github-public-key-identifier': 'x'.repeat(200) })).statusCode, 204)
  t.same(asked, ['x'.repeat(200)])
})

t.test('ignores a report without a valid signature', async t => {
  const { app, enter, status } = await desk(t, { leaks: { publicKeys: new Map([['one', pem]]), bodyLimit: 1_000 } })
  const { key } = await (await enter('ann')).make()
  const report = reporter(app)
  const body = JSON.stringify([{ token: key, type: 't', url: 'u' }])
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const wrong: Array<Record<string, string | undefined>> = [
    { 'github-public-key-signature': undefined },
    { 'github-public-key-identifier': undefined },
    { 'github-public-key-identifier': 'two' },
    { 'github-public-key-identifier': '__proto__' },
    { 'github-public-key-identifier': 'x'.repeat(300) },
    { 'github-public-key-signature': '' },
    { 'github-public-key-signature': 'AAAA' },
    { 'github-public-key-signature': 'x'.repeat(2_000) },
    { 'github-public-key-signature': sign(body, other.privateKey) },
    { 'github-public-key-signature': sign(`${body} `) },
    { 'github-public-key-signature': `${sign(body)}!` },
    { 'github-public-key-signature': `!${sign(body)}` }
  ]
  for (const headers of wrong) {
    t.equal((await report(body, headers)).statusCode, 403, JSON.stringify(headers).slice(0, 60))
  }
  t.equal(
    (await report(body.replace('"t"', '"x"'), { 'github-public-key-signature': sign(body) })).statusCode,
    403,
    'one byte changed'
  )
  t.equal((await report(body, { 'content-type': 'text/plain' })).statusCode, 415)
  t.equal((await app.inject({ method: 'POST', url: '/account/keys/leaks' })).statusCode, 403)
  t.equal((await report(`${body}${' '.repeat(1_000)}`)).statusCode, 413)
  t.equal(await status(key), 200)
  for (const text of [
    '{}',
    'null',
    '[',
    '[{}]',
    '[7]',
    '[null]',
    '[{"token":7}]'
  ]) { t.equal((await report(text)).statusCode, 400, text.slice(0, 20)) }
  t.equal((await report(body)).statusCode, 204)
  t.equal(await status(key), 401)
})

t.test('looks up public keys, and answers 503 to reports if they cannot be fetched', async t => {
  let answer: () => string | null | Promise<string | null> = async () => pem
  const tap = tappedStore()
  const { app, enter, status } = await desk(t, { leaks: { publicKeys: () => answer() } }, { store: tap.store })
  const { key } = await (await enter('ann')).make()
  const report = reporter(app)
  const body = JSON.stringify([{ token: key }])
  answer = () => { throw new Error('network') }
  t.equal((await report(body)).statusCode, 503)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .publicKey.export({ type: 'spki', format: 'pem' })
    .toString()
  for (const [other, expected] of [[null, 403], [false, 403], ['no key', 500], [rsa, 500], [{ pem }, 500]] as const) {
    answer = () => other as never
    t.equal((await report(body)).statusCode, expected)
  }
  answer = async () => pem
  tap.down = true
  t.equal((await report(body)).statusCode, 503, 'so that the reporter sends it again')
  tap.down = false
  t.equal((await report(body)).statusCode, 204)
  t.equal(await status(key), 401)
})

t.test('stops the boot for wrong options', async t => {
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    .publicKey.export({ type: 'spki', format: 'pem' })
    .toString()
  const secretPem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const managed = apiKey({ managed: { prefix: 'acme' } })
  const two = {
    schemes: {
      web: session({ secret }),
      back: session({ secret, cookieName: 'back' }),
      one: managed,
      two: apiKey({ managed: { prefix: 'other' } })
    },
    default: ['web'] as const
  }
  const wrong: Array<[ApiKeyRoutesOptions | object, Partial<GatehouseOptions>, RegExp]> = [
    [{ scheme: 'token' }, {}, /must be a scheme that can keep sessions: web\. Got 'token'/],
    [{ scheme: 'service' }, {}, /can keep sessions/],
    [{ age: 1 }, {}, /unknown key 'age'/],
    [{ maxAge: 'soon' }, {}, /maxAge/],
    [{ maxKeys: 0 }, {}, /maxKeys/],
    [{ rateLimit: { max: 0, window: 1 } }, {}, /rateLimit\.max/],
    [{ rateLimit: { max: 1, window: 0.5 } }, {}, /rateLimit\.window/],
    [{ leaks: {} }, {}, /leaks\.publicKeys/],
    [{ leaks: { publicKeys: { one: p384 } } }, {}, /under 'one' no public key of the curve P-256/],
    [{ leaks: { publicKeys: { one: secretPem } } }, {}, /P-256/],
    [{ leaks: { publicKeys: { one: `${secretPem}${pem}` } } }, {}, /P-256/],
    [{ leaks: { publicKeys: { one: '-----BEGIN PUBLIC KEY-----\nx' } } }, {}, /P-256/],
    [{ leaks: { publicKeys: { one: pem }, bodyLimit: 0 } }, {}, /bodyLimit/],
    [{ keys: 'one' }, two, /needs the option scheme: the schemes web and back keep sessions/],
    [{ scheme: 'web' }, two, /needs the option keys: the schemes one and two manage keys/],
    [
      { scheme: 'web', keys: 'web' },
      two,
      /option apiKeyRoutes\.keys must be a scheme that can manage keys: one or two\. Got 'web'/
    ],
    [{}, { schemes: { web: session({ secret }) }, default: ['web'] }, /Add apiKey\(\{ managed: \{ prefix \} \}\)/],
    [{}, { schemes: { service: managed }, default: ['service'] }, /Add session\(\)/]
  ]
  for (const [routes, options, message] of wrong) {
    await t.rejects(desk(t, routes as ApiKeyRoutesOptions, options), { code: 'AUTH_MISCONFIGURED', message })
  }
  await t.resolves(desk(t, { scheme: 'back', keys: 'two' }, two))
  await t.resolves(desk(t, { logLevel: 'silent', logSerializers: {} } as ApiKeyRoutesOptions))
  const bare = Fastify()
  t.teardown(() => bare.close())
  bare.register(apiKeyRoutes, {})
  await t.rejects(async () => bare.ready(), /fastify-gatehouse/)
})

t.test('never exceeds the maximum of keys with concurrent requests on two instances', async t => {
  const store = memoryStore()
  const desks = await Promise.all([1, 2].map(async () => desk(t, { maxKeys: 3 }, { store })))
  const [one, two] = await Promise.all(desks.map(async ({ enter }) => enter('ann')))
  const answers = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => (i % 2 === 0 ? one : two)?.call('POST', '', { name: `k${i}` }))
  )
  t.same(answers.map(answer => answer?.statusCode).sort(), [201, 201, 201, ...Array.from({ length: 9 }, () => 409)])
  t.equal((await one?.list())?.length, 3)
  const bob = await desks[0]?.enter('bob')
  t.equal((await bob?.call('POST', '', { name: 'b' }))?.statusCode, 201, 'another person has a count of their own')
  const { apiKeys } = desks[0]?.app.gatehouse ?? {}
  const owner = { realm: 'staff', id: 'ann' }
  await t.rejects(async () => apiKeys?.of(owner).create({ name: 'x' }, { maxKeys: 3 }), {
    code: 'AUTH_ACCESS_DENIED', stack: /^AuthError: Access denied \(the owner of an API key already has 3/
  })
  await t.resolves(async () => apiKeys?.of(owner).create({ name: 'x' }, { maxKeys: 4 }))
  for (const maxKeys of [0, 1.5, '3', null]) {
    await t.rejects(async () => apiKeys?.of(owner).create({ name: 'x' }, { maxKeys: maxKeys as number }), {
      code: 'AUTH_FAULT',
      detail: /maxKeys must be a whole number/
    })
  }
})

t.test('serialises creation of keys per owner in a process', async t => {
  const store = memoryStore()
  let calls = 0
  const counting: typeof store = {
    ...store,
    increment: async (...about) => {
      calls++
      return store.increment(...about)
    }
  }
  const order: number[] = []
  await Promise.all(
    Array.from({ length: 20 }, async (_, i) =>
      new OwnerLock(counting, 'acme').run({ realm: 'staff', id: 'ann' }, async () => {
        await setImmediate()
        order.push(i)
      })
    )
  )
  t.same(
    order,
    Array.from({ length: 20 }, (_, i) => i)
  )
  t.equal(calls, 20)
})

t.test('answers 503 if the wait for the owner lock is too long, and always releases the lock', async t => {
  const store = memoryStore()
  const owner = { realm: 'staff', id: 'ann' }
  let failed = 0
  await t.rejects(new OwnerLock(store, 'acme').run(owner, async () => { failed++; throw new Error('own') }), /own/)
  let release = (): void => {}
  const held = new Promise<void>(resolve => { release = resolve })
  const first = new OwnerLock(store, 'acme').run(owner, async () => { await held })
  const others = [['other', owner], ['acme', { ...owner, id: 'bob' }], ['acme', { ...owner, realm: 'other' }]] as const
  for (const [prefix, each] of others) {
    t.equal(await new OwnerLock(store, prefix).run(each, async () => 'meanwhile'), 'meanwhile')
  }
  const other = { ...store }
  await Promise.all(
    [store, other].map(async each =>
      t.rejects(
        new OwnerLock(each, 'acme').run(owner, async () => 'never'),
        { code: 'AUTH_UNAVAILABLE' },
        'in this process, and in another'
      )
    )
  )
  release()
  await first
  const unforgetting = {
    ...store,
    decrement: async () => {
      throw new Error('down')
    }
  }
  t.equal(
    await new OwnerLock(unforgetting, 'acme').run(owner, async () => 'mine'),
    'mine',
    'a lock that could not be released expires'
  )
  t.equal(failed, 1)
})
