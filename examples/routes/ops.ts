import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Orders } from '../orders.js'

/** Routes for operators. They use HTTP Basic, which every monitoring tool supports. */
export const ops: FastifyPluginAsyncTypebox<{ orders: Orders }> = async (app, { orders }) => {
  app.gatehouse.default('ops')

  app.get('/status', { schema: { tags: ['operations'], summary: 'Process status' } }, async () => ({
    uptime: Math.round(process.uptime()),
    memory: process.memoryUsage().rss,
    orders: await orders.count()
  }))

  app.get('/routes', {
    schema: { tags: ['operations'], summary: 'List all routes and who may call them' }
  }, async () => app.gatehouse.audit())
}
