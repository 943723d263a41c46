import type { FastifyRequest } from 'fastify'
import type { AnyPrincipal } from 'fastify-gatehouse'
import { owns, type Orders } from '../orders.js'

type OrderRequest = FastifyRequest<{ Params: { id: number } }>

/** Returns the rule for cancelling: admins may cancel any order, others their own. A missing order is a 404. */
export function mayCancel (orders: Orders) {
  async function ownsOrder (principal: AnyPrincipal, request: OrderRequest): Promise<boolean> {
    return owns(principal, await orders.get(request.params.id))
  }
  return { scopes: 'orders:write', anyOf: [{ roles: 'admin' }, { when: ownsOrder }] } as const
}
