import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Policy } from '../policy/policy.js'
import { enter, finishLate, isLate, isPass, publish, type Gate } from './guard.js'
import { openState } from './request-state.js'

/** A guard as a hook, for any stage up to `preHandler`. */
export type GuardHook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/**
 * Both stages of the guard at once, for any hook up to `preHandler`: resolves to `undefined` when the caller may pass, and never before a reply of its own is out.
 * The pass is this call's own until both stages let it through, so that guards which run side by side do not lend each other theirs.
 */
export function guardHook (gate: Gate, policy: Policy): GuardHook {
  return async function gatehouseGuard (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const state = openState(request)
    if (state.replied) return
    const end = await enter(gate, policy, request, reply)
    const refused = !isPass(end) ? end : isLate(end) ? await finishLate(gate, end, request, reply) : null
    if (isPass(end) && refused === null) return publish(state, end, reply)
    if (refused !== null && refused !== 'replied') throw refused.error
    await reply
  }
}
