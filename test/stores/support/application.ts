import { Redis } from 'ioredis'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import authPlugin, { apiKey, basic, session, type Store } from '../../../lib/index.js'
import { redisStore } from '../../../lib/stores/redis/index.js'
import { sqlStore } from '../../../lib/stores/sql/index.js'
import { until } from '../../support/time-limit.js'

/** What an application in a process of its own is told at its start. */
export interface Setting {
  readonly store: { readonly redis: string } | { readonly postgres: string }
  /** Counts the requests of principals in Redis too, by a client as `ioredis` makes it when it is told nothing. */
  readonly limits: string | null
  /** Seals cookies, is everybody's password, and is the key of who administrates. */
  readonly secret: string
  /** Seconds. */
  readonly staleness: number
}

/** What it says: where it listens, and what would have ended a process that nobody watches. */
export type Word = { readonly port: number } | { readonly fault: string }

interface Login { readonly username: string, readonly password: string }

async function serve (setting: Setting): Promise<void> {
  const { store: place, limits, secret } = setting
  const store = 'redis' in place ? redisStore({ url: place.redis }) : sqlStore({ connectionString: place.postgres })
  const redis = limits === null ? null : new Redis(limits)
  // an application that is told of errors is one that does not end of them
  redis?.on('error', () => {})
  // a machine that is busy may take longer to connect than the plugin waits at boot
  await until(() => store.get('start', 'id').then(() => true, () => false), 30_000)
  const app = Fastify({ trustProxy: '127.0.0.1' })
  await register(app as unknown as FastifyInstance, store, redis, setting)
  routes(app as unknown as FastifyInstance, secret)
  app.addHook('onClose', async () => {
    await store.close()
    redis?.disconnect()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  say({ port: (app.server.address() as { port: number }).port })
  // a test that is cut off leaves no application behind
  const orphaned = (): void => { process.exit(1) }
  process.once('disconnect', orphaned)
  process.once('message', async () => {
    process.off('disconnect', orphaned)
    await app.close()
    process.disconnect()
  })
}

async function register (app: FastifyInstance, store: Store, redis: Redis | null, { secret, staleness }: Setting): Promise<void> {
  await app.register(authPlugin, {
    schemes: {
      service: apiKey({ managed: { prefix: 'acme', staleness } }),
      web: session({ secret, staleness }),
      ops: basic({ verify: (name, password) => password === secret ? { id: name } : null }),
      admin: apiKey({ keys: { [secret]: { id: 'root' } }, from: 'header:x-admin-key' })
    },
    default: ['service', 'web', 'ops'],
    store,
    limits: redis === null ? {} : { requests: { max: 1_000_000, window: '1m' }, redis }
  })
}

function routes (app: FastifyInstance, secret: string): void {
  const open = { config: { auth: { public: 'logs people in and out' } } }
  const admin = { config: { auth: 'admin' } }
  app.get('/private', async ({ principal }) => ({ id: principal?.id }))
  app.post<{ Body: Login }>('/login', open, async (request, reply) => {
    const { username, password } = request.body
    const person = await app.gatehouse.guesses.attempt(reply, username, () => password === secret ? { id: username } : null)
    if (person === null) return reply.code(401).send({})
    await reply.login(person)
    return {}
  })
  app.post('/logout', open, async (_request, reply) => {
    await reply.logout()
    return {}
  })
  app.post<{ Body: { id: string } }>('/keys', admin, async request => await app.gatehouse.apiKeys.create({ owner: { realm: 'service', id: request.body.id }, name: 'k' }))
  app.delete<{ Params: { id: string } }>('/keys/:id', admin, async (request, reply) => reply.code(await app.gatehouse.apiKeys.revoke(request.params.id) ? 204 : 404).send())
  // says something once it is open, and ends when the credential does
  app.get('/events', async (request, reply) => {
    const { signal } = (request as FastifyRequest).auth
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
    signal?.addEventListener('abort', () => { reply.raw.end() })
  })
}

function say (word: Word): void {
  process.send?.(word)
}

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => { say({ fault: `${event}: ${error instanceof Error ? error.stack : String(error)}` }) })
}

process.once('message', (setting: Setting) => {
  serve(setting).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
