import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Orders } from '../orders.js'

/** For operators, with a user name and password that every monitoring tool can send. */
export const ops: FastifyPluginAsyncTypebox<{ orders: Orders }> = async (app, { orders }) => {
  app.gatehouse.default('ops')

  app.get('/status', { schema: { tags: ['operations'], summary: 'How the process is' } }, async () => ({
    uptime: Math.round(process.uptime()),
    memory: process.memoryUsage().rss,
    orders: await orders.count()
  }))

  app.get('/routes', { schema: { tags: ['operations'], summary: 'Every route, and who may enter' } }, async () => app.gatehouse.audit())
}
