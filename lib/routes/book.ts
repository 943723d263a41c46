import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, misconfigured } from '../errors.js'
import { parseDeclaration } from '../guard/grammar.js'
import { declarationText, publicPolicy, resolvePolicy, type BoundScheme, type Policy } from '../guard/policy.js'
import { opens, type PublicPath } from '../guard/public-paths.js'
import type { Vocabulary } from '../guard/vocabulary.js'
import { callSite } from './call-site.js'
import type { Defaults, Level } from './defaults.js'
import { isPreflight, type RouteMark } from './mark.js'
import { seenName } from './unseen.js'

type Options = RouteOptions & { routePath?: string, prefix?: string }

/** A route as `onRoute` showed it, kept until the boot is over. */
interface Noted {
  readonly options: Options
  readonly mark: RouteMark
}

/** Every route that the plugin saw, with its policy. */
export interface RouteBook {
  /** Parses what a route says, and leaves its policy on the route's config: what `onRoute` calls. */
  note (context: FastifyInstance, options: Options): void
  /** Compares what every route says now with what was parsed. @throws {AuthError} */
  verify (): void
  /** What a declaration that is not a route's comes to in a context. */
  resolve (context: FastifyInstance, written: unknown, place: string): Policy
  readonly marks: readonly RouteMark[]
  /** The public paths that opened nothing. */
  unused (): readonly string[]
}

export interface BookOptions {
  readonly key: symbol
  readonly words: Vocabulary
  readonly schemes: ReadonlyMap<string, BoundScheme>
  readonly defaults: Defaults
  readonly publicPaths: readonly PublicPath[]
}

export function routeBook ({ key, words, schemes, defaults, publicPaths }: BookOptions): RouteBook {
  const textOf = declarationText()
  const known = new Map<string, Policy>()
  const stacks = new Map<Level, number>()
  const marks: RouteMark[] = []
  const used = new Set<PublicPath>()
  let noted: Noted[] = []

  const once = (text: string, make: () => Policy): Policy => {
    const policy = known.get(text) ?? make()
    known.set(text, policy)
    return policy
  }

  const idOf = (level: Level): number => {
    const id = stacks.get(level) ?? stacks.size
    stacks.set(level, id)
    return id
  }

  const open = (reason: string): Policy => once(`public ${reason}`, () => publicPolicy(reason))

  const resolve = (context: FastifyInstance, written: readonly [unknown] | null, place: string): Policy => {
    const above = defaults.above(context)
    const own = written === null ? [] : [parseDeclaration(written[0], place, words)]
    const text = `${above.map(idOf).join()} ${own.map(textOf).join()}`
    return once(text, () => resolvePolicy([...above.map(level => level.declaration), ...own], schemes, place))
  }

  const policyFor = (context: FastifyInstance, options: Options): { policy: Policy, from: string } => {
    const place = `${methodsOf(options)} ${options.url}: config.auth`
    const written = writtenIn(options)
    const entries = publicPaths.filter(path => opens(path, options.url, [options.method].flat()))
    const [entry] = entries
    if (entry !== undefined && !defaults.grouped(context) && written === null) {
      for (const each of entries) used.add(each)
      return { policy: open(entry.reason), from: `public path ${entry.path}` }
    }
    if (written === null && isPreflight(context, options.method, options.url, options.schema)) return { policy: open('CORS preflight'), from: '@fastify/cors' }
    const policy = resolve(context, written, place)
    const literal = entries.find(each => each.prefix === null)
    if (literal !== undefined && written !== null) checkAgreement(literal, policy, place, used)
    return { policy, from: originOf(defaults.above(context), policy, written !== null) }
  }

  return {
    marks,
    note (context, options) {
      located(() => {
        if ('auth' in options) throw misconfigured(`${methodsOf(options)} ${options.url} has auth beside config, where nothing reads it. Write { config: { auth: … } }.`)
        const { policy, from } = policyFor(context, options)
        const written = `${options.prefix ?? ''}${options.routePath ?? ''}`
        const mark: RouteMark = Object.freeze({ policy, server: context, url: options.url, written, method: options.method, methods: methodsOf(options), from })
        options.config = Object.assign({}, options.config, { [key]: mark })
        options.onError = [options.onError ?? []].flat().concat(seen)
        defaults.routed(context)
        marks.push(mark)
        noted.push({ options, mark })
      })
    },
    verify () {
      for (const { options, mark } of noted) verifyRoute(options, mark, key, () => policyFor(mark.server, { ...options, url: mark.url }).policy)
      noted = []
    },
    resolve: (context, written, place) => resolve(context, [written], place),
    unused: () => publicPaths.filter(path => !used.has(path)).map(path => path.path)
  }
}

/** The mark that `printRoutes` shows of a route that was seen. */
const seen: NonNullable<Extract<RouteOptions['onError'], (...args: never[]) => unknown>> = Object.defineProperty(
  (_request: unknown, _reply: unknown, _error: unknown, done: () => void) => { done() }, 'name', { value: seenName })

/** What is written, in a box, because `undefined` and "nothing" are not the same. */
function writtenIn (options: Options): readonly [unknown] | null {
  return options.config !== undefined && 'auth' in options.config ? [options.config.auth] : null
}

function methodsOf ({ method }: Options): string {
  return Array.isArray(method) ? method.join(', ') : method
}

/** For the audit: the levels that a policy was made of. Nothing of a default is left in one that is public. */
function originOf (above: readonly Level[], policy: Policy, written: boolean): string {
  const labels = policy.detached || policy.access === 'public' ? [] : above.map(level => level.label)
  return [...labels, ...written ? ['route'] : []].join(' + ')
}

/** A literal public path on a route that says otherwise: one of the two is a mistake, and nobody can see which. */
function checkAgreement (entry: PublicPath, policy: Policy, place: string, used: Set<PublicPath>): void {
  if (policy.access !== 'public') throw misconfigured(`${place} is written, and the option publicPaths names '${entry.path}' as well. Remove one of the two.`)
  used.add(entry)
}

function verifyRoute (options: Options, mark: RouteMark, key: symbol, now: () => Policy): void {
  const route = `${mark.methods} ${mark.url}`
  const why = 'An onRoute hook that ran after fastify-gatehouse\'s changed it, and the change would not count. Register that plugin before fastify-gatehouse, or take the change out.'
  const config = (options.config ?? {}) as Record<symbol, unknown>
  // A route '/' under a prefix is served with and without its slash, and Fastify runs onRoute only for the first.
  const twin = options.routePath === '/' && options.url === `${options.prefix ?? ''}/` && mark.server.hasRoute({ method: [mark.method].flat()[0] as 'GET', url: mark.url, constraints: options.constraints ?? {} })
  if (options.url !== mark.url && !twin) throw misconfigured(`${route} was moved to ${options.url}. ${why}`)
  if (options.method !== mark.method || methodsOf(options) !== mark.methods) throw misconfigured(`${route} now has the method ${methodsOf(options)}. ${why}`)
  if (config[key] !== mark) throw misconfigured(`${route} has another config than the one that was read. ${why}`)
  if (now() !== mark.policy) throw misconfigured(`${route} has another config.auth than the one that was read. ${why}`)
  if (![options.onError].flat().includes(seen)) throw misconfigured(`${route} lost an onError hook by which fastify-gatehouse knows its routes: an onRoute hook that ran later replaced the hooks. Let it add to them, or register that plugin before fastify-gatehouse.`)
}

/** Adds the application's file and line to a boot error. */
function located (run: () => void): void {
  try {
    run()
  } catch (error) {
    throw error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED' ? misconfigured(error.message + callSite()) : error
  }
}
