import type { FastifyInstance, RouteOptions } from 'fastify'
import { misconfigured } from '../errors.js'
import { hasProperty } from '../util/objects.js'
import type { Defaults, Level } from './defaults.js'
import { parseDeclaration } from './parse.js'
import { createDeclarationKeys, publicPolicy, resolvePolicy, type NamedParts, type Policy } from './policy.js'
import { opensRoute, type PublicPath } from './public-paths.js'
import type { Permissions } from './requirements.js'

/** A route as `onRoute` receives it. */
export type RouteDeclaration = RouteOptions & { readonly routePath: string, readonly prefix: string }

/** Resolves declarations to policies. Equal declarations share one policy. */
export interface Policies {
  /** Returns the policy of a route, and its origin for the audit. */
  forRoute (context: FastifyInstance, options: RouteDeclaration): { readonly policy: Policy, readonly from: string }
  /** Returns the policy of a declaration outside of routes, below the defaults of a context. */
  resolve (context: FastifyInstance, declared: unknown, path: string): Policy
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
  const used = new Set<PublicPath>()
  const { publicFor, resolve, all } = createPolicyCache(sources)
  return {
    forRoute (context, options) {
      const path = `${methodsOf(options)} ${options.url}: config.auth`
      const declared = declaredAuth(options)
      const entries = publicPaths.filter(each => opensRoute(each, options.url, [options.method].flat()))
      const [entry] = entries
      if (entry !== undefined && !defaults.hasGroupDefault(context) && declared === null) {
        for (const each of entries) used.add(each)
        defaults.noteRoute(context)
        return { policy: publicFor(entry.reason), from: `public path ${entry.path}` }
      }
      const policy = resolve(context, declared, path)
      // a route that is public itself would inherit nothing from a default that is set later
      if (policy.access !== 'public' || declared === null) defaults.noteRoute(context)
      const literal = entries.find(each => each.prefix === null)
      if (literal !== undefined && declared !== null) {
        checkAgreement(literal, policy, path)
        used.add(literal)
      }
      return { policy, from: describeOrigin(defaults.levelsAbove(context), policy, declared !== null) }
    },
    resolve: (context, declared, path) => resolve(context, [declared], path),
    limitsRequests: () => [...all()].some(({ rateLimit }) => rateLimit !== null),
    unusedPublicPaths: () => publicPaths.filter(each => !used.has(each)).map(each => each.path)
  }
}

/**
 * Caches policies by their declarations, so that a thousand routes with a dozen declarations are resolved once each.
 */
function createPolicyCache (sources: PolicySources) {
  const { permissions, defaults } = sources
  const keyOf = createDeclarationKeys()
  const policies = new Map<string, Policy>()
  const levelIds = new Map<Level, number>()
  const getOrCreate = (key: string, create: () => Policy): Policy => {
    const policy = policies.get(key) ?? create()
    policies.set(key, policy)
    return policy
  }
  const idOf = (level: Level): number => {
    const id = levelIds.get(level) ?? levelIds.size
    levelIds.set(level, id)
    return id
  }
  const publicFor = (reason: string): Policy => getOrCreate(`public ${reason}`, () => publicPolicy(reason))
  return {
    publicFor,
    all: () => policies.values(),
    resolve (context: FastifyInstance, declared: readonly [unknown] | null, path: string): Policy {
      const above = defaults.levelsAbove(context)
      const own = declared === null ? [] : [parseDeclaration(declared[0], path, permissions)]
      const stack = [...above.map(level => level.declaration), ...own]
      const reason = stack.at(-1)?.publicReason ?? null
      if (reason !== null) return publicFor(reason)
      const key = `${above.map(idOf).join()} ${own.map(keyOf).join()}`
      // a public group above a declaration that is not public adds nothing to it
      const protectedLevels = stack.filter(level => level.publicReason === null)
      return getOrCreate(key, () => resolvePolicy(protectedLevels, sources, path))
    }
  }
}

/** Returns `config.auth` of a route, in a tuple, because `undefined` is not the same as a missing key. */
function declaredAuth (options: RouteDeclaration): readonly [unknown] | null {
  return options.config !== undefined && hasProperty(options.config, 'auth') ? [options.config.auth] : null
}

/** Returns the methods of a route as text: `GET`, or `GET, POST`. */
export function methodsOf ({ method }: RouteDeclaration): string {
  return Array.isArray(method) ? method.join(', ') : method
}

/** Lists the levels that a policy consists of, for the audit. A public policy is that of the innermost level alone. */
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
