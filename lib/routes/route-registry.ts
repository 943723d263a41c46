import type { FastifyInstance, RouteOptions } from 'fastify'
import { AuthError, misconfigured } from '../errors.js'
import type { Guard, GuardHook } from '../guard/guard.js'
import { policyToMeet } from '../guard/request-state.js'
import type { Responder } from '../guard/responder.js'
import type { Policy } from '../policy/policy.js'
import { methodsOf, type Policies, type RouteDeclaration } from '../policy/resolve.js'
import { RoutePolicy } from '../policy/route-policy.js'
import { shareHook } from '../util/fastify.js'
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
  const note = (context: FastifyInstance, options: RouteDeclaration): void => {
    checkAuthPosition(options)
    const resolved = policies.forRoute(context, options, options.url)
    const previous = routes.at(-1)
    const file = isHeadOf(options, previous) ? previous.file : declaringFile(add)
    const route = new RoutePolicy(options, { ...resolved, server: context, file })
    guard.responder.prepare(route.policy)
    const ownGuard = route.preflight ? guard.hook(route.policy) : null
    if (ownGuard !== null) options.preHandler = [options.preHandler ?? []].flat().concat(ownGuard)
    const config: object = { ...options.config, [key]: route }
    options.config = config
    options.onError = options.onError ? [options.onError].flat().concat(seenHook) : seenHook
    routes.push(route)
    pending.push({ options, route, guard: ownGuard })
  }
  const add = (context: FastifyInstance, options: RouteDeclaration): void => {
    try {
      note(context, options)
    } catch (error) {
      throw withCallSite(error)
    }
  }
  return {
    routes,
    add,
    verify () {
      for (const { options, route, guard: ownGuard } of pending) {
        const resolve = (): Policy => policies.forRoute(route.server, options, route.url).policy
        verifyRoute(options, route, { key, resolve })
        if (!hasHook(options.onError, seenHook)) throw lostHook(route, 'onError', 'by which fastify-gatehouse finds it')
        if (ownGuard !== null && !hasHook(options.preHandler, ownGuard)) {
          throw lostHook(route, 'preHandler', 'by which fastify-gatehouse guards it')
        }
      }
      pending = []
    }
  }
}

function hasHook (hooks: unknown, hook: unknown): boolean {
  return hooks === hook || (Array.isArray(hooks) && hooks.includes(hook))
}

function checkAuthPosition (options: RouteDeclaration): void {
  if (!hasProperty(options, 'auth')) return
  throw misconfigured(`${methodsOf(options)} ${options.url} has auth beside config, where it has no effect. Write ` +
    '{ config: { auth: … } }.')
}

/** Returns true for the HEAD that Fastify adds right behind its GET, from the same place. */
function isHeadOf ({ method, url }: RouteDeclaration, previous: RoutePolicy | undefined): previous is RoutePolicy {
  return method === 'HEAD' && previous?.method === 'GET' && previous.url === url
}

function lostHook ({ methods, url }: RoutePolicy, hook: string, purpose: string): AuthError {
  return misconfigured(`${methods} ${url} lost the ${hook} hook ${purpose}: an onRoute hook that ran later replaced ` +
    'the hooks. Let it add to them, or register that plugin before fastify-gatehouse.')
}

type OnError = Extract<RouteOptions['onError'], (...args: never[]) => unknown>

/**
 * Creates the `onError` hook by which `printRoutes` shows that `onRoute` has seen a route. It runs before any error
 * handler, and completes the response to an error of this plugin that a handler threw. It is a method for the reason
 * that the hook of `preHandler` is one.
 */
function createSeenHook (key: symbol, policies: Policies, responder: Responder): OnError {
  const hook: Readonly<Record<typeof seenName, OnError>> = {
    gatehouseSeen (request, reply, error, done) {
      if (error instanceof AuthError) responder.complete(reply, error, () => policyToMeet(request, key, policies))
      done()
    }
  }
  return shareHook(hook[seenName])
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
function withCallSite (error: unknown): unknown {
  const isOurs = error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED'
  return isOurs ? misconfigured(error.message + callSite()) : error
}
