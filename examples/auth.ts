import { apiKey, basic, jwt, session } from 'fastify-gatehouse'
import type { GatehouseOptions, Load, SchemesOf, Store } from 'fastify-gatehouse'
import type { Config } from './config.js'
import { realm, type People, type Person } from './people.js'

/** A key that was just created. */
export interface CreatedKey { readonly key: string, readonly name: string }

/** The data of a session: a message or a new key to show on the next page. */
export interface Notes { readonly notice?: string, readonly created?: CreatedKey }

export interface AuthDependencies {
  readonly config: Config
  readonly people: People
  /** The hash of the operator's password. */
  readonly opsHash: string
  readonly store: Store
  /** A client of ioredis, or `null` to count requests in each process separately. */
  readonly redis: object | null
}

function schemesFor ({ config, people, opsHash }: AuthDependencies) {
  // Looks up one row by its primary key for every request, so a person who was removed loses access at once.
  // For managed keys (`own`) the result is cached for 5 seconds.
  const load: Load = principal => people.find(principal.id)
  // Our own tokens: one issuer with several audiences. A token for one of them is of no use at the others.
  const own = {
    issuer: config.PUBLIC_URL,
    keys: config.JWT_KEYS,
    sign: { realm, expiresIn: '15m', refresh: { secret: config.REFRESH_SECRET } },
    load
  } as const
  return {
    web: session<Person, Notes>({
      secret: config.SESSION_SECRET, secure: config.COOKIE_SECURE, loginPath: '/login', load
    }),
    // Tokens that people get for their own programs, at /api/token.
    user: jwt<Person>({ ...own, audience: 'order-desk' }),
    // Tokens that the authorization server gives to applications, for the API and for /mcp.
    client: jwt({ ...own, audience: `${config.PUBLIC_URL}/api` }),
    mcp: jwt<Person>({ ...own, audience: `${config.PUBLIC_URL}/mcp`, resource: { name: 'Order desk' } }),
    // Keys that people create for themselves on the page /keys. A key never has more rights than its owner.
    own: apiKey<Person>({ managed: { prefix: 'desk' }, load }),
    service: apiKey({
      keys: {
        [config.SHOP_KEY]: { id: 'shop', scopes: ['orders:read', 'orders:write'] },
        [config.WAREHOUSE_KEY]: { id: 'warehouse', scopes: ['orders:read', 'orders:ship'] }
      }
    }),
    // Monitoring tools send the password every few seconds. With the cache it is hashed once a minute.
    ops: basic({ realm: 'Order desk operations', users: { ops: { hash: opsHash } }, cache: { ttl: '1m' } })
  }
}

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<ReturnType<typeof schemesFor>> {}
  interface Scopes { 'orders:read': true, 'orders:write': true, 'orders:ship': true }
  interface Roles { admin: true, clerk: true, viewer: true }
}

/** Returns the options of the plugin: the schemes, the default of all routes, and the scopes and roles. */
export function authOptions (dependencies: AuthDependencies): GatehouseOptions {
  const { config, store, redis } = dependencies
  return {
    schemes: schemesFor(dependencies),
    // The store makes sessions listable and revocable. Keys, ended sessions and counts of wrong passwords survive a
    // restart.
    store,
    default: ['user', 'client', 'own', 'service'],
    // With a fixed secret, known devices are still recognised after a restart.
    limits: { guesses: { deviceSecret: config.DEVICE_SECRET }, ...redis === null ? {} : { redis } },
    // Scripts of this origin request tokens with a user name and a password.
    origins: config.CORS_ORIGIN === '' ? [] : [config.CORS_ORIGIN],
    publicPaths: [
      { path: '/health', reason: 'load balancer probe' },
      { path: '/docs/*', reason: 'documentation' }
    ],
    scopes: {
      'orders:read': 'Read orders',
      'orders:write': 'Place and cancel orders',
      'orders:ship': 'Mark orders as shipped'
    },
    roles: {
      viewer: { scopes: ['orders:read'] },
      // places orders, and cancels their own
      clerk: { roles: ['viewer'], scopes: ['orders:write'] },
      // cancels any order, and sees who may call which route
      admin: { roles: ['clerk'] }
    }
  }
}
