import { createHmac, randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { jwt, memoryStore, session, type Store } from '../../lib/index.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { Flood, Section } from './flood.js'

const secret = randomBytes(32).toString('base64url')
const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const day = 86_400_000

function token (kid: string, key: string, exp: number, i: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: issuer, aud: audience, sub: `user-${i}`, exp, scope: 'orders:read' }
  const input = `${part({ alg: 'HS256', kid })}.${part(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

/** Kinds of tokens that take different paths through the scheme; the valid ones fill the cache of verified tokens. */
const kinds: ReadonlyArray<readonly [status: number, make: (i: number) => string]> = [
  [401, i => token('current', `not the secret, ${i}`, soon(), i)],
  [401, i => token(`kid-${i}`, secret, soon(), i)],
  [401, i => token('current', secret, soon() - 7200, i)],
  [200, i => token('current', secret, soon(), i)]
]

function soon (): number {
  return Math.floor(Date.now() / 1000) + 3600
}

async function jwts (): Promise<Flood> {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { user: jwt({ keys: { current: secret }, issuer, audience }) } })
  app.get('/', async () => ({}))
  await app.ready()
  const send = async (i: number): Promise<number> => {
    const [status, make] = kinds[i % kinds.length] ?? [0, String]
    const { statusCode } = await app.inject({ url: '/', headers: { authorization: `Bearer ${make(i)}` } })
    if (statusCode !== status) throw new Error(`token ${i} was answered with ${statusCode}`)
    return statusCode
  }
  return { app, statuses: [200, 401], send }
}

/**
 * Creates a flood of tokens with unknown kids, for which the scheme may fetch the keys again. One in four is of an
 * unknown issuer, about which a function is asked. None of it may be kept.
 */
async function strangers (): Promise<Flood> {
  const provider = await fakeIssuer({ algorithms: ['ES256'] })
  const app = Fastify()
  const issuers = (iss: string) => iss === provider.issuer ? { audience: provider.audience } : null
  await app.register(authPlugin, { schemes: { user: jwt({ issuers }) } })
  app.get('/', async () => ({}))
  app.addHook('onClose', async () => { await provider.close() })
  await app.ready()
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const send = async (i: number): Promise<number> => {
    const iss = i % 4 === 0 ? `https://issuer-${i}.test` : provider.issuer
    const claims = { iss, aud: audience, sub: 'user-1', exp: soon() }
    const text = `${part({ alg: 'ES256', kid: `kid-${i}` })}.${part(claims)}.${'A'.repeat(86)}`
    return (await app.inject({ url: '/', headers: { authorization: `Bearer ${text}` } })).statusCode
  }
  return { app, statuses: [401], send }
}

async function desk (store?: Store): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(
    authPlugin,
    { schemes: { web: session({ secret }) }, publicPaths: ['/login'], ...store === undefined ? {} : { store } }
  )
  app.post<{ Querystring: { id: string } }>(
    '/login', async (request, reply) => { await reply.login({ id: request.query.id }) }
  )
  app.post('/logout', async (_request, reply) => { await reply.logout() })
  app.get('/', async () => ({}))
  await app.ready()
  return app
}

async function login (app: FastifyInstance, i: number): Promise<string> {
  const { headers } = await app.inject({ method: 'POST', url: `/login?id=user-${i}` })
  return [headers['set-cookie']].flat()[0]?.split(';')[0] ?? ''
}

async function show (app: FastifyInstance, cookie: string): Promise<number> {
  return (await app.inject({ url: '/', headers: { cookie } })).statusCode
}

/**
 * Creates a flood of forged and expired cookies. The forged ones have the form of a sealed cookie, so that each is
 * decrypted; the expired ones were sealed with the clock a day back.
 */
async function cookies (): Promise<Flood> {
  const app = await desk()
  const now = Date.now
  const yesterday = async (i: number): Promise<string> => {
    Date.now = () => now() - day
    const cookie = await login(app, i)
    Date.now = now
    return cookie
  }
  const random = (bytes: number): string => randomBytes(bytes).toString('base64url')
  const forged = (): string => `__Host-web=${random(180)}.${random(24)}`
  return { app, statuses: [401], send: async i => show(app, i % 2 === 0 ? forged() : await yesterday(i)) }
}

/** Creates a flood that sends each cookie once more after its session was logged out. */
async function loggedOut (store?: Store): Promise<Flood> {
  const app = await desk(store)
  const send = async (i: number): Promise<number> => {
    const cookie = await login(app, i)
    await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })
    return show(app, cookie)
  }
  return { app, statuses: [401], send }
}

/** Creates a flood of well-formed refresh tokens with a wrong MAC; every second one is sent for revocation. */
async function refreshTokens (): Promise<Flood> {
  const app = Fastify()
  const sign = { refresh: { secret } }
  await app.register(authPlugin, { schemes: { user: jwt({ keys: secret, issuer, audience, sign }) } })
  const open = { config: { auth: { public: 'holds a refresh token' } } }
  app.post<{ Querystring: { token: string } }>(
    '/refresh', open, async ({ query }, reply) => await app.gatehouse.tokens.refresh(reply, query.token)
  )
  app.post<{ Querystring: { token: string } }>('/revoke', open, async ({ query }, reply) => {
    await app.gatehouse.tokens.revoke(query.token)
    return reply.code(401).send()
  })
  await app.ready()
  const send = async (i: number): Promise<number> => {
    const token = `rt_${randomBytes(16).toString('base64url')}.${i}.${randomBytes(32).toString('base64url')}`
    const path = i % 2 === 0 ? '/refresh' : '/revoke'
    return (await app.inject({ method: 'POST', url: `${path}?token=${token}` })).statusCode
  }
  return { app, statuses: [401], send }
}

/** Creates a flood of access tokens of a scheme that signs, each once before and once after its revocation. */
async function revoked (): Promise<Flood> {
  const app = Fastify()
  const options = { keys: secret, issuer, audience, sign: { expiresIn: 1 } }
  await app.register(authPlugin, { schemes: { user: jwt(options) } })
  app.get('/', async () => ({}))
  await app.ready()
  const show = async (token: string): Promise<number> =>
    (await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })).statusCode
  const send = async (i: number): Promise<number> => {
    const token = await app.gatehouse.tokens.issue({ id: `user-${i}` })
    await show(token)
    await app.gatehouse.tokens.revoke(token)
    return await show(token)
  }
  return { app, statuses: [401], send }
}

export const tokens: readonly Section[] = [
  { name: 'tokens: refresh tokens with a wrong MAC', full: 30_000, make: refreshTokens },
  { name: 'tokens: own access tokens, revoked', full: 60_000, make: revoked },
  { name: 'tokens: JWTs with a bad signature, an unknown kid, expired, and good', full: 30_000, make: jwts },
  { name: 'tokens: JWTs of unknown kids and issuers, with fetched keys', full: 30_000, make: strangers },
  { name: 'tokens: session cookies, forged and ended by time', full: 30_000, make: cookies },
  { name: 'tokens: session cookies, logged out of', full: 120_000, make: async () => loggedOut() },
  {
    name: 'tokens: session cookies, logged out of, with a store',
    full: 30_000,
    make: async () => loggedOut(memoryStore())
  }
]
