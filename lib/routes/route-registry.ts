import { fileURLToPath } from 'node:url'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, misconfigured } from '../errors.js'
import type { Guard, GuardHook } from '../guard/guard.js'
import { policyToMeet } from '../guard/request-state.js'
import type { Responder } from '../guard/responder.js'
import type { Policy } from '../policy/policy.js'
import { methodsOf, type Policies, type RouteDeclaration } from '../policy/resolve.js'
import { isPreflight, type RouteMark } from '../policy/route-policy.js'
import { hasProperty } from '../util/objects.js'
import { declaringFile } from './declaring-file.js'
import { seenName } from './printed-routes.js'

/** A route as `onRoute` showed it, kept until the boot is over. */
interface Noted {
  readonly options: RouteDeclaration
  readonly mark: RouteMark
  /** The guard that stands on the route itself; `null` where the instance's hooks guard it. */
  readonly guard: GuardHook | null
}

/** Every route that the plugin saw, with its policy. */
export interface RouteBook {
  /** Parses what a route says, and leaves its policy on the route's config: what `onRoute` calls. */
  note (context: FastifyInstance, options: RouteDeclaration): void
  /** Compares what every route says now with what was parsed. @throws {AuthError} */
  verify (): void
  readonly marks: readonly RouteMark[]
}

export function routeBook (key: symbol, policies: Policies, guard: Guard): RouteBook {
  const marks: RouteMark[] = []
  const seen = seenBy(key, policies, guard.responder)
  let noted: Noted[] = []
  return {
    marks,
    note (context, options) {
      located(() => {
        if (hasProperty(options, 'auth')) {
          throw misconfigured(`${methodsOf(options)} ${options.url} has auth beside config, where nothing reads ` +
            'it. Write { config: { auth: … } }.')
        }
        const written = `${options.prefix}${options.routePath}`
        const { policy, from } = policies.forRoute(context, options)
        const preflight = isPreflight(context, options) && policy.access !== 'public'
        const mark: RouteMark = Object.freeze({ policy, from, preflight, file: fileOf(options, marks.at(-1)), server: context, url: options.url, written, method: options.method, methods: methodsOf(options) })
        guard.responder.prepare(policy)
        const own = preflight ? guard.hook(policy) : null
        if (own !== null) options.preHandler = [options.preHandler ?? []].flat().concat(own)
        options.config = Object.assign({}, options.config, { [key]: mark })
        options.onError = [options.onError ?? []].flat().concat(seen)
        marks.push(mark)
        noted.push({ options, mark, guard: own })
      })
    },
    verify () {
      for (const { options, mark, guard: own } of noted) {
        verifyRoute(options, mark, key, () => policies.forRoute(mark.server, { ...options, url: mark.url }).policy)
        const { onError, preHandler } = options
        if (![onError].flat().includes(seen)) {
          throw misconfigured(`${lostHook(mark, 'onError')} by which fastify-gatehouse knows its routes: ` +
            `${replaced}`)
        }
        if (own !== null && ![preHandler].flat().includes(own)) {
          throw misconfigured(`${lostHook(mark, 'preHandler')} by which fastify-gatehouse guards it: ${replaced}`)
        }
      }
      noted = []
    }
  }
}

/** Returns the file that declares a route. Fastify makes the HEAD of a GET right behind it, from the same place. */
function fileOf ({ method, url }: RouteDeclaration, last: RouteMark | undefined): string | null {
  return method === 'HEAD' && last?.method === 'GET' && last.url === url ? last.file : declaringFile()
}

const replaced = 'an onRoute hook that ran later replaced the hooks. Let it add to them, or register that plugin before fastify-gatehouse.'

function lostHook ({ methods, url }: RouteMark, hook: string): string {
  return `${methods} ${url} lost ${hook === 'onError' ? 'an' : 'the'} ${hook} hook`
}

type OnError = Extract<RouteOptions['onError'], (...args: never[]) => unknown>

/**
 * Returns the `onError` hook that marks a route as seen for `printRoutes`. It runs before any error handler, and
 * completes the response to an error of this plugin that a handler threw.
 */
function seenBy (key: symbol, policies: Policies, responder: Responder): OnError {
  const seen: OnError = (request, reply, error, done) => {
    if (error instanceof AuthError) responder.complete(reply, error, () => policyToMeet(request, key, policies))
    done()
  }
  return Object.defineProperty(seen, 'name', { value: seenName })
}

function verifyRoute (options: RouteDeclaration, mark: RouteMark, key: symbol, now: () => Policy): void {
  const route = `${mark.methods} ${mark.url}`
  const why = 'An onRoute hook that ran after fastify-gatehouse\'s changed it, and the change would not count. Register that plugin before fastify-gatehouse, or take the change out.'
  const config = (options.config ?? {}) as Record<symbol, unknown>
  // A route '/' under a prefix is served with and without its slash, and Fastify runs onRoute only for the first.
  const twin = options.routePath === '/' && options.url === `${options.prefix}/` && isServed(mark, options)
  if (options.url !== mark.url && !twin) throw misconfigured(`${route} was moved to ${options.url}. ${why}`)
  if (options.method !== mark.method || methodsOf(options) !== mark.methods) {
    throw misconfigured(`${route} now has the method ${methodsOf(options)}. ${why}`)
  }
  if (config[key] !== mark) throw misconfigured(`${route} has another config than the one that was read. ${why}`)
  if (now() !== mark.policy) throw misconfigured(`${route} has another config.auth than the one that was read. ${why}`)
}

/**
 * Whether the router has the route where the mark says. It keeps a pattern without its duplicate slashes where it
 * ignores them, and does not look for it so.
 */
function isServed ({ server, method, url }: RouteMark, { constraints }: RouteDeclaration): boolean {
  const { routerOptions, ignoreDuplicateSlashes } = server.initialConfig
  const kept = routerOptions?.ignoreDuplicateSlashes === true || ignoreDuplicateSlashes === true ? url.replace(/\/{2,}/g, '/') : url
  return server.hasRoute({ method: [method].flat()[0] as 'GET', url: kept, constraints })
}

/** Adds the application's file and line to a boot error. */
function located (run: () => void): void {
  try {
    run()
  } catch (error) {
    throw error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED' ? misconfigured(error.message + callSite()) : error
  }
}

const library = fileURLToPath(new URL('..', import.meta.url))

/**
 * Where the application's code stands on the stack, as ` (in file:line)`; nothing when it cannot be told. For boot
 * errors only: it takes a stack.
 */
export function callSite (): string {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 50
  const frames = String(new Error().stack).split('\n').slice(1)
  Error.stackTraceLimit = limit
  for (const frame of frames) {
    const at = (/ \((.+:\d+):\d+\)$/.exec(frame) ?? /^ +at (?:async )?(.+:\d+):\d+$/.exec(frame))?.[1]
    if (at === undefined || !/^(?:file:\/\/|\/|[A-Za-z]:\\)/.test(at)) continue
    const file = at.startsWith('file://') ? fileURLToPath(at) : at
    if (!file.includes('/node_modules/') && !file.startsWith(library)) return ` (in ${file})`
  }
  return ''
}
