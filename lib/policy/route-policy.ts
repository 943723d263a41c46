import type { FastifyInstance, FastifyRequest } from 'fastify'
import { internalError, type AuthError } from '../errors.js'
import { isObject } from '../util/objects.js'
import { publicPolicy, type Policy } from './policy.js'
import { methodsOf, type ResolvedPolicy, type RouteDeclaration } from './resolve.js'

/** Parameters of {@link RoutePolicy} that depend on more than the declaration of the route. */
export interface RoutePolicyParts extends ResolvedPolicy {
  readonly server: FastifyInstance
  /** The path of the file that declared the route; `null` if unknown. */
  readonly file: string | null
}

/**
 * The policy of a route, kept on the route's config, with everything that identifies the route. It is a class, because
 * a frozen object for each of a thousand routes takes several times as much memory.
 */
export class RoutePolicy {
  readonly policy: Policy
  readonly server: FastifyInstance
  /** The pattern that the router serves. */
  readonly url: string
  /**
   * The pattern as Fastify keeps it on the config: as it was declared, even if an earlier `onRoute` moved the route.
   */
  readonly declaredUrl: string
  readonly method: string | string[]
  /** The methods at the time, because the list itself can be changed later. */
  readonly methods: string
  /** The origin of the policy, for the audit. */
  readonly from: string
  /** The path of the file that declared the route, for the audit; `null` if unknown. */
  readonly file: string | null
  /** The constraints of the route, such as its host, for tests of access. */
  readonly constraints: Readonly<Record<string, unknown>> | undefined
  /** The schema of its path parameters, for tests of access. */
  readonly params: unknown
  /** `true` for the route of `@fastify/cors`, whose guard is a `preHandler` of its own. */
  readonly preflight: boolean

  constructor (options: RouteDeclaration, { policy, from, server, file }: RoutePolicyParts) {
    const { url, method, prefix, routePath, constraints, schema } = options
    const declaredUrl = `${prefix}${routePath}`
    this.policy = policy
    this.server = server
    this.url = url
    // one string for both, because Fastify keeps the other
    this.declaredUrl = declaredUrl === url ? url : declaredUrl
    this.method = method
    this.methods = methodsOf(options)
    this.from = from
    this.file = file
    this.constraints = constraints
    this.params = schema?.params
    this.preflight = isPreflight(server, options) && policy.access !== 'public'
    Object.freeze(this)
  }
}

type Config = Record<string | symbol, unknown> & { url?: string, method?: unknown, auth?: unknown }

const publicRoute = publicPolicy('')

/**
 * Marks a preflight route that was added before our `onRoute` hook. For such a route, both stages of the guard run in
 * our `preHandler`, with the default policy of the route's context.
 */
export const earlyPreflight = publicPolicy('')

/**
 * Returns the policy that our hooks enforce for a request, by the route that the router chose and never by the URL. A
 * policy of another instance, method or pattern was copied with a config, and is ignored.
 * @returns the policy, or an `AUTH_FAULT` if the route has none.
 */
export function enforcedPolicy (
  request: FastifyRequest, key: symbol, routeConfig: object = request.routeOptions.config
): Policy | AuthError {
  const { server } = request
  const config = routeConfig as Config
  const route = config[key] as RoutePolicy | undefined
  if (route !== undefined && isPolicyFor(route, server, config)) return route.preflight ? publicRoute : route.policy
  if (config.url === undefined) {
    return config.auth === undefined
      ? publicRoute
      : internalError('config.auth has no effect on a not-found handler. Give it app.gatehouse.guard(…) as preHandler')
  }
  const { method, url } = config
  const { schema } = request.routeOptions
  if (route === undefined && isPreflight(server, { method, url, schema })) return earlyPreflight
  return internalError(`${String(config.method)} ${config.url} has no policy: it was declared before ` +
    'fastify-gatehouse was loaded')
}

function isPolicyFor (route: RoutePolicy, server: FastifyInstance, { url, method }: Config): boolean {
  return route.server === server && route.declaredUrl === url && route.method === method
}

interface RouteShape {
  readonly method: unknown
  readonly url: string
  readonly schema?: unknown
}

/**
 * Returns true for the `OPTIONS *` that `@fastify/cors` declares in the context where it is registered, so that
 * preflight requests reach its hook. A preflight carries no credential (Fetch, 3.2), and that hook, which may be a
 * `preHandler`, answers it: so the guard of this route waits until all hooks of its context have run. A
 * request that cors does not answer is refused as on any route.
 */
function isPreflight (server: FastifyInstance, { method, url, schema }: RouteShape): boolean {
  return method === 'OPTIONS' && url === `${server.prefix}*` && isObject(schema) && 'hide' in schema &&
    // hasPlugin() alone returns true in every child context too
    server.hasPlugin('@fastify/cors') && server.pluginName.split(' -> ').includes('@fastify/cors')
}
