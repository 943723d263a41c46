import { createHash, randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import gatehouse, {
  jwt, session, type GatehouseOptions, type JwtOptions, type SessionOptions, type Store
} from '../../lib/index.js'
import { oauthServer, type OAuthServerOptions } from '../../lib/oauth/index.js'
import { pair, secretOf } from '../fixtures/tokens.js'

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

/** An application with people, two resources and an authorization server. */
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
  await app.register(oauthServer, { person: 'web', resources: ['api', 'mcp'], clients, ...oauth } as OAuthServerOptions)
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/login', open, async (_request, reply) => reply.type('text/html').send('<form method="post">'))
  app.post<{ Body: { id: string } | null }>('/login', open, async (request, reply) => {
    await reply.login({ id: request.body?.id ?? 'ann' })
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

export const verifier = randomBytes(32).toString('base64url')
export const challenge = createHash('sha256').update(verifier).digest('base64url')

type Fields = Readonly<Record<string, string | undefined>>

/** The path of an authorization request; a field that is `undefined` is left out. */
export function authorizePath (fields: Fields = {}): string {
  const all = {
    response_type: 'code',
    client_id: 'spa',
    redirect_uri: spaUri,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state: 'a b',
    ...fields
  }
  return `/oauth/authorize?${encode(all)}`
}

function encode (fields: Fields): string {
  const given = Object.entries(fields).filter((each): each is [string, string] => each[1] !== undefined)
  return new URLSearchParams(given).toString()
}

/** Visits a page as a browser does. */
export async function visit (app: FastifyInstance, url: string, cookie = '', headers: Record<string, string> = {}) {
  const answer = await app.inject({ url, headers: { accept: 'text/html', cookie, ...headers } })
  return { ...parts(answer.headers['location'] as string | undefined), status: answer.statusCode, answer }
}

/** The parameters of a URL that a client receives. */
export function parts (location: string | undefined) {
  const query = location === undefined ? null : new URL(location, origin).searchParams
  return { location, params: Object.fromEntries(query ?? []) as Record<string, string> }
}

/** The hidden fields of a consent page. */
export function fieldsOf (html: string): Record<string, string> {
  const found = html.matchAll(/type="hidden" name="(\w+)" value="([^"]*)"/g)
  return Object.fromEntries(
    [...found].map(([, name = '', value = '']) => [name, unescapeHtml(value)])
  )
}

function unescapeHtml (text: string): string {
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
}

/** Submits a form. */
export async function post (
  app: FastifyInstance, url: string, fields: Fields | string, headers: Record<string, string> = {}
) {
  const answer = await app.inject({
    method: 'POST',
    url,
    payload: typeof fields === 'string' ? fields : encode(fields),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
  const isJson = String(answer.headers['content-type']).startsWith('application/json')
  return { status: answer.statusCode, body: isJson ? answer.json() : answer.body, headers: answer.headers }
}

/** Submits the consent page of a request, and returns where it leads. */
export async function decide (app: FastifyInstance, page: string, cookie: string, decision = 'allow') {
  const answer = await post(app, '/oauth/consent', { ...fieldsOf(page), decision }, { cookie })
  const [, target] = /http-equiv="refresh" content="0;url=([^"]*)"/.exec(String(answer.body)) ?? []
  return { ...parts(target?.replaceAll('&#38;', '&')), ...answer }
}

/** Walks the flow of a person who allows everything, and returns the code. */
export async function codeFor (app: FastifyInstance, fields: Fields = {}, id = 'ann'): Promise<string> {
  const { cookie } = await login(app, id)
  const { answer, params } = await visit(app, authorizePath(fields), cookie)
  return params['code'] ?? (await decide(app, answer.body, cookie)).params['code'] ?? ''
}

export const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`
})

/** Redeems a code of the client `spa`. */
export async function redeem (app: FastifyInstance, code: string, fields: Fields = {}) {
  return await post(app, '/oauth/token', {
    grant_type: 'authorization_code', client_id: 'spa', code, code_verifier: verifier, redirect_uri: spaUri, ...fields
  })
}

/** The status of a call with an access token. */
export async function call (app: FastifyInstance, token: string, url = '/orders') {
  const answer = await app.inject({ url, headers: { authorization: `Bearer ${token}` } })
  return { status: answer.statusCode, body: answer.json() }
}
