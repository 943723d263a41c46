import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import plugin, { apiKey, memoryStore, type Store } from '../../lib/index.js'
import { createGuessLimiter } from '../../lib/limits/guesses.js'
import { parseLimits } from '../../lib/limits/options.js'
import { idOf, type Session } from '../../lib/schemes/session/session.js'
import { Revocations } from '../../lib/schemes/session/revocations.js'
import { usedHeap } from '../fixtures/heap.js'

/**
 * Returns the used heap. The test is a smaller version of bench/growth.ts, which sends 5,000,000 requests through the
 * whole application.
 */
async function mebibytes (): Promise<number> {
  return await usedHeap() / 1_048_576
}

t.test('keeps only the id and owner of an ended session', async t => {
  const hour = 3_600_000
  const list = new Revocations(hour, () => {})
  const begunAt = Date.now()
  const sessionOf = (i: number): Session => {
    // a separate string for each, as JSON.parse makes them
    const about = Buffer.alloc(2_000, 'x').toString()
    const principal = { realm: 'web', id: `user-${i}`, scopes: [], roles: [], about }
    return {
      secret: '',
      id: idOf(`secret-${i}`),
      principal,
      authenticatedAt: begunAt,
      createdAt: begunAt,
      begunAt,
      seenAt: begunAt,
      endsAt: begunAt + hour,
      kept: false,
      data: { about },
      provider: null
    }
  }
  const before = await mebibytes()
  for (let i = 0; i < 10_000; i++) list.end(sessionOf(i))
  const grown = await mebibytes() - before
  t.equal(list.denies(sessionOf(0)), true)
  t.ok(grown < 8, `${grown.toFixed(1)} MiB`)
})

t.test('a counter of guesses takes less than 240 bytes, and four full kinds of 20,000 less than 20 MiB', async t => {
  const from = (i: number): FastifyRequest =>
    ({
      ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
      method: 'GET',
      raw: { headers: {} }
    }) as unknown as FastifyRequest
  const flood = async (count: number): Promise<Store> => {
    const store = memoryStore({ maxCounters: count })
    const room = createGuessLimiter(
      store,
      parseLimits({ guesses: { perAccount: 1, perAddress: 1, window: '1d', longestWindow: '7d' } }).guesses,
      new Set()
    ).of('ops')
    for (let i = 0; i < count; i++) await room.attempt(from(i), `user-${i}`, () => null)
    return store
  }
  // so that the memory of compiled code is not counted
  await (await flood(2_000)).close()
  const before = await mebibytes()
  const store = await flood(10_000)
  const each = ((await mebibytes() - before) * 1_048_576) / 40_000
  for (const kind of ['guess-account', 'guess-account-level', 'guess-address', 'guess-address-level']) {
    await t.rejects(store.increment(kind, 'one more', { window: 60 }), { code: 'AUTH_UNAVAILABLE', reason: 'full' })
  }
  t.ok(each < 240, `${each.toFixed(0)} bytes`)
})

t.test('keeps nothing of records that are gone before their end, nor of their owners', async t => {
  const store = memoryStore()
  const expiresAt = new Date(Date.now() + 86_400_000)
  const comeAndGo = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) {
      const [id, owner] = [`record-${n}`, { realm: 'web', id: `person-${n}` }]
      await store.add({ kind: 'session', id, owner, value: {}, expiresAt })
      await store.take('session', id)
    }
  }
  await comeAndGo(3_000)
  const before = await mebibytes()
  await comeAndGo(12_000)
  const grown = await mebibytes() - before
  t.ok(grown < 1, `${grown.toFixed(1)} MiB`)
})

t.test('keeps no long scope that a function of a route has made from the request', async t => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  const schemes = { service: apiKey({ from: 'bearer', verify: () => ({ id: 'acme' }) }) }
  await app.register(plugin, { schemes })
  const auth = { scopes: ({ query }: FastifyRequest) => `read:${(query as { of: string }).of}` }
  app.get('/', { config: { auth } }, async () => '')
  const ask = async (of: string) =>
    app.inject({ url: '/', query: { of }, headers: { authorization: 'Bearer key' } })
  t.equal((await ask('warm')).statusCode, 403)
  const before = await mebibytes()
  for (let i = 0; i < 500; i++) {
    t.equal((await ask(`${i}-${'x'.repeat(12_000)}`)).statusCode, 403)
  }
  const grown = await mebibytes() - before
  t.ok(grown < 4, `${grown.toFixed(1)} MiB`)
})
