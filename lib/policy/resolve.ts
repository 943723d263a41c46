import type { FastifyInstance, RouteOptions } from 'fastify'
import { misconfigured } from '../errors.js'
import { hasProperty } from '../util/objects.js'
import type { Defaults, Level } from './defaults.js'
import { parseDeclaration } from './parse.js'
import { declarationText, publicPolicy, resolvePolicy, type BoundScheme, type Policy } from './policy.js'
import { opens, type PublicPath } from './public-paths.js'
import type { Permissions } from './requirements.js'

/** A route as `onRoute` shows it. */
export type RouteDeclaration = RouteOptions & { readonly routePath: string, readonly prefix: string }

/** Which policy a route has, and where it comes from. Equal declarations share one policy. */
export interface Policies {
  forRoute (context: FastifyInstance, options: RouteDeclaration): { readonly policy: Policy, readonly from: string }
  /** Resolves a declaration that is not a route's, in a context. */
  resolve (context: FastifyInstance, written: unknown, path: string): Policy
  /** Returns the public paths that opened nothing. */
  unused (): readonly string[]
}

export interface PolicySources {
  readonly permissions: Permissions
  readonly schemes: ReadonlyMap<string, BoundScheme>
  readonly defaults: Defaults
  readonly publicPaths: readonly PublicPath[]
}

export function policiesOf (sources: PolicySources): Policies {
  const { defaults, publicPaths } = sources
  const used = new Set<PublicPath>()
  const { open, resolve } = shared(sources)
  return {
    forRoute (context, options) {
      const path = `${methodsOf(options)} ${options.url}: config.auth`
      const written = writtenIn(options)
      const entries = publicPaths.filter(each => opens(each, options.url, [options.method].flat()))
      const [entry] = entries
      if (entry !== undefined && !defaults.grouped(context) && written === null) {
        for (const each of entries) used.add(each)
        defaults.routed(context)
        return { policy: open(entry.reason), from: `public path ${entry.path}` }
      }
      const policy = resolve(context, written, path)
      // a route that is public itself would take nothing from a default that is set later
      if (policy.access !== 'public' || written === null) defaults.routed(context)
      const literal = entries.find(each => each.prefix === null)
      if (literal !== undefined && written !== null) {
        checkAgreement(literal, policy, path)
        used.add(literal)
      }
      return { policy, from: originOf(defaults.above(context), policy, written !== null) }
    },
    resolve: (context, written, path) => resolve(context, [written], path),
    unused: () => publicPaths.filter(each => !used.has(each)).map(each => each.path)
  }
}

/** Policies by what they say: a thousand routes with a dozen declarations are resolved a dozen times. */
function shared ({ permissions, schemes, defaults }: PolicySources) {
  const textOf = declarationText()
  const known = new Map<string, Policy>()
  const levels = new Map<Level, number>()
  const once = (text: string, make: () => Policy): Policy => {
    const policy = known.get(text) ?? make()
    known.set(text, policy)
    return policy
  }
  const idOf = (level: Level): number => {
    const id = levels.get(level) ?? levels.size
    levels.set(level, id)
    return id
  }
  const open = (reason: string): Policy => once(`public ${reason}`, () => publicPolicy(reason))
  return {
    open,
    resolve (context: FastifyInstance, written: readonly [unknown] | null, path: string): Policy {
      const above = defaults.above(context)
      const own = written === null ? [] : [parseDeclaration(written[0], path, permissions)]
      const stack = [...above.map(level => level.declaration), ...own]
      const reason = stack.at(-1)?.open ?? null
      if (reason !== null) return open(reason)
      const text = `${above.map(idOf).join()} ${own.map(textOf).join()}`
      // a public group around it adds nothing to a declaration that is not public
      return once(text, () => resolvePolicy(stack.filter(level => level.open === null), schemes, path))
    }
  }
}

/** What is written, in a box, because `undefined` and "nothing" are not the same. */
function writtenIn (options: RouteDeclaration): readonly [unknown] | null {
  return options.config !== undefined && hasProperty(options.config, 'auth') ? [options.config.auth] : null
}

/** `GET`, or `GET, POST`. */
export function methodsOf ({ method }: RouteDeclaration): string {
  return Array.isArray(method) ? method.join(', ') : method
}

/** For the audit: the levels that a policy was made of. A public policy comes from the innermost level alone. */
function originOf (above: readonly Level[], policy: Policy, written: boolean): string {
  const labels = [...above.map(level => level.label), ...written ? ['route'] : []]
  if (policy.access === 'public') return labels.slice(-1).join()
  return labels.slice(policy.detached ? -1 : 0).join(' + ')
}

/** A literal public path on a route that says otherwise: one of the two is a mistake, and nobody can see which. */
function checkAgreement (entry: PublicPath, policy: Policy, path: string): void {
  if (policy.access === 'public') return
  throw misconfigured(`${path} is written, and the option publicPaths names '${entry.path}' as well. Remove one of ` +
    'the two.')
}
