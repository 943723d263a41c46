import type { FastifyRequest } from 'fastify'
import type { AnyPrincipal } from 'fastify-gatehouse'
import { owns, type Orders } from '../orders.js'

/** Whoever placed an order cancels it; admins cancel every one. An order that is not there is a 404. */
export function mayCancel (orders: Orders) {
  async function ownsOrder (principal: AnyPrincipal, request: FastifyRequest<{ Params: { id: number } }>): Promise<boolean> {
    return owns(principal, await orders.get(request.params.id))
  }
  return { scopes: 'orders:write', anyOf: [{ roles: 'admin' }, { when: ownsOrder }] } as const
}
