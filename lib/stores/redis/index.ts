import type { Store } from '../../../types/store.js'
import { operations } from '../errors.js'
import { changes } from './changes.js'
import { connect } from './connect.js'
import { parseOptions, type RedisStoreOptions } from './options.js'
import * as records from './records.js'
import { namesOf } from './scripts.js'

export type { RedisClient, RedisStoreOptions } from './options.js'

/**
 * A store in Redis (6.2 or later, one server or a cluster), by ioredis. The server's `maxmemory-policy` has to be
 * `noeviction`: what was evicted denies nothing any more.
 *
 * @example
 * const store = redisStore({ url: process.env.REDIS_URL })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for options that are none.
 */
export function redisStore (options: RedisStoreOptions): Store {
  const { source, prefix } = parseOptions(options)
  const { client, ready, listener, reconnectAfter, close: disconnect } = connect(source)
  const place = { client, names: namesOf(prefix) }
  const heard = changes(listener)
  const { run: begin, close } = operations()
  const run = <T>(name: string, work: () => T | Promise<T>): Promise<T> => begin(name, async () => {
    await ready()
    try {
      return await work()
    } catch (error) {
      if (reconnectAfter(error)) heard.reconnect()
      throw error
    }
  })

  return Object.freeze({
    add: entry => run('add', () => records.add(place, entry)),
    get: (kind, id) => run('get', () => records.get(place, kind, id)),
    swap: record => run('swap', () => records.swap(place, record)),
    take: (kind, id) => run('take', () => records.take(place, kind, id)),
    find: (kind, owner) => run('find', () => records.find(place, kind, owner)),
    takeAll: (kind, owner, except) => run('takeAll', () => records.takeAll(place, kind, owner, except)),
    increment: (kind, id, options) => run('increment', () => records.increment(place, kind, id, options)),
    decrement: (kind, id, expiresAt) => run('decrement', () => records.decrement(place, kind, id, expiresAt)),
    subscribe: (kind, listener) => heard.listen(place.names.channel(kind), listener),
    // nothing has to be made, but a wrong address is a mistake for the boot and not for the first caller
    migrate: () => run('migrate', async () => { await client.ping() }),
    close: () => close(async () => {
      heard.close()
      await disconnect()
    })
  } satisfies Store)
}
