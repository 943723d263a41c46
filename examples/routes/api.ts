import cors from '@fastify/cors'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { newOrder, order, orderId, status, type Orders } from '../orders.js'
import type { People } from '../people.js'
import { mayCancel } from './rules.js'
import { tokens } from './tokens.js'

interface ApiOptions { readonly orders: Orders, readonly people: People, readonly corsOrigin: string }

/**
 * The JSON API: for people with a token (`user`) or a key (`own`), for applications that they connect (`client`), and
 * for machines with a key (`service`).
 */
export const api: FastifyPluginAsyncTypebox<ApiOptions> = async (app, { orders, people, corsOrigin }) => {
  await app.register(cors, { origin: corsOrigin === '' ? false : corsOrigin })

  await app.register(tokens, { prefix: '/token', people })

  // No config.auth, so the default applies. Connected applications get 403: they may only use routes with a scope.
  app.get('/me', { schema: { tags: ['people'], summary: 'Who am I?' } }, async ({ auth }) => {
    return { scheme: auth.scheme, principal: auth.principal, expiresAt: auth.expiresAt }
  })

  app.get('/orders', {
    config: { auth: { scopes: 'orders:read' } },
    schema: {
      tags: ['orders'],
      summary: 'List the latest 200 orders',
      querystring: Type.Object({ status: Type.Optional(status) }),
      response: { 200: Type.Array(order) }
    }
  }, async request => [...await orders.list(request.query.status)])

  app.get('/orders/:id', {
    config: { auth: { scopes: 'orders:read' } },
    schema: { tags: ['orders'], summary: 'Get an order', params: orderId, response: { 200: order } }
  }, async request => orders.get(request.params.id))

  app.post('/orders', {
    config: { auth: { scopes: 'orders:write', rateLimit: { max: 60, window: '1m' } } },
    schema: { tags: ['orders'], summary: 'Place an order', body: newOrder, response: { 201: order } }
  }, async (request, reply) => {
    const placed = await orders.place(request.body, request.principal)
    return reply.code(201).header('location', `/api/orders/${placed.id}`).send(placed)
  })

  app.post('/orders/:id/ship', {
    config: { auth: { schemes: 'service', scopes: 'orders:ship' } },
    schema: { tags: ['orders'], summary: 'Mark an order as shipped', params: orderId, response: { 200: order } }
  }, async request => orders.ship(request.params.id))

  app.delete('/orders/:id', {
    config: { auth: mayCancel(orders) },
    schema: { tags: ['orders'], summary: 'Cancel an order', params: orderId, response: { 204: Type.Null() } }
  }, async (request, reply) => {
    await orders.cancel(request.params.id)
    return reply.code(204).send(null)
  })
}
