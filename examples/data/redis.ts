import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'
import { codeOf } from './folder.js'

/**
 * Connects to Redis, which counts requests for all instances. The caller disconnects it.
 * @throws {Error} The message leaves out the URL, which may contain a password.
 */
export async function openRedis (url: string, log: FastifyBaseLogger): Promise<Redis> {
  const timeouts = { connectTimeout: 2_000, commandTimeout: 2_000 }
  // Without the offline queue, requests are answered with 503 at once while Redis is down.
  const redis = new Redis(url, { lazyConnect: true, keyPrefix: 'order-desk:', ...timeouts, enableOfflineQueue: false })
  let last: unknown
  redis.on('error', error => {
    last = error
    log.warn({ code: codeOf(error) }, 'Redis connection error')
  })
  try {
    await redis.connect()
    await redis.ping()
    return redis
  } catch (error) {
    redis.disconnect()
    throw new Error(`REDIS_URL: Redis cannot be used (${codeOf(last ?? error)}).`, { cause: error })
  }
}
