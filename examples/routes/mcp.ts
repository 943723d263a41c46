import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import type { FastifyPluginAsync } from 'fastify'
import type { Orders } from '../orders.js'

interface McpOptions { readonly orders: Orders, readonly publicUrl: string }

/**
 * The endpoint for clients of the Model Context Protocol. They find the authorization server by the 401, because the
 * scheme `mcp` has the option `resource`.
 */
export const mcp: FastifyPluginAsync<McpOptions> = async (app, { orders, publicUrl }) => {
  app.gatehouse.default({ schemes: 'mcp', scopes: 'orders:read' })

  // The protocol asks for this: a page of another site may have a name that leads to this server.
  app.addHook('onRequest', async ({ headers: { origin } }, reply) => {
    if (origin !== undefined && origin !== publicUrl) {
      return await reply.code(403).send({ statusCode: 403, error: 'Forbidden', message: 'This origin is not allowed' })
    }
  })

  const { fetch } = createMcpHandler(() => createServer(orders))
  app.route({
    method: ['GET', 'POST', 'DELETE'],
    url: '/mcp',
    schema: { hide: true },
    handler: async ({ method, headers, body }) => await fetch(
      new Request(`${publicUrl}/mcp`, { method, headers: headers as Record<string, string> }), { parsedBody: body }
    )
  })
}

/** Creates the server of one request: it keeps no sessions. */
function createServer (orders: Orders): McpServer {
  const server = new McpServer({ name: 'order-desk', version: '1.0.0' })
  server.registerTool('list_open_orders', { description: 'Lists the orders that are not shipped yet' }, async () => {
    const open = await orders.list('open')
    const lines = open.map(({ id, customer, item, quantity }) => `${id}: ${quantity} × ${item} for ${customer}`)
    return { content: [{ type: 'text', text: lines.join('\n') }] }
  })
  return server
}
