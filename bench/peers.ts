import { randomBytes } from 'node:crypto'
import fastifyAuth from '@fastify/auth'
import basicAuth from '@fastify/basic-auth'
import bearerAuth from '@fastify/bearer-auth'
import fastifyJwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import secureSession from '@fastify/secure-session'
import Fastify, { type FastifyInstance } from 'fastify'
import fastifyGuard from 'fastify-guard'

const answer = { hello: 'world' }

export interface TokenPeer {
  readonly issuer: string
  readonly audience: string
  /** A secret of HS256, or a public key as PEM. */
  readonly secret: string | { readonly public: string }
  readonly algorithm: 'HS256' | 'RS256' | 'ES256' | 'EdDSA'
  readonly cache: boolean
}

/** Creates an application whose route asks for a token, with `@fastify/jwt`. */
export async function jwtPeer (options: TokenPeer): Promise<FastifyInstance> {
  const app = await tokenApplication(options)
  app.get('/', async () => answer)
  return app
}

/** Creates an application whose route asks for a token with a scope, with `@fastify/jwt` and `fastify-guard`. */
export async function scopePeer (options: TokenPeer, scope: string): Promise<FastifyInstance> {
  const app = await tokenApplication(options)
  await app.register(fastifyGuard.default)
  app.get('/', { preHandler: app.guard.scope(scope) }, async () => answer)
  return app
}

async function tokenApplication (options: TokenPeer): Promise<FastifyInstance> {
  const { issuer, audience, secret, algorithm, cache } = options
  const app = Fastify()
  await app.register(
    fastifyJwt, { secret, verify: { allowedIss: issuer, allowedAud: audience, algorithms: [algorithm], cache } }
  )
  app.addHook('onRequest', async request => { await request.jwtVerify() })
  return app
}

/** Creates an application whose routes ask for one of the keys, with `@fastify/bearer-auth`. */
export async function keyPeer (keys: Iterable<string>): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(bearerAuth, { keys: new Set(keys) })
  app.get('/', async () => answer)
  return app
}

/** Creates an application whose route compares one of three headers with a secret, with `@fastify/auth`. */
export async function anyOfPeer (secret: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(fastifyAuth)
  const verify = (name: string) => async (request: { headers: Record<string, unknown> }) => {
    if (request.headers[name] !== secret) throw Object.assign(new Error('not authenticated'), { statusCode: 401 })
  }
  const branches = ['x-first', 'x-second', 'x-third']
  app.get('/', { preHandler: app.auth(branches.map(verify) as never, { relation: 'or' }) }, async () => answer)
  return app
}

/** Creates an application with a session, with `@fastify/secure-session`, and a cookie of one that is logged in. */
export async function sessionPeer (): Promise<{ readonly app: FastifyInstance, readonly cookie: string }> {
  const app = Fastify()
  await app.register(secureSession, { key: randomBytes(32), cookie: { path: '/' } })
  app.post(
    '/login', async request => { request.session.set('user' as never, { id: 'alice', roles: ['clerk'] } as never) }
  )
  app.get(
    '/',
    {
      preHandler: async (request, reply) => {
        if (request.session.get('user' as never) === undefined) return reply.code(401).send()
      }
    },
    async () => answer
  )
  const login = await app.inject({ method: 'POST', url: '/login' })
  return { app, cookie: [login.headers['set-cookie']].flat()[0]?.split(';')[0] ?? '' }
}

/** Creates an application that counts the requests of a key, with `@fastify/bearer-auth` and `@fastify/rate-limit`. */
export async function limitPeer (key: string, max: number): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(bearerAuth, { keys: new Set([key]) })
  await app.register(rateLimit, {
    max, timeWindow: '1h', hook: 'preHandler', keyGenerator: ({ headers }) => String(headers.authorization)
  })
  app.get('/', async () => answer)
  return app
}

/** Creates an application that compares a name and a password as text, with `@fastify/basic-auth`. */
export async function basicPeer (user: string, secret: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(basicAuth, {
    validate: async (name, password) => { if (name !== user || password !== secret) throw new Error('wrong') },
    authenticate: true
  })
  app.get('/', { onRequest: app.basicAuth }, async () => answer)
  return app
}

/** Creates an application that asks for a role, with `fastify-guard` behind `@fastify/bearer-auth`. */
export async function rolePeer (key: string, role: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(bearerAuth, { keys: new Set([key]) })
  await app.register(fastifyGuard.default)
  app.addHook('preHandler', async request => { Object.assign(request, { user: { role: ['clerk'] } }) })
  app.get('/', { preHandler: app.guard.role(role) }, async () => answer)
  return app
}
