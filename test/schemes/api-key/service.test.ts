import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { apiKey, AuthError, type ApiKeyInput, type Store } from '../../../lib/index.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'
import { ann, bob, clock, createInstance, plain, tappedStore } from './app.js'
import { exactly } from '../../fixtures/exactly.js'

const roles = { admin: { roles: ['clerk'] }, clerk: { scopes: ['orders:read'] } }
const people: Record<string, { roles?: string[]; scopes?: string[] }> = {
  ann: { roles: ['admin'], scopes: ['reports'] },
  bob: { roles: [] }
}
const load = async (principal: { id: string }) =>
  people[principal.id] === undefined ? null : { id: principal.id, ...people[principal.id] }

t.test('creates, lists, changes and revokes a key', async t => {
  const { keys, status } = await createInstance(t)
  const end = new Date(Date.now() + 86_400_000)
  const { key, record } = await keys
    .of(ann)
    .create({
      name: 'laptop',
      scopes: ['a', 'b', 'a'],
      roles: ['r'],
      expiresAt: end,
      rateLimit: { max: 5, window: '1m' }
    })
  t.match(key, /^acme_[0-9A-Za-z]{36}$/)
  t.equal(record.start, key.slice(0, 9))
  t.strictSame(plain(record), {
    owner: ann,
    name: 'laptop',
    scopes: ['a', 'b'],
    roles: ['r'],
    expiresAt: end.toISOString(),
    lastUsedAt: null,
    rateLimit: { max: 5, window: 60 },
    replacedBy: null,
    replacedAt: null,
    sunsetAt: null
  })
  t.ok(Object.isFrozen(record) && Object.isFrozen(record.scopes))
  t.equal(await status(key), 200)

  const other = await keys.of(bob).create({ name: 'other' })
  t.strictSame((await keys.of(ann).list()).map(each => each.id), [record.id])
  t.equal((await keys.ofAnyOwner().get(record.id))?.name, 'laptop')
  t.equal((await keys.of(bob).get(other.record.id))?.name, 'other')

  const changed = await keys
    .ofAnyOwner()
    .update(record.id, { name: 'desk', scopes: [], expiresAt: null, rateLimit: null })
  t.match(changed, { name: 'desk', scopes: exactly(), roles: exactly('r'), expiresAt: null, rateLimit: null })
  t.strictSame((await keys.ofAnyOwner().get(record.id))?.name, 'desk')

  t.equal(await keys.ofAnyOwner().revoke(record.id), true)
  t.equal(await status(key), 401, 'at once on the same instance, though it was remembered')
  t.equal(await keys.ofAnyOwner().revoke(record.id), false)
  t.equal(await keys.ofAnyOwner().get(record.id), null)
  t.equal(await status(other.key), 200)
})

t.test('applies a change at once on the same instance, even if the store reports no changes', async t => {
  const { store } = tappedStore(memoryStore(), { reportsChanges: false })
  const { keys, ask } = await createInstance(t, {}, { store })
  const { key, record } = await keys.of(ann).create({ name: 'k', scopes: ['a'] })
  t.match((await ask(key)).json(), { principal: { scopes: exactly('a') } })
  await keys.ofAnyOwner().update(record.id, { scopes: [] })
  t.match((await ask(key)).json(), { principal: { scopes: exactly() } })
})

t.test('lists the newest first', async t => {
  const time = clock(t)
  const { keys } = await createInstance(t)
  for (const name of ['one', 'two', 'three']) {
    await keys.of(ann).create({ name })
    time.advance(1)
  }
  t.strictSame((await keys.of(ann).list()).map(each => each.name), ['three', 'two', 'one'])
})

t.test('treats a key of another owner as missing if an owner is given', async t => {
  const { keys, status } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  for (const stranger of [bob, { realm: 'other', id: 'ann' }]) {
    t.equal(await keys.of(stranger).get(record.id), null)
    t.equal(await keys.of(stranger).update(record.id, { name: 'mine' }), null)
    t.equal(await keys.of(stranger).rotate(record.id, { overlap: 0 }), null)
    t.equal(await keys.of(stranger).revoke(record.id), false)
    t.strictSame(await keys.of(stranger).list(), [])
  }
  for (const id of ['', 'nothing', 'x'.repeat(43), 'x'.repeat(5_000), '\0', 7 as unknown as string]) {
    t.equal(await keys.of(ann).get(id), null)
    t.equal(await keys.of(ann).rotate(id, { overlap: 0, maxKeys: 3 }), null)
  }
  t.equal((await keys.ofAnyOwner().get(record.id))?.name, 'k')
  t.equal(await status(key), 200)
})

t.test('never sends a key to a store', async t => {
  const calls: string[] = []
  const store = Object.fromEntries(
    Object.entries(memoryStore()).map(([method, run]) => [
      method,
      (...args: unknown[]) => {
        calls.push(JSON.stringify(args))
        return (run as (...args: unknown[]) => unknown)(...args)
      }
    ])
  ) as unknown as Store
  const { keys, ask, log, app } = await createInstance(t, {}, { store })
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  await ask(key)
  const rotated = await keys.ofAnyOwner().rotate(record.id, { overlap: 60 })
  await keys.revokeLeaked(key)
  await app.close()
  t.ok(calls.length > 5)
  for (const secret of [key, rotated?.key ?? '']) {
    const windows = Array.from({ length: 36 - 7 }, (_, i) => secret.slice(5 + i, 13 + i))
    const shown = `${calls.join()} ${log.map(line => JSON.stringify(line)).join()}`
    t.notOk(windows.some(part => shown.includes(part)), 'nor does the log: not any 8 characters of one')
  }
})

t.test('fails on wrong arguments, and shows the reason in the log only', async t => {
  const { keys } = await createInstance(t)
  const { record } = await keys.of(ann).create({ name: 'k' })
  const good = { name: 'k' }
  const wrong: unknown[] = [
    undefined,
    null,
    {},
    { scopes: [] },
    { ...good, name: '' },
    { ...good, name: ' ' },
    { ...good, name: 'x'.repeat(201) },
    { ...good, owner: ann },
    { ...good, scopes: 'a' },
    { ...good, scopes: [''] },
    { ...good, roles: [7] },
    { ...good, scopes: Array(201).fill('a') },
    { ...good, expiresAt: '2030-01-01' },
    { ...good, expiresAt: new Date(NaN) },
    { ...good, expiresAt: new Date(Date.now() - 1) },
    { ...good, rateLimit: { max: 0, window: 1 } },
    { ...good, rateLimit: { max: 1, window: 'x' } },
    { ...good, rateLimit: { max: 1, window: 0 } },
    { ...good, rateLimit: 5 },
    { ...good, scope: ['a'] },
    { ...good, scopes: undefined }
  ]
  for (const input of wrong) {
    await t.rejects(
      keys.of(ann).create(input as ApiKeyInput),
      { code: 'AUTH_FAULT', message: 'Internal Server Error' },
      JSON.stringify(input)
    )
  }
  await t.rejects(
    keys.ofAnyOwner().update(record.id, { owner: bob } as object),
    { code: 'AUTH_FAULT' },
    'an owner does not change'
  )
  await t.rejects(keys.ofAnyOwner().update(record.id, { name: '' }), { code: 'AUTH_FAULT' })
  for (const overlap of [-1, NaN, 'soon', undefined]) {
    await t.rejects(
      keys.ofAnyOwner().rotate(record.id, { overlap } as { overlap: number }),
      { code: 'AUTH_FAULT' },
      String(overlap)
    )
  }
  await t.rejects(
    keys.of(ann).create(good, undefined),
    { code: 'AUTH_FAULT' },
    'bounds that are undefined would bound nothing'
  )
  await t.rejects(keys.ofAnyOwner().update(record.id, good, undefined), { code: 'AUTH_FAULT' })
  for (const owner of [{ realm: '', id: 'a' }, { realm: 'a', id: ' ' }, { realm: 'a', id: 'x'.repeat(1_001) }]) {
    t.throws(() => keys.of(owner), { code: 'AUTH_FAULT', detail: /1 to 1000 characters/ })
  }
  await keys.revokeLeaked(undefined as unknown as string)
})

t.test('rethrows what the input of the application throws', async t => {
  const { keys } = await createInstance(t)
  const mine = new Error('mine')
  const input = { get name (): string { throw mine } }
  t.equal(await keys.of(ann).create(input).catch((error: unknown) => error), mine)
})

t.test('returns no key that the store did not add', async t => {
  const { keys } = await createInstance(t, {}, { store: { ...tappedStore().store, add: async () => false } as Store })
  await t.rejects(keys.of(ann).create({ name: 'k' }), {
    code: 'AUTH_FAULT',
    detail: 'the store did not add a new API key'
  })
})

t.test('keeps both keys valid until the overlap of a rotation ends, and reports the old one as rotated', async t => {
  const time = clock(t)
  const { keys, ask, status, code } = await createInstance(t)
  const end = new Date(Date.now() + 30 * 86_400_000)
  const { key, record } = await keys
    .of(ann)
    .create({ name: 'k', scopes: ['a'], expiresAt: end, rateLimit: { max: 5, window: 60 } })
  t.equal((await ask(key)).headers.deprecation, undefined)
  time.advance(10)
  const rotated = await keys.of(ann).rotate(record.id, { overlap: '1h' })
  const now = Date.now()
  t.match(rotated?.record, {
    name: 'k',
    scopes: ['a'],
    expiresAt: end.toISOString(),
    rateLimit: { max: 5, window: 60 },
    owner: ann,
    replacedBy: null
  })
  t.match(await keys.ofAnyOwner().get(record.id), {
    replacedBy: rotated?.record.id,
    replacedAt: rotated?.record.createdAt
  })

  const old = await ask(key)
  t.equal(old.statusCode, 200)
  t.match(old.headers.deprecation, /^@\d{10}$/)
  t.ok(Math.abs(Number(String(old.headers.deprecation).slice(1)) - now / 1000) <= 2)
  t.ok(Math.abs(Date.parse(String(old.headers.sunset)) - now - 3_600_000) <= 2_000)
  t.equal(new Date(String(old.headers.sunset)).toUTCString(), old.headers.sunset, 'an HTTP date')
  t.equal(old.json<{ expiresAt: string }>().expiresAt, (await keys.ofAnyOwner().get(record.id))?.sunsetAt)
  const fresh = await ask(rotated?.key ?? '')
  t.equal(fresh.statusCode, 200)
  t.equal(fresh.headers.deprecation, undefined)

  time.advance(3_601)
  t.equal(await code(key), 'AUTH_TOKEN_EXPIRED')
  t.equal((await ask(key)).headers.deprecation, undefined)
  t.equal(await status(rotated?.key ?? ''), 200)
  t.equal(await keys.ofAnyOwner().rotate(record.id, { overlap: 60 }), null, 'a key that ended is not rotated')
  t.equal(await keys.ofAnyOwner().update(record.id, { expiresAt: null }), null, 'a key that ended cannot be extended')
})

t.test('ends the old key at once if the rotation is due to a suspicion, without telling its holder', async t => {
  const { keys, ask } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  await ask(key)
  const rotated = await keys.ofAnyOwner().rotate(record.id, { overlap: 0 })
  const [old, never] = [
    await ask(key),
    await ask((await keys.of(ann).create({ name: 'x' })).key.replace(/.{36}$/, '0'.repeat(36)))
  ]
  t.equal(old.statusCode, 401)
  t.equal(old.body, never.body)
  t.strictSame({ ...old.headers, date: 0 }, { ...never.headers, date: 0 }, 'the answer is that of a key that never was')
  t.equal(await keys.ofAnyOwner().get(record.id), null)
  t.equal((await ask(rotated?.key ?? '')).statusCode, 200)
})

t.test('never extends the old key by a second rotation, and ends it on suspicion', async t => {
  const time = clock(t)
  const { keys, status } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'k', expiresAt: new Date(Date.now() + 100_000) })
  await keys.ofAnyOwner().rotate(record.id, { overlap: 10 })
  const first = await keys.ofAnyOwner().get(record.id)
  time.advance(1)
  await keys.ofAnyOwner().rotate(record.id, { overlap: '7d' })
  const { replacedAt, sunsetAt } = await keys.ofAnyOwner().get(record.id) ?? {}
  t.strictSame([replacedAt, sunsetAt], [first?.replacedAt, first?.sunsetAt])
  const last = await keys.ofAnyOwner().rotate(record.id, { overlap: 0 })
  t.equal(await status(key), 401)
  t.equal(last?.record.expiresAt, record.expiresAt, 'its successor has the end that was given, not that of the overlap')
  const short = await keys.of(ann).create({ name: 'k', expiresAt: new Date(Date.now() + 5_000) })
  await keys.ofAnyOwner().rotate(short.record.id, { overlap: '1h' })
  t.equal(
    (await keys.ofAnyOwner().get(short.record.id))?.sunsetAt,
    short.record.expiresAt,
    'an overlap ends with the key'
  )
})

t.test('lets exactly one of several concurrent rotations on suspicion succeed, without extra keys', async t => {
  const { keys } = await createInstance(t)
  const { record } = await keys.of(ann).create({ name: 'k' })
  const made = await Promise.all(Array.from({ length: 8 }, () => keys.ofAnyOwner().rotate(record.id, { overlap: 0 })))
  const won = made.filter(each => each !== null)
  t.equal(won.length, 1)
  t.strictSame((await keys.of(ann).list()).map(each => each.id), won.map(each => each?.record.id))
})

t.test('rotates with the new rights if they change at the same time', async t => {
  const tap = tappedStore()
  const { keys } = await createInstance(t, {}, { store: tap.store })
  const { record } = await keys.of(ann).create({ name: 'k', scopes: ['a', 'b'] })
  let met = false
  tap.before = async method => {
    if (method !== 'swap' || met) return
    met = true
    await keys.ofAnyOwner().update(record.id, { scopes: ['a'] })
  }
  const rotated = await keys.ofAnyOwner().rotate(record.id, { overlap: 60 })
  t.strictSame(rotated?.record.scopes, ['a'])
  t.equal((await keys.of(ann).list()).length, 2, 'the successor of the attempt that lost the race was removed')
})

t.test('fails as unavailable if a change conflicts again and again', async t => {
  const tap = tappedStore()
  const { keys } = await createInstance(t, {}, { store: { ...tap.store, swap: async () => false } as Store })
  const { record } = await keys.of(ann).create({ name: 'k' })
  await t.rejects(keys.ofAnyOwner().update(record.id, { name: 'x' }), { code: 'AUTH_UNAVAILABLE' })
})

t.test('creates no key with more rights than its owner', async t => {
  const { keys, status } = await createInstance(
    t, {}, { load, roles, scopes: { 'orders:read': 'See orders', reports: 'See reports' } }
  )
  const rights = { scopes: ['orders:read', 'reports'], roles: ['clerk', 'admin'] }
  const { record } = await keys.of(ann).create({ name: 'k', ...rights })
  t.match(record, rights, 'roles include other rights')
  for (const more of [{ scopes: ['orders:write'] }, { roles: ['root'] }, { scopes: ['orders:read', '__proto__'] }]) {
    await t.rejects(keys.of(ann).create({ name: 'k', ...more }), { code: 'AUTH_ACCESS_DENIED' })
    await t.rejects(keys.ofAnyOwner().update(record.id, more), { code: 'AUTH_ACCESS_DENIED' })
  }
  await t.rejects(keys.of(bob).create({ name: 'k', scopes: ['orders:read'] }), { code: 'AUTH_ACCESS_DENIED' })
  t.ok(await keys.of(bob).create({ name: 'k' }))
  await t.rejects(
    keys.of({ realm: 'staff', id: 'eve' }).create({ name: 'k' }),
    { message: 'Access denied', stack: /^AuthError: Access denied \(load knows no such owner/ },
    'nor is one made for nobody'
  )

  const { key } = await keys.of(bob).create({ name: 'k' })
  people['bob'] = { roles: ['clerk'] }
  t.teardown(() => { people['bob'] = { roles: [] } })
  const { key: more } = await keys.of(bob).create({ name: 'k', scopes: ['orders:read'] })
  t.strictSame([await status(key), await status(more)], [200, 200], 'requests load the owner')
  people['bob'] = { roles: [] }
  await t.rejects(keys.of(bob).create({ name: 'k', scopes: ['orders:read'] }), { code: 'AUTH_ACCESS_DENIED' })

  const within = { ...ann, scopes: ['reports'], roles: [] }
  t.ok(await keys.of(ann).create({ name: 'k', scopes: ['reports'] }, { within }))
  await t.rejects(
    keys.of(ann).create({ name: 'k', roles: ['clerk'] }, { within }),
    { code: 'AUTH_ACCESS_DENIED', stack: /^AuthError: Access denied \(.* does not have: clerk\)/ },
    'nor what the person has not who asks for it'
  )
  const rotated = await keys.ofAnyOwner().rotate(record.id, { overlap: 0, within })
  t.match(rotated?.record, { scopes: exactly('reports'), roles: exactly() })
})

t.test('an error of load does not decide the response of a handler that creates a key', async t => {
  const failing = [
    () => { throw Object.assign(new Error('select from people'), { statusCode: 404 }) },
    async () => { throw Object.assign(new Error('select from people'), { statusCode: 404 }) },
    async () => await Promise.reject(new TypeError())
  ]
  for (const load of failing) {
    const { app, keys } = await createInstance(t, {}, { load })
    await t.rejects(keys.of(ann).create({ name: 'k' }), {
      code: 'AUTH_FAULT',
      message: 'Internal Server Error',
      stack: /\(the load function for the scheme 'service' threw\)/
    })
    await app.close()
  }
  const load = async () => { throw new AuthError('AUTH_UNAVAILABLE', 'the directory is down') }
  const { keys } = await createInstance(t, {}, { load })
  await t.rejects(keys.of(ann).create({ name: 'k' }), { code: 'AUTH_UNAVAILABLE' })
})

t.test('separates the keys of two schemes in one store', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, {
    schemes: {
      live: apiKey({ managed: { prefix: 'acme_live' } }),
      test: apiKey({ managed: { prefix: 'acme_test' }, from: 'bearer' }),
      given: apiKey({ verify: () => null })
    },
    default: ['live', 'test']
  })
  app.get('/', async ({ auth }) => auth.scheme)
  await app.ready()
  const { apiKeys } = app.gatehouse
  t.strictSame(apiKeys.schemes, ['live', 'test'])
  const several = {
    code: 'AUTH_FAULT',
    detail: "several schemes can manage API keys: name one of them, 'live' or 'test', in the option scheme"
  }
  t.throws(() => apiKeys.of(ann), several)
  t.throws(() => apiKeys.ofAnyOwner(), several)
  await t.rejects(apiKeys.revokeLeaked('acme_live_x'), several)
  for (const scheme of ['given', 'stranger']) {
    t.throws(() => apiKeys.of(ann, { scheme }), {
      code: 'AUTH_FAULT',
      detail: `the scheme '${scheme}' cannot manage API keys. Known: 'live' or 'test'`
    })
  }
  t.throws(() => apiKeys.of(ann, { scheme: undefined } as object), {
    code: 'AUTH_FAULT',
    detail: /'scheme' set to undefined/
  })
  const [live, test] = [apiKeys.of(ann, { scheme: 'live' }), apiKeys.of(ann, { scheme: 'test' })]
  const { key, record } = await live.create({ name: 'k' })
  t.equal(await test.get(record.id), null)
  t.equal(await apiKeys.ofAnyOwner({ scheme: 'test' }).get(record.id), null)
  t.strictSame(await apiKeys.ofAnyOwner({ scheme: 'live' }).get(record.id), record)
  t.strictSame(await test.list(), [])
  t.equal(await test.revoke(record.id), false)
  await apiKeys.revokeLeaked(key, { scheme: 'test' })
  const sent = { authorization: `Bearer ${(await test.create({ name: 'k' })).key}` }
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': key } })).body, 'live')
  t.equal((await app.inject({ url: '/', headers: sent })).body, 'test')
})

t.test('revokes a leaked key without telling its holder', async t => {
  const { keys, status, log } = await createInstance(t)
  const { key, record } = await keys.of(ann).create({ name: 'k' })
  t.equal(await keys.revokeLeaked(key), undefined)
  t.equal(await status(key), 401)
  for (const other of [key, 'acme_typo', 'ghp_other', '']) t.equal(await keys.revokeLeaked(other), undefined)
  t.ok(log.some(line => line.msg === 'a leaked API key was revoked' && line.apiKey === record.id))
})
