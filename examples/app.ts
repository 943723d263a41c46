import formbody from '@fastify/formbody'
import helmet from '@fastify/helmet'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import gatehouse, { apiKeyRoutes } from 'fastify-gatehouse'
import { hashPassword } from 'fastify-gatehouse/passwords'
import { authOptions } from './auth.js'
import { readConfig, type Config } from './config.js'
import { openData } from './data/data.js'
import { hideFaults } from './errors.js'
import type { Orders } from './orders.js'
import type { People } from './people.js'
import { api } from './routes/api.js'
import { docs } from './routes/docs.js'
import { ops } from './routes/ops.js'
import { pages } from './routes/pages.js'

export interface BuildOptions {
  readonly logger?: FastifyServerOptions['logger']
  /** Read in place of the process's own environment and `.env`. */
  readonly environment?: NodeJS.ProcessEnv
}

export interface OrderDesk {
  readonly app: FastifyInstance
  readonly config: Config
  readonly people: People
  readonly orders: Orders
}

/** The order desk, ready to listen. */
export async function build ({ logger = true, environment }: BuildOptions = {}): Promise<OrderDesk> {
  // Whose X-Forwarded-For is believed: filled as soon as the configuration is read.
  const proxies = new Set<string>()
  // Whoever begins a request ends it within half a minute: unfinished ones would be kept for ever.
  const app = Fastify({ logger, requestTimeout: 30_000, trustProxy: address => proxies.has(address) })
  try {
    const config = await readConfig(app, environment)
    for (const address of config.TRUST_PROXY.split(',')) proxies.add(address.trim())
    return await furnish(app, config)
  } catch (error) {
    // Connections that are open already would keep the process.
    await app.close()
    throw error
  }
}

async function furnish (app: FastifyInstance, config: Config): Promise<OrderDesk> {
  const { people, orders, store, redis } = await openData(app, config)
  const opsHash = await hashPassword(config.OPS_PASSWORD)

  app.setErrorHandler(hideFaults)
  await app.register(helmet, { contentSecurityPolicy: { directives: contentSecurity(config) } })
  await app.register(formbody)
  await app.register(gatehouse, authOptions({ config, people, opsHash, store, redis }))
  await app.register(docs)

  app.get('/health', { schema: { tags: ['operations'], summary: 'Is it alive?' } }, async () => ({ status: 'ok' }))
  await app.register(pages, { orders, people, config })
  await app.register(api, { prefix: '/api', orders, people, corsOrigin: config.CORS_ORIGIN })
  await app.register(apiKeyRoutes, { prefix: '/account/keys' })
  await app.register(ops, { prefix: '/ops', orders })
  await app.ready()
  return { app, config, people, orders }
}

/** Styles from this server alone. Over plain HTTP a browser must not be told to ask for them by HTTPS. */
function contentSecurity ({ production }: Config) {
  return { styleSrc: ["'self'"], upgradeInsecureRequests: production ? [] : null }
}
