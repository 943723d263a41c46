/**
 * An operation of a document (Operation Object). Its other fields are the application's. `@fastify/swagger` creates the
 * object of the responses for each operation.
 */
export interface Operation {
  security?: unknown
  responses: Record<string, unknown>
  [field: string]: unknown
}

/** The operations of one path, by method in lower case (Path Item Object). */
export type PathItem = Readonly<Record<string, unknown>>

/** A document of OpenAPI 3 that `@fastify/swagger` is making. */
export interface OpenApiDocument {
  readonly openapi: string
  readonly security?: unknown
  readonly components: Record<string, Readonly<Record<string, unknown>>>
  paths: Readonly<Record<string, PathItem>>
}

/** Returns the minor version of a document: 1 for 3.1.0. */
export function minorVersion ({ openapi }: OpenApiDocument): number {
  return Number(openapi.split('.')[1])
}

/**
 * Calls `complete` with each path item that is written to a document, before anything reads it, and with the one that
 * it replaces. Returns a function that makes the paths an ordinary object again.
 *
 * `@fastify/swagger` has no hook for finished operations: its transforms get schemas, and the responses that they
 * return are read by type providers, which do not accept JSON Schema. So the paths get a proxy as their prototype. The
 * first write of a path finds no property of that name and reaches the proxy, which defines an accessor for later
 * writes. The paths can still be read, copied and cloned like any other object.
 */
export function watchPaths (
  document: OpenApiDocument, complete: (item: PathItem, earlier?: PathItem) => void
): () => void {
  const watch = (url: string, first: PathItem): void => {
    let item = first
    complete(item)
    Object.defineProperty(paths, url, {
      enumerable: true,
      configurable: true,
      get: () => item,
      set: (next: PathItem) => {
        complete(next, item)
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
  // An object that is created without a prototype is a hash table from the start. Any other gets a hidden class for
  // each path first, which costs more than all else here.
  const paths = Object.setPrototypeOf(Object.create(null), prototype) as Record<string, PathItem>
  for (const [url, item] of Object.entries(document.paths)) watch(url, item)
  document.paths = paths
  return () => { release(paths) }
}

/**
 * Makes watched paths an ordinary object, in place: a copy would get a hidden class for each path, and the application
 * may have the paths in a document of its own. Changes nothing that the application has frozen.
 */
function release (paths: Readonly<Record<string, PathItem>>): void {
  for (const [url, value] of Object.entries(paths)) {
    Reflect.defineProperty(paths, url, { value, writable: true, enumerable: true, configurable: true })
  }
  Reflect.setPrototypeOf(paths, Object.prototype)
}
