import type { Store } from '../../../types/store.js'
import { withBacking } from '../backing.js'
import { createOperations } from '../errors.js'
import { Changes } from './changes.js'
import { connect } from './connect.js'
import { parseOptions, type RedisStoreOptions } from './options.js'
import * as records from './records.js'
import { createNames } from './scripts.js'

export type { RedisClient, RedisStoreOptions } from './options.js'

/**
 * Creates a store in Redis (6.2 or later, one server or a cluster) with ioredis. The server's `maxmemory-policy` must
 * be
 * `noeviction`: an evicted revocation or replay guard would no longer refuse anything.
 *
 * @example
 * const store = redisStore({ url: process.env.REDIS_URL })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for invalid options.
 */
export function redisStore (options: RedisStoreOptions): Store {
  const { source, prefix } = parseOptions(options)
  const { client, ready, subscriber, reconnectAfter, close: disconnect } = connect(source)
  const redis = { client, names: createNames(prefix) }
  const changes = new Changes(subscriber)
  const { run: begin, close } = createOperations()
  const run = <T>(name: string, work: () => T | Promise<T>): Promise<T> => begin(name, async () => {
    await ready()
    try {
      return await work()
    } catch (error) {
      if (reconnectAfter(error)) changes.reconnect()
      throw error
    }
  })

  const store = Object.freeze({
    add: entry => run('add', () => records.add(redis, entry)),
    get: (kind, id) => run('get', () => records.get(redis, kind, id)),
    swap: record => run('swap', () => records.swap(redis, record)),
    take: (kind, id) => run('take', () => records.take(redis, kind, id)),
    find: (kind, owner) => run('find', () => records.find(redis, kind, owner)),
    takeAll: (kind, owner, except) => run('takeAll', () => records.takeAll(redis, kind, owner, except)),
    increment: (kind, id, options) => run('increment', () => records.increment(redis, kind, id, options)),
    decrement: (kind, id, expiresAt) => run('decrement', () => records.decrement(redis, kind, id, expiresAt)),
    subscribe: (kind, listener) => changes.listen(redis.names.channel(kind), listener),
    // There is nothing to create, but a wrong address should stop the boot and not fail the first request.
    migrate: () => run('migrate', async () => { await client.ping() }),
    close: () => close(async () => {
      changes.close()
      await disconnect()
    })
  } satisfies Store)
  return withBacking(store, { kind: 'redis', client })
}
