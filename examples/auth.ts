import { apiKey, basic, jwt, memoryStore, session, type GatehouseOptions, type Load, type SchemesOf } from 'fastify-gatehouse'
import type { Config } from './config.js'
import { realm, type People, type Person } from './people.js'

/** What a session keeps beside the person: a sentence for the next page. */
export interface Notes { readonly notice?: string }

/** The ways in. */
function schemesFor (config: Config, people: People) {
  // Asked on every request, so that whoever leaves is out at once, whatever cookie or token they hold.
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
    ops: basic({ realm: 'Order desk operations', users: { ops: { password: config.OPS_PASSWORD } } })
  }
}

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<ReturnType<typeof schemesFor>> {}
  interface Scopes { 'orders:read': true, 'orders:write': true, 'orders:ship': true }
  interface Roles { admin: true, clerk: true, viewer: true }
}

/** Who may enter unless a route or a group of routes says otherwise, and what the words of those rules mean. */
export function authOptions (config: Config, people: People): GatehouseOptions {
  return {
    schemes: schemesFor(config, people),
    // With a store, people see where they are logged in, and end it. This one lives as long as the process.
    store: memoryStore(),
    default: ['user', 'own', 'service'],
    // Browsers that somebody logged in with keep a count of their own, across restarts. The keys for this and for sessions are derived apart.
    limits: { guesses: { deviceSecret: config.SESSION_SECRET } },
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
