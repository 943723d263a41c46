import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { Duration } from '../../../types/duration.js'
import { misconfigured } from '../../errors.js'
import { parseDuration } from '../../util/duration.js'
import { readOptions } from '../../util/options.js'

/** A client of ioredis: one server, or a cluster. */
export type RedisClient = Redis | Cluster

/** Milliseconds until a connection is made again. */
export function retryDelay (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 500)
}

/** How a connection that only listens differs from the one that it is a copy of. The channels' names are whole as they are. */
export const listenerOptions = Object.freeze({
  keyPrefix: '',
  lazyConnect: false,
  readOnly: false,
  connectTimeout: 2_000,
  // nothing is ever sent: without it a way that was cut in silence is noticed by nobody
  keepAlive: 10_000,
  retryStrategy: retryDelay
}) satisfies RedisOptions

interface CommonOptions {
  /** Before every key and channel. Default `gatehouse`. */
  readonly prefix?: string
}

/** Options of `redisStore`: a URL, or a client of the application's own, whose settings then count and which stays open when the store is closed. */
export type RedisStoreOptions = CommonOptions & (
  | {
    /** `redis://…`, or `rediss://…` with TLS. */
    readonly url: string | undefined
    /** How long connecting and a command may take. Default 2 seconds. */
    readonly timeout?: Duration
    readonly client?: never
  }
  | { readonly client: RedisClient, readonly url?: never, readonly timeout?: never })

export interface ParsedOptions {
  readonly source: { readonly url: string, readonly timeout: number } | { readonly client: RedisClient }
  readonly prefix: string
}

/** @throws {AuthError} `AUTH_MISCONFIGURED`. No message holds a URL. */
export function parseOptions (options: unknown): ParsedOptions {
  const given = readOptions(options, ['url', 'client', 'prefix', 'timeout'], 'redisStore')
  if ((given['url'] === undefined) === (given['client'] === undefined)) throw misconfigured('redisStore takes either url or client.')
  const { prefix = 'gatehouse' } = given
  // braces would decide where in a cluster a key is
  if (typeof prefix !== 'string' || !/^[\w:.-]{1,64}$/.test(prefix)) throw misconfigured('The option prefix of redisStore must be 1 to 64 letters, digits and : . - _')
  return { source: given['client'] === undefined ? urlOf(given) : clientOf(given), prefix }
}

function urlOf ({ url, timeout = 2 }: Readonly<Record<string, unknown>>): ParsedOptions['source'] {
  if (typeof url !== 'string' || !/^rediss?:\/\/./.test(url)) throw misconfigured("The option url of redisStore must begin with 'redis://' or 'rediss://'.")
  const limit = Math.ceil(parseDuration(timeout, 'The option timeout of redisStore') * 1_000)
  if (limit < 1 || limit > 600_000) throw misconfigured('The option timeout of redisStore must be more than 0 and at most 10 minutes.')
  return { url, timeout: limit }
}

function clientOf ({ client, timeout }: Readonly<Record<string, unknown>>): ParsedOptions['source'] {
  if (timeout !== undefined) throw misconfigured('The option timeout of redisStore belongs to url: a client has its own.')
  if (!isClient(client)) throw misconfigured('The option client of redisStore must be a client of ioredis.')
  return { client }
}

function isClient (value: unknown): value is RedisClient {
  return typeof value === 'object' && value !== null && 'evalsha' in value && typeof value.evalsha === 'function' && 'duplicate' in value
}
