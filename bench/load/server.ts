import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { apiKey, basic, jwt, session, type GatehouseOptions } from '../../lib/index.js'
import { hashPassword } from '../../lib/passwords/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'

/** Headers of one request. */
type Headers = Readonly<Record<string, string>>

/** The message of the server when it listens. */
export interface Ready {
  readonly port: number
  /** Requests with good credentials of every kind. */
  readonly good: readonly Headers[]
  /** Requests that are refused. */
  readonly bad: readonly Headers[]
}

/** Figures since the last message: the delay of the event loop and the CPU time, in milliseconds. */
export interface Figures { readonly p50: number, readonly p99: number, readonly cpu: number }

/** The kinds of applications: without the plugin, and with it over the stores that processes share. */
export type Kind = 'bare' | 'memory' | 'redis' | 'postgres'

const kind = process.argv[2] as Kind
/** The secret, which processes that share a port and a store get from the first one. */
const secret = process.env.BENCH_SECRET ?? randomBytes(32).toString('base64url')
const tableKey = createHmac('sha256', secret).update('table key').digest('base64url')
const issuer = 'https://issuer.test'
const audience = 'https://api.test'

function token (signer = secret, lifetime = 3600): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: issuer, aud: audience, sub: 'user-1', iat: now - 7200, exp: now + lifetime, jti: randomUUID() }
  const input = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${input}.${createHmac('sha256', signer).update(input).digest('base64url')}`
}

function storeOf (): Pick<GatehouseOptions, 'store'> {
  if (kind === 'redis') return { store: redisStore({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' }) }
  const connectionString = process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/test'
  return kind === 'postgres' ? { store: sqlStore({ connectionString }) } : {}
}

async function guard (app: FastifyInstance): Promise<void> {
  await app.register(authPlugin, {
    schemes: {
      user: jwt({ keys: secret, issuer, audience }),
      service: apiKey({ keys: { [tableKey]: { id: 'shop' } } }),
      own: apiKey({ from: 'header:x-own-key', managed: { prefix: 'bench' } }),
      ops: basic({ users: { operator: { hash: await hashPassword('correct horse') } }, cache: { ttl: '5m' } }),
      web: session({ secret })
    },
    default: ['user', 'service', 'own', 'ops', 'web'],
    ...storeOf()
  })
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ada', roles: ['clerk'] })
  })
  app.get('/admin', { config: { auth: { roles: 'admin' } } }, async () => 'never')
}

const basicHeader = (password: string): Headers => (
  { authorization: `Basic ${Buffer.from(`operator:${password}`).toString('base64')}` }
)

/** Creates a session and a managed key in the store, and returns the headers that carry each credential. */
async function credentials (app: FastifyInstance): Promise<Pick<Ready, 'good' | 'bad'>> {
  const login = await app.inject({ method: 'POST', url: '/login' })
  const cookie = [login.headers['set-cookie']].flat()[0]?.split(';')[0] ?? ''
  const mine = app.gatehouse.apiKeys.of({ realm: 'web', id: 'ada' })
  const kept = await mine.create({ name: 'bench' })
  const revoked = await mine.create({ name: 'revoked' })
  await mine.revoke(revoked.record.id)
  const tokens = Array.from({ length: 20 }, () => ({ authorization: `Bearer ${token()}` }))
  return {
    good: [
      ...tokens, { 'x-api-key': tableKey }, { 'x-own-key': kept.key }, { cookie },
      ...kind === 'memory' ? [basicHeader('correct horse')] : []
    ],
    bad: [
      {},
      { authorization: `Bearer ${token(randomUUID().repeat(2))}` },
      { authorization: `Bearer ${token(secret, -3600)}` },
      { authorization: 'Bearer x.y.z' },
      { 'x-api-key': randomBytes(32).toString('base64url') },
      { 'x-own-key': revoked.key },
      { cookie: `${cookie.split('=')[0]}=forged` }
    ]
  }
}

const app = Fastify()
if (kind !== 'bare') await guard(app as unknown as FastifyInstance)
app.get('/', async () => ({ hello: 'world' }))
await app.listen({ port: Number(process.env.BENCH_PORT ?? 0), host: '127.0.0.1' })
const made = kind === 'bare' ? { good: [{}], bad: [{}] } : await credentials(app as unknown as FastifyInstance)

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
let before = process.cpuUsage()
process.on('message', () => {
  const { user, system } = process.cpuUsage(before)
  const figures = { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, cpu: (user + system) / 1000 }
  before = process.cpuUsage()
  delay.reset()
  process.send?.(figures satisfies Figures)
})
process.on('disconnect', () => { process.exit() })
process.send?.({ port: (app.server.address() as AddressInfo).port, ...made } satisfies Ready)
