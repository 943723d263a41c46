import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, misconfigured } from '../errors.js'
import type { Guard, GuardHook } from '../guard/guard.js'
import { policyToMeet } from '../guard/request-state.js'
import type { Responder } from '../guard/responder.js'
import type { Policy } from '../policy/policy.js'
import { methodsOf, type Policies, type RouteDeclaration } from '../policy/resolve.js'
import { isPreflight, type RoutePolicy } from '../policy/route-policy.js'
import { hasProperty } from '../util/objects.js'
import { callSite, declaringFile } from './call-site.js'
import { seenName } from './printed-routes.js'

/** A route as `onRoute` received it, kept until the boot is over. */
interface PendingRoute {
  readonly options: RouteDeclaration
  readonly route: RoutePolicy
  /** The guard on the route itself; `null` where the hooks of the instance guard it. */
  readonly guard: GuardHook | null
}

/** The routes of an application, with their policies. */
export interface RouteRegistry {
  readonly routes: readonly RoutePolicy[]
  /** Parses the declaration of a route, and stores its policy on the route's config. Called by `onRoute`. */
  add (context: FastifyInstance, options: RouteDeclaration): void
  /**
   * Compares each route as it is now with its declaration as it was parsed.
   * @throws {AuthError} `AUTH_MISCONFIGURED` for a route that another plugin changed.
   */
  verify (): void
}

export function createRouteRegistry (key: symbol, policies: Policies, guard: Guard): RouteRegistry {
  const routes: RoutePolicy[] = []
  const seenHook = createSeenHook(key, policies, guard.responder)
  let pending: PendingRoute[] = []
  const add = (context: FastifyInstance, options: RouteDeclaration): void => {
    checkAuthPosition(options)
    const route = toRoutePolicy(context, options, { policies, previous: routes.at(-1) })
    guard.responder.prepare(route.policy)
    const ownGuard = route.preflight ? guard.hook(route.policy) : null
    if (ownGuard !== null) options.preHandler = [options.preHandler ?? []].flat().concat(ownGuard)
    options.config = Object.assign({}, options.config, { [key]: route })
    options.onError = [options.onError ?? []].flat().concat(seenHook)
    routes.push(route)
    pending.push({ options, route, guard: ownGuard })
  }
  return {
    routes,
    add (context, options) { withCallSite(() => { add(context, options) }) },
    verify () {
      for (const { options, route, guard: ownGuard } of pending) {
        const resolve = (): Policy => policies.forRoute(route.server, { ...options, url: route.url }).policy
        verifyRoute(options, route, { key, resolve })
        const { onError, preHandler } = options
        if (![onError].flat().includes(seenHook)) {
          throw lostHook(route, 'onError', 'by which fastify-gatehouse finds it')
        }
        if (ownGuard !== null && ![preHandler].flat().includes(ownGuard)) {
          throw lostHook(route, 'preHandler', 'by which fastify-gatehouse guards it')
        }
      }
      pending = []
    }
  }
}

function checkAuthPosition (options: RouteDeclaration): void {
  if (!hasProperty(options, 'auth')) return
  throw misconfigured(`${methodsOf(options)} ${options.url} has auth beside config, where it has no effect. Write ` +
    '{ config: { auth: … } }.')
}

interface RoutePolicySources {
  readonly policies: Policies
  /** The route that was added last. */
  readonly previous: RoutePolicy | undefined
}

function toRoutePolicy (
  context: FastifyInstance, options: RouteDeclaration, { policies, previous }: RoutePolicySources
): RoutePolicy {
  const { policy, from } = policies.forRoute(context, options)
  const { url, method, prefix, routePath, constraints, schema } = options
  return Object.freeze({
    policy,
    from,
    preflight: isPreflight(context, options) && policy.access !== 'public',
    file: fileOf(options, previous),
    server: context,
    url,
    declaredUrl: `${prefix}${routePath}`,
    method,
    methods: methodsOf(options),
    constraints,
    params: schema?.params
  })
}

/** Returns the file that declares a route. Fastify adds the HEAD of a GET right behind it, from the same place. */
function fileOf ({ method, url }: RouteDeclaration, previous: RoutePolicy | undefined): string | null {
  const isHeadOfPrevious = method === 'HEAD' && previous?.method === 'GET' && previous.url === url
  return isHeadOfPrevious ? previous.file : declaringFile()
}

function lostHook ({ methods, url }: RoutePolicy, hook: string, purpose: string): AuthError {
  return misconfigured(`${methods} ${url} lost the ${hook} hook ${purpose}: an onRoute hook that ran later replaced ` +
    'the hooks. Let it add to them, or register that plugin before fastify-gatehouse.')
}

type OnError = Extract<RouteOptions['onError'], (...args: never[]) => unknown>

/**
 * Creates the `onError` hook by which `printRoutes` shows that `onRoute` has seen a route. It runs before any error
 * handler, and completes the response to an error of this plugin that a handler threw.
 */
function createSeenHook (key: symbol, policies: Policies, responder: Responder): OnError {
  const hook: OnError = (request, reply, error, done) => {
    if (error instanceof AuthError) responder.complete(reply, error, () => policyToMeet(request, key, policies))
    done()
  }
  return Object.defineProperty(hook, 'name', { value: seenName })
}

interface Verification {
  /** The symbol under which a config has its {@link RoutePolicy}. */
  readonly key: symbol
  /** Returns the policy of the route as it is now. */
  resolve (): Policy
}

const changeIgnored = 'An onRoute hook that ran after that of fastify-gatehouse changed it, and the change would ' +
  'have no effect. Register that plugin before fastify-gatehouse, or remove the change.'

function verifyRoute (options: RouteDeclaration, route: RoutePolicy, { key, resolve }: Verification): void {
  const name = `${route.methods} ${route.url}`
  const config = (options.config ?? {}) as Record<symbol, unknown>
  // a route '/' under a prefix is served with and without its slash, and Fastify runs onRoute only for the first
  const isTwin = options.routePath === '/' && options.url === `${options.prefix}/` && isServed(route, options)
  if (options.url !== route.url && !isTwin) throw misconfigured(`${name} was moved to ${options.url}. ${changeIgnored}`)
  if (options.method !== route.method || methodsOf(options) !== route.methods) {
    throw misconfigured(`${name} now has the method ${methodsOf(options)}. ${changeIgnored}`)
  }
  if (config[key] !== route) {
    throw misconfigured(`${name} has another config than the one that was read. ${changeIgnored}`)
  }
  if (resolve() !== route.policy) {
    throw misconfigured(`${name} has another config.auth than the one that was read. ${changeIgnored}`)
  }
}

/**
 * Returns true if the router serves a route at its URL. Where the router ignores duplicate slashes, it stores patterns
 * without them, but does not find a pattern by its spelling with them.
 */
function isServed ({ server, method, url }: RoutePolicy, { constraints }: RouteDeclaration): boolean {
  const { routerOptions, ignoreDuplicateSlashes } = server.initialConfig
  const ignoresDuplicates = routerOptions?.ignoreDuplicateSlashes === true || ignoreDuplicateSlashes === true
  const stored = ignoresDuplicates ? url.replace(/\/{2,}/g, '/') : url
  return server.hasRoute({ method: [method].flat()[0] as 'GET', url: stored, constraints })
}

/** Adds the application's file and line to a boot error. */
function withCallSite (run: () => void): void {
  try {
    run()
  } catch (error) {
    if (!(error instanceof AuthError) || error.code !== 'AUTH_MISCONFIGURED') throw error
    throw misconfigured(error.message + callSite())
  }
}
