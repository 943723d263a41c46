import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fault, type AuthError } from '../errors.js'
import { publicPolicy, type Policy } from '../guard/policy.js'

/** What the plugin leaves on a route's config: the policy, and for exactly which route it was made. */
export interface RouteMark {
  readonly policy: Policy
  readonly server: FastifyInstance
  /** The pattern that the router serves. */
  readonly url: string
  /** The pattern as Fastify keeps it on the config: as it was written, also where an earlier `onRoute` moved the route. */
  readonly written: string
  readonly method: string | string[]
  /** The methods as they were, should somebody change the list itself. */
  readonly methods: string
  /** Where the policy comes from, for the audit. */
  readonly from: string
}

type Config = Record<string | symbol, unknown> & { url?: string, method?: unknown, auth?: unknown }

const open = publicPolicy('')

/**
 * The policy of the route that serves a request, read from the router's own choice and never from the URL.
 * A mark that was made for another instance, method or pattern came along with a copied config, and counts for nothing.
 * @returns the policy, or a fault where a route has none.
 */
export function policyOf (request: FastifyRequest, key: symbol): Policy | AuthError {
  const config = request.routeOptions.config as Config
  const mark = config[key] as RouteMark | undefined
  if (mark !== undefined && mark.server === request.server && mark.written === config.url && mark.method === config.method) return mark.policy
  if (config.url === undefined) return config.auth === undefined ? open : fault('config.auth on a not-found handler does nothing; use app.gatehouse.guard as its preHandler')
  if (mark === undefined && isPreflight(request.server, config.method, config.url, request.routeOptions.schema)) return open
  return fault(`${String(config.method)} ${config.url} has no policy: it was declared before fastify-gatehouse was loaded`)
}

/**
 * `@fastify/cors` declares `OPTIONS *` in its context, so that preflight requests reach its hook. A preflight carries no credential (Fetch, 3.2),
 * and the handler answers nothing else. The application's own `OPTIONS /files/*` is another route.
 */
export function isPreflight (server: FastifyInstance, method: unknown, url: string, schema: unknown): boolean {
  return method === 'OPTIONS' && url === `${server.prefix}*` && server.hasPlugin('@fastify/cors') && typeof schema === 'object' && schema !== null && 'hide' in schema
}
