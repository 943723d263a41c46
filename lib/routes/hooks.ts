import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { AuthError } from '../errors.js'
import type { Guard } from '../guard/guard.js'
import { ensureState, routeConfigOf } from '../guard/request-state.js'
import type { Ended } from '../guard/responder.js'
import type { Policies } from '../policy/resolve.js'
import { enforcedPolicy, earlyPreflight } from '../policy/route-policy.js'
import { shareHook } from '../util/fastify.js'
import { sealName } from './printed-routes.js'

/** The stage in which the guard begins: `preParsing` runs in two hooks, and `preHandler` in one, behind the body. */
export type Stage = 'preParsing' | 'preHandler'

type Done = (error?: Error | null) => void

/** The parts of the plugin that its hooks call. */
export interface RouteHookParts {
  readonly guard: Guard
  /** The symbol under which the config of a route has its policy. */
  readonly key: symbol
  readonly policies: Policies
  readonly stage: Stage
}

/**
 * Adds the hooks of the guard to all routes of an application.
 * @returns the instances whose routes, or not-found handlers, have the hooks. Complete when the application is ready.
 */
export function addRouteHooks (app: FastifyInstance, parts: RouteHookParts): ReadonlySet<FastifyInstance> {
  const instances = new Set<FastifyInstance>()
  const hooks = createRouteHooks(parts)
  const isLate = parts.stage === 'preHandler'
  if (!isLate) app.addHook('preParsing', shareHook(hooks.preParsing))
  const preHandler = isLate ? createLateHook(hooks) : hooks.preHandler
  app.addHook('preHandler', shareHook(preHandler, instance => { instances.add(instance) }))
  return instances
}

/** The two hooks of an instance. They call `done`, because a value that `preParsing` returns replaces the payload. */
interface RouteHooks {
  /** Runs the first stage of the guard, before a byte of the body is read. */
  preParsing (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: HookHandlerDoneFunction): void
  /** Runs the second stage. Refuses a request whose first stage did not pass for exactly this route's policy. */
  preHandler (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
}

/** The hook as a method, which keeps its name when the code is minified. */
type Seal = Readonly<Record<typeof sealName, RouteHooks['preHandler']>>

/** Creates the hooks for the stage `preParsing`. */
function createRouteHooks ({ guard, key, policies }: RouteHookParts): RouteHooks {
  const preParsing: RouteHooks['preParsing'] = (_request, reply, _payload, done) => {
    const { config } = reply.request.routeOptions
    const policy = enforcedPolicy(reply.request, key, config)
    if (policy instanceof AuthError) return settle(guard.responder.sendInternalError(reply, policy), done as Done)
    if (policy.access === 'public') return done()
    ensureState(reply.request).routeConfig = config
    settle(guard.enterRoute(policy, reply), done as Done)
  }
  const runEarlyPreflight = async (reply: FastifyReply): Promise<void> => {
    await guard.run(policies.defaultOf(reply.request.server), reply)
  }
  const preHandler: Seal = {
    gatehouseSeal (request, reply, done) {
      const policy = enforcedPolicy(request, key, routeConfigOf(request))
      if (policy instanceof AuthError) settle(guard.responder.sendInternalError(reply, policy), done as Done)
      else if (policy === earlyPreflight) runEarlyPreflight(reply).then(() => { done() }, done)
      else if (policy.access === 'public') repeat(guard, reply, done as Done)
      else settle(guard.finishRoute(policy, reply), done as Done)
    }
  }
  return { preParsing, preHandler: preHandler[sealName] }
}

/** Creates the hook for the stage `preHandler`: both hooks in one. */
function createLateHook ({ preParsing, preHandler }: RouteHooks): RouteHooks['preHandler'] {
  const both: Seal = {
    gatehouseSeal (request, reply, done) {
      preParsing(request, reply, null, error => {
        if (error) done(error)
        else preHandler(request, reply, done)
      })
    }
  }
  return both[sealName]
}

/** Continues the request on a public route, which a guard of the application may have let in before its body. */
function repeat (guard: Guard, reply: FastifyReply, done: Done): void {
  const repeated = guard.repeat(reply)
  if (repeated === null) done()
  else repeated.then(() => { done() }, done)
}

/** Continues the request, or hands the error to Fastify. After a reply, `done` must not be called. */
function settle (end: Ended | null | Promise<Ended | null>, done: Done): void {
  if (end instanceof Promise) settleLater(end, done)
  else if (end === null) done()
  else if (!end.isSent) done(end.error as Error)
}

function settleLater (end: Promise<Ended | null>, done: Done): void {
  end.then(settled => { settle(settled, done) }, done)
}
