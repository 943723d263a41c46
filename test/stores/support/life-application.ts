import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import gatehouse, { apiKey, apiKeyRoutes, basic, jwt, session, type GatehouseOptions, type Store } from '../../../lib/index.js'
import { passwords } from '../../../lib/passwords/index.js'
import { random, type Ledger } from '../../support/secrets.js'

/** Of the keys that it manages. */
export const prefix = 'acme_live'

/** What the application and its people know, all of it random. */
export function secretsOf (ledger: Ledger) {
  return {
    session: ledger.keep('the session secret', random()),
    olderSession: ledger.keep('the older session secret', random()),
    jwt: ledger.keep('the JWT secret', random()),
    pepper: ledger.keep('the pepper', random()),
    device: ledger.keep('the secret of device cookies', random()),
    fixed: ledger.keep('a given key', random()),
    ann: ledger.keep('a password', random(16)),
    ada: ledger.keep('a password of Basic', random(16))
  }
}

export type Secrets = ReturnType<typeof secretsOf>

/** An error as libraries make them: with what they were asked, in its message, beside it and in its cause. */
export function talkative (asked: unknown): Error {
  const text = typeof asked === 'string' ? asked : JSON.stringify(asked)
  return Object.assign(new Error(`ERR could not find ${text}`, { cause: new Error(`GET ${text}`) }), { command: { name: 'get', args: [text] } })
}

export const people: Readonly<Record<string, { readonly scopes: readonly string[], readonly roles: readonly string[] }>> = {
  ann: { scopes: ['a', 'b'], roles: ['clerk'] },
  bob: { scopes: ['a'], roles: [] }
}

interface Parts {
  readonly secrets: Secrets
  readonly store: Store
  readonly form: GatehouseOptions['errors']
  readonly server: FastifyServerOptions
  readonly publicKey: string
  readonly redis?: object
}

/** One application with everything that has a secret. */
export async function application ({ secrets, store, form = 'fastify', server, publicKey, redis }: Parts): Promise<FastifyInstance> {
  const app = Fastify(server) as unknown as FastifyInstance
  const hasher = passwords({ pepper: { id: 'p1', secret: secrets.pepper } })
  const adasHash = await hasher.hash(secrets.ada)
  const load = async ({ id }: { readonly id: string }) => people[id] === undefined ? null : { id, ...people[id] }
  await app.register(gatehouse, {
    schemes: {
      web: session({ secret: [secrets.session, secrets.olderSession], loginPath: '/login', load, staleness: 0 }),
      user: jwt({ keys: secrets.jwt, issuer: 'https://id.test', audience: 'api', sign: true, from: ['bearer', 'query:token'] }),
      ops: basic({ find: name => name === 'ada' ? { hash: adasHash, principal: { id: 'ada' } } : null, passwords: hasher, cache: { ttl: '1m' } }),
      fixed: apiKey({ keys: { [secrets.fixed]: { id: 'billing' } }, from: 'header:x-fixed', load: (principal, { request }) => { if (request.headers['x-fail'] !== undefined) throw talkative(request.headers); return principal } }),
      service: apiKey({ managed: { prefix, staleness: 0 }, from: ['header:x-api-key', 'query:key', 'cookie:key'], load }),
      odd: apiKey({ verify: key => { throw talkative(key) }, from: ['header:x-odd', 'query:odd'] })
    },
    default: ['web', 'user', 'ops', 'fixed', 'service'],
    publicPaths: ['/login', '/logout'],
    errors: form,
    store,
    limits: { guesses: { perAccount: 4, perAddress: 1_000, deviceSecret: secrets.device }, requests: { max: 10_000, window: '1m' }, ...redis === undefined ? {} : { redis } }
  })
  routes(app, secrets)
  await app.register(apiKeyRoutes, { prefix: '/keys', leaks: { publicKeys: { one: publicKey } } })
  await app.ready()
  return app
}

function routes (app: FastifyInstance, secrets: Secrets): void {
  app.get('/login', async () => 'name and password, please')
  app.post<{ Body: { user: string, password: string, keep?: boolean, fail?: boolean } }>('/login', async (request, reply) => {
    const { user, password, keep = false } = request.body
    const person = await app.gatehouse.guesses.attempt(reply, user, () => password === secrets.ann ? { id: user } : null)
    if (person === null) return reply.code(401).send({ wrong: true })
    await reply.login(person, { scheme: 'web', keep, data: { cart: ['a'] } })
    return {}
  })
  app.post('/logout', async (_request, reply) => { await reply.logout(); return {} })
  app.post('/renew', async (request, reply) => { await reply.login({ id: String(request.principal?.id) }, { renew: true }); return {} })
  app.post('/data', { config: { auth: 'web' } }, async ({ auth }) => { (auth.credential as unknown as { update (data: object): void }).update({ cart: ['a', 'b'] }); return {} })
  app.get('/me', async ({ principal, auth }) => ({ principal, credential: auth.credential === null ? null : 'one' }))
  app.get('/odd', { config: { auth: 'odd' } }, async () => 'in')
  app.get('/when', { config: { auth: { when: (principal, request) => { throw talkative([principal.id, request.url]) } } } }, async () => 'in')
  app.get('/scoped', { config: { auth: { scopes: 'nobody-has-it' } } }, async () => 'in')
  app.post('/too-much', { config: { auth: 'web' } }, async (request, reply) => {
    await reply.login({ id: 'ann' }, { data: { all: request.headers.cookie?.repeat(20) } })
    return {}
  })
  app.get('/fault', { config: { auth: { schemes: ['web', 'user', 'ops', 'fixed', 'service'], mode: 'try' } } }, async () => { throw new Error('a handler of the application failed') })
}
