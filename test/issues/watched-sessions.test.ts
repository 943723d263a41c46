import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import authPlugin, { memoryStore, session, type Store } from '../../lib/index.js'

/** The sessions of many streams were looked up all at once, so that no look-up was answered in time. */

/** The maximum is a hundred sessions per person. */
const count = 60

t.test('checks the sessions of open streams a few at a time, and ends the one that is revoked', async t => {
  const { subscribe, ...inner } = memoryStore()
  const looked = { underWay: 0, most: 0, ids: new Set<string>() }
  const store: Store = {
    ...inner,
    async get (kind, id) {
      looked.most = Math.max(looked.most, ++looked.underWay)
      looked.ids.add(id)
      await sleep(1)
      looked.underWay--
      return await inner.get(kind, id)
    }
  }
  const app = Fastify()
  await app.register(authPlugin, {
    schemes: { web: session({ secret: randomBytes(32).toString('base64url'), staleness: 1 }) },
    store
  })
  app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  const open: AbortSignal[] = []
  let release: () => void = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  app.get('/events', async ({ auth }) => {
    if (auth.signal !== null) open.push(auth.signal)
    await released
    return {}
  })
  t.teardown(() => app.close())
  const login = async () =>
    String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie']).split(';')[0] ?? ''
  const cookies = await Promise.all(Array.from({ length: count }, login))
  const streams = cookies.map(async cookie => await app.inject({ url: '/events', headers: { cookie } }))
  while (open.length < cookies.length) await sleep(10)
  while (looked.underWay > 0) await sleep(10)
  Object.assign(looked, { most: 0, ids: new Set<string>() })
  while (looked.ids.size < cookies.length) await sleep(10)
  t.ok(looked.most <= 4, `${looked.most} look-ups at once`)
  const [one] = looked.ids
  await inner.take('session', String(one))
  while (!open.some(({ aborted }) => aborted)) await sleep(10)
  t.equal(open.filter(({ aborted }) => aborted).length, 1)
  release()
  await Promise.all(streams)
})
