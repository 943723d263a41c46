import type { FastifyInstance } from 'fastify'

/** The name of our `preHandler` hook: `printRoutes` shows it for every route in a context that the plugin protects. */
export const sealName = 'gatehouseSeal'

/** The name of the `onError` hook that our `onRoute` adds: `printRoutes` shows it for every route with a policy. */
export const seenName = 'gatehouseSeen'

/** A route that the router serves, as `printRoutes` shows it. */
export interface PrintedRoute {
  readonly method: string
  readonly url: string
  /** `true` if it has the hooks of the guard, because it is in the plugin's context. */
  readonly guarded: boolean
  /** `true` if our `onRoute` ran for it. */
  readonly seen: boolean
}

/**
 * Returns every route, by parsing `printRoutes`, the only public API that shows routes with their hooks. Comparing URLs
 * instead would report `GET /prefix/`, for which Fastify runs no `onRoute`, as unseen.
 *
 * Prints one method at a time, because Fastify builds a second router to print all of them. Does not use
 * `commonPrefix: false`, which omits the part before a wildcard, so that `/a/*` and `/b/*` are both printed as `*`.
 *
 * `printRoutes` omits two kinds of routes: those below a segment `__proto__`, and a literal `::name` next to a
 * parameter `:name`.
 */
export function printedRoutes (app: FastifyInstance): readonly PrintedRoute[] {
  return printRoutes(app, ['preHandler', 'onError'])
}

/** Returns true if an application has routes. */
export function hasRoutes (app: FastifyInstance): boolean {
  return printRoutes(app).length > 0
}

function printRoutes (app: FastifyInstance, includeMeta?: string[]): readonly PrintedRoute[] {
  return app.supportedMethods.flatMap(method => parseRoutes(app.printRoutes({ method, includeMeta })))
}

function parseRoutes (printed: string): readonly PrintedRoute[] {
  const routes: { method: string, url: string, guarded: boolean, seen: boolean }[] = []
  const path: string[] = []
  for (const line of printed.split('\n')) {
    const text = line.replace(/^(?:│ {3}| {4})+/, '')
    const hooks = routes.at(-1)
    if (hooks !== undefined && text.startsWith('• (preHandler) ')) hooks.guarded = text.includes(`"${sealName}()"`)
    if (hooks !== undefined && text.startsWith('• (onError) ')) hooks.seen = text.includes(`"${seenName}()"`)
    const [, label = text, method] = /^(.*?) \(([A-Z-]+)\)(?: \{.*\})?$/.exec(text) ?? []
    if (/^[├└]── /.test(label)) {
      const depth = (line.length - text.length) / 4
      path.splice(depth, path.length, label.slice(4).replace('(empty root node)', ''))
    }
    if (method !== undefined) routes.push({ method, url: path.join(''), guarded: false, seen: false })
  }
  return routes
}
