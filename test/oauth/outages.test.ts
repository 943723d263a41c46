import t from 'tap'
import { memoryStore, type Store } from '../../lib/index.js'
import { tracing } from '../fixtures/secrets.js'
import {
  authorizePath, basic, call, codeFor, decide, login, partnerSecret, post, redeem, serverApp, visit
} from './app.js'

const owner = { realm: 'web', id: 'ann' }

type Moment = 'before' | 'after'

/** Creates a store whose n-th call fails, before or after it was carried out. */
function failingStore () {
  const inner = memoryStore()
  let [calls, failAt, moment] = [0, Infinity, 'before' as Moment]
  const wrap = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    const fails = ++calls === failAt
    if (fails && moment === 'before') throw new Error('the connection was lost')
    const result = await call(...args)
    if (fails) throw new Error('the connection was lost')
    return result
  }
  const store: Store = {
    add: wrap(inner.add.bind(inner)),
    get: wrap(inner.get.bind(inner)),
    swap: wrap(inner.swap.bind(inner)),
    take: wrap(inner.take.bind(inner)),
    find: wrap(inner.find.bind(inner)),
    takeAll: wrap(inner.takeAll.bind(inner)),
    increment: inner.increment.bind(inner),
    decrement: inner.decrement.bind(inner),
    migrate: inner.migrate.bind(inner),
    close: inner.close.bind(inner)
  }
  return {
    store,
    /** Makes the n-th call from now on fail. */
    arm (n: number, when: Moment) { [calls, failAt, moment] = [0, n, when] },
    /** Returns true if the armed call was reached. */
    disarm (): boolean {
      const reached = calls >= failAt
      failAt = Infinity
      return reached
    }
  }
}

/** Creates a store that refuses every write of one kind of record, as if another writer always came first. */
function refusingStore (kind: string): Store {
  const inner = memoryStore()
  return {
    ...bound(inner),
    add: async entry => entry.kind !== kind && await inner.add(entry),
    swap: async record => record.kind !== kind && await inner.swap(record)
  }
}

function bound (inner: Store): Store {
  const { add, get, swap, take, find, takeAll, increment, decrement, migrate, close } = inner
  const all = { add, get, swap, take, find, takeAll, increment, decrement, migrate, close }
  return Object.fromEntries(Object.entries(all).map(([name, each]) => [name, each.bind(inner)])) as unknown as Store
}

t.test('writes that always lose to another writer end with an error', async t => {
  const codes = await serverApp(t, { store: refusingStore('oauth-code'), oauth: { consent: false } })
  const { cookie } = await login(codes)
  t.match((await visit(codes, authorizePath(), cookie)).params, { error: 'server_error' })
  const consents = await serverApp(t, { store: refusingStore('oauth-consent'), oauth: { consent: 'remember' } })
  const session = (await login(consents)).cookie
  const page = await visit(consents, authorizePath(), session)
  t.match((await decide(consents, page.answer.body, session)).params, { error: 'temporarily_unavailable' })
  const input = { name: 'x', grants: ['client_credentials'] } as const
  const clients = (await serverApp(t, { store: refusingStore('oauth-client') })).gatehouse.oauth.clients.of(owner)
  await t.rejects(clients.create(input), { code: 'AUTH_FAULT' })
  const inner = memoryStore()
  const frozen = { ...bound(inner), swap: async () => false }
  const stuck = (await serverApp(t, { store: frozen })).gatehouse.oauth.clients.of(owner)
  const { client: { id } } = await stuck.create(input)
  await t.rejects(stuck.update(id, { name: 'y' }), { code: 'AUTH_UNAVAILABLE' })
})

t.test('a wrong secret is 503 while guesses cannot be counted', async t => {
  const inner = memoryStore()
  const app = await serverApp(t, { store: { ...bound(inner), increment: async () => { throw new Error('gone') } } })
  const answer = await post(app, '/oauth/token', { grant_type: 'client_credentials' }, basic('partner', 'wrong'))
  t.match(answer, { status: 503, body: { error: 'temporarily_unavailable' }, headers: { 'retry-after': '5' } })
})

t.test('a redemption that began before the winner has refreshed ends the grant', async t => {
  const inner = memoryStore()
  let hold: Promise<void> | null = null
  const store = {
    ...bound(inner),
    get: async (kind: string, id: string) => {
      const record = await inner.get(kind, id)
      if (kind === 'oauth-code' && hold !== null) await hold
      return record
    }
  }
  const app = await serverApp(t, { store })
  const code = await codeFor(app)
  let release = () => {}
  hold = new Promise(resolve => { release = resolve })
  const late = redeem(app, code)
  await new Promise(resolve => { setTimeout(resolve, 50) })
  hold = null
  const { body } = await redeem(app, code)
  const next = await post(app, '/oauth/token', {
    grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token
  })
  t.equal(next.status, 200)
  release()
  t.match(await late, { status: 400, body: { error: 'invalid_grant' } })
  t.equal((await call(app, next.body.access_token)).status, 401)
})

for (const moment of ['before', 'after'] as const) {
  t.test(`a store call that fails ${moment} it was carried out, at each call of a redemption`, async t => {
    const { store, arm, disarm } = failingStore()
    const app = await serverApp(t, { store, sign: { staleness: 0 } })
    for (let n = 1, reached = true; reached; n++) {
      const code = await codeFor(app)
      arm(n, moment)
      const first = await redeem(app, code)
      reached = disarm()
      t.ok([200, 503].includes(first.status), `call ${n}: ${first.status}`)
      const unavailable = { body: { error: 'temporarily_unavailable' }, headers: { 'retry-after': '5' } }
      if (first.status === 503) t.match(first, unavailable)
      const second = await redeem(app, code)
      const live = [first, second].filter(({ status }) => status === 200)
      t.ok(live.length <= 1, `call ${n}: never two answers with tokens`)
      const grants = await app.gatehouse.tokens.of(owner, { scheme: 'api' }).list()
      const answers = await Promise.all(live.map(async ({ body }) => (await call(app, body.access_token)).status))
      t.equal(answers.filter(status => status === 200).length, grants.length, `call ${n}: no grant without its client`)
      await app.gatehouse.tokens.of(owner, { scheme: 'api' }).revokeAll()
      for (const { body } of live) t.equal((await call(app, body.access_token)).status, 401)
    }
  })

  t.test(`answers 200 or 503 if a store call of a refresh or a revocation fails ${moment} it was done`, async t => {
    const { store, arm, disarm } = failingStore()
    const app = await serverApp(t, { store, sign: { staleness: 0 } })
    for (let n = 1, reached = true; reached; n++) {
      const { body } = await redeem(app, await codeFor(app))
      const fields = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token }
      arm(n, moment)
      const { status } = await post(app, '/oauth/token', fields)
      const inRefresh = disarm()
      t.ok([200, 503].includes(status), `refresh, call ${n}: ${status}`)
      arm(n, moment)
      const revoked = await post(app, '/oauth/revoke', { token: body.refresh_token, client_id: 'spa' })
      reached = disarm() || inRefresh
      t.ok([200, 503].includes(revoked.status), `revocation, call ${n}: ${revoked.status}`)
      t.equal((await post(app, '/oauth/revoke', { token: body.refresh_token, client_id: 'spa' })).status, 200)
      t.equal((await call(app, body.access_token)).status, 401, 'revoked in the end')
    }
  })

  t.test(`answers as usual or 503 if a store call of authorize or consent fails ${moment} it was done`, async t => {
    const { store, arm, disarm } = failingStore()
    const app = await serverApp(t, { store, oauth: { consent: 'remember' } })
    const { cookie } = await login(app)
    for (let n = 1, reached = true; reached; n++) {
      arm(n, moment)
      const page = await visit(app, authorizePath({ prompt: 'consent' }), cookie)
      reached = disarm()
      t.ok([200, 302, 503].includes(page.status), `authorize, call ${n}: ${page.status}`)
      const whole = await visit(app, authorizePath({ prompt: 'consent' }), cookie)
      arm(n, moment)
      const { status, params } = await decide(app, whole.answer.body, cookie)
      reached = disarm() || reached
      const isGood = params['code'] !== undefined || params['error'] === 'temporarily_unavailable'
      t.ok(status === 503 || isGood, `consent, call ${n}`)
      arm(n, moment)
      const remembered = await visit(app, authorizePath(), cookie)
      reached = disarm() || reached
      t.ok([200, 303, 503].includes(remembered.status), `remembered, call ${n}: ${remembered.status}`)
    }
  })

  t.test(`a store call that fails ${moment} it was carried out, at each call of clients and consents`, async t => {
    const { store, arm, disarm } = failingStore()
    const { logger, lines } = tracing()
    const app = await serverApp(t, { store, fastify: { logger } })
    const clients = app.gatehouse.oauth.clients.of(owner)
    const input = { name: 'x', scopes: ['orders:read'], grants: ['client_credentials'] } as const
    const { client: { id } } = await clients.create(input)
    const calls: ReadonlyArray<() => Promise<unknown>> = [
      async () => await clients.create(input), async () => await clients.update(id, { name: 'y' }),
      async () => await clients.rotateSecret(id, { overlap: 0 }), async () => await clients.list(),
      async () => await app.gatehouse.oauth.consents.of(owner).list(), async () => await clients.remove(id)
    ]
    for (const each of calls) {
      arm(1, moment)
      await t.rejects(each(), { code: 'AUTH_UNAVAILABLE' })
      disarm()
    }
    arm(1, moment)
    const unknown = `client_${'a'.repeat(22)}`
    t.equal((await post(app, '/oauth/token', { grant_type: 'client_credentials', client_id: unknown })).status, 503)
    arm(1, moment)
    const before = lines().length
    const { status, answer } = await visit(app, authorizePath({ client_id: unknown }))
    t.match([status, answer.headers], [503, { 'retry-after': '5' }], 'a page, as there is no address')
    t.match(lines().slice(before), /"reason":"store: get failed: Error".*the authorization server is unavailable/)
    disarm()
    const again = await post(app, '/oauth/token', { grant_type: 'client_credentials' }, basic('partner', partnerSecret))
    t.equal(again.status, 200)
  })
}
