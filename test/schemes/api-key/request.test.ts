import { setImmediate as soon } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, session, type AuthError, type Store, type StoreChange } from '../../../lib/index.js'
import { digestOf, KeyFormat } from '../../../lib/schemes/api-key/key.js'
import { KeyLookup, kind, LastUsed } from '../../../lib/schemes/api-key/lookup.js'
import type { ManagedApiKeyOptions } from '../../../lib/schemes/api-key/scheme.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'
import type { Authenticated } from '../../../types/outcome.js'
import { ann, bob, clock, createInstance, stored, tappedStore } from './app.js'
import { exactly } from '../../fixtures/exactly.js'

const unknownKey = (): string => new KeyFormat('acme').generate()

t.test('returns the owner as the principal and the key as the credential', async t => {
  const { keys, ask } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'laptop', scopes: ['a'], roles: ['r'] })
  t.strictSame((await ask(key)).json(), {
    principal: { ...ann, scopes: ['a'], roles: ['r'] },
    credential: { id: record.id, name: 'laptop' },
    expiresAt: null
  })
})

t.test('treats another prefix as foreign, and refuses a mistyped key without a look-up', async t => {
  const tap = tappedStore()
  const next = apiKey({ verify: key => (key.startsWith('other_') ? bob : null) })
  const { app, code } = await createInstance(
    t,
    {},
    {
      store: tap.store,
      schemes: { service: apiKey({ managed: { prefix: 'acme' } }), next },
      default: ['service', 'next']
    }
  )
  const { key } = await app.gatehouse.apiKeys.of(ann).create({ name: 'k' })
  const changed = key.slice(0, 10) + (key[10] === '0' ? '1' : '0') + key.slice(11)
  const refuse = async (lookUps: number) => {
    for (const typo of [`${key}x`, key.slice(0, -1), changed, `${key.slice(0, -1)},`, 'acme_']) {
      t.equal(await code(typo), 'AUTH_INVALID_CREDENTIALS')
    }
    t.equal(await code('other_key'), 'none', 'the next scheme is asked')
    t.equal(tap.count('get'), lookUps)
  }
  await refuse(0)
  t.equal(await code(key), 'none')
  await refuse(1)
})

t.test('looks up a key once within the staleness, and unknown ones too', async t => {
  const time = clock(t)
  const tap = tappedStore()
  const { keys, status } = await createInstance(t, {}, { store: tap.store })
  const { key } = await keys.of(ann).create({ name: 'k' })
  const bad = unknownKey()
  for (let i = 0; i < 5; i++) {
    t.equal(await status(key), 200)
    t.equal(await status(bad), 401)
  }
  t.equal(tap.count('get'), 2)
  time.advance(5.1)
  await status(key)
  await status(bad)
  t.equal(tap.count('get'), 4, '5 seconds by default')
  time.advance(-3_600)
  await status(key)
  t.equal(tap.count('get'), 5, 'a clock that is set back makes nothing last longer')
})

t.test('shares one look-up between concurrent requests', async t => {
  const tap = tappedStore()
  const { keys, status } = await createInstance(t, {}, { store: tap.store })
  const { key } = await keys.of(ann).create({ name: 'k' })
  tap.before = () => soon()
  t.strictSame(new Set(await Promise.all(Array.from({ length: 50 }, () => status(key)))), new Set([200]))
  t.equal(tap.count('get'), 1)
})

t.test('does not cache a look-up that began before a revocation', async t => {
  const tap = tappedStore()
  const held = { on: false, release: (): void => {} }
  const released = new Promise<void>(resolve => { held.release = resolve })
  const late: Store = {
    ...tap.store,
    async get (...args) {
      const found = await tap.store.get(...args)
      if (held.on) await released
      return found
    }
  }
  const { keys, status } = await createInstance(t, {}, { store: late })
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  held.on = true
  const response = status(key)
  while (tap.count('get') === 0) await soon()
  held.on = false
  await keys.ofAnyOwner().revoke(record.id)
  held.release()
  t.equal(await response, 200, 'the earlier request is answered')
  t.equal(await status(key), 401)
})

t.test('reports an expired key as expired for a week, and then as unknown', async t => {
  const time = clock(t)
  const { keys, code } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'k', expiresAt: new Date(Date.now() + 60_000) })
  t.equal(await code(key), 'none')
  time.advance(61)
  t.equal(await code(key), 'AUTH_TOKEN_EXPIRED')
  t.equal((await keys.of(ann).list()).length, 1)
  time.advance(8 * 86_400)
  t.equal(await code(key), 'AUTH_INVALID_CREDENTIALS')
  t.equal(await keys.ofAnyOwner().get(record.id), null)
})

t.test('answers from the cache within the staleness, and otherwise 503, while the store is unavailable', async t => {
  const time = clock(t)
  const tap = tappedStore()
  const { keys, ask, status } = await createInstance(t, {}, { store: tap.store })
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  await status(key)
  tap.down = true
  t.equal(await status(key), 200)
  const refused = await ask(unknownKey())
  t.equal(refused.statusCode, 503)
  t.match(refused.headers['retry-after'], /^\d+$/)
  time.advance(6)
  t.equal(await status(key), 503)
  await t.rejects(keys.of(ann).create({ name: 'k' }), { code: 'AUTH_UNAVAILABLE' })
  await t.rejects(keys.of(ann).list(), { code: 'AUTH_UNAVAILABLE' })
  await t.rejects(keys.ofAnyOwner().revoke(record.id), { code: 'AUTH_UNAVAILABLE' })
  await t.rejects(keys.ofAnyOwner().rotate(record.id, { overlap: 0 }), { code: 'AUTH_UNAVAILABLE' })
  await t.rejects(keys.revokeLeaked(key), { code: 'AUTH_UNAVAILABLE' })
  tap.down = false
  t.equal(await status(key), 200, 'it recovers by itself')
})

t.test('answers 500 for a corrupt record', async t => {
  const store = memoryStore()
  const { ask, log } = await createInstance(t, {}, { store })
  const added = async (value: object) => {
    const key = unknownKey()
    await store.add({ kind, id: digestOf(key), owner: ann, value: value as Record<string, never>, expiresAt: null })
    return (await ask(key)).statusCode
  }
  t.equal(await added(stored), 200)
  const broken: object[] = [
    {},
    { name: 7 },
    { ...stored, scopes: 'a' },
    { ...stored, roles: null },
    { ...stored, scopes: [7] },
    { ...stored, rateLimit: 5 },
    { ...stored, rateLimit: { max: '5', window: 60 } },
    { ...stored, rateLimit: { max: 5 } }
  ]
  for (const value of broken) t.equal(await added(value), 500, JSON.stringify(value))
  const key = unknownKey()
  await store.add({ kind, id: digestOf(key), owner: null, value: {}, expiresAt: null })
  t.equal((await ask(key)).statusCode, 500)
  t.ok(log.some(line => JSON.stringify(line).includes('cannot be read')))
})

t.test('applies a revocation on other instances within the staleness, or at once on notification', async t => {
  const time = clock(t)
  for (const reportsChanges of [false, true]) {
    const inner = memoryStore()
    const [one, two] = [
      await createInstance(t, {}, { store: tappedStore(inner, { reportsChanges }).store }),
      await createInstance(t, {}, { store: tappedStore(inner, { reportsChanges }).store })
    ]
    const { key, record } = await one.keys.of(ann).create({ name: 'k' })
    t.equal(await one.status(key), 200)
    t.equal(await two.status(key), 200)
    await one.keys.ofAnyOwner().revoke(record.id)
    t.equal(await one.status(key), 401)
    t.equal(await two.status(key), reportsChanges ? 401 : 200)
    time.advance(5.1)
    t.equal(await two.status(key), 401)
  }
})

t.test('drops the cache if the store may have missed changes', async t => {
  const tap = tappedStore()
  let report = (_change: StoreChange): void => {}
  let ended = 0
  const store: Store = { ...tap.store, subscribe: (_kind, listener) => { report = listener; return () => { ended++ } } }
  const { keys, status, app } = await createInstance(t, {}, { store })
  const { key } = await keys.of(ann).create({ name: 'k' })
  await status(key)
  await status(key)
  t.equal(tap.count('get'), 1)
  report(null)
  await status(key)
  t.equal(tap.count('get'), 2)
  await app.close()
  t.equal(ended, 1)
})

t.test('accepts a staleness from 0 to 60 seconds', async t => {
  const tap = tappedStore()
  const { keys, status } = await createInstance(t, { managed: { prefix: 'acme', staleness: 0 } }, { store: tap.store })
  const { key } = await keys.of(ann).create({ name: 'k' })
  await status(key)
  await status(key)
  t.equal(tap.count('get'), 2)
  await t.rejects(createInstance(t, { managed: { prefix: 'acme', staleness: '61s' } }), {
    code: 'AUTH_MISCONFIGURED',
    message: /staleness must be at most 1 minute/
  })
})

t.test('writes last uses in batches, outside of requests', async t => {
  const time = clock(t)
  const tap = tappedStore()
  const { keys, status, app } = await createInstance(t, {}, { store: tap.store })
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  const unused = await keys.of(ann).create({ name: 'unused' })
  for (let i = 0; i < 10; i++) await status(key)
  t.equal(tap.count('swap'), 0)
  t.match(
    (await keys.ofAnyOwner().get(record.id))?.lastUsedAt, /^\d{4}-/,
    'the instance where the key was used shows the use at once'
  )
  await app.close()
  t.equal(tap.count('swap'), 1, 'closing writes the remaining uses')

  const next = await createInstance(t, {}, { store: tap.store })
  const first = (await next.keys.ofAnyOwner().get(record.id))?.lastUsedAt
  t.match(first, /^\d{4}-/)
  t.equal((await next.keys.ofAnyOwner().get(unused.record.id))?.lastUsedAt, null)
  await next.status(key)
  await next.app.close()
  t.equal(tap.count('swap'), 1, 'not twice in a minute, whichever instance')
  time.advance(120)
  const last = await createInstance(t, {}, { store: tap.store })
  await last.status(key)
  await last.app.close()
  t.equal(tap.count('swap'), 2)
})

t.test('logs a failure to write last uses without other effects', async t => {
  const tap = tappedStore()
  const { keys, status, app, log } = await createInstance(t, {}, { store: tap.store })
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  const gone = await keys.of(ann).create({ name: 'gone' })
  await status(key)
  await status(gone.key)
  await keys.ofAnyOwner().revoke(gone.record.id)
  tap.down = true
  await app.close()
  const line = log.find(each => /last used/.test(each.msg))
  t.match(line, { level: 40, failed: 2 })
  t.notOk(JSON.stringify(line).includes(record.id))
})

t.test('ends long-lived connections when the key is revoked', async t => {
  for (const reportsChanges of [true, false]) {
    const inner = memoryStore()
    const scheme = async () => {
      const app = Fastify()
      t.teardown(() => app.close())
      let outcome: Authenticated | undefined
      await app.register(gatehouse, {
        schemes: { service: apiKey({ managed: { prefix: 'acme' } }) },
        store: tappedStore(inner, { reportsChanges }).store
      })
      app.get('/', async request => {
        const { stateOf } = await import('../../../lib/guard/request-state.js')
        outcome = stateOf(request)?.pass?.identities[0]?.outcome
        return {}
      })
      await app.ready()
      return {
        app,
        keys: app.gatehouse.apiKeys,
        enter: async (key: string) => {
          await app.inject({ url: '/', headers: { 'x-api-key': key } })
          return outcome as Authenticated
        }
      }
    }
    const [here, there] = [await scheme(), await scheme()]
    const calls = { revoked: 0, stopped: 0, other: 0 }
    const { key, record } = await here.keys.of(ann).create({ name: 'k' })
    const other = await here.keys.of(ann).create({ name: 'other' })
    const outcome = await here.enter(key)
    outcome.onRevoked?.(() => { calls.revoked++ })
    outcome.onRevoked?.(() => { calls.stopped++ })()
    ;(await here.enter(other.key)).onRevoked?.(() => { calls.other++ })
    await here.keys.ofAnyOwner().update(record.id, { name: 'changed' })
    await soon()
    t.strictSame(calls, { revoked: 0, stopped: 0, other: 0 }, 'a change is not an end')
    await (reportsChanges ? there : here).keys.ofAnyOwner().revoke(record.id)
    await soon()
    await soon()
    t.strictSame(calls, { revoked: 1, stopped: 0, other: 0 })
    const late = { revoked: 0 }
    outcome.onRevoked?.(() => { late.revoked++ })
    await soon()
    await soon()
    t.equal(late.revoked, 1, 'also when it ended before anybody waited')
  }
})

t.test('ignores a record of another scheme under any id', async t => {
  const store = memoryStore()
  const { code } = await createInstance(t, {}, { store })
  for (const [prefix, expected] of [['acme', 'none'], ['other', 'AUTH_INVALID_CREDENTIALS']] as const) {
    const key = unknownKey()
    await store.add({ kind, id: digestOf(key), owner: ann, value: { ...stored, prefix }, expiresAt: null })
    t.equal(await code(key), expected)
  }
})

/** Creates a store with a key, and watches the key as a long-lived connection does. */
async function watchedKey (t: Test) {
  const tap = tappedStore()
  const { log } = Fastify()
  let report = (_change: StoreChange): void => {}
  const lookup = new KeyLookup({
    scheme: 'service',
    prefix: 'acme',
    staleness: 5_000,
    store: { ...tap.store, subscribe: (_kind, listener) => { report = listener; return () => {} } },
    lastUsed: new LastUsed(tap.store, log),
    log
  })
  t.teardown(() => {
    lookup.close()
  })
  const id = digestOf(unknownKey())
  await tap.store.add({ kind, id, owner: ann, value: stored, expiresAt: null })
  const outcome = await lookup.outcomeOf(id) as Authenticated
  const calls = { revoked: 0 }
  return {
    tap,
    id,
    calls,
    watch: () => outcome.onRevoked?.(() => { calls.revoked++ }),
    /** Reports a change of the key, or that changes may have been missed. */
    report: async (change: StoreChange) => { report(change); await soon() }
  }
}

t.test('keeps long-lived connections while the store is unavailable, and asks again', async t => {
  const { tap, id, calls, watch, report } = await watchedKey(t)
  tap.down = true
  watch()
  await report({ id })
  t.equal(tap.count('get'), 3)
  t.equal(calls.revoked, 0)
  tap.down = false
  await tap.store.take(kind, id)
  await report(null)
  t.equal(calls.revoked, 1)
})

t.test('ends long-lived connections with the overlap of a rotation', async t => {
  const { tap, id, calls, watch, report } = await watchedKey(t)
  watch()
  for (const [seconds, revoked] of [[60, 0], [-1, 1]] as const) {
    const sunsetAt = new Date(Date.now() + seconds * 1000).toISOString()
    const value = { ...stored, replacedBy: 'k2', replacedAt: stored.createdAt, sunsetAt }
    await tap.store.take(kind, id)
    await tap.store.add({ kind, id, owner: ann, value, expiresAt: null })
    await report({ id })
    t.equal(calls.revoked, revoked, `${seconds} s`)
  }
})

t.test('load', async t => {
  const people = new Map<string, { id: string; scopes?: string[]; roles?: string[]; name?: string } | null>([
    ['ann', { id: 'ann', scopes: ['a'], roles: ['clerk'], name: 'Ann' }]
  ])
  const options = { roles: { admin: { roles: ['clerk'] }, clerk: { scopes: ['orders'] } } }

  for (const async of [false, true]) {
    const load: ManagedApiKeyOptions['load'] = principal => {
      const found = people.get(principal.id) ?? null
      return async ? Promise.resolve(found) : found
    }
    await t.test(
      `limits a key at each use to what its owner has then, ${async ? 'asynchronously' : 'synchronously'}`,
      async t => {
        const time = clock(t)
        people.set('ann', { id: 'ann', scopes: ['a'], roles: ['admin'], name: 'Ann' })
        const { keys, ask } = await createInstance(t, { load }, options)
        const { key } = await keys.of(ann).create({ name: 'k', scopes: ['a', 'orders'], roles: ['clerk'] })
        const principal = async () => (await ask(key)).json<{ principal?: object }>().principal
        t.strictSame(await principal(), {
          id: 'ann',
          scopes: ['a', 'orders'],
          roles: ['clerk'],
          name: 'Ann',
          realm: 'staff'
        })
        people.set('ann', { id: 'ann', scopes: ['a', 'b'], roles: [] })
        time.advance(5.1)
        const limited = { scopes: exactly('a'), roles: exactly() }
        t.match(await principal(), limited, 'the principal has the rights that both the key and its owner have')
        t.equal((await ask(unknownKey())).statusCode, 401)
        people.set('ann', null)
        t.match(await principal(), { scopes: exactly('a') }, 'remembered for as long as a key is')
        time.advance(5.1)
        const gone = await ask(key)
        t.equal(gone.statusCode, 401)
        t.equal(gone.json<AuthError>().code, 'AUTH_INVALID_CREDENTIALS')
      }
    )
  }

  t.test('falls back to that of the plugin, and never widens a key', async t => {
    const principals: object[] = []
    const { keys, ask } = await createInstance(
      t,
      {},
      {
        load: principal => {
          principals.push(principal)
          return { ...principal, scopes: [...principal.scopes, 'a', 'everything'], id: 'root', realm: 'other' }
        }
      }
    )
    const { key } = await keys.of(ann).create({ name: 'k', scopes: ['a'] })
    t.strictSame(
      (await ask(key)).json<{ principal: object }>().principal,
      { ...ann, scopes: ['a'], roles: [] },
      'load cannot change the realm and the id'
    )
    t.strictSame(
      principals[0],
      { ...ann, scopes: [], roles: [] },
      'it is given nothing of the key, so that returning what it got is not a right'
    )
  })

  t.test('is called for the owner without a request, and once for all keys of an owner', async t => {
    const calls: string[] = []
    const { keys, ask, app } = await createInstance(t, {
      load: (principal, { scheme, request }) => {
        calls.push(`${scheme} ${principal.id} ${request.server === app} ${typeof request.log.info}`)
        return principal
      }
    })
    const [one, two] = [await keys.of(ann).create({ name: '1' }), await keys.of(ann).create({ name: '2' })]
    calls.length = 0
    for (const { key } of [one, two, one]) await ask(key)
    t.strictSame(calls, [])
    const third = await keys.of(bob).create({ name: '3' })
    await ask(third.key)
    t.strictSame(calls, ['service bob true function'])
  })

  t.test('answers 500 if it throws or returns no principal', async t => {
    let answer: unknown = ann
    const { keys, ask } = await createInstance(t, {
      managed: { prefix: 'acme', staleness: 0 },
      load: () => {
        if (answer === 'throw') throw new Error('db')
        return answer as typeof ann
      }
    })
    const { key } = await keys.of(ann).create({ name: 'k' })
    for (const wrong of ['throw', 'ann', [], { id: 7, scopes: 'a' }]) {
      answer = wrong
      t.equal((await ask(key)).statusCode, 500, JSON.stringify(wrong))
    }
  })
})

t.test('stops the boot for wrong options', async t => {
  const boots = async (options: object, more: object = {}) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, {
      schemes: { service: apiKey(options as ManagedApiKeyOptions), ...more },
      default: 'service'
    })
  }
  const managed = { prefix: 'acme' }
  const wrong: Array<[object, RegExp]> = [
    [{ managed: {} }, /The option schemes\.service\.managed\.prefix must be 2 to 32 letters/],
    [{ managed: { prefix: 'acme-live' } }, /such as 'acme_live'/],
    [{ managed: { ...managed, ttl: 5 } }, /unknown key 'ttl'/],
    [{ managed: { ...managed, staleness: 'soon' } }, /managed\.staleness/],
    [{ managed: true }, /must be an object/],
    [{ managed: undefined }, /undefined/],
    [{ managed, prefix: 'acme_' }, /managed\.prefix/],
    [{ managed, keys: { key: { id: 'ann' } } }, /exactly one of keys, verify and managed/],
    [{ managed, verify: () => null }, /exactly one of keys, verify and managed/],
    [{ managed, load: 'x' }, /must be a function/]
  ]
  for (const [options, message] of wrong) await t.rejects(boots(options), { code: 'AUTH_MISCONFIGURED', message })
  await t.rejects(boots({ managed }, { other: apiKey({ managed }) }), {
    code: 'AUTH_MISCONFIGURED',
    message: /'acme', and so is the one of schemes\.service/
  })
  const bare = Fastify()
  t.teardown(() => bare.close())
  await bare.register(gatehouse, { schemes: { web: session({ secret: 'V3ZlB0TqkLw9eRm2XsYc7uIoPa5dFgHj' }) } })
  t.throws(() => bare.gatehouse.apiKeys.ofAnyOwner(), {
    code: 'AUTH_FAULT',
    detail: /no scheme of this application can manage API keys: add one, created by apiKey\({ managed }\)/
  })
})

t.test('writes last uses after a minute', async t => {
  const tap = tappedStore()
  const { keys, app } = await createInstance(t, {}, { store: tap.store })
  const { record } = await keys.of(ann).create({ name: 'k' })
  const real = globalThis.setTimeout
  let run = (): void => {}
  let wait = 0
  globalThis.setTimeout = ((callback: () => void, delay: number) => {
    run = callback
    wait = delay
    return real(() => {}, 0)
  }) as typeof setTimeout
  try {
    new LastUsed(tap.store, app.log).record(record.id)
  } finally {
    globalThis.setTimeout = real
  }
  t.equal(wait, 60_000)
  run()
  while (tap.count('swap') === 0) await soon()
  t.equal(tap.count('swap'), 1)
})
