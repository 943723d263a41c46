import Fastify from 'fastify'
import t from 'tap'
import { authenticated, type Principal, type SchemeContext } from '../../../lib/index.js'
import { digestOf, KeyFormat } from '../../../lib/schemes/api-key/key.js'
import { KeyLookup, LastUsed } from '../../../lib/schemes/api-key/lookup.js'
import { Owners } from '../../../lib/schemes/api-key/owners.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'
import { usedHeap } from '../../fixtures/heap.js'
import { stored } from './app.js'

/** As many as there is time for: bench/growth.ts sends 5,000,000 through the whole application. */
const count = 80_000
/** The heap differs by up to 4 MiB between two runs. Keeping one string of each key would need more than 10 MiB. */
const allowed = 8 * 1_048_576

t.test(`${count} distinct bad keys do not grow the heap`, async t => {
  const app = Fastify()
  const format = new KeyFormat('acme')
  const store = memoryStore()
  const lookup = new KeyLookup({
    scheme: 'service',
    prefix: 'acme',
    staleness: 60_000,
    store,
    lastUsed: new LastUsed(store, app.log),
    log: app.log
  })
  const send = async (): Promise<void> => {
    if ((await lookup.outcomeOf(digestOf(format.generate()))).kind !== 'invalid') t.fail('a bad key is good')
  }
  for (let i = 0; i < 15_000; i++) await send()
  const before = await usedHeap()
  for (let i = 0; i < count; i++) await send()
  const grown = await usedHeap() - before
  t.ok(grown < allowed, `${(grown / 1_048_576).toFixed(2)} MiB`)
})

t.test('caches a bounded number of owners', async t => {
  const loaded: string[] = []
  const grants: SchemeContext['grants'] = () => true
  const owners = new Owners({
    app: Fastify(),
    scheme: 's',
    load: ({ id }) => {
      loaded.push(id)
      return { id }
    },
    grants,
    staleness: 60_000
  })
  const key = (id: string) =>
    authenticated({ realm: 'r', id, scopes: [], roles: [] } as Principal, { credential: { id, name: id } })
  for (let i = 0; i <= 10_000; i++) await owners.narrow(key(String(i)), null)
  loaded.length = 0
  await owners.narrow(key('10000'), null)
  t.strictSame(loaded, [])
  await owners.narrow(key('0'), null)
  t.strictSame(loaded, ['0'], 'the oldest is forgotten first')
})

t.test('tracks a bounded number of last uses, and keeps updating those', t => {
  const lastUsed = new LastUsed(memoryStore(), Fastify().log)
  const now = Date.now
  t.teardown(() => { Date.now = now })
  for (let i = 0; i <= 100_000; i++) lastUsed.record(String(i))
  t.not(lastUsed.pendingUse('99999'), null)
  t.equal(lastUsed.pendingUse('100000'), null)
  Date.now = () => 0
  lastUsed.record('0')
  t.equal(lastUsed.pendingUse('0'), new Date(0).toISOString())
  t.end()
})

t.test('bad keys do not evict good ones', async t => {
  const calls = { get: 0 }
  const inner = memoryStore()
  const store = { ...inner, get: async (kind: string, id: string) => { calls.get++; return inner.get(kind, id) } }
  const app = Fastify()
  const format = new KeyFormat('acme')
  const lookup = new KeyLookup({
    scheme: 'service',
    prefix: 'acme',
    staleness: 60_000,
    store,
    lastUsed: new LastUsed(store, app.log),
    log: app.log
  })
  const good = digestOf(format.generate())
  await inner.add({ kind: 'api-key', id: good, owner: { realm: 'r', id: 'ann' }, value: stored, expiresAt: null })
  await lookup.outcomeOf(good)
  for (let i = 0; i < 20_001; i++) await lookup.outcomeOf(String(i))
  calls.get = 0
  const outcome = lookup.outcomeOf(good)
  t.notOk(outcome instanceof Promise, 'a cached key is answered without a promise')
  t.equal((await outcome).kind, 'authenticated')
  t.equal(calls.get, 0)
})
