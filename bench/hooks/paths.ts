import { createHmac, generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import { hashPassword } from '../../lib/passwords/index.js'
import {
  anyOfPeer, basicPeer, jwtPeer, keyPeer, limitPeer, rolePeer, scopePeer, sessionPeer, type TokenPeer
} from '../peers.js'
import type { Headers } from './exchange.js'
import * as ideals from './ideals.js'
import type { Ideal } from './ideals.js'

/** The library of this working tree, or of another one to compare with. */
export type Library = typeof import('../../lib/index.js')

type Schemes = Parameters<Library['default']>[1]['schemes']

/** An application for one path, with the credentials that it accepts. */
interface Made {
  readonly app: FastifyInstance
  readonly headers: readonly Headers[]
}

/** One path of a request through the guard. */
export interface Path {
  readonly name: string
  readonly status: number
  readonly make: (library: Library) => Promise<Made>
  /** Creates a hook that an application could write by hand for exactly this path. */
  readonly ideal: (headers: readonly Headers[]) => Ideal
  /** The fastest other package for the same path, if there is one. */
  readonly peer?: Peer
}

interface Peer {
  readonly name: string
  /** `true` if it skips work of this path, such as hashing a password. `--check` ignores it. */
  readonly doesLess?: boolean
  readonly make: () => Promise<Made>
}

const secret = randomBytes(32).toString('base64url')
const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const answer = { hello: 'world' }
/** More tokens than a cache has room for, so that each is new. */
const freshTokens = 20_000

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })
const key = (value: string): Headers => ({ 'x-api-key': value })
const randomKey = (): string => randomBytes(32).toString('base64url')
const first = ([headers]: readonly Headers[], name: string): string => headers?.[name] ?? ''

type Sign = (input: string) => Buffer

function token (alg: string, signature: Sign): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: issuer, aud: audience, sub: 'user-1', iat: now, exp: now + 3600, scope: 'orders:read' }
  const input = `${part({ alg, typ: 'JWT' })}.${part({ ...claims, jti: randomUUID() })}`
  return `${input}.${signature(input).toString('base64url')}`
}

const hs256 = (value = secret): string => token('HS256', input => createHmac('sha256', value).update(input).digest())
const many = (make: () => string, count = freshTokens) => Array.from({ length: count }, () => bearer(make()))

async function guarded (
  { default: plugin }: Library, schemes: Schemes, config: { readonly auth?: unknown } = {}
): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(plugin, { schemes, default: Object.keys(schemes) })
  app.get('/', { config: config as object }, async () => answer)
  return app
}

const jwtOptions = { keys: secret, issuer, audience }
const ownToken = ideals.tokens({ issuer, audience, key: secret })
const people = { scopes: 'orders:write' }

/** Returns `@fastify/jwt` as the peer of a path with these tokens. */
function tokenPeer (headers: readonly Headers[], options: Partial<TokenPeer> = {}): Peer {
  const all: TokenPeer = { issuer, audience, secret, algorithm: 'HS256', cache: false, ...options }
  return {
    name: all.cache ? '@fastify/jwt, cache' : '@fastify/jwt',
    make: async () => ({ app: await jwtPeer(all), headers })
  }
}

function jwtPath (name: string, status: number, headers: readonly Headers[], about: {
  readonly ideal: Path['ideal'], readonly options?: object, readonly auth?: unknown, readonly peer?: Peer
}): Path {
  const { auth, options, ideal, peer } = about
  const config = auth === undefined ? {} : { auth }
  return {
    name,
    status,
    ideal,
    ...peer === undefined ? {} : { peer },
    make: async library => ({
      app: await guarded(library, { user: library.jwt({ ...jwtOptions, ...options }) }, config), headers
    })
  }
}

/** Returns a path of new tokens that are signed with a private key, with the bare verification as the ideal. */
function asymmetric (alg: 'RS256' | 'ES256' | 'EdDSA'): Path {
  const { privateKey, publicKey } = alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const digest = alg === 'EdDSA' ? null : 'sha256'
  const make = () => token(
    alg, input => sign(digest, Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  )
  const headers = many(make, 1000)
  const pem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  return jwtPath(`JWT ${alg}, cache: false`, 200, headers, {
    options: { keys: publicKey, cache: false },
    peer: tokenPeer(headers, { secret: { public: pem }, algorithm: alg }),
    ideal: () => ideals.tokens({ issuer, audience, key: { key: publicKey, dsaEncoding: 'ieee-p1363' } })
  })
}

const allKeys = Array.from({ length: 100_000 }, randomKey)

function bearerPeer (known: readonly string[], sent: string): Peer {
  return { name: '@fastify/bearer-auth', make: async () => ({ app: await keyPeer(known), headers: [bearer(sent)] }) }
}

function tablePath (name: string, status: number, { count = 1, sent, auth }: {
  readonly count?: number, readonly sent?: string, readonly auth?: unknown
}): Path {
  const known = allKeys.slice(0, count)
  return {
    name,
    status,
    async make (library) {
      const principals = new Map(known.map((each, i) => [each, { id: `client-${i}`, scopes: ['orders:read'] }]))
      const service = library.apiKey({ keys: principals })
      const config = auth === undefined ? {} : { auth }
      return { app: await guarded(library, { service }, config), headers: [key(sent ?? known.at(-1) ?? '')] }
    },
    ideal: () => ideals.keys(known, status),
    // a linear search in 100,000 keys takes 17 ms per request, which `npm run bench` measures
    ...auth === undefined && count <= 1000 ? { peer: bearerPeer(known, sent ?? known.at(-1) ?? '') } : {}
  }
}

function managedPath (name: string, status: number): Path {
  return {
    name,
    status,
    async make (library) {
      const app = await guarded(library, { service: library.apiKey({ managed: { prefix: 'acme_live' } }) })
      await app.ready()
      const mine = app.gatehouse.apiKeys.of({ realm: 'web', id: 'alice' })
      const { key: value, record } = await mine.create({ name: 'laptop' })
      if (status !== 200) await mine.revoke(record.id)
      return { app, headers: [key(value)] }
    },
    ideal: headers => ideals.keys(status === 200 ? [first(headers, 'x-api-key')] : [], status)
  }
}

const secureSession: Peer = {
  name: '@fastify/secure-session',
  async make () {
    const { app, cookie } = await sessionPeer()
    return { app, headers: [{ cookie }] }
  }
}

function sessionPath (name: string, hasStore: boolean): Path {
  return {
    name,
    status: 200,
    async make (library) {
      const app = Fastify()
      const store = hasStore ? { store: library.memoryStore() } : {}
      await app.register(library.default, { schemes: { web: library.session({ secret }) }, ...store })
      app.get('/', async () => answer)
      app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
        await reply.login({ id: 'alice', roles: ['clerk'] })
      })
      const login = await app.inject({ method: 'POST', url: '/login' })
      return { app, headers: [{ cookie: [login.headers['set-cookie']].flat()[0]?.split(';')[0] ?? '' }] }
    },
    ideal: headers => ideals.known('cookie', first(headers, 'cookie')),
    ...hasStore ? {} : { peer: secureSession }
  }
}

const operator: Headers = { authorization: `Basic ${Buffer.from('operator:correct horse').toString('base64')}` }

const basicCached: Path = {
  name: 'Basic with cache',
  status: 200,
  async make (library) {
    const users = { operator: { hash: await hashPassword('correct horse') } }
    const app = await guarded(library, { ops: library.basic({ users, cache: { ttl: '5m' } }) })
    await app.inject({ url: '/', headers: operator })
    return { app, headers: [operator] }
  },
  ideal: headers => ideals.password(first(headers, 'authorization')),
  peer: {
    name: '@fastify/basic-auth, compares text',
    doesLess: true,
    make: async () => ({ app: await basicPeer('operator', 'correct horse'), headers: [operator] })
  }
}

const threeSchemes: Path = {
  name: 'no credential, three schemes',
  status: 401,
  make: async library => ({
    app: await guarded(library, {
      user: library.jwt(jwtOptions),
      service: library.apiKey({ keys: { [randomKey()]: { id: 'a' } } }),
      ops: library.basic({ users: { operator: { password: randomKey() } } })
    }),
    headers: [{}]
  }),
  ideal: () => ideals.missing,
  peer: { name: '@fastify/auth', make: async () => ({ app: await anyOfPeer(randomKey()), headers: [{}] }) }
}

const isPublic: Path = {
  name: 'public',
  status: 200,
  make: async library => ({
    app: await guarded(library, { user: library.jwt(jwtOptions) }, { auth: false }), headers: [{}]
  }),
  ideal: () => ideals.nothing
}

const limit = { max: 100_000_000, window: '1h' }
const seen = hs256()
const isSeen = ideals.known('authorization', `Bearer ${seen}`)
const fresh = many(hs256)
const uncached = many(hs256, 1000)
const scopeRefusedPeer: Peer = {
  name: '@fastify/jwt with cache, and fastify-guard',
  make: async () => ({
    app: await scopePeer({ issuer, audience, secret, algorithm: 'HS256', cache: true }, people.scopes),
    headers: [bearer(seen)]
  })
}
const forged = many(() => hs256(randomKey()), 1000)

/** Every path, including those of a flood. */
export const paths: readonly Path[] = [
  isPublic,
  jwtPath('JWT seen', 200, [bearer(seen)], { ideal: () => isSeen, peer: tokenPeer([bearer(seen)], { cache: true }) }),
  jwtPath('JWT HS256 fresh', 200, fresh, { ideal: () => ownToken, peer: tokenPeer(fresh) }),
  jwtPath('JWT HS256, cache: false', 200, uncached, {
    options: { cache: false }, ideal: () => ownToken, peer: tokenPeer(uncached)
  }),
  ...(['RS256', 'ES256', 'EdDSA'] as const).map(asymmetric),
  ...[1, 1000, 100_000].map(count => tablePath(`key among ${count}`, 200, { count })),
  managedPath('managed key, seen', 200),
  sessionPath('session', false),
  sessionPath('session with a store', true),
  basicCached,
  jwtPath('no credential, one scheme', 401, [{}], { ideal: () => ideals.missing, peer: tokenPeer([{}]) }),
  threeSchemes,
  tablePath('unknown key of a table', 401, { count: 1000, sent: randomKey() }),
  managedPath('revoked managed key', 401),
  jwtPath('bad signature', 401, forged, { ideal: () => ownToken, peer: tokenPeer(forged) }),
  tablePath('scope refused, key', 403, { auth: people }),
  {
    ...tablePath('role refused, key', 403, { auth: { roles: 'admin' } }),
    peer: {
      name: '@fastify/bearer-auth and fastify-guard',
      make: async () => ({ app: await rolePeer(seen, 'admin'), headers: [bearer(seen)] })
    }
  },
  jwtPath('scope refused, JWT', 403, [bearer(seen)], {
    auth: people, ideal: () => ideals.known('authorization', `Bearer ${seen}`, 403), peer: scopeRefusedPeer
  }),
  {
    ...tablePath('rate limit', 200, { auth: { rateLimit: limit } }),
    ideal: headers => ideals.limited(first(headers, 'x-api-key'), limit.max),
    peer: {
      name: '@fastify/bearer-auth and rate-limit',
      make: async () => ({ app: await limitPeer(seen, limit.max), headers: [bearer(seen)] })
    }
  },
  jwtPath('JWT seen, when', 200, [bearer(seen)], { auth: { when: () => true }, ideal: () => isSeen })
]

/** Creates an application with a handwritten hook, without the plugin. */
export function byHand (ideal: Ideal): FastifyInstance {
  const app = Fastify()
  app.addHook('preParsing', (request, reply, _payload, done) => {
    try {
      ideal(request, reply)
      done()
    } catch (error) {
      done(error as Error)
    }
  })
  app.get('/', async () => answer)
  return app
}

/** Creates an application that only answers, or always fails with the same error. */
export function bare (status: number): FastifyInstance {
  if (status === 200) return byHand(ideals.nothing)
  const error = Object.assign(new Error('Refused'), { statusCode: status, code: 'REFUSED' })
  return byHand(() => { throw error })
}
