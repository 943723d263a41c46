import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { apiKey, basic, jwt, session } from '../../lib/index.js'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { octJwk, publicJwk, publicPem, secret } from './token.js'

export const issuer = 'https://issuer.test'
export const audience = 'https://api.test'
export const liveKey = randomBytes(32).toString('base64url')
export const password = randomBytes(15).toString('base64url')
export const oldSecret = randomBytes(32).toString('base64url')
export const newSecret = randomBytes(32).toString('base64url')
export const cookieName = '__Host-sid'

/** The application of the catalogue, with its counters. */
export interface Target {
  readonly app: FastifyInstance
  /** The number of handlers that ran. */
  readonly runs: { count: number }
  /** The number of requests to the JWK set. */
  readonly fetches: { count: number }
  readonly log: string[]
  /** Keys of the `verify` function; removing one revokes it. */
  readonly keys: Map<string, { id: string, scopes: string[] }>
}

/** The additional set-up that an entry asks for. */
export interface Setup {
  readonly text: string
  readonly sessionSecrets?: readonly string[]
  readonly jwkAsText?: boolean
}

const users = {
  alice: { password, id: 'alice' },
  colon: { password: 'pass:word', id: 'colon' },
  test: { password: '123£', id: 'test' },
  attacker: { password: 'the attacker has one too', id: 'attacker' }
}

/** Serves a JWK set until the application closes. Returns its URL. */
async function keySource (app: FastifyInstance, keys: readonly object[], fetches: { count: number }): Promise<string> {
  const server = createServer((_request, response) => {
    fetches.count++
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  app.addHook('onClose', async () => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
}

async function bearer ({ text, jwkAsText = false }: Setup, app: FastifyInstance, fetches: { count: number }) {
  const claims = { issuer, audience }
  const tolerance = text.includes('clockTolerance=60') ? { clockTolerance: 60 } : {}
  const typ = text.includes('typ at+jwt required') ? { typ: 'at+jwt' } : {}
  if (text.includes('two-issuers')) {
    return jwt({
      issuers: [{ issuer: 'A', audience, keys: publicJwk('rs1') }, { issuer: 'B', audience, keys: publicJwk('rsB') }]
    })
  }
  if (text.includes('bearer=jwks')) {
    if (jwkAsText) return jwt({ ...claims, keys: publicPem('rs1'), algorithms: ['RS256'] })
    const { alg, ...withoutAlg } = publicJwk('rs1')
    const rs1 = text.includes('without alg') ? withoutAlg : { ...withoutAlg, alg }
    const keys = await keySource(
      app, [rs1, publicJwk('es1'), publicJwk('ed1'), ...text.includes('oct') ? [octJwk] : []], fetches
    )
    return jwt({ ...claims, keys, ...text.includes('allow-list RS256') ? { algorithms: ['RS256'] } : {} })
  }
  if (text.includes('bearer=resolver')) {
    const keys: Record<string, string> = { one: secret }
    return jwt({ ...claims, keys: async ({ kid }: { kid?: string }) => (kid === undefined ? secret : keys[kid]) ?? '' })
  }
  return jwt({ ...claims, keys: secret, ...tolerance, ...typ })
}

/** Creates the application of the catalogue with the public API. */
export async function createTarget (setup: Setup): Promise<Target> {
  const runs = { count: 0 }
  const fetches = { count: 0 }
  const log: string[] = []
  const keys = new Map([[liveKey, { id: 'client', scopes: ['orders:read'] }]])
  const slashes = setup.text.includes('ignoreTrailingSlash')
    ? { routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } }
    : {}
  const app = Fastify({
    logger: { level: 'trace', stream: { write: (line: string) => { log.push(line) } } }, ...slashes
  })
  const failing = setup.text.includes('store throws')
  await app.register(authPlugin, {
    schemes: {
      user: await bearer(setup, app, fetches),
      service: setup.text.includes('revoke') || setup.text.includes('cache TTL') || failing
        ? apiKey({
            verify: async key => {
              if (failing) throw new Error('connect redis://user:pass@10.0.0.5')
              return keys.get(key) ?? null
            }
          })
        : apiKey({ keys: { [liveKey]: { id: 'client', scopes: ['orders:read'] } } }),
      ops: basic({
        realm: 'ops "quoted"',
        verify: (name, given) => Object.hasOwn(users, name) && users[name as keyof typeof users].password === given
          ? { id: name }
          : null
      }),
      web: session({
        secret: setup.sessionSecrets ?? [newSecret], cookieName: 'sid', idleTimeout: 900, absoluteTimeout: 28_800
      })
    },
    default: ['user', 'service', 'ops', 'web'],
    publicPaths: ['/public', '/login']
  })
  routes(app, runs)
  await app.ready()
  return { app, runs, fetches, log, keys }
}

function routes (app: FastifyInstance, runs: { count: number }): void {
  const ran = (body: object = { ok: true }) => async () => { runs.count++; return body }
  app.get('/public', ran())
  app.get('/private', ran())
  app.get('/undeclared', ran())
  app.get('/me', { config: { auth: 'web' } }, ran())
  app.get('/admin', { config: { auth: { scopes: 'admin' } } }, ran())
  app.get('/mutate', async request => {
    runs.count++
    for (const change of [
      () => { Object.assign(request.auth, { scope: 'admin' }) },
      () => { Object.assign(request.principal ?? {}, { scopes: ['admin'] }) },
      () => { (request.principal?.scopes as string[]).push('admin') }
    ]) {
      try { change() } catch { /* frozen: what the attack hoped for is refused already */ }
    }
    return {}
  })
  app.post('/orders', { config: { auth: { anyOf: [{ scopes: 'orders:write' }, { schemes: 'web' }] } } }, ran())
  app.register(async child => {
    child.get('/private', ran())
    child.register(async grandchild => { grandchild.get('/private', ran()) }, { prefix: '/b' })
  }, { prefix: '/a' })
  app.post<{
    Body: { username: string, password: string }, Querystring: { returnTo?: string }
  }>('/login', async (request, reply) => {
    runs.count++
    const { username, password: given } = request.body
    if (username !== 'alice' || given !== password) return reply.code(401).send({ error: 'wrong' })
    await reply.login({ id: 'alice' })
    const path = app.gatehouse.sessions.returnTo(request)
    return request.query.returnTo === undefined ? { ok: true } : reply.redirect(path, 303)
  })
  app.post('/logout', { config: { auth: 'web' } }, async (_request, reply) => {
    runs.count++
    await reply.logout()
    return { ok: true }
  })
}
