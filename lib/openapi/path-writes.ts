import type { OpenApiDocument, PathItem } from './document.js'

/**
 * Calls `complete` with each path item that is written to a document, before anybody reads it. Returns a function that
 * makes the paths an ordinary object again.
 *
 * `@fastify/swagger` shows nobody an operation that it has made: its transforms see schemas, and what they return for
 * responses is read by type providers, which take no JSON Schema. So the first write of a path, which finds no such
 * property, arrives at the prototype, and later ones at the accessor that it left. Until then the paths are an object
 * like any other for those who read, copy or clone it.
 */
export function watchPaths (document: OpenApiDocument, complete: (item: PathItem) => void): () => void {
  const watch = (url: string, first: PathItem): void => {
    let item = first
    complete(item)
    Object.defineProperty(paths, url, {
      enumerable: true,
      configurable: true,
      get: () => item,
      set: (next: PathItem) => {
        complete(next)
        item = next
      }
    })
  }
  const prototype = new Proxy({}, {
    set (_target, url, item) {
      watch(String(url), item as PathItem)
      return true
    }
  })
  const paths = Object.create(prototype) as Record<string, PathItem>
  for (const [url, item] of Object.entries(document.paths)) watch(url, item)
  document.paths = paths
  return () => { if (document.paths === paths) document.paths = { ...paths } }
}
