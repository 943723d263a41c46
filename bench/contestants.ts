import { createHmac, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { apiKey, basic, jwt, session } from '../lib/index.js'
import { hashPassword } from '../lib/passwords/index.js'
import { fakeIssuer } from '../lib/testing/index.js'
import { hapiApp, honoApp, type Listener } from './frameworks.js'
import { anyOfPeer, basicPeer, jwtPeer, keyPeer, rolePeer, sessionPeer } from './peers.js'

/** An application to measure, ready to listen, and the headers of its requests in turn. */
export interface Contestant {
  readonly app: FastifyInstance | Listener
  readonly headers: readonly Readonly<Record<string, string>>[]
  /** The expected status. Any other stops the bench, which would measure something else. */
  readonly status: number
}

/** Cases are compared within a group, in the same run. */
export interface Case {
  readonly group: string
  readonly name: string
  readonly make: () => Promise<Contestant>
  /** The framework whose bare application is the baseline. Fastify by default. */
  readonly framework?: Framework
}

export type Framework = 'Fastify' | 'hapi' | 'Hono'

const secret = randomBytes(32).toString('base64url')
const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const answer = { hello: 'world' }
/** More distinct tokens than any cache has room for, so that each is new. */
const freshTokens = 20_000

function token (key = secret): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: issuer, aud: audience, sub: 'user-1', iat: now, exp: now + 3600, scope: 'orders:read' }
  const input = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ ...claims, jti: randomUUID() })}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

const bearer = (value: string) => ({ authorization: `Bearer ${value}` })

function apiKeys (count: number): { keys: Map<string, { id: string }>, last: string } {
  const keys = new Map(
    Array.from({ length: count }, (_, i) => [randomBytes(32).toString('base64url'), { id: `client-${i}` }])
  )
  return { keys, last: [...keys.keys()].at(-1) ?? '' }
}

async function bare (): Promise<Contestant> {
  const app = Fastify()
  app.get('/', async () => answer)
  return { app, headers: [{}], status: 200 }
}

type Schemes = Parameters<typeof authPlugin>[1]['schemes']

/** A Fastify application to measure. */
interface FastifyContestant extends Contestant { readonly app: FastifyInstance }

async function gatehouse (
  schemes: Schemes, headers: Contestant['headers'], status = 200, auth?: object
): Promise<FastifyContestant> {
  const app = Fastify()
  // some cases get their keys from the test kit, which the doctor refuses in production
  const doctor = { ignore: { 'test-kit': 'an issuer of a bench', 'plain-http': 'an issuer of a bench' } }
  await app.register(authPlugin, { schemes, default: Object.keys(schemes), doctor })
  app.get('/', { config: (auth === undefined ? {} : { auth }) as object }, async () => answer)
  return { app, headers, status }
}

const bearerJwt = () => jwt({ keys: secret, issuer, audience })

async function gatehouseSession (): Promise<Contestant> {
  const { app } = await gatehouse({ web: session({ secret }) }, [])
  app.post(
    '/login',
    { config: { auth: false } },
    async (_request, reply) => { await reply.login({ id: 'alice', roles: ['clerk'] }) }
  )
  const login = await app.inject({ method: 'POST', url: '/login' })
  const cookie = [login.headers['set-cookie']].flat()[0]?.split(';')[0] ?? ''
  return { app, headers: [{ cookie }], status: 200 }
}

async function plainSession (): Promise<Contestant> {
  const { app, cookie } = await sessionPeer()
  return { app, headers: [{ cookie }], status: 200 }
}

async function plainJwt (headers: Contestant['headers'], status = 200, cache = false): Promise<Contestant> {
  return { app: await jwtPeer({ issuer, audience, secret, algorithm: 'HS256', cache }), headers, status }
}

async function plainBearer (count: number, choose: (last: string) => string | null): Promise<Contestant> {
  const { keys, last } = apiKeys(count)
  const key = choose(last)
  const headers = [key === null ? {} : bearer(key)]
  return { app: await keyPeer(keys.keys()), headers, status: key === last ? 200 : 401 }
}

/** Creates an application in which the first, second or third branch of an OR admits the caller. */
async function plainAuth (branch: number): Promise<Contestant> {
  const name = ['x-first', 'x-second', 'x-third'][branch]
  const headers = [name === undefined ? {} : { [name]: secret }]
  return { app: await anyOfPeer(secret), headers, status: name === undefined ? 401 : 200 }
}

async function anyOf (branch: number): Promise<Contestant> {
  const names = ['first', 'second', 'third']
  const schemes = Object.fromEntries(
    names.map(name => [name, apiKey({ from: `header:x-${name}`, keys: { [secret]: { id: name } } })])
  )
  const name = names[branch]
  return gatehouse(schemes, [name === undefined ? {} : { [`x-${name}`]: secret }], name === undefined ? 401 : 200)
}

async function gatehouseKeys (count: number, wrong = false): Promise<Contestant> {
  const { keys, last } = apiKeys(count)
  return gatehouse({ service: apiKey({ keys }) }, [{ 'x-api-key': wrong ? `${last}x` : last }], wrong ? 401 : 200)
}

/** Creates a case of one user with a default hash (argon2id, 19 MiB), with or without a cache of a minute. */
async function gatehouseBasic (cached: boolean): Promise<Contestant> {
  const users = { operator: { hash: await hashPassword('correct horse') } }
  return gatehouse({ ops: basic({ users, ...cached ? { cache: { ttl: '1m' } } : {} }) }, basicHeaders)
}

/** Creates a case of one repeated token, with given keys or with keys from discovery. */
async function gatehouseIssuer (isFetched: boolean): Promise<Contestant> {
  const provider = await fakeIssuer({ algorithms: ['ES256'] })
  const { keys } = await (await fetch(provider.jwksUri)).json() as { keys: { kty: string }[] }
  const made = await gatehouse(
    { user: jwt({ issuer: provider.issuer, audience: provider.audience, ...isFetched ? {} : { keys: { keys } } }) },
    [bearer(provider.token({ exp: 4e9 }))]
  )
  made.app.addHook('onClose', async () => { await provider.close() })
  return made
}

/**
 * Creates a case of one repeated token, with or without a grant, at the scheme that signs or at one with only the
 * public key.
 */
async function gatehouseOwn (kind: 'verified only' | 'without a grant' | 'of a grant'): Promise<Contestant> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const common = { issuer, audience }
  const signing = { user: jwt({ ...common, keys: privateKey, sign: { expiresIn: '1d', refresh: { secret } } }) }
  const own = await gatehouse(signing, [])
  const person = { id: 'user-1', scopes: ['orders:read'] }
  const { tokens } = own.app.gatehouse
  const value = kind === 'of a grant' ? (await tokens.grant(person)).access_token : await tokens.issue(person)
  if (kind !== 'verified only') return { ...own, headers: [bearer(value)] }
  await own.app.close()
  return gatehouse({ user: jwt({ ...common, keys: publicKey }) }, [bearer(value)])
}

const fresh = (): Contestant['headers'] => Array.from({ length: freshTokens }, () => bearer(token()))
const forged = (): Contestant['headers'] => [bearer(token(randomBytes(32).toString('base64url')))]

const basicHeaders = [{ authorization: `Basic ${Buffer.from('operator:correct horse').toString('base64')}` }]

async function plainBasic (): Promise<Contestant> {
  return { app: await basicPeer('operator', 'correct horse'), headers: basicHeaders, status: 200 }
}

/** Creates a case of a caller without the role of the route. */
async function gatehouseRole (): Promise<Contestant> {
  const service = apiKey({ keys: { [secret]: { id: 'shop', roles: ['clerk'] } } })
  return gatehouse({ service }, [{ 'x-api-key': secret }], 403, { roles: 'admin' })
}

async function plainRole (): Promise<Contestant> {
  return { app: await rolePeer(secret, 'admin'), headers: [bearer(secret)], status: 403 }
}

/** Returns the cases of other frameworks, each with its own package for tokens. */
function otherFrameworks (group: string, headers: () => Contestant['headers'], status = 200): Case[] {
  const rules = { secret, issuer, audience }
  return [
    {
      group,
      name: '@hapi/jwt',
      framework: 'hapi',
      make: async () => ({ app: await hapiApp(rules), headers: headers(), status })
    },
    {
      group,
      name: 'hono/jwt',
      framework: 'Hono',
      make: async () => ({ app: await honoApp(rules), headers: headers(), status })
    }
  ]
}

export const cases: readonly Case[] = [
  { group: 'bare', name: 'Fastify', make: bare },
  {
    group: 'bare',
    name: 'hapi',
    framework: 'hapi',
    make: async () => ({ app: await hapiApp(null), headers: [{}], status: 200 })
  },
  {
    group: 'bare',
    name: 'Hono',
    framework: 'Hono',
    make: async () => ({ app: await honoApp(null), headers: [{}], status: 200 })
  },
  ...[1, 1000, 100_000].flatMap(count => [
    { group: `API key, ${count} keys`, name: 'gatehouse', make: () => gatehouseKeys(count) },
    { group: `API key, ${count} keys`, name: '@fastify/bearer-auth', make: () => plainBearer(count, last => last) }
  ]),
  {
    group: 'JWT HS256, repeated token',
    name: 'gatehouse',
    make: () => gatehouse({ user: bearerJwt() }, [bearer(token())])
  },
  { group: 'JWT HS256, repeated token', name: '@fastify/jwt', make: () => plainJwt([bearer(token())]) },
  {
    group: 'JWT HS256, repeated token', name: '@fastify/jwt, cache', make: () => plainJwt([bearer(token())], 200, true)
  },
  ...otherFrameworks('JWT HS256, repeated token', () => [bearer(token())]),
  { group: 'JWT HS256, fresh tokens', name: 'gatehouse', make: () => gatehouse({ user: bearerJwt() }, fresh()) },
  { group: 'JWT HS256, fresh tokens', name: '@fastify/jwt', make: () => plainJwt(fresh()) },
  ...otherFrameworks('JWT HS256, fresh tokens', fresh),
  {
    group: 'JWT ES256 of an issuer, repeated token', name: 'gatehouse, keys given', make: () => gatehouseIssuer(false)
  },
  {
    group: 'JWT ES256 of an issuer, repeated token', name: 'gatehouse, keys fetched', make: () => gatehouseIssuer(true)
  },
  ...(['verified only', 'without a grant', 'of a grant'] as const).map(kind => ({
    group: 'own access token, repeated', name: `gatehouse, ${kind}`, make: () => gatehouseOwn(kind)
  })),
  { group: 'Basic, argon2id', name: 'gatehouse, cache', make: () => gatehouseBasic(true) },
  { group: 'Basic, argon2id', name: 'gatehouse', make: () => gatehouseBasic(false) },
  { group: 'Basic, argon2id', name: '@fastify/basic-auth, compares text', make: plainBasic },
  { group: 'session', name: 'gatehouse', make: gatehouseSession },
  { group: 'session', name: '@fastify/secure-session', make: plainSession },
  ...[0, 2].flatMap(branch => [
    { group: `any of three, number ${branch + 1} lets in`, name: 'gatehouse', make: () => anyOf(branch) },
    { group: `any of three, number ${branch + 1} lets in`, name: '@fastify/auth', make: () => plainAuth(branch) }
  ]),
  { group: 'missing credential', name: 'gatehouse, jwt', make: () => gatehouse({ user: bearerJwt() }, [{}], 401) },
  { group: 'missing credential', name: '@fastify/jwt', make: () => plainJwt([{}], 401) },
  ...otherFrameworks('missing credential', () => [{}], 401),
  { group: 'missing credential', name: '@fastify/bearer-auth', make: () => plainBearer(1, () => null) },
  { group: 'missing credential', name: '@fastify/auth', make: () => plainAuth(3) },
  { group: 'bad signature', name: 'gatehouse', make: () => gatehouse({ user: bearerJwt() }, forged(), 401) },
  { group: 'bad signature', name: '@fastify/jwt', make: () => plainJwt(forged(), 401) },
  ...otherFrameworks('bad signature', forged, 401),
  { group: 'wrong key of 1,000', name: 'gatehouse', make: () => gatehouseKeys(1000, true) },
  { group: 'wrong key of 1,000', name: '@fastify/bearer-auth', make: () => plainBearer(1000, last => `${last}x`) },
  { group: 'role refused', name: 'gatehouse', make: gatehouseRole },
  { group: 'role refused', name: 'fastify-guard', make: plainRole }
]
