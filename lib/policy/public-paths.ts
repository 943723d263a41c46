import { METHODS } from 'node:http'
import { misconfigured } from '../errors.js'
import { describeValue, didYouMean } from '../util/describe.js'
import { isObject, isPlainObject } from '../util/objects.js'
import { readOptions } from '../util/options.js'

/** One entry of the option `publicPaths`, parsed. */
export interface PublicPath {
  readonly path: string
  readonly reason: string
  /** `null` for all methods. `GET` includes `HEAD`. */
  readonly methods: ReadonlySet<string> | null
  /** The prefix `/docs` of `/docs/*`; `null` for a literal path. */
  readonly prefix: string | null
}

/**
 * Parses the option `publicPaths`. Its paths are route patterns, compared at boot, never with the URL of a request.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function parsePublicPaths (value: unknown): readonly PublicPath[] {
  if (!Array.isArray(value)) {
    throw misconfigured("The option publicPaths must be a list of paths, such as ['/health', '/docs/*'].")
  }
  const entries = value.map((entry: unknown, i) => parseEntry(entry, `The option publicPaths[${i}]`))
  checkUnique(entries)
  return entries
}

/** Refuses an entry that an earlier one makes useless, with its reason. */
function checkUnique (entries: readonly PublicPath[]): void {
  for (const [i, { path, methods }] of entries.entries()) {
    const first = entries.findIndex(other => other.path === path && shareMethods(other.methods, methods))
    if (first === i) continue
    throw misconfigured(`The option publicPaths[${i}] has the path of publicPaths[${first}], '${path}', and no ` +
      'methods of its own. Keep one of them.')
  }
}

function shareMethods (one: PublicPath['methods'], other: PublicPath['methods']): boolean {
  return one === null || other === null || [...one].some(method => other.has(method))
}

function parseEntry (entry: unknown, option: string): PublicPath {
  if (typeof entry !== 'string' && !isPlainObject(entry)) {
    throw misconfigured(`${option} must be a path, such as '/health', or { path, reason, method }. Got ` +
      `${describeValue(entry)}.`)
  }
  const fields = typeof entry === 'string' ? { path: entry } : readOptions(entry, ['path', 'reason', 'method'], option)
  const { path, reason = '', method } = fields as Record<string, unknown>
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw misconfigured(`${option}${isObject(entry) ? '.path' : ''} must be a path that starts with '/'.`)
  }
  if (typeof reason !== 'string' || (Object.hasOwn(fields, 'reason') && reason.trim() === '')) {
    throw misconfigured(`${option}.reason must be a non-empty string with the reason, such as 'load balancer probe'.`)
  }
  const methods = method === undefined ? null : parseMethods(method, option)
  return { path, reason, methods, prefix: parsePrefix(path, option) }
}

/** Accepts `*` only at the end of a static prefix. Anywhere else, readers could not see which routes it opens. */
function parsePrefix (path: string, option: string): string | null {
  const star = path.indexOf('*')
  if (star === -1) return null
  if (/^\/+\*$/.test(path)) {
    throw misconfigured(`${option} is '${path}', which would open every route. List the ` +
      "public paths, or give a group of routes the default { public: 'why' } with gatehouse.default().")
  }
  if (star !== path.length - 1 || !path.endsWith('/*') || path.includes(':')) {
    throw misconfigured(`${option} is '${path}': '*' can only be at the end of a static prefix, as in '/docs/*'.`)
  }
  return path.slice(0, -2)
}

function parseMethods (method: unknown, option: string): ReadonlySet<string> {
  const methods: unknown[] = Array.isArray(method) ? method : [method]
  const upper = methods.map(each => typeof each === 'string' ? each.toUpperCase() : '')
  const wrong = upper.findIndex(each => !METHODS.includes(each))
  if (methods.length === 0 || wrong !== -1) {
    const got = describeValue(methods.length === 0 ? method : methods[wrong])
    throw misconfigured(`${option}.method must be an HTTP method or a list of them. Got ${got}.` +
      didYouMean(upper[wrong] ?? '', METHODS))
  }
  return new Set(upper.includes('GET') ? [...upper, 'HEAD'] : upper)
}

/**
 * Returns true if an entry opens a route with all of its methods. Below a prefix, a parametric route is not opened: it
 * must be listed literally, because `/docs/:tenant` is data and not documentation.
 */
export function opensRoute (entry: PublicPath, url: string, methods: readonly string[]): boolean {
  if (entry.methods !== null && !methods.every(method => entry.methods?.has(method))) return false
  if (entry.prefix === null) return url === entry.path
  return url === entry.prefix || (url.startsWith(`${entry.prefix}/`) && !url.includes(':'))
}
