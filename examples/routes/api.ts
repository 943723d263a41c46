import cors from '@fastify/cors'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { newOrder, order, orderId, status, type Orders } from '../orders.js'
import type { People } from '../people.js'
import { mayCancel } from './rules.js'

const short = Type.String({ maxLength: 200 })
const credentials = Type.Object({ username: short, password: short })
const token = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer()
})
const problem = Type.Object({ error: Type.String(), message: Type.String() })

interface ApiOptions { readonly orders: Orders, readonly people: People, readonly corsOrigin: string }

/** The JSON API, for people with a token (`user`) or a key (`own`) and for machines with a key (`service`). */
export const api: FastifyPluginAsyncTypebox<ApiOptions> = async (app, { orders, people, corsOrigin }) => {
  await app.register(cors, { origin: corsOrigin === '' ? false : corsOrigin })

  app.post('/token', {
    config: { auth: { public: 'issues tokens' } },
    schema: { tags: ['people'], summary: 'Get a token', body: credentials, response: { 200: token, 401: problem } }
  }, async (request, reply) => {
    const { username, password } = request.body
    const person = await app.gatehouse.guesses.attempt(reply, username, () => people.verify(username, password))
    if (person === null) return reply.code(401).send({ error: 'Unauthorized', message: 'Wrong name or password' })
    return { access_token: await app.gatehouse.tokens.issue(person), token_type: 'Bearer' as const, expires_in: 900 }
  })

  // No config.auth, so the default applies.
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
