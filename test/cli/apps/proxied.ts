import type { FastifyInstance } from 'fastify'

/** A plugin with options for its server, as `fastify start --options` reads them. The test provides what it does. */
export default async function (app: FastifyInstance, options: object): Promise<void> {
  await (globalThis as unknown as { audited (app: FastifyInstance, options: object): Promise<void> })
    .audited(app, options)
}

export const options = { trustProxy: true }
