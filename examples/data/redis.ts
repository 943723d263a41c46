import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'
import { codeOf } from './folder.js'

/**
 * A connection to Redis, which counts requests for all instances. Whoever opened it disconnects it.
 * @throws {Error} a sentence without the address, which may hold a password.
 */
export async function openRedis (url: string, log: FastifyBaseLogger): Promise<Redis> {
  // While Redis is away a request is answered with 503 at once, instead of waiting for it.
  const redis = new Redis(url, { lazyConnect: true, keyPrefix: 'order-desk:', connectTimeout: 2_000, commandTimeout: 2_000, enableOfflineQueue: false })
  let last: unknown
  redis.on('error', error => {
    last = error
    log.warn({ code: codeOf(error) }, 'Redis does not answer')
  })
  try {
    await redis.connect()
    await redis.ping()
    return redis
  } catch (error) {
    redis.disconnect()
    throw new Error(`REDIS_URL: Redis cannot be used there (${codeOf(last ?? error)}).`, { cause: error })
  }
}
