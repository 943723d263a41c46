import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, memoryStore, session, type Store, type StoreRecord } from '../../lib/index.js'
import type { JsonObject } from '../../types/store.js'
import { recordEvents } from '../fixtures/events.js'
import { secretOf } from '../fixtures/tokens.js'
import {
  authorizePath, call, codeFor, decide, login, post, redeem, serverApp, visit
} from '../oauth/app.js'

/**
 * A record that is damaged, or was written by something else, is a fault: the response is a 500, the log names the kind
 * and the field, and nothing of the record is used. It can be removed as any other record.
 */

const ann = { realm: 'web', id: 'ann' }
type Damage = (record: StoreRecord) => StoreRecord

/** Creates a store that changes the records of one kind when they are read. */
function damagingStore (kind: string) {
  const inner = memoryStore()
  const state = { damage: ((record: StoreRecord) => record) as Damage }
  const read = (record: StoreRecord): StoreRecord => record.kind === kind ? state.damage(record) : record
  const store: Store = {
    ...inner,
    get: async (kind, id) => {
      const record = await inner.get(kind, id)
      return record === null ? null : read(record)
    },
    take: async (kind, id) => {
      const record = await inner.take(kind, id)
      return record === null ? null : read(record)
    },
    find: async (kind, owner) => (await inner.find(kind, owner)).map(read)
  }
  return { store, state, inner }
}

/** Returns a log stream that collects the reasons of faults. */
function faults () {
  const reasons: string[] = []
  const write = (line: string): void => {
    // the error handler of Fastify logs another line, without a reason
    const { auth } = JSON.parse(line) as { auth?: { reason: string } }
    if (auth !== undefined) reasons.push(auth.reason)
  }
  return { logger: { level: 'error', stream: { write } }, take: () => reasons.splice(0) }
}

const withField = (name: string, field: unknown): Damage => record => {
  const { [name]: _, ...others } = record.value
  return { ...record, value: field === undefined ? others : { ...others, [name]: field } as JsonObject }
}

const withValue = (value: unknown): Damage => record => ({ ...record, value: value as JsonObject })

/** Damages each field of a record in turn, and expects a fault for each. */
async function expectFaults (
  t: Test, { kind, fields, state, log }: {
    readonly kind: string
    readonly fields: readonly string[]
    readonly state: { damage: Damage }
    readonly log: ReturnType<typeof faults> | null
  },
  read: () => Promise<unknown>
): Promise<void> {
  const whole = state.damage
  const damages: ReadonlyArray<readonly [string, Damage]> = [
    ...fields.flatMap(name => [{}, undefined].map(field => [`value.${name}`, withField(name, field)] as const)),
    ['value must', withValue(['a list'])],
    ['value must', withValue(null)]
  ]
  for (const [reason, damage] of damages) {
    state.damage = damage
    const outcome = await read().catch((error: unknown) => error)
    state.damage = whole
    const reasons = log?.take() ?? [(outcome as { detail?: string }).detail]
    t.match(reasons, [new RegExp(`of the kind '${kind}' cannot be read: ${reason}`)], reason)
    t.equal(reasons.length, 1, 'the log has one line')
    t.match(outcome, log === null ? { code: 'AUTH_FAULT' } : { status: 500 }, `${reason}: a fault`)
  }
}

t.test('a code that cannot be read gives no token', async t => {
  const { store, state } = damagingStore('oauth-code')
  const log = faults()
  const app = await serverApp(t, { store, fastify: { logger: log.logger } })
  const code = await codeFor(app)
  const fields = [
    'client', 'redirectUri', 'challenge', 'scopes', 'issuer', 'resource', 'realm', 'id', 'roles', 'authenticatedAt',
    'used'
  ]
  await expectFaults(t, { kind: 'oauth-code', fields, state, log }, () => redeem(app, code))
  state.damage = withField('authenticatedAt', NaN)
  t.equal((await redeem(app, code)).status, 500)
  t.match(log.take(), [/cannot be read: value\.authenticatedAt must be a number/])
  state.damage = record => record
  t.equal((await redeem(app, code)).status, 200, 'the code was not spent')
})

t.test('a grant that cannot be read is not refreshed and not listed', async t => {
  const { store, state } = damagingStore('refresh-family')
  const log = faults()
  const app = await serverApp(t, { store, fastify: { logger: log.logger } })
  const { body } = await redeem(app, await codeFor(app))
  const fields = [
    'issuer', 'client', 'scopes', 'roles', 'delegated', 'resource', 'generation', 'secret', 'rotatedAt', 'createdAt',
    'authenticatedAt', 'absolute'
  ]
  const refresh = () => post(app, '/oauth/token', {
    grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token
  })
  await expectFaults(t, { kind: 'refresh-family', fields, state, log }, refresh)
  const grants = app.gatehouse.tokens.of(ann, { scheme: 'api' })
  await expectFaults(t, { kind: 'refresh-family', fields, state, log: null }, () => grants.list())
  state.damage = record => ({ ...record, owner: null })
  t.equal((await refresh()).status, 500)
  t.match(log.take(), [/of the kind 'refresh-family' cannot be read: it has no owner/])
  state.damage = record => record
  t.equal((await refresh()).status, 200, 'the grant has not ended')
})

t.test('grants end even if the store fails for another one, and the call says so', async t => {
  const inner = memoryStore()
  const failed = new Set<string>()
  const take: Store['take'] = async (kind, id) => {
    if (failed.has(id)) throw new Error('the store failed')
    return await inner.take(kind, id)
  }
  const app = await serverApp(t, { store: { ...inner, take } })
  const [first, second] = [await redeem(app, await codeFor(app)), await redeem(app, await codeFor(app))]
  const grants = app.gatehouse.tokens.of(ann, { scheme: 'api' })
  const [{ id } = { id: '' }] = await grants.list()
  failed.add(id)
  await t.rejects(grants.revokeAll(), { code: 'AUTH_UNAVAILABLE' })
  const answers = [await call(app, first.body.access_token), await call(app, second.body.access_token)]
  t.same(answers.map(({ status }) => status).sort(), [200, 401])
})

t.test('a consent that cannot be read does not stand for the person', async t => {
  const { store, state } = damagingStore('oauth-consent')
  const log = faults()
  const app = await serverApp(t, { store, oauth: { consent: 'remember' }, fastify: { logger: log.logger } })
  const { cookie } = await login(app)
  await decide(app, (await visit(app, authorizePath(), cookie)).answer.body, cookie)
  const fields = ['client', 'scopes', 'issuer', 'givenAt']
  await expectFaults(t, { kind: 'oauth-consent', fields, state, log }, async () => {
    const { params } = await visit(app, authorizePath(), cookie)
    return { status: params['error'] === 'server_error' ? 500 : 200 }
  })
  const consents = app.gatehouse.oauth.consents.of(ann)
  await expectFaults(t, { kind: 'oauth-consent', fields, state, log: null }, () => consents.list())
  t.match((await visit(app, authorizePath(), cookie)).params, { code: String }, 'it is undamaged again')
})

t.test('a client that cannot be read is not let in', async t => {
  const { store, state } = damagingStore('oauth-client')
  const log = faults()
  const app = await serverApp(t, { store, fastify: { logger: log.logger } })
  const clients = app.gatehouse.oauth.clients.of(ann)
  const { client: { id }, secret } = await clients.create({
    name: 'x', grants: ['client_credentials'], scopes: ['orders:read']
  })
  const fields = ['issuer', 'name', 'redirectUris', 'scopes', 'grants', 'secrets', 'confidential', 'createdAt']
  const ask = () => post(app, '/oauth/token', {
    grant_type: 'client_credentials', client_id: id, client_secret: String(secret)
  })
  await expectFaults(t, { kind: 'oauth-client', fields, state, log }, ask)
  await expectFaults(t, { kind: 'oauth-client', fields, state, log: null }, () => clients.get(id))
  await expectFaults(t, { kind: 'oauth-client', fields, state, log: null }, () => clients.list())
  for (const secrets of [[{ digest: 'x' }], [{ digest: 5, expiresAt: null }], [null]]) {
    state.damage = record => ({ ...record, value: { ...record.value, secrets } as JsonObject })
    t.equal((await ask()).status, 500)
    t.match(log.take(), [/cannot be read: value\.secrets\[0\]/])
  }
  state.damage = record => record
  t.equal((await ask()).status, 200, 'it is undamaged again')
})

t.test('a change keeps what a later version has written to a client', async t => {
  const inner = memoryStore()
  const app = await serverApp(t, { store: inner })
  const clients = app.gatehouse.oauth.clients.of(ann)
  const { client: { id } } = await clients.create({ name: 'x', grants: ['client_credentials'] })
  const record = await inner.get('oauth-client', id) as StoreRecord
  await inner.swap({ ...record, value: { ...record.value, logo: 'https://x.example.com/logo.png' } })
  t.match(await clients.update(id, { name: 'y' }), { name: 'y' })
  t.match((await inner.get('oauth-client', id))?.value, { name: 'y', logo: 'https://x.example.com/logo.png' })
})

async function appOf (t: Test, store: Store, logger: object): Promise<FastifyInstance> {
  const app = Fastify({ logger })
  const schemes = { web: session({ secret: secretOf() }), keys: apiKey({ managed: { prefix: 'acme', staleness: 0 } }) }
  await app.register(gatehouse, { schemes, store, default: ['web', 'keys'] })
  app.get('/me', { config: { auth: 'keys' } }, async ({ principal }) => principal)
  app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  t.teardown(() => app.close())
  return app
}

t.test('an API key that cannot be read is not let in', async t => {
  const { store, state } = damagingStore('api-key')
  const log = faults()
  const app = await appOf(t, store, log.logger)
  const keys = app.gatehouse.apiKeys.of({ realm: 'keys', id: 'ann' })
  const { key } = await keys.create({ name: 'x', rateLimit: { max: 5, window: 60 } })
  const fields = [
    'prefix', 'name', 'start', 'scopes', 'roles', 'createdAt', 'expiresAt', 'lastUsedAt', 'rateLimit', 'replacedBy',
    'replacedAt', 'sunsetAt'
  ]
  await expectFaults(t, { kind: 'api-key', fields, state, log }, async () => {
    const { statusCode: status } = await app.inject({ url: '/me', headers: { 'x-api-key': key } })
    return { status }
  })
  await expectFaults(t, { kind: 'api-key', fields, state, log: null }, () => keys.list())
})

t.test('a session that cannot be read is not listed', async t => {
  const { store, state } = damagingStore('session')
  const app = await appOf(t, store, { level: 'silent' })
  await app.inject({ method: 'POST', url: '/login' })
  const sessions = app.gatehouse.sessions.of(ann)
  const fields = ['created', 'seen', 'kept', 'address', 'userAgent']
  await expectFaults(t, { kind: 'session', fields, state, log: null }, () => sessions.list())
  t.equal((await sessions.list()).length, 1)
})

t.test('a damaged session lets its owner in, and log in again', async t => {
  const { store, state } = damagingStore('session')
  const app = await appOf(t, store, { level: 'silent' })
  app.get('/page', { config: { auth: 'web' } }, async ({ principal }) => principal)
  const logIn = async () => await app.inject({ method: 'POST', url: '/login' })
  const [first] = [await logIn(), await logIn()]
  state.damage = withValue(null)
  const [{ name, value } = { name: '', value: '' }] = first.cookies
  t.equal((await app.inject({ url: '/page', cookies: { [name]: value } })).statusCode, 200)
  t.equal((await logIn()).statusCode, 200)
})

t.test('damaged codes do not keep their owner from another one, or from ending all grants', async t => {
  const { store, state } = damagingStore('oauth-code')
  const app = await serverApp(t, { store })
  const { body } = await redeem(app, await codeFor(app))
  state.damage = withValue(null)
  const code = await codeFor(app)
  await app.gatehouse.tokens.of(ann).revokeAll()
  t.equal((await call(app, body.access_token)).status, 401, 'the grant has ended')
  state.damage = record => record
  t.equal((await redeem(app, code)).status, 200, 'a damaged code is not ended')
})

t.test('damaged grants do not keep their owner from another one', async t => {
  const { store, state } = damagingStore('refresh-family')
  const app = await serverApp(t, { store })
  await redeem(app, await codeFor(app))
  state.damage = withValue(null)
  t.equal((await redeem(app, await codeFor(app))).status, 200)
})

t.test('a session whose last use cannot be read is the first to end when there are too many', async t => {
  const { store, state, inner } = damagingStore('session')
  const app = await appOf(t, store, { level: 'silent' })
  const logIn = async () => await app.inject({ method: 'POST', url: '/login' })
  for (let i = 0; i < 101; i++) await logIn()
  const records = await inner.find('session', { realm: 'web web', id: 'ann' })
  const { id } = records[50] as StoreRecord
  state.damage = record => record.id === id ? withField('seen', undefined)(record) : record
  await logIn()
  const left = await inner.find('session', { realm: 'web web', id: 'ann' })
  t.same([left.length, left.some(record => record.id === id)], [101, false])
})

/** Each field of a record damaged in turn, and the whole value. */
const damagesOf = (record: StoreRecord): readonly Damage[] =>
  [...Object.keys(record.value).map(name => withField(name, {})), withValue(['a list']), withValue(null)]

t.test('a damaged grant can be revoked by its owner, but not one of another issuer or resource', async t => {
  const { store, state, inner } = damagingStore('refresh-family')
  const app = await serverApp(t, { store })
  const { body } = await redeem(app, await codeFor(app))
  const grants = app.gatehouse.tokens.of(ann, { scheme: 'api' })
  const [first = { id: '' }] = await grants.list()
  const record = await inner.get('refresh-family', first.id) as StoreRecord
  const restore = async (): Promise<void> => {
    await inner.take(record.kind, record.id)
    await inner.add(record)
  }
  const revoked = recordEvents(t, 'token-revoked')
  for (const damage of damagesOf(record)) {
    await restore()
    state.damage = damage
    t.equal(await app.gatehouse.tokens.of({ ...ann, id: 'bob' }).revoke(first.id), false)
    t.equal(await grants.revoke(first.id), true)
    t.equal(await inner.get(record.kind, record.id), null)
    await restore()
    await grants.revokeAll()
    t.equal(await inner.get(record.kind, record.id), null)
  }
  t.equal(revoked.length, 2 * damagesOf(record).length)
  t.match(revoked[0], { grant: first.id, realm: 'web', id: 'ann', client: 'spa' })
  t.match(revoked.at(-1), { grant: first.id, realm: 'web', id: 'ann', client: null })
  await restore()
  for (const name of ['issuer', 'resource']) {
    state.damage = record => withField('scopes', {})(withField(name, 'https://other.test')(record))
    t.equal(await grants.revoke(first.id), false, name)
    await grants.revokeAll()
  }
  state.damage = record => record
  t.equal((await call(app, body.access_token)).status, 200)
})

t.test('a damaged client can be removed, but not one of another issuer', async t => {
  const { store, state, inner } = damagingStore('oauth-client')
  const app = await serverApp(t, { store })
  const { clients } = app.gatehouse.oauth
  const { client: { id } } = await clients.of(ann).create({ name: 'x', grants: ['client_credentials'] })
  const record = await inner.get('oauth-client', id) as StoreRecord
  for (const damage of damagesOf(record)) {
    for (const own of [clients.of(ann), clients.ofAnyOwner()]) {
      await inner.add(record)
      state.damage = damage
      t.equal(await clients.of({ ...ann, id: 'bob' }).remove(id), false)
      t.equal(await own.remove(id), true)
      t.equal(await inner.get(record.kind, id), null)
    }
  }
  await inner.add(record)
  state.damage = record => withField('name', {})(withField('issuer', 'https://other.test')(record))
  t.equal(await clients.ofAnyOwner().remove(id), false)
  state.damage = record => ({ ...record, owner: null })
  t.equal(await clients.of(ann).remove(id), false)
  t.equal(await clients.ofAnyOwner().remove(id), true, 'a client that has lost its owner')
})

t.test('a damaged API key can be revoked, but not one of another prefix', async t => {
  const { store, state, inner } = damagingStore('api-key')
  const app = await appOf(t, store, { level: 'silent' })
  const { apiKeys } = app.gatehouse
  const owner = { realm: 'keys', id: 'ann' }
  const { record: { id }, key } = await apiKeys.of(owner).create({ name: 'x' })
  const record = await inner.get('api-key', id) as StoreRecord
  const revoked = recordEvents(t, 'key-revoked')
  for (const damage of damagesOf(record)) {
    for (const own of [apiKeys.of(owner), apiKeys.ofAnyOwner()]) {
      await inner.add(record)
      state.damage = damage
      t.equal(await apiKeys.of(ann).revoke(id), false)
      t.equal(await own.revoke(id), true)
      t.equal(await inner.get(record.kind, id), null)
    }
    await inner.add(record)
    await apiKeys.revokeLeaked(key)
    t.equal(await inner.get(record.kind, id), null)
  }
  t.equal(revoked.length, 3 * damagesOf(record).length)
  t.match(revoked.at(-1), { scheme: 'keys', key: id, realm: 'keys', id: 'ann', leaked: true })
  await inner.add(record)
  state.damage = record => withField('name', {})(withField('prefix', 'other')(record))
  t.equal(await apiKeys.ofAnyOwner().revoke(id), false)
  state.damage = record => ({ ...record, owner: null })
  t.equal(await apiKeys.of(owner).revoke(id), false)
  t.equal(await apiKeys.ofAnyOwner().revoke(id), true, 'a key that has lost its owner')
})
