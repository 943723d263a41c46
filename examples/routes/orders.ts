import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { RequestAuth } from 'fastify-gatehouse'
import { newOrder, orderId, owns } from '../orders.js'
import { ordersPage } from '../views/pages.js'
import { sendPage, type PagesOptions } from './html.js'
import { mayCancel } from './rules.js'

/** The orders page and its forms. */
export const orders: FastifyPluginAsyncTypebox<PagesOptions> = async (app, { orders }) => {
  app.gatehouse.default('web')

  app.get('', {
    config: { auth: { schemes: 'web', scopes: 'orders:read' } },
    schema: { hide: true }
  }, async (request, reply) => {
    const { auth, principal } = request
    const mayWrite = auth.allows({ scopes: 'orders:write' })
    const isAdmin = auth.allows({ roles: 'admin' })
    return sendPage(reply, ordersPage({
      visitor: principal,
      orders: await orders.list(),
      mayWrite,
      mayCancel: order => mayWrite && (isAdmin || owns(principal, order)),
      notice: takeNotice(auth)
    }))
  })

  app.post('/orders', {
    config: { auth: { schemes: 'web', scopes: 'orders:write' } },
    schema: { hide: true, body: newOrder }
  }, async (request, reply) => {
    const { id } = await orders.place(request.body, request.principal)
    leaveNotice(request.auth, `Order ${id} is placed.`)
    return reply.redirect('/desk', 303)
  })

  app.post('/orders/:id/cancel', {
    config: { auth: { schemes: 'web', ...mayCancel(orders) } },
    schema: { hide: true, params: orderId }
  }, async (request, reply) => {
    const { id } = await orders.cancel(request.params.id)
    leaveNotice(request.auth, `Order ${id} is cancelled.`)
    return reply.redirect('/desk', 303)
  })
}

/** Stores a message in the session, for the next page. */
function leaveNotice (auth: RequestAuth, notice: string): void {
  if (auth.scheme === 'web') auth.credential.update({ notice })
}

/** Returns the message and removes it from the session. */
function takeNotice (auth: RequestAuth): string | null {
  if (auth.scheme !== 'web' || auth.credential.data.notice === undefined) return null
  const { notice } = auth.credential.data
  auth.credential.update({})
  return notice
}
