import cors from '@fastify/cors'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { newOrder, order, orderId, status, type Orders } from '../orders.js'
import type { People } from '../people.js'
import { mayCancel } from './rules.js'

const credentials = Type.Object({ username: Type.String({ maxLength: 200 }), password: Type.String({ maxLength: 200 }) })
const token = Type.Object({ access_token: Type.String(), token_type: Type.Literal('Bearer'), expires_in: Type.Integer() })
const problem = Type.Object({ error: Type.String(), message: Type.String() })

/** For programs: people with a token (`user`), machines with a key (`service`). */
export const api: FastifyPluginAsyncTypebox<{ orders: Orders, people: People, corsOrigin: string }> = async (app, { orders, people, corsOrigin }) => {
  await app.register(cors, { origin: corsOrigin === '' ? false : corsOrigin })

  app.post('/token', {
    config: { auth: { public: 'gives out tokens' } },
    schema: { tags: ['people'], summary: 'Get a token', body: credentials, response: { 200: token, 401: problem } }
  }, async (request, reply) => {
    const { username, password } = request.body
    const person = await app.gatehouse.guesses.attempt(reply, username, () => people.verify(username, password))
    if (person === null) return reply.code(401).send({ error: 'Unauthorized', message: 'Wrong name or password' })
    return { access_token: await app.gatehouse.tokens.issue(person), token_type: 'Bearer' as const, expires_in: 900 }
  })

  // Nothing is said of who may enter, so the default holds.
  app.get('/me', { schema: { tags: ['people'], summary: 'Who am I?' } }, async ({ auth }) => {
    return { scheme: auth.scheme, principal: auth.principal, expiresAt: auth.expiresAt }
  })

  app.get('/orders', {
    config: { auth: { scopes: 'orders:read' } },
    schema: {
      tags: ['orders'],
      summary: 'Orders, the newest 200',
      querystring: Type.Object({ status: Type.Optional(status) }),
      response: { 200: Type.Array(order) }
    }
  }, async request => [...await orders.list(request.query.status)])

  app.get('/orders/:id', {
    config: { auth: { scopes: 'orders:read' } },
    schema: { tags: ['orders'], summary: 'One order', params: orderId, response: { 200: order } }
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
    schema: { tags: ['orders'], summary: 'Say that an order is on its way', params: orderId, response: { 200: order } }
  }, async request => orders.ship(request.params.id))

  app.delete('/orders/:id', {
    config: { auth: mayCancel(orders) },
    schema: { tags: ['orders'], summary: 'Cancel an order', params: orderId, response: { 204: Type.Null() } }
  }, async (request, reply) => {
    await orders.cancel(request.params.id)
    return reply.code(204).send(null)
  })
}
