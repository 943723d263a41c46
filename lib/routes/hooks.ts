import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { AuthError, internalError } from '../errors.js'
import { guardHook, type GuardHook } from '../guard/guard-hook.js'
import { enter, finishLate, isDue, isLate, isPass, publish, type End, type Gate, type LateEnd } from '../guard/guard.js'
import { sendInternalError } from '../guard/refuse.js'
import { openState } from '../guard/request-state.js'
import type { Policy } from '../policy/policy.js'
import type { Policies } from '../policy/resolve.js'
import { policyOf, unseenPreflight } from '../policy/route-policy.js'
import { sealName } from './printed-routes.js'

type Done = (error?: Error | null) => void

/** The two hooks of an instance. Both resolve to `undefined` always: a value from `preParsing` would replace the payload. */
export interface RouteHooks {
  /** Who is calling, and what is static of the rules; before a byte of the body is read. */
  preParsing (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: HookHandlerDoneFunction): void
  /** What waits for validation, and the seal: a protected route whose guard did not pass for exactly this policy is refused. */
  preHandler (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
}

/** @param key the symbol of this registration, under which routes carry their policy. */
export function routeHooks (gate: Gate, key: symbol, policies: Policies): RouteHooks {
  const late = (request: FastifyRequest, reply: FastifyReply, policy: Policy, done: Done): void => {
    const state = openState(request)
    if (state.seal?.policy !== policy) stop(gate, request, reply, internalError('the guard did not pass for the policy of this route'), done)
    else if (isDue(state.seal, state)) pass(gate, policy, request, reply, error => { if (error) done(error); else finish(gate, request, reply, done) })
    else finish(gate, request, reply, done)
  }
  const guardUnseen: GuardHook = async (request, reply) => {
    await guardHook(gate, policies.resolve(request.server, true, 'the default of a context'))(request, reply)
  }
  const preParsing: RouteHooks['preParsing'] = (request, reply, _payload, done) => {
    early(gate, key, request, reply, done as Done)
  }
  const preHandler: RouteHooks['preHandler'] = (request, reply, done) => {
    const policy = policyOf(request, key)
    if (policy instanceof AuthError) stop(gate, request, reply, policy, done as Done)
    else if (policy === unseenPreflight) guardUnseen(request, reply).then(() => { done() }, done)
    else if (policy.access === 'public') done()
    else late(request, reply, policy, done as Done)
  }
  return { preParsing, preHandler: Object.defineProperty(preHandler, 'name', { value: sealName }) }
}

/** Both hooks in one, for applications that want everything in `preHandler`. */
export function lateHook (gate: Gate, key: symbol, policies: Policies): RouteHooks['preHandler'] {
  const { preHandler } = routeHooks(gate, key, policies)
  const both: RouteHooks['preHandler'] = (request, reply, done) => {
    early(gate, key, request, reply, error => {
      if (error) done(error)
      else preHandler(request, reply, done)
    })
  }
  return Object.defineProperty(both, 'name', { value: sealName })
}

function early (gate: Gate, key: symbol, request: FastifyRequest, reply: FastifyReply, done: Done): void {
  const policy = policyOf(request, key)
  if (policy instanceof AuthError) return stop(gate, request, reply, policy, done)
  if (policy.access === 'public') return done()
  pass(gate, policy, request, reply, done)
}

/** Goes through the first stage, and publishes the pass. */
function pass (gate: Gate, policy: Policy, request: FastifyRequest, reply: FastifyReply, done: Done): void {
  const end = enter(gate, policy, request, reply)
  if (end instanceof Promise) end.then(settled => { seal(settled, request, reply, done) }, done)
  else seal(end, request, reply, done)
}

/** The pass of this guard counts, and becomes the one that the seal asks for; passes of other guards, on the same request, do not. */
function seal (end: End, request: FastifyRequest, reply: FastifyReply, done: Done): void {
  if (end === 'replied') return
  if (!isPass(end)) return done(end.error as Error)
  const state = openState(request)
  publish(state, end, reply)
  state.seal = end
  done()
}

/** What is left of the second stage, for the pass that the seal asked for. */
function finish (gate: Gate, request: FastifyRequest, reply: FastifyReply, done: Done): void {
  const { seal } = openState(request)
  if (seal !== null && isLate(seal)) finishLate(gate, seal, request, reply).then(end => { settleLate(end, done) }, done)
  else done()
}

/** After a reply nothing more is to be done: Fastify goes on only when `done` is called. */
function settleLate (end: LateEnd, done: Done): void {
  if (end === null) done()
  else if (end !== 'replied') done(end.error as Error)
}

function stop (gate: Gate, request: FastifyRequest, reply: FastifyReply, error: AuthError, done: Done): void {
  const left = sendInternalError(request, reply, error, gate.form)
  if (left !== null) done(left)
}
