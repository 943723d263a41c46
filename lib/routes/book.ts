import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, misconfigured } from '../errors.js'
import { parseDeclaration } from '../guard/grammar.js'
import { interner, publicPolicy, resolvePolicy, type BoundScheme, type Policy } from '../guard/policy.js'
import { opens, type PublicPath } from '../guard/public-paths.js'
import type { Vocabulary } from '../guard/vocabulary.js'
import { callSite } from './call-site.js'
import type { Defaults } from './defaults.js'
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
  const intern = interner()
  const marks: RouteMark[] = []
  const used = new Set<PublicPath>()
  let noted: Noted[] = []

  const resolve = (context: FastifyInstance, written: readonly [unknown] | null, place: string): Policy => {
    const above = defaults.above(context).map(level => level.declaration)
    const levels = written === null ? above : [...above, parseDeclaration(written[0], place, words)]
    return intern(resolvePolicy(levels, schemes, place))
  }

  const policyFor = (context: FastifyInstance, options: Options): { policy: Policy, from: string } => {
    const place = `${methodsOf(options)} ${options.url}: config.auth`
    const written = writtenIn(options)
    const entry = publicPaths.find(path => opens(path, options.url, [options.method].flat()))
    const labels = defaults.above(context).map(level => level.label)
    if (entry !== undefined && !defaults.grouped(context) && written === null) {
      used.add(entry)
      return { policy: intern(publicPolicy(entry.reason)), from: `public path ${entry.path}` }
    }
    if (written === null && isPreflight(context, options.method, options.url, options.schema)) return { policy: intern(publicPolicy('CORS preflight')), from: '@fastify/cors' }
    const policy = resolve(context, written, place)
    if (entry?.prefix === null && written !== null) checkAgreement(entry, policy, place, used)
    return { policy, from: [...policy.detached ? [] : labels, ...written === null ? [] : ['route']].join(' + ') }
  }

  return {
    marks,
    note (context, options) {
      located(() => {
        if ('auth' in options) throw misconfigured(`${methodsOf(options)} ${options.url} has auth beside config, where nothing reads it. Write { config: { auth: … } }.`)
        const { policy, from } = policyFor(context, options)
        const mark: RouteMark = { policy, server: context, url: options.url, method: options.method, methods: methodsOf(options), from }
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

function methodsOf (options: Options): string {
  return [options.method].flat().join(', ')
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
}

/** Adds the application's file and line to a boot error. */
function located (run: () => void): void {
  try {
    run()
  } catch (error) {
    throw error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED' ? misconfigured(error.message + callSite()) : error
  }
}
