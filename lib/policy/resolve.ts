import type { FastifyInstance, RouteOptions } from 'fastify'
import { misconfigured } from '../errors.js'
import { deepFrozenCopy, getOrCreate, hasProperty } from '../util/objects.js'
import type { Defaults, Level } from './defaults.js'
import { parseDeclaration, type Declaration } from './parse.js'
import { publicPolicy, resolvePolicy, type NamedParts, type Policy } from './policy.js'
import { opensRoute, type PublicPath } from './public-paths.js'
import type { Permissions } from './requirements.js'

/** A route as `onRoute` receives it. */
export type RouteDeclaration = RouteOptions & { readonly routePath: string, readonly prefix: string }

/** A policy and its origin, for the audit. */
export interface ResolvedPolicy {
  readonly policy: Policy
  readonly from: string
}

/** Resolves declarations to policies. Equal declarations share one policy. */
export interface Policies {
  /** Returns the policy of a route that is served at a URL. */
  forRoute (context: FastifyInstance, options: RouteDeclaration, url: string): ResolvedPolicy
  /** Returns the policy of a declaration outside of routes, below the defaults of a context. */
  resolve (context: FastifyInstance, declared: unknown, path: string): Policy
  /** Returns the default policy of a context: that of a route which declares nothing but `true`. */
  defaultOf (context: FastifyInstance, path?: string): Policy
  /** Returns true if a policy that was resolved so far has a limit of requests. */
  limitsRequests (): boolean
  /** Returns the public paths that matched no route. */
  unusedPublicPaths (): readonly string[]
}

/** Parameters of {@link createPolicies}. */
export interface PolicySources extends NamedParts {
  readonly permissions: Permissions
  readonly defaults: Defaults
  readonly publicPaths: readonly PublicPath[]
}

export function createPolicies (sources: PolicySources): Policies {
  const { defaults, publicPaths } = sources
  const opened = new Map<PublicPath, ResolvedPolicy>()
  const used = new Set<PublicPath>()
  const { publicFor, resolve, all } = createPolicyCache(sources)
  const open = (entry: PublicPath): ResolvedPolicy => getOrCreate(
    opened, entry, () => ({ policy: publicFor(entry.reason), from: `public path ${entry.path}` })
  )
  return {
    forRoute (context, options, url) {
      const own = declaredAuth(options)
      const isDeclared = own.length > 0
      const entries = publicPaths.filter(each => opensRoute(each, url, [options.method].flat()))
      const [entry] = entries
      if (entry !== undefined && !defaults.hasGroupDefault(context) && !isDeclared) {
        for (const each of entries) used.add(each)
        defaults.noteUse(context)
        return open(entry)
      }
      const pathOf = (): string => `${methodsOf(options)} ${url}: config.auth`
      const resolved = resolve(context, own, pathOf)
      // a route that is public itself would inherit nothing from a default that is set later
      if (resolved.policy.access !== 'public' || !isDeclared) defaults.noteUse(context)
      const literal = entries.find(each => each.prefix === null)
      if (literal !== undefined && isDeclared) {
        checkAgreement(literal, resolved.policy, pathOf())
        used.add(literal)
      }
      return resolved
    },
    resolve: (context, declared, path) => resolve(context, [declared], () => path).policy,
    defaultOf: (context, path = 'the default of a context') => resolve(context, [true], () => path).policy,
    limitsRequests: () => [...all()].some(({ rateLimit }) => rateLimit !== null),
    unusedPublicPaths: () => publicPaths.filter(each => !used.has(each)).map(each => each.path)
  }
}

/** The policies below some levels. */
interface LevelCache {
  /** By the key of the declaration as it was written. */
  readonly declared: Map<string, ResolvedPolicy>
  /** By the key of the declaration as it was parsed: `'user'` and `['user']` mean the same. */
  readonly parsed: Map<string, Policy>
}

/**
 * Caches policies by their declarations, so that a thousand routes with a dozen declarations are parsed and resolved
 * once each. The key consists of everything that was declared, so a declaration that was changed has another one.
 */
function createPolicyCache (sources: PolicySources) {
  const { permissions, defaults } = sources
  const keyOf = createKeyWriter()
  const cacheOf = createLevelCaches()
  const publicPolicies = new Map<string, Policy>()
  const policies = new Set<Policy>()
  const publicFor = (reason: string): Policy => getOrCreate(publicPolicies, reason, () => publicPolicy(reason))
  const policyFor = (levels: readonly Level[], own: readonly Declaration[], path: string): Policy => {
    const stack = [...levels.map(level => level.declaration), ...own]
    const reason = stack.at(-1)?.publicReason ?? null
    if (reason !== null) return publicFor(reason)
    // declarations in different places have different paths, and may be equal apart from that
    const key = keyOf(own.map(({ path, ...declaration }) => declaration))
    const policy = getCached(cacheOf(levels).parsed, key, () => resolvePolicy(stack, sources, path))
    policies.add(policy)
    return policy
  }
  const create = (levels: readonly Level[], declared: readonly unknown[], path: string): ResolvedPolicy => {
    const policy = policyFor(levels, declared.map(each => parseDeclaration(each, path, permissions)), path)
    return { policy, from: describeOrigin(levels, policy, declared.length > 0) }
  }
  return {
    publicFor,
    all: () => policies,
    resolve (context: FastifyInstance, declared: readonly unknown[], pathOf: () => string): ResolvedPolicy {
      const levels = defaults.levelsAbove(context)
      const key = keyOf(declared)
      // a copy of such a value may mean something else: a list loses the hole at its end
      if (key === null) return create(levels, declared, pathOf())
      const cache = cacheOf(levels).declared
      const known = cache.get(key)
      if (known !== undefined) return known
      // a getter may return something else each time, so the key is that of the copy that is parsed
      const copy = deepFrozenCopy(declared)
      return getCached(cache, keyOf(copy), () => create(levels, copy, pathOf()))
    }
  }
}

/** Returns the cached value of a key, which is created if there is none. A value without a key is not cached. */
function getCached<V> (cache: Map<string, V>, key: string | null, create: () => V): V {
  return key === null ? create() : getOrCreate(cache, key, create)
}

/** Returns a function that finds the cache of the levels above a route. Contexts with the same levels share one. */
function createLevelCaches (): (levels: readonly Level[]) => LevelCache {
  const ids = new Map<Level, number>()
  const shared = new Map<string, LevelCache>()
  const caches = new WeakMap<readonly Level[], LevelCache>()
  const idOf = (level: Level): number => getOrCreate(ids, level, () => ids.size)
  const create = (): LevelCache => ({ declared: new Map(), parsed: new Map() })
  return levels => getOrCreate(caches, levels, () => getOrCreate(shared, levels.map(idOf).join(), create))
}

/** Returns `config.auth` of a route in a list, because `undefined` is not the same as a missing key. */
function declaredAuth ({ config }: RouteDeclaration): readonly unknown[] {
  return config !== undefined && hasProperty(config, 'auth') ? [config.auth] : []
}

/** Returns the methods of a route as text: `GET`, or `GET, POST`. */
export function methodsOf ({ method }: RouteDeclaration): string {
  return Array.isArray(method) ? method.join(', ') : method
}

/** Lists the levels that a policy consists of, for the audit. A public policy is only that of the innermost level. */
function describeOrigin (above: readonly Level[], policy: Policy, isDeclared: boolean): string {
  const labels = [...above.map(level => level.label), ...isDeclared ? ['route'] : []]
  if (policy.access === 'public') return labels.slice(-1).join()
  return labels.slice(policy.detached ? -1 : 0).join(' + ')
}

/**
 * Rejects a protected route whose literal path is public: one of the two is a mistake, and only a person can say which.
 */
function checkAgreement (entry: PublicPath, policy: Policy, path: string): void {
  if (policy.access === 'public') return
  throw misconfigured(`${path} protects the route, and the option publicPaths lists '${entry.path}'. Remove one of ` +
    'the two.')
}

/** The maximum depth of a value that has a key: deeper than the grammar of declarations goes. */
const maxDepth = 10

/**
 * Returns a function that writes declarations, as the application declared them or parsed, as a cache key. Those with
 * one key have the same rules, whatever objects they are. Functions are equal only to themselves.
 *
 * The function returns `null` for a value that has no key, because it consists of more than plain objects, lists
 * without holes, strings, numbers, booleans, null and functions. Nearly every such value stops the boot when it is
 * parsed.
 */
function createKeyWriter (): (declarations: unknown) => string | null {
  const functions = new Map<unknown, number>()
  const identify = (fn: unknown): number => getOrCreate(functions, fn, () => functions.size)
  const writeList = (list: readonly unknown[], depth: number): string | null => {
    let key = '['
    // an index loop visits holes, which are undefined and have no key
    for (let i = 0; i < list.length; i++) {
      const item = write(list[i], depth)
      if (item === null) return null
      key += `${item},`
    }
    return `${key}]`
  }
  const writeFields = (fields: Readonly<Record<string, unknown>>, depth: number): string | null => {
    let key = '{'
    for (const name of Object.keys(fields)) {
      const field = write(fields[name], depth)
      if (field === null) return null
      key += `${writeString(name)}:${field},`
    }
    return `${key}}`
  }
  const write = (value: unknown, depth: number): string | null => {
    if (typeof value === 'string') return writeString(value)
    if (typeof value === 'boolean' || typeof value === 'number' || value === null) return String(value)
    if (typeof value === 'function') return `f${identify(value)}`
    if (typeof value !== 'object' || depth === maxDepth) return null
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Array.prototype) return writeList(value as unknown[], depth + 1)
    return prototype === Object.prototype ? writeFields(value as Record<string, unknown>, depth + 1) : null
  }
  return declarations => write(declarations, 0)
}

/** Writes the length before the text, so that no text can be read as the end of its string. */
function writeString (text: string): string {
  return `"${text.length} ${text}`
}
