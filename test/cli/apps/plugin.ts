import type { FastifyInstance } from 'fastify'
import { plugin } from '../../../lib/plugin.js'
import { threeSchemes } from '../../fixtures/policies.js'

/** A plugin as fastify-cli takes it: what it registers is in a context of its own. */
export default async function (app: FastifyInstance, options: object): Promise<void> {
  await app.register(plugin, { schemes: threeSchemes(), default: 'user', outside: 'allow', ...options })
  app.get('/orders', async () => [])
}
