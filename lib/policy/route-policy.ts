import type { FastifyInstance, FastifyRequest } from 'fastify'
import { internalError, type AuthError } from '../errors.js'
import { isObject } from '../util/objects.js'
import { publicPolicy, type Policy } from './policy.js'

/** What the plugin leaves on a route's config: the policy, and for exactly which route it was made. */
export interface RouteMark {
  readonly policy: Policy
  readonly server: FastifyInstance
  /** The pattern that the router serves. */
  readonly url: string
  /**
   * The pattern as Fastify keeps it on the config: as it was written, also where an earlier `onRoute` moved the route.
   */
  readonly written: string
  readonly method: string | string[]
  /** The methods as they were, should somebody change the list itself. */
  readonly methods: string
  /** Where the policy comes from, for the audit. */
  readonly from: string
  /** The path of the file that declared the route, for the audit; `null` when it cannot be told. */
  readonly file: string | null
  /** It is the route of `@fastify/cors`, whose guard is a `preHandler` of its own. */
  readonly preflight: boolean
}

type Config = Record<string | symbol, unknown> & { url?: string, method?: unknown, auth?: unknown }

const open = publicPolicy('')

/**
 * The policy of a preflight route of which `onRoute` showed nothing: both stages of the guard run in our `preHandler`,
 * for the default of its context.
 */
export const unseenPreflight = publicPolicy('')

/**
 * The policy that our hooks have to run for a request, read from the router's own choice and never from the URL.
 * A mark that was made for another instance, method or pattern came along with a copied config, and counts for nothing.
 * @returns the policy, or a fault where a route has none.
 */
export function policyOf (request: FastifyRequest, key: symbol): Policy | AuthError {
  const config = request.routeOptions.config as Config
  const mark = config[key] as RouteMark | undefined
  if (mark !== undefined && mark.server === request.server && mark.written === config.url && mark.method === config.method) {
    return mark.preflight ? open : mark.policy
  }
  if (config.url === undefined) return config.auth === undefined ? open : internalError('config.auth on a not-found handler does nothing; use app.gatehouse.guard as its preHandler')
  const { server, routeOptions: { schema } } = request
  if (mark === undefined && isPreflight(server, { method: config.method, url: config.url, schema })) return unseenPreflight
  return internalError(`${String(config.method)} ${config.url} has no policy: it was declared before ` +
    'fastify-gatehouse was loaded')
}

interface RouteShape {
  readonly method: unknown
  readonly url: string
  readonly schema?: unknown
}

/**
 * Returns true for the `OPTIONS *` that `@fastify/cors` declares in the context where it is registered, so that
 * preflight requests reach its hook. A preflight carries no credential (Fetch, 3.2), and that hook, which may be a
 * `preHandler`, answers it: so the guard of this route waits until all hooks of its context ran. What cors does not
 * answer is refused as on any route.
 */
export function isPreflight (server: FastifyInstance, { method, url, schema }: RouteShape): boolean {
  return method === 'OPTIONS' && url === `${server.prefix}*` && isObject(schema) && 'hide' in schema &&
    // hasPlugin() alone would say yes in every child context too
    server.hasPlugin('@fastify/cors') && server.pluginName.split(' -> ').includes('@fastify/cors')
}
