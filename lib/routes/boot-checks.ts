import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Policies } from '../policy/resolve.js'
import { lineage } from '../util/fastify.js'
import { getOrCreate } from '../util/objects.js'
import { report } from '../util/reports.js'
import { printedRoutes, type PrintedRoute } from './printed-routes.js'
import type { RouteRegistry } from './route-registry.js'

export interface BootCheckOptions {
  readonly registry: RouteRegistry
  readonly policies: Policies
  readonly schemes: Iterable<BoundScheme>
  /** `true` if routes outside of the plugin's context are intended to be there. */
  readonly outsideAllowed: boolean
  /** `true` if the application had no route when the plugin began to see routes. */
  readonly isFirst: boolean
  /** The instances whose routes have the hooks of the guard. */
  readonly guarded: ReadonlySet<FastifyInstance>
}

/**
 * Checks the routes of an application once all of them are known, before the first request.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for the first mistake.
 */
export function checkBoot (app: FastifyInstance, options: BootCheckOptions): void {
  const { registry, policies, schemes } = options
  registry.verify()
  if (!hasSeenAll(app, options)) checkUnseen(app, options)
  for (const bound of schemes) checkLoginPath(app, registry, bound)
  for (const path of policies.unusedPublicPaths()) {
    report(app, 'unused-public-path', path)
  }
}

/**
 * Returns true if `onRoute` has seen every route: there was none before the plugin, and each instance with routes has
 * the hook. An instance that is older than the plugin does not get it, but it does get the hooks of the guard.
 */
function hasSeenAll (app: FastifyInstance, { registry, isFirst, guarded }: BootCheckOptions): boolean {
  // an application that configured what printRoutes() shows must show the hooks
  const isConfigured = 'buildPrettyMeta' in (app.initialConfig.routerOptions ?? {})
  if (!isFirst || isConfigured || lineage(app).length > 1) return false
  const seen = new Set([app, ...registry.routes.map(({ server }) => server)])
  return guarded.size === seen.size && [...guarded].every(instance => seen.has(instance))
}

/**
 * Stops the boot for routes that `onRoute` has not seen, which have no policy.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
function checkUnseen (app: FastifyInstance, { registry, outsideAllowed }: BootCheckOptions): void {
  const printed = printedRoutes(app)
  if (registry.routes.length > 0 && !printed.some(route => route.seen)) {
    throw misconfigured("printRoutes() shows no hooks, so unprotected routes cannot be found. The router's option " +
      'buildPrettyMeta leaves them out: let it return store.preHandler and store.onError as well.')
  }
  const unseen = printed.filter(route => !route.seen && !mayBePreflight(route))
  const early = unseen.filter(route => route.guarded)
  if (early.length > 0) throw misconfigured(describeEarly(early, app))
  if (unseen.length > 0 && !outsideAllowed) throw misconfigured(describeOutside(unseen))
}

/** Returns true for what may be the preflight route of `@fastify/cors`. `enforcedPolicy` decides on each request. */
function mayBePreflight ({ method, url }: PrintedRoute): boolean {
  return method === 'OPTIONS' && url.endsWith('*')
}

function describeEarly (routes: readonly PrintedRoute[], app: FastifyInstance): string {
  const hasFiles = app.hasPlugin('@fastify/static') || app.hasPlugin('@fastify/swagger-ui') ||
    routes.some(route => route.url.endsWith('*'))
  const hint = hasFiles
    ? ' Static files and swagger-ui are routes too: register @fastify/static and @fastify/swagger-ui after ' +
      'fastify-gatehouse.'
    : ''
  return `${describeRoutes(routes)} declared before fastify-gatehouse was loaded, so no policy could be read. ` +
    `Register the plugin first and await it: await app.register(authPlugin, { … }).${hint}`
}

function describeOutside (routes: readonly PrintedRoute[]): string {
  return `${describeRoutes(routes)} outside of the context in which fastify-gatehouse is registered, and ` +
    'unprotected. Register the plugin on the root instance (if in a file of its own, wrapped with fastify-plugin), ' +
    "or set the option outside: 'allow' if that is intended."
}

/** Returns `GET, HEAD /a is`, or `GET /a; POST /b and 3 more are`. */
function describeRoutes (routes: readonly PrintedRoute[]): string {
  const methods = new Map<string, string[]>()
  for (const { method, url } of routes) getOrCreate<string, string[]>(methods, url, () => []).push(method)
  const all = [...methods].map(([url, names]) => `${names.join(', ')} ${url}`)
  const more = all.length > 5 ? ` and ${all.length - 5} more` : ''
  return `${all.slice(0, 5).join('; ')}${more} ${all.length === 1 ? 'is' : 'are'}`
}

/** Rejects a protected login page, which would redirect people to itself for ever. */
function checkLoginPath (app: FastifyInstance, registry: RouteRegistry, { name, features }: BoundScheme): void {
  const path = features.sessions?.loginPath
  if (path === undefined) return
  const route = registry.routes.find(each => each.url === path && [each.method].flat().includes('GET'))
  if (route === undefined) {
    report(app, 'missing-login-page', `schemes.${name}: GET ${path}`)
    return
  }
  if (route.policy.access === 'required') {
    throw misconfigured(`GET ${route.url} is the login page of the scheme '${name}', and it is protected, so ` +
      'nobody could log in. Make it public: config: { auth: false }, or name it in publicPaths.')
  }
}
