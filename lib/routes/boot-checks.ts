import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Policies } from '../policy/resolve.js'
import { printedRoutes, type PrintedRoute } from './printed-routes.js'
import type { RouteBook } from './route-registry.js'

/** What is checked when every route is known and none is served yet. */
export interface ReadyChecks {
  readonly book: RouteBook
  readonly policies: Policies
  readonly schemes: Iterable<BoundScheme>
  /** Routes outside of the plugin's context are meant to be outside. */
  readonly outsideAllowed: boolean
}

/** @throws {AuthError} `AUTH_MISCONFIGURED` for the first mistake. */
export function checkReady (app: FastifyInstance, { book, policies, schemes, outsideAllowed }: ReadyChecks): void {
  book.verify()
  const printed = printedRoutes(app)
  if (book.marks.length > 0 && !printed.some(route => route.seen)) {
    throw misconfigured("No route shows its hooks, so it cannot be told whether one was missed. The router's " +
      'option buildPrettyMeta leaves them out: return store.preHandler and store.onError as well.')
  }
  const unseen = printed.filter(route => !route.seen && !mayBePreflight(route))
  const early = unseen.filter(route => route.guarded)
  if (early.length > 0) throw misconfigured(earlySentence(early, app))
  const outside = unseen.filter(route => !route.guarded)
  if (outside.length > 0 && !outsideAllowed) throw misconfigured(outsideSentence(outside))
  for (const bound of schemes) checkLoginPath(app, book, bound)
  for (const path of policies.unused()) app.log.warn({ path }, 'fastify-gatehouse: this public path opens no route')
}

/**
 * `OPTIONS *` of `@fastify/cors`, perhaps. Whether it is that one can only be told when it is served, and then it is
 * (mark.ts).
 */
function mayBePreflight ({ method, url }: PrintedRoute): boolean {
  return method === 'OPTIONS' && url.endsWith('*')
}

function earlySentence (routes: readonly PrintedRoute[], app: FastifyInstance): string {
  const swap = app.hasPlugin('@fastify/static') || app.hasPlugin('@fastify/swagger-ui') || routes.some(route => route.url.endsWith('*'))
    ? ' Static files and swagger-ui are routes too: register @fastify/static and @fastify/swagger-ui after fastify-gatehouse.'
    : ''
  return `${names(routes, 'declared before fastify-gatehouse was loaded, so no policy could be read')}. Register the plugin first and await it: await app.register(authPlugin, { … }).${swap}`
}

function outsideSentence (routes: readonly PrintedRoute[]): string {
  return `${names(routes, 'outside of the context in which fastify-gatehouse is registered, so nothing protects it')}. Register the plugin on the root instance (in a file of its own, that is a plugin made with fastify-plugin), or set the option outside: 'allow' if that is meant.`
}

/** `GET, HEAD /a is …` or `GET /a, POST /b and 3 more are …`. */
function names (routes: readonly PrintedRoute[], what: string): string {
  const methods = new Map<string, string[]>()
  for (const { method, url } of routes) methods.set(url, [...methods.get(url) ?? [], method])
  const all = [...methods].map(([url, of]) => `${of.join(', ')} ${url}`)
  const more = all.length > 5 ? ` and ${all.length - 5} more` : ''
  return `${all.slice(0, 5).join('; ')}${more} ${all.length === 1 ? 'is' : 'are'} ${what}`
}

/** A login page that asks for a login first would send people in a circle. */
function checkLoginPath (app: FastifyInstance, book: RouteBook, { name, features }: BoundScheme): void {
  const path = features.sessions?.loginPath
  if (path === undefined) return
  const route = book.marks.find(mark => mark.url === path && [mark.method].flat().includes('GET'))
  if (route === undefined) return app.log.warn({ path, scheme: name }, 'fastify-gatehouse: no route answers GET for this path of the scheme')
  if (route.policy.access === 'required') {
    throw misconfigured(`GET ${route.url} is where the scheme '${name}' sends people to log in, and it is ` +
      'protected. Make it public: config: { auth: false }, or name it in publicPaths.')
  }
}
