import type { FastifyInstance } from 'fastify'

/**
 * The name of our `preHandler` hook, as `printRoutes` shows it: a route that has it is within a context that the plugin
 * protects.
 */
export const sealName = 'gatehouseSeal'

/** The name of the mark that our `onRoute` leaves in a route's `onError`: a route that has it was seen. */
export const seenName = 'gatehouseSeen'

/** A route that the router serves, as far as `printRoutes` shows it. */
export interface PrintedRoute {
  readonly method: string
  readonly url: string
  /** It has the guard's hooks: it is within the plugin's context. */
  readonly guarded: boolean
  /** It has the mark that `onRoute` leaves. */
  readonly seen: boolean
}

/**
 * Every route, by `printRoutes`, the one public place that shows routes with their hooks. Comparing URLs instead would
 * call `GET /prefix/` unseen, for which Fastify runs no `onRoute`. One method at a time, because a listing of all of
 * them builds a second router first. Not with `commonPrefix: false`: that drops what stands before a wildcard, so that
 * of `/a/*` and `/b/*` only one is printed, as `*`.
 *
 * Two kinds of routes are printed nowhere: below a segment that is exactly `__proto__`, and a literal `::name` beside a
 * parameter `:name`.
 */
export function printedRoutes (app: FastifyInstance): readonly PrintedRoute[] {
  return app.supportedMethods.flatMap(method => readRoutes(app.printRoutes({ method, includeMeta: ['preHandler', 'onError'] })))
}

function readRoutes (printed: string): readonly PrintedRoute[] {
  const routes: { method: string, url: string, guarded: boolean, seen: boolean }[] = []
  const path: string[] = []
  for (const line of printed.split('\n')) {
    const text = line.replace(/^(?:│ {3}| {4})+/, '')
    const hooks = routes.at(-1)
    if (hooks !== undefined && text.startsWith('• (preHandler) ')) hooks.guarded = text.includes(`"${sealName}()"`)
    if (hooks !== undefined && text.startsWith('• (onError) ')) hooks.seen = text.includes(`"${seenName}()"`)
    const [, label = text, method] = /^(.*?) \(([A-Z-]+)\)(?: \{.*\})?$/.exec(text) ?? []
    if (/^[├└]── /.test(label)) path.splice((line.length - text.length) / 4, path.length, label.slice(4).replace('(empty root node)', ''))
    if (method !== undefined) routes.push({ method, url: path.join(''), guarded: false, seen: false })
  }
  return routes
}
