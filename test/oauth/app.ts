import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import gatehouse, {
  jwt, session, type GatehouseOptions, type JwtOptions, type SessionOptions, type Store
} from '../../lib/index.js'
import { oauthServer, type OAuthServerOptions } from '../../lib/oauth/index.js'
import { authorizeQuery, decide, post, verifier, visit, type Fields } from '../fixtures/oauth-client.js'
import { pair, secretOf } from '../fixtures/tokens.js'

export { basic, call, challenge, decide, fieldsOf, parts, post, verifier, visit } from '../fixtures/oauth-client.js'

export const origin = 'https://api.example.com'
export const spaUri = 'https://spa.example.com/cb'
export const partnerSecret = secretOf()
export const webSecret = secretOf()
export const { privateKey } = pair('ec')

export const people: Record<string, { id: string, scopes: string[], roles: string[] }> = {
  ann: { id: 'ann', scopes: ['orders:read', 'orders:write'], roles: ['clerk'] },
  bob: { id: 'bob', scopes: [], roles: [] }
}

export const clients: OAuthServerOptions['clients'] = {
  spa: { name: 'The <Shop>', redirectUris: [spaUri], scopes: ['orders:read', 'orders:write'] },
  web: { redirectUris: ['https://web.example.com/cb'], scopes: ['orders:read'], secrets: [webSecret] },
  native: { redirectUris: ['http://127.0.0.1/cb', 'com.example.app:/cb'], scopes: ['orders:read'], consent: false },
  own: { redirectUris: ['https://own.example.com/cb'], scopes: ['orders:read'], consent: false, roles: true },
  partner: {
    secrets: [partnerSecret], scopes: ['orders:read'], grants: ['client_credentials'], introspect: ['api']
  }
}

interface AppOptions {
  readonly oauth?: Partial<OAuthServerOptions>
  readonly plugin?: Partial<GatehouseOptions>
  readonly sign?: object
  readonly jwt?: Partial<JwtOptions>
  readonly session?: Partial<SessionOptions>
  readonly store?: Store
  readonly fastify?: FastifyServerOptions
  readonly issuer?: string
  readonly before?: (app: FastifyInstance) => Promise<unknown>
}

const refresh = { secret: secretOf(), reuseGrace: 0 }
const sessionSecret = secretOf()

/** Creates an application with people, two resources and an authorization server. */
export async function serverApp (t: Test, options: AppOptions = {}): Promise<FastifyInstance> {
  const { oauth, plugin, sign = {}, store, fastify = {}, issuer = origin, before } = options
  const app = Fastify(fastify)
  await before?.(app)
  const own = {
    issuer, keys: privateKey, sign: { realm: 'web', expiresIn: '10m', refresh, ...sign }, ...options.jwt
  } as const
  await app.register(gatehouse, {
    schemes: {
      web: session({ secret: sessionSecret, loginPath: '/login', ...options.session }),
      api: jwt({ ...own, audience: issuer } as JwtOptions),
      mcp: jwt({ ...own, audience: `${issuer}/mcp` } as JwtOptions)
    },
    default: ['web', 'api'],
    scopes: { 'orders:read': 'Read your orders', 'orders:write': '' },
    load: principal => principal.id.startsWith('client:') ? principal : people[principal.id] ?? null,
    ...store === undefined ? {} : { store },
    ...plugin
  } as GatehouseOptions)
  await app.register(
    oauthServer, { session: 'web', resources: ['api', 'mcp'], clients, ...oauth } as OAuthServerOptions
  )
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/login', open, async (_request, reply) => reply.type('text/html').send('<form method="post">'))
  app.post<{ Body: { id: string, isOld?: true } | null }>('/login', open, async (request, reply) => {
    const proof = request.body?.isOld === true ? { authenticatedAt: null } : {}
    await reply.login({ id: request.body?.id ?? 'ann' }, proof)
    return { returnTo: app.gatehouse.sessions.returnTo(request, '/') }
  })
  const reading = (schemes: string) => ({ config: { auth: { schemes, scopes: 'orders:read' } } })
  app.get('/orders', reading('api'), async ({ principal }) => principal)
  app.get('/tools', reading('mcp'), async ({ principal }) => principal)
  t.teardown(() => app.close())
  return app
}

/** Logs a person in, and returns the cookie. */
export async function login (
  app: FastifyInstance, id = 'ann', query = ''
): Promise<{ cookie: string, returnTo: string }> {
  const answer = await app.inject({ method: 'POST', url: `/login${query}`, payload: { id } })
  const cookie = String([answer.headers['set-cookie']].flat()[0]).split(';')[0] ?? ''
  return { cookie, returnTo: answer.json().returnTo }
}

/** Returns the path of an authorization request. A field that is `undefined` is left out. */
export function authorizePath (fields: Fields = {}): string {
  return `/oauth/authorize?${authorizeQuery({ client_id: 'spa', redirect_uri: spaUri, ...fields })}`
}

/** Goes through the flow as a person who allows everything, and returns the code. */
export async function codeFor (app: FastifyInstance, fields: Fields = {}, id = 'ann'): Promise<string> {
  const { cookie } = await login(app, id)
  const { answer, params } = await visit(app, authorizePath(fields), cookie)
  return params['code'] ?? (await decide(app, answer.body, cookie)).params['code'] ?? ''
}

/** Redeems a code of the client `spa`. */
export async function redeem (app: FastifyInstance, code: string, fields: Fields = {}) {
  return await post(app, '/oauth/token', {
    grant_type: 'authorization_code', client_id: 'spa', code, code_verifier: verifier, redirect_uri: spaUri, ...fields
  })
}
