import type { FastifyInstance } from 'fastify'
import { plugin } from '../../../lib/plugin.js'
import { threeSchemes } from '../../fixtures/policies.js'

/** A plugin in the form that fastify-cli loads: it registers everything in a context of its own. */
export default async function (app: FastifyInstance, options: object): Promise<void> {
  await app.register(plugin, { schemes: threeSchemes(), default: 'user', outside: 'allow', ...options })
  app.get('/orders', async () => [])
}
