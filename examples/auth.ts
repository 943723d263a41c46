import { apiKey, basic, jwt, session, type GatehouseOptions, type Load, type SchemesOf, type Store } from 'fastify-gatehouse'
import type { Config } from './config.js'
import { realm, type People, type Person } from './people.js'

/** What a session keeps beside the person: a sentence for the next page. */
export interface Notes { readonly notice?: string }

/** What the ways in work with. */
export interface Means {
  readonly config: Config
  readonly people: People
  /** Of the operator's password. */
  readonly opsHash: string
  readonly store: Store
  /** A client of ioredis; `null`: each process counts requests for itself. */
  readonly redis: object | null
}

/** The ways in. */
function schemesFor ({ config, people, opsHash }: Means) {
  // One row by its primary key, on every request: whoever leaves is out at once, whatever cookie or token they hold. For keys (`own`) the answer serves 5 seconds.
  const load: Load = principal => people.find(principal.id)
  return {
    web: session<Person, Notes>({ secret: config.SESSION_SECRET, secure: config.COOKIE_SECURE, loginPath: '/login', load }),
    user: jwt<Person>({ keys: config.JWT_SECRET, issuer: realm, audience: 'order-desk-api', sign: { expiresIn: '15m' }, load }),
    // Keys that people make for themselves, on the page /keys. What a key may, its owner must be allowed to at the time.
    own: apiKey<Person>({ managed: { prefix: 'desk' }, load }),
    service: apiKey({
      keys: {
        [config.SHOP_KEY]: { id: 'shop', scopes: ['orders:read', 'orders:write'] },
        [config.WAREHOUSE_KEY]: { id: 'warehouse', scopes: ['orders:read', 'orders:ship'] }
      }
    }),
    // Monitoring tools send the password every few seconds: it is hashed once a minute.
    ops: basic({ realm: 'Order desk operations', users: { ops: { hash: opsHash } }, cache: { ttl: '1m' } })
  }
}

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<ReturnType<typeof schemesFor>> {}
  interface Scopes { 'orders:read': true, 'orders:write': true, 'orders:ship': true }
  interface Roles { admin: true, clerk: true, viewer: true }
}

/** Who may enter unless a route or a group of routes says otherwise, and what the words of those rules mean. */
export function authOptions (means: Means): GatehouseOptions {
  const { config, store, redis } = means
  return {
    schemes: schemesFor(means),
    // With a store, people see where they are logged in, and end it; keys, ended sessions and counts of wrong guesses survive a restart.
    store,
    default: ['user', 'own', 'service'],
    // Browsers that somebody logged in with have a count of wrong guesses of their own, across restarts.
    limits: { guesses: { deviceSecret: config.DEVICE_SECRET }, ...redis === null ? {} : { redis } },
    // Its scripts ask for tokens with a name and a password.
    origins: config.CORS_ORIGIN === '' ? [] : [config.CORS_ORIGIN],
    publicPaths: [
      { path: '/health', reason: 'load balancer probe' },
      { path: '/docs/*', reason: 'documentation' }
    ],
    scopes: {
      'orders:read': 'See orders',
      'orders:write': 'Place and cancel orders',
      'orders:ship': 'Say that an order is on its way'
    },
    roles: {
      viewer: { scopes: ['orders:read'], description: 'Looks on' },
      clerk: { roles: ['viewer'], scopes: ['orders:write'], description: 'Takes orders' },
      admin: { roles: ['clerk'], description: 'Runs the desk' }
    }
  }
}
