import { misconfigured } from '../errors.js'
import { isObject } from '../util/objects.js'
import { readOptions } from '../util/options.js'

/** One entry of the option `publicPaths`, parsed. */
export interface PublicPath {
  readonly path: string
  readonly reason: string
  /** `null`: every method. `GET` brings `HEAD`. */
  readonly methods: ReadonlySet<string> | null
  /** For `/docs/*`: `/docs`. `null` for a literal path. */
  readonly prefix: string | null
}

/** Reads the option. Paths are route patterns, compared at boot; no request's URL is ever looked at. */
export function parsePublicPaths (option: unknown): readonly PublicPath[] {
  if (!Array.isArray(option)) {
    throw misconfigured("The option publicPaths must be a list of paths, such as ['/health', '/docs/*'].")
  }
  return option.map((entry: unknown, i) => parseEntry(entry, `The option publicPaths[${i}]`))
}

function parseEntry (entry: unknown, place: string): PublicPath {
  const said = typeof entry === 'string' ? { path: entry } : readOptions(entry, ['path', 'reason', 'method'], place)
  const { path, reason = '', method } = said as Record<string, unknown>
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw misconfigured(`${place} must be a path that starts with '/'${isObject(entry) ? ' at path' : ''}.`)
  }
  if (typeof reason !== 'string') throw misconfigured(`${place}.reason must be words.`)
  return { path, reason, methods: method === undefined ? null : parseMethods(method, place), prefix: parsePrefix(path, place) }
}

/** `*` stands only at the end of a static prefix: anything else would open more than one can see. */
function parsePrefix (path: string, place: string): string | null {
  const star = path.indexOf('*')
  if (star === -1) return null
  if (/^\/+\*$/.test(path)) {
    throw misconfigured(`${place} is '${path}', which would open everything. Name the paths; deny by default is ` +
      'the point.')
  }
  if (star !== path.length - 1 || !path.endsWith('/*') || path.includes(':')) {
    throw misconfigured(`${place} is '${path}': '*' stands only at the end of a static prefix, as in '/docs/*'.`)
  }
  return path.slice(0, -2)
}

function parseMethods (method: unknown, place: string): ReadonlySet<string> {
  const methods: unknown[] = Array.isArray(method) ? method : [method]
  if (methods.length === 0 || !methods.every(each => typeof each === 'string' && /^[A-Za-z-]+$/.test(each))) {
    throw misconfigured(`${place}.method must be an HTTP method or a list of them.`)
  }
  const upper = methods.map(each => String(each).toUpperCase())
  return new Set(upper.includes('GET') ? [...upper, 'HEAD'] : upper)
}

/**
 * Whether an entry opens a route. All of the route's methods must be open. Below a prefix, a parametric route is not
 * opened: it must be listed literally, because `/docs/:tenant` is data and not documentation.
 */
export function opens (entry: PublicPath, url: string, methods: readonly string[]): boolean {
  if (entry.methods !== null && !methods.every(method => entry.methods?.has(method))) return false
  if (entry.prefix === null) return url === entry.path
  return url === entry.prefix || (url.startsWith(`${entry.prefix}/`) && !url.includes(':'))
}
