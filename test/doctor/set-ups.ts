import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import gatehouse, {
  apiKey, basic, jwt, memoryStore, session, type GatehouseOptions, type Store
} from '../../lib/index.js'
import { oauthServer } from '../../lib/oauth/index.js'
import { passwords } from '../../lib/passwords/index.js'
import { redactRequest } from '../../lib/guard/redact.js'
import type { FindingId } from '../../types/doctor.js'
import { pair, secretOf } from '../fixtures/tokens.js'

/** A set-up of an application. */
export interface SetUp {
  readonly options?: Partial<GatehouseOptions>
  readonly fastify?: FastifyServerOptions
  readonly before?: (app: FastifyInstance) => unknown
  readonly declare?: (app: FastifyInstance) => unknown
  /** Leaves out the option `store`. */
  readonly inMemory?: true
}

/** A finding that is visible without a request and without the command. */
export interface Case {
  readonly id: FindingId
  /** The kind of boot that logs it. */
  readonly at: 'boot' | 'production'
  readonly where: readonly (string | RegExp)[]
  readonly bad: SetUp
  readonly good: SetUp
}

/** Creates a custom store, which is not a store of this package. */
export const ownStore = (): Store => ({ ...memoryStore() })

const web = session({ secret: secretOf() })
const user = jwt({ keys: secretOf(), issuer: 'https://id.example.com', audience: 'orders' })
const { publicKey, privateKey } = pair('ec')
const one = secretOf()
const hex = Buffer.from(secretOf(), 'base64url').toString('hex')

/** Creates an application that is not yet ready. */
export async function createApplication (
  { options = {}, fastify = {}, before, declare, inMemory }: SetUp, doctor?: GatehouseOptions['doctor']
): Promise<FastifyInstance> {
  const app = Fastify(fastify)
  await before?.(app)
  const schemes = options.schemes ?? { user }
  await app.register(gatehouse, {
    ...inMemory === true ? {} : { store: ownStore() },
    ...doctor === undefined ? {} : { doctor },
    default: Object.keys(schemes) as never,
    ...options,
    schemes
  })
  if (declare === undefined) app.get('/orders', async () => [])
  else await declare(app)
  return app
}

/** Returns a set-up with one route behind `auth`. */
const route = (auth: unknown, options: Partial<GatehouseOptions> = {}): SetUp => ({
  options, declare: app => { app.get('/orders', { config: { auth: auth as never } }, async () => []) }
})

const schemes = (named: GatehouseOptions['schemes']): SetUp => ({ options: { schemes: named } })

const hmac = (keys: string | Buffer) => schemes({
  user: jwt({ keys, issuer: 'https://id.example.com', audience: 'a' })
})

const signing = (issuer: string, more: object = {}) =>
  jwt({ keys: privateKey, issuer, audience: 'https://api.example.com', sign: { realm: 'web', ...more } })

const refresh = (more: object = {}) => signing('https://id.example.com', { refresh: { secret: secretOf(), ...more } })

const server = (issuer: string, audience: string | string[]): SetUp => ({
  options: {
    schemes: { web, api: jwt({ keys: privateKey, issuer, audience, sign: { realm: 'web' } }) }
  },
  declare: async app => { await app.register(oauthServer, { session: 'web', resources: ['api'] }) }
})

const client = (secret: string): SetUp => ({
  options: server('https://api.example.com', 'https://api.example.com').options ?? {},
  declare: async app => {
    await app.register(oauthServer, {
      session: 'web', resources: ['api'], clients: { shop: { secrets: [secret], grants: ['client_credentials'] } }
    })
  }
})

const query = { key: apiKey({ keys: { [secretOf()]: { id: 'shop' } }, from: 'query:key' }) }
const logged = { stream: { write () {} } }
const notPino = {
  ...Object.fromEntries(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace'].map(level => [level, () => {}])),
  level: 'info'
}
const loginPage = (declare: SetUp['declare']): SetUp => ({
  options: { schemes: { web: session({ secret: secretOf(), loginPath: '/login' }) } },
  ...declare === undefined ? {} : { declare }
})

/** Every finding, with a set-up that causes it and a similar one that does not. */
export const cases: readonly Case[] = [
  ...['dev-secret', 'local_session', 'not-for-production', 'changeme', 'dev-secret-für-später'].map((word): Case => ({
    id: 'placeholder-secret',
    at: 'production',
    where: ['schemes.web.secret'],
    bad: schemes({ web: session({ secret: `${word}-${one}` }) }),
    good: schemes({ web })
  })),
  {
    id: 'placeholder-secret',
    at: 'production',
    where: ['schemes.user.keys', 'schemes.user.sign.refresh.secret', 'key 1 of schemes.shop.keys',
      "the password of 'ann' in schemes.ops.users", 'limits.guesses.deviceSecret'],
    bad: {
      options: {
        schemes: {
          user: jwt({
            keys: Buffer.from(`test-secret-${one}`),
            issuer: 'https://id.example.com',
            audience: 'orders',
            sign: { refresh: { secret: Buffer.from(`test-secret-${secretOf()}`).toString('base64url') } }
          }),
          shop: apiKey({ keys: { [`dev-token-${one}`]: { id: 'shop' } } }),
          ops: basic({ users: { ann: { password: `local-password-${one}` }, bob: { hash: bobsHash() } } })
        },
        limits: { guesses: { deviceSecret: `development-${one}` } }
      }
    },
    good: schemes({
      user: jwt({
        keys: secretOf(),
        issuer: 'https://id.example.com',
        audience: 'orders',
        sign: { refresh: { secret: secretOf() } }
      }),
      shop: apiKey({ keys: { [secretOf()]: { id: 'shop' } } }),
      ops: basic({ users: { ann: { password: secretOf() } } })
    })
  },
  {
    id: 'placeholder-secret',
    at: 'production',
    where: ['oauthServer.clients.shop.secrets'],
    bad: client(`dev-secret-${one}`),
    good: client(one)
  },
  {
    id: 'placeholder-secret',
    at: 'production',
    where: ['schemes.user.keys'],
    bad: hmac(Buffer.from(`...${one}`)),
    // random bytes, three of which happen to be dots
    good: hmac(Buffer.concat([Buffer.from([0xff, 0]), Buffer.from(`...${one}`)]))
  },
  {
    id: 'insecure-cookies',
    at: 'boot',
    where: ['schemes.web.secure'],
    bad: schemes({ web: session({ secret: secretOf(), secure: false }) }),
    good: schemes({ web })
  },
  {
    id: 'plain-http',
    at: 'production',
    where: [
      'schemes.user: http://localhost:8080', 'schemes.other.issuers[1]: http://127.0.0.1',
      'schemes.own: http://id.test'
    ],
    bad: schemes({
      user: jwt({ issuer: 'http://localhost:8080/realms/a', audience: 'orders' }),
      other: jwt({
        issuers: [
          { issuer: 'https://a.example.com', audience: 'orders' },
          { issuer: 'https://b.example.com', audience: 'orders', keys: 'http://127.0.0.1/jwks' }
        ]
      }),
      own: signing('http://id.test')
    }),
    good: schemes({
      user: jwt({ issuer: 'https://localhost:8080/realms/a', audience: 'orders' }),
      named: jwt({ issuer: 'http://adfs.example.com/trust', audience: 'orders', keys: publicKey }),
      any: jwt({ issuer: false, audience: 'orders', keys: publicKey }),
      remote: jwt({ issuer: 'http://adfs.example.com/trust', audience: 'a', keys: 'https://adfs.example.com/keys' }),
      found: jwt({ issuers: () => null }),
      own: signing('https://id.example.com'),
      text: signing('http:')
    })
  },
  {
    id: 'insecure-hosts',
    at: 'production',
    where: ['schemes.user: http://keycloak:8080', 'schemes.found.insecureHosts: keycloak'],
    bad: schemes({
      user: jwt({ issuer: 'http://keycloak:8080/realms/a', audience: 'orders', insecureHosts: ['keycloak'] }),
      found: jwt({ issuers: () => null, insecureHosts: ['keycloak'] })
    }),
    good: schemes({
      user: jwt({ issuer: 'https://keycloak/realms/a', audience: 'orders', insecureHosts: ['keycloak'] })
    })
  },
  ...([{ store: memoryStore() }, {}] as const).map((options): Case => ({
    id: 'memory-store',
    at: 'production',
    where: ['sessions of schemes.web', 'keys of schemes.own', 'grants of schemes.api'],
    bad: {
      options: {
        schemes: { web, own: apiKey({ managed: { prefix: 'acme' } }), api: refresh() },
        load: principal => principal,
        ...options
      },
      inMemory: true
    },
    good: {
      options: {
        schemes: { web, own: apiKey({ managed: { prefix: 'acme' } }), api: refresh() }, load: principal => principal
      }
    }
  })),
  {
    id: 'memory-store',
    at: 'production',
    where: ['sessions of schemes.web', 'codes and clients of oauthServer'],
    bad: {
      ...server('https://api.example.com', 'https://api.example.com'),
      options: {
        ...server('https://api.example.com', 'https://api.example.com').options, store: memoryStore()
      }
    },
    good: { options: { store: memoryStore() } }
  },
  {
    id: 'shared-secret',
    at: 'boot',
    where: ['schemes.user.keys and schemes.web.secret'],
    bad: schemes({
      user: jwt({ keys: Buffer.from(one, 'base64url'), issuer: 'https://id.example.com', audience: 'orders' }),
      web: session({ secret: [secretOf(), one] }),
      again: session({ secret: one })
    }),
    good: schemes({
      // two schemes of one issuer, with one purpose
      user: jwt({ keys: one, issuer: 'https://id.example.com', audience: 'orders' }),
      admin: jwt({ keys: one, issuer: 'https://id.example.com', audience: 'admin' }),
      web: session({ secret: [secretOf(), secretOf()] })
    })
  },
  {
    id: 'shared-secret',
    at: 'boot',
    where: ['schemes.user.keys and schemes.web.secret'],
    bad: schemes({
      user: jwt({ keys: hex, issuer: 'https://id.example.com', audience: 'orders' }), web: session({ secret: hex })
    }),
    good: schemes({ user, web })
  },
  {
    id: 'shared-secret',
    at: 'boot',
    where: [/^schemes\.web\.secret and the pepper '1' of passwords$/],
    bad: schemes({ web: session({ secret: pepper() }) }),
    good: schemes({ web })
  },
  {
    id: 'trust-proxy-all',
    at: 'boot',
    where: ['trustProxy: true'],
    bad: { fastify: { trustProxy: true } },
    good: { fastify: { trustProxy: ['loopback'] } }
  },
  {
    id: 'trust-proxy-count',
    at: 'boot',
    where: ['trustProxy: 1'],
    bad: { fastify: { trustProxy: 1 as never } },
    good: { fastify: { trustProxy: '10.0.0.0/8' } }
  },
  {
    id: 'trust-proxy-count',
    at: 'boot',
    where: ['trustProxy: 2'],
    bad: { fastify: { trustProxy: 2 as never } },
    // has the same effect as no trustProxy
    good: { fastify: { trustProxy: 0 as never } }
  },
  {
    id: 'query-credentials',
    at: 'production',
    where: ['schemes.key: query:key'],
    bad: schemes(query),
    good: schemes({ key: apiKey({ keys: { [secretOf()]: { id: 'shop' } } }) })
  },
  {
    id: 'unredacted-logger',
    at: 'boot',
    where: ['key'],
    bad: { ...schemes(query), fastify: { loggerInstance: notPino as never } },
    good: { ...schemes(query), fastify: { logger: logged } }
  },
  {
    id: 'unredacted-trace',
    at: 'boot',
    where: ['key'],
    bad: { ...schemes(query), fastify: { logger: { ...logged, level: 'trace' } } },
    good: {
      ...schemes(query),
      fastify: { logger: { ...logged, level: 'trace', serializers: { err: redactRequest({ query: ['key'] }) } } }
    }
  },
  {
    id: 'unredacted-not-found',
    at: 'boot',
    where: ['key'],
    bad: {
      ...schemes(query),
      fastify: { logger: logged },
      before: app => { app.setNotFoundHandler(async () => 'nothing') }
    },
    good: { ...schemes(query), fastify: { logger: logged } }
  },
  {
    id: 'public-without-reason',
    at: 'production',
    where: [/^publicPaths\[0\]: write/, /^GET \/orders \(in test\/doctor\/set-ups\.ts\): write auth: \{ public/],
    bad: {
      options: { publicPaths: ['/open'] },
      declare: app => {
        app.get('/open', async () => [])
        app.get('/orders', { config: { auth: false } }, async () => [])
        app.get('/own', async () => [])
      }
    },
    good: {
      options: { publicPaths: [{ path: '/open', reason: 'for everybody' }] },
      declare: app => {
        app.get('/open', async () => [])
        app.get('/orders', { config: { auth: { public: 'a list of prices' } } }, async () => [])
        app.get('/own', async () => [])
      }
    }
  },
  {
    id: 'unused-public-path',
    at: 'boot',
    where: ['/health'],
    bad: { options: { publicPaths: [{ path: '/health', reason: 'probe' }] } },
    good: {
      options: { publicPaths: [{ path: '/orders', reason: 'prices' }, { path: '/own', reason: 'x' }] },
      declare: app => {
        for (const path of ['/orders', '/own', '/more']) app.get(path, async () => [])
      }
    }
  },
  {
    id: 'unused-scheme',
    at: 'production',
    where: ['schemes.web'],
    bad: route('user', { schemes: { web, user } }),
    good: {
      options: { schemes: { web, user, service: signing('https://login.example.com') } },
      declare: app => {
        app.get('/orders', { config: { auth: 'user' } }, async () => [])
        app.setNotFoundHandler({ preHandler: app.gatehouse.guard({ schemes: 'web' }) }, async () => 'nothing')
      }
    }
  },
  {
    id: 'unused-scope',
    at: 'production',
    where: ['pay'],
    bad: route({ scopes: 'read', anyOf: [{ scopes: { any: ['write', 'ship'], none: ['old'] } }] }, {
      scopes: { read: '', write: '', ship: '', old: '', pay: '' }
    }),
    good: route({ anyOf: [{ scopes: { any: ['read', 'pay'] } }] }, { scopes: { read: '', pay: '' } })
  },
  {
    id: 'unused-scope',
    at: 'production',
    where: ['pay'],
    bad: route(true, { scopes: { pay: '' } }),
    good: route({ scopes: () => 'pay' }, { scopes: { pay: '' } })
  },
  {
    id: 'missing-login-page',
    at: 'boot',
    where: ['schemes.web: GET /login'],
    bad: loginPage(undefined),
    good: loginPage(app => {
      app.get('/orders', async () => [])
      app.get('/login', { config: { auth: { public: 'the form' } } }, async () => 'form')
    })
  },
  {
    id: 'issuer-origin',
    at: 'production',
    where: ['schemes.api: issuer https://id.example.com, audience https://api.example.com/orders'],
    bad: server('https://id.example.com', 'https://api.example.com/orders'),
    good: server('https://api.example.com', ['orders', 'https://api.example.com/orders'])
  },
  {
    id: 'issuer-origin',
    at: 'production',
    where: ['schemes.api: issuer https://id.example.com, audience https://api.example.com'],
    bad: server('https://id.example.com', 'https://api.example.com'),
    good: server('https://id.example.com', ['orders', 'https://['])
  },
  {
    id: 'long-reuse-grace',
    at: 'boot',
    where: ['schemes.api.sign.refresh.reuseGrace'],
    bad: { options: { schemes: { api: refresh({ reuseGrace: '3m' }) }, load: principal => principal } },
    good: { options: { schemes: { api: refresh({ reuseGrace: '2m' }) }, load: principal => principal } }
  },
  {
    id: 'refresh-without-load',
    at: 'boot',
    where: ['schemes.api.sign.refresh'],
    bad: schemes({ api: refresh() }),
    good: { options: { schemes: { api: refresh() }, load: principal => principal } }
  }
]

/** Returns a secret that is also the pepper of `passwords()` in this process. */
function pepper (): string {
  const secret = secretOf()
  passwords({ pepper: { id: '1', secret } })
  return secret
}

function bobsHash (): string {
  return '$scrypt$ln=14,r=8,p=5$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
}
