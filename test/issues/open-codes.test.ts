import t from 'tap'
import { memoryStore, type Store } from '../../lib/index.js'
import { authorizePath, call, codeFor, login, origin, redeem, serverApp, visit } from '../oauth/app.js'

/**
 * An authorization code that is not yet redeemed belongs to one issuer, and ends with the grants of its person. Their
 * number per person is limited.
 */

const ann = { realm: 'web', id: 'ann' }
const refused = { status: 400, body: { error: 'invalid_grant' } }

t.test('a code of one issuer gives no token of another with the same store, client and scheme', async t => {
  const store = memoryStore()
  const first = await serverApp(t, { store })
  const second = await serverApp(t, { store, issuer: 'https://b.example.com' })
  const code = await codeFor(first)
  t.match(await redeem(second, code), refused)
  t.equal((await redeem(first, code)).status, 200, 'the code is still valid at its own server')
})

t.test('a code for a resource that two issuers share belongs to one of them', async t => {
  const store = memoryStore()
  const first = await serverApp(t, { store })
  const second = await serverApp(t, { store, issuer: `${origin}/mcp` })
  const code = await codeFor(first, { resource: `${origin}/mcp` })
  t.match(await redeem(second, code), refused)
  await second.gatehouse.tokens.of(ann, { scheme: 'api' }).revokeAll()
  const { status, body } = await redeem(first, code)
  t.equal(status, 200, 'the other server has not ended it')
  t.equal((await call(first, body.access_token, '/tools')).status, 200, 'it gives a token for the resource')
  t.equal((await call(first, body.access_token, '/orders')).status, 401, 'and for no other')
})

t.test('ending all grants of a person ends the codes that would begin another', async t => {
  const app = await serverApp(t)
  const code = await codeFor(app)
  const used = await codeFor(app)
  const { body } = await redeem(app, used)
  const [kept] = await app.gatehouse.tokens.of(ann).list()
  await app.gatehouse.tokens.of(ann).revokeAll({ except: String(kept?.id) })
  t.match(await redeem(app, code), refused)
  t.equal((await call(app, body.access_token)).status, 200, 'the grant that was to be kept')
  t.match(await redeem(app, used), refused)
  t.equal((await call(app, body.access_token)).status, 401, 'its code still ends it when it is presented again')
  t.same(await app.gatehouse.tokens.of(ann).list(), [])
})

t.test('a code outlives the end of the grants for another resource, and of another person', async t => {
  const app = await serverApp(t)
  const code = await codeFor(app)
  await app.gatehouse.tokens.of(ann, { scheme: 'mcp' }).revokeAll()
  await app.gatehouse.tokens.of({ realm: 'web', id: 'bob' }).revokeAll()
  t.equal((await redeem(app, code)).status, 200)
})

/** Creates a store that can delay one of the calls for codes: a look-up after it, or a change before it. */
function delayedStore (name: 'get' | 'swap') {
  const inner = memoryStore()
  const pause = { until: null as Promise<void> | null }
  const wait = async (call: 'get' | 'swap', kind: string) => {
    if (call === name && kind === 'oauth-code') await pause.until
  }
  const store: Store = {
    ...inner,
    get: async (kind, id) => {
      const record = await inner.get(kind, id)
      await wait('get', kind)
      return record
    },
    swap: async record => {
      await wait('swap', record.kind)
      return await inner.swap(record)
    }
  }
  return { store, pause }
}

for (const kind of ['oauth-code', 'refresh-family']) {
  t.test(`a code that is redeemed while all grants are ended, after ${kind} was read, begins none`, async t => {
    const inner = memoryStore()
    let meanwhile = async (): Promise<unknown> => null
    const store: Store = {
      ...inner,
      find: async (foundKind, owner) => {
        const found = await inner.find(foundKind, owner)
        if (foundKind === kind) await meanwhile()
        return found
      }
    }
    const app = await serverApp(t, { store })
    const code = await codeFor(app)
    meanwhile = async () => {
      meanwhile = async () => null
      await redeem(app, code)
    }
    await app.gatehouse.tokens.of(ann).revokeAll()
    t.same(await app.gatehouse.tokens.of(ann).list(), [])
  })
}

t.test('grants end even if the codes cannot be read, and the call says so', async t => {
  const inner = memoryStore()
  let fails = false
  const store: Store = {
    ...inner,
    find: async (kind, owner) => {
      if (fails && kind === 'oauth-code') throw new Error('connection lost')
      return await inner.find(kind, owner)
    }
  }
  const app = await serverApp(t, { store })
  const { body } = await redeem(app, await codeFor(app))
  fails = true
  await t.rejects(app.gatehouse.tokens.of(ann).revokeAll(), { code: 'AUTH_UNAVAILABLE' })
  t.equal((await call(app, body.access_token)).status, 401)
})

for (const name of ['get', 'swap'] as const) {
  t.test(`a redemption that waits at ${name} while all grants are ended gives nothing`, async t => {
    const { store, pause } = delayedStore(name)
    const app = await serverApp(t, { store })
    const code = await codeFor(app)
    let release = () => {}
    pause.until = new Promise(resolve => { release = resolve })
    const late = redeem(app, code)
    await new Promise(resolve => { setTimeout(resolve, 50) })
    await app.gatehouse.tokens.of(ann).revokeAll()
    release()
    t.match(await late, refused)
    t.same(await app.gatehouse.tokens.of(ann).list(), [])
  })
}

t.test('bounds the codes of one person in the store, used and unused, for each issuer', async t => {
  const store = memoryStore({ maxRecords: 310 })
  const plugin = { load: (person: object) => ({ ...person, scopes: ['orders:read'] }) }
  const app = await serverApp(t, { store, plugin })
  const other = await serverApp(t, { store, plugin, issuer: 'https://b.example.com' })
  const client = { client_id: 'own', redirect_uri: 'https://own.example.com/cb' }
  const { cookie } = await login(app)
  const code = async (person = cookie) => String((await visit(app, authorizePath(client), person)).params['code'])
  const elsewhere = await codeFor(other)
  const [unused, used] = [await code(), await code()]
  t.equal((await redeem(app, used, client)).status, 200)
  for (let i = 0; i < 400; i++) {
    const next = await code()
    if (i % 2 === 0) t.equal((await redeem(app, next, client)).status, 200)
  }
  t.equal((await store.find('oauth-code', ann)).length, 101)
  t.match(await redeem(app, unused, client), refused, 'the oldest have ended')
  t.match(await redeem(app, used, client), refused)
  for (const newest of [await code(), await code()]) {
    t.equal((await redeem(app, newest, client)).status, 200, 'the newest have not, used ones are no newer')
  }
  t.equal((await redeem(other, elsewhere)).status, 200, 'those of another issuer do not count')
  t.equal((await redeem(app, await code((await login(app, 'cid')).cookie), client)).status, 200, 'nor do other people')
})
