/** The name of our `preHandler` hook, as `printRoutes` shows it: a route that has it is within a context that the plugin protects. */
export const sealName = 'gatehouseSeal'

/** The name of the mark that our `onRoute` leaves in a route's `onError`: a route that has it was seen. */
export const seenName = 'gatehouseSeen'

/** A route that the router serves and the plugin never saw. */
export interface UnseenRoute {
  readonly method: string
  readonly url: string
  /** It has the guard's hooks (declared too early), or it has not (outside of the plugin's context). */
  readonly guarded: boolean
}

interface Line { readonly column: number, readonly text: string }

/**
 * Reads the output of `printRoutes({ commonPrefix: false, includeHooks: true })`, the one public place that shows every route with its hooks.
 * Comparing URLs instead would call `GET /prefix/` unseen, for which Fastify runs no `onRoute`.
 */
export function unseenRoutes (printed: string): readonly UnseenRoute[] {
  const routes: { method: string, url: string, hooks: string }[] = []
  const segments: { column: number, text: string }[] = []
  for (const { column, text } of printed.split('\n').map(parse)) {
    if (text.startsWith('• ')) {
      const route = routes.at(-1)
      if (route !== undefined) route.hooks += text
      continue
    }
    if (text === '') continue
    const [, path, method] = /^(.*?) \(([A-Z, -]+)\)(?: \{.*\})?$/.exec(text) ?? [undefined, text, undefined]
    while ((segments.at(-1)?.column ?? -1) >= column) segments.pop()
    segments.push({ column, text: path ?? '' })
    if (method !== undefined) routes.push({ method, url: segments.map(segment => segment.text).join(''), hooks: '' })
  }
  // `OPTIONS *` of @fastify/cors stays out of this: whether it is that one, only its mark's absence at run time can tell (mark.ts).
  return routes
    .filter(route => !route.hooks.includes(`"${seenName}()"`) && !(route.method === 'OPTIONS' && route.url.endsWith('*')))
    .map(({ method, url, hooks }) => ({ method, url, guarded: hooks.includes(`"${sealName}()"`) }))
}

function parse (line: string): Line {
  const column = /^[│├└─ ]*/.exec(line)?.[0].length ?? 0
  return { column, text: line.slice(column) }
}
