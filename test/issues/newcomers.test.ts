import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, { apiKey, memoryStore, session, type Store } from '../../lib/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'

/** Faults that a first-time user reported who had only the documentation. */

const secret = randomBytes(32).toString('base64url')

function bare (t: Test, lines: string[] = []): FastifyInstance {
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  return app
}

async function boots (t: Test, store: Store): Promise<void> {
  const app = bare(t)
  app.addHook('onClose', async () => { await store.close() })
  await app.register(authPlugin, { schemes: { service: apiKey({ verify: () => null }) }, store })
}

t.test('stops the boot if Redis does not answer, as for PostgreSQL', async t => {
  await t.rejects(boots(t, redisStore({ url: 'redis://127.0.0.1:1', timeout: 0.5 })), {
    code: 'AUTH_MISCONFIGURED',
    message: /^The option store is not ready .*that its address is right/
  })
})

t.test('stops the boot for a SQLite file in a missing folder, without showing the path', async t => {
  const file = join(t.testdir(), 'absent', 'gatehouse.sqlite')
  await t.rejects(boots(t, sqlStore({ sqlite: file })), {
    code: 'AUTH_MISCONFIGURED',
    message: /the file cannot be opened \(is its folder there/
  })
})

t.test('explains a fault outside of a request on the console, but not in its message', async t => {
  const app = bare(t)
  await app.register(authPlugin, { schemes: { web: session({ secret }) } })
  const reason = /^\w+: Internal Server Error \(sessions are listed only with a store.*\n +at /
  await t.rejects(app.gatehouse.sessions.of({ realm: 'web', id: 'ada' }).list(), {
    message: /^Internal Server Error$/,
    stack: reason
  })
})

t.test('waits for a login without await before the response', async t => {
  const lines: string[] = []
  const app = bare(t, lines)
  const limits = { guesses: false } as const
  await app.register(authPlugin, { schemes: { web: session({ secret }) }, store: memoryStore(), limits })
  app.post('/forgotten', { config: { auth: false } }, async (request, reply) => {
    reply.login({ id: 'ada' }).catch(t.error)
    return 'in'
  })
  app.post('/awaited', { config: { auth: false } }, async (request, reply) => {
    await reply.login({ id: 'ada' })
    return 'in'
  })
  const awaited = await app.inject({ method: 'POST', url: '/awaited' })
  t.equal(awaited.cookies.length, 1)
  t.same(lines, [])
  const forgotten = await app.inject({ method: 'POST', url: '/forgotten' })
  t.equal(forgotten.cookies.length, 1)
  t.same(lines, [])
})
