import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../errors.js'
import type { BoundScheme } from '../guard/policy.js'
import type { RouteBook } from './book.js'
import { unseenRoutes, type UnseenRoute } from './unseen.js'

/** What is checked when every route is known and none is served yet. */
export interface ReadyChecks {
  readonly book: RouteBook
  readonly schemes: Iterable<BoundScheme>
  /** Routes outside of the plugin's context are meant to be outside. */
  readonly outsideAllowed: boolean
}

/** @throws {AuthError} `AUTH_MISCONFIGURED` for the first mistake. */
export function checkReady (app: FastifyInstance, { book, schemes, outsideAllowed }: ReadyChecks): void {
  book.verify()
  const unseen = unseenRoutes(app.printRoutes({ commonPrefix: false, includeHooks: true }))
  const early = unseen.filter(route => route.guarded)
  if (early.length > 0) throw misconfigured(earlySentence(early))
  const outside = unseen.filter(route => !route.guarded)
  if (outside.length > 0 && !outsideAllowed) {
    throw misconfigured(`${names(outside)} outside of the context in which fastify-gatehouse is registered, so nothing protects ${outside.length === 1 ? 'it' : 'them'}. Register the plugin on the root instance, or set the option outside: 'allow' if that is meant.`)
  }
  for (const bound of schemes) checkPublicPath(app, book, bound)
  for (const path of book.unused()) app.log.warn({ path }, 'fastify-gatehouse: this public path opens no route')
}

function earlySentence (routes: readonly UnseenRoute[]): string {
  const swap = routes.some(route => route.url.endsWith('*') || route.url.includes('/static/'))
    ? ' Static files and swagger-ui are routes too: register @fastify/static and @fastify/swagger-ui after fastify-gatehouse.'
    : ''
  return `${names(routes)} declared before fastify-gatehouse was loaded, so no policy could be read. Register the plugin first and await it: await app.register(authPlugin, { … }).${swap}`
}

function names (routes: readonly UnseenRoute[]): string {
  const shown = routes.slice(0, 5).map(route => `${route.method} ${route.url}`).join(', ')
  const more = routes.length > 5 ? ` and ${routes.length - 5} more` : ''
  return `${shown}${more} ${routes.length === 1 ? 'is' : 'are'}`
}

/** A login page that asks for a login first would send people in a circle. */
function checkPublicPath (app: FastifyInstance, book: RouteBook, { name, scheme }: BoundScheme): void {
  if (scheme.publicPath === undefined) return
  const route = book.marks.find(mark => mark.url === scheme.publicPath && [mark.method].flat().includes('GET'))
  if (route === undefined) return app.log.warn({ path: scheme.publicPath, scheme: name }, 'fastify-gatehouse: no route answers GET for this path of the scheme')
  if (route.policy.access === 'required') {
    throw misconfigured(`GET ${route.url} is where the scheme '${name}' sends people to log in, and it is protected. Make it public: config: { auth: false }, or name it in publicPaths.`)
  }
}
