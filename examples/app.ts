import formbody from '@fastify/formbody'
import helmet from '@fastify/helmet'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import gatehouse, { apiKeyRoutes } from 'fastify-gatehouse'
import { hashPassword } from 'fastify-gatehouse/passwords'
import { authOptions } from './auth.js'
import { readConfig, type Config } from './config.js'
import { openData } from './data/data.js'
import { sendError } from './errors.js'
import type { Orders } from './orders.js'
import type { People } from './people.js'
import { api } from './routes/api.js'
import { docs } from './routes/docs.js'
import { mcp } from './routes/mcp.js'
import { oauth } from './routes/oauth.js'
import { ops } from './routes/ops.js'
import { pages } from './routes/pages.js'

export interface BuildOptions {
  readonly logger?: FastifyServerOptions['logger']
  /** Replaces `process.env` and `.env`. */
  readonly environment?: NodeJS.ProcessEnv
}

export interface Example {
  readonly app: FastifyInstance
  readonly config: Config
  readonly people: People
  readonly orders: Orders
}

/** Builds the application, ready to listen. */
export async function build ({ logger = true, environment }: BuildOptions = {}): Promise<Example> {
  // The proxies whose X-Forwarded-For is trusted. Filled once the configuration has been read.
  const proxies = new Set<string>()
  // Without a timeout, unfinished requests would be kept open forever.
  const app = Fastify({ logger, requestTimeout: 30_000, trustProxy: address => proxies.has(address) })
  try {
    const config = await readConfig(app, environment)
    for (const address of config.TRUST_PROXY.split(',')) proxies.add(address.trim())
    return await registerAll(app, config)
  } catch (error) {
    // Open connections would keep the process alive.
    await app.close()
    throw error
  }
}

async function registerAll (app: FastifyInstance, config: Config): Promise<Example> {
  const { people, orders, store, redis } = await openData(app, config)
  const opsHash = await hashPassword(config.OPS_PASSWORD)

  app.setErrorHandler(sendError)
  await app.register(helmet, { contentSecurityPolicy: { directives: contentSecurity(config) } })
  await app.register(formbody)
  await app.register(gatehouse, authOptions({ config, people, opsHash, store, redis }))
  await app.register(oauth, { config })
  await app.register(docs)

  app.get('/health', { schema: { tags: ['operations'], summary: 'Health check' } }, async () => ({ status: 'ok' }))
  await app.register(pages, { orders, people, config })
  await app.register(api, { prefix: '/api', orders, people, corsOrigin: config.CORS_ORIGIN })
  await app.register(apiKeyRoutes, { prefix: '/account/keys' })
  await app.register(mcp, { orders, publicUrl: config.PUBLIC_URL })
  await app.register(ops, { prefix: '/ops', orders })
  await app.ready()
  return { app, config, people, orders }
}

/**
 * Allows styles from this server only. In development, which uses plain HTTP, browsers must not upgrade requests to
 * HTTPS.
 */
function contentSecurity ({ production }: Config) {
  return { styleSrc: ["'self'"], upgradeInsecureRequests: production ? [] : null }
}
