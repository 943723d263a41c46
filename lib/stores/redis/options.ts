import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { Duration } from '../../../types/duration.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, object, optional } from '../../util/options.js'

/** A client of ioredis: one server, or a cluster. */
export type RedisClient = Redis | Cluster

/** Milliseconds until a connection is made again. */
export function retryDelay (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 500)
}

/**
 * How a connection that only listens differs from the one that it is a copy of. The channels' names are whole as they
 * are.
 */
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

/**
 * Options of `redisStore`: a URL, or a client of the application's own, whose settings then count and which stays open
 * when the store is closed.
 */
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
  /** The timeout in milliseconds. */
  readonly source: { readonly url: string, readonly timeout: number } | { readonly client: RedisClient }
  readonly prefix: string
}

const parse = object({
  url: optional(parseUrl, null),
  client: optional(parseClient, null),
  prefix: optional(parsePrefix, 'gatehouse'),
  timeout: optional(duration({ positive: true, max: 600 }), null)
})

/** @throws {AuthError} `AUTH_MISCONFIGURED`. No message holds a URL. */
export function parseOptions (options: unknown): ParsedOptions {
  const { url, client, prefix, timeout } = parse(options, 'The options of redisStore')
  if (url !== null && client === null) return { source: { url, timeout: Math.ceil((timeout ?? 2) * 1_000) }, prefix }
  if (client === null || url !== null) throw misconfigured('The options of redisStore must have either url or client.')
  if (timeout === null) return { source: { client }, prefix }
  throw misconfigured('The option redisStore.timeout belongs to url: a client has its own. Leave it out.')
}

function parseUrl (url: unknown, option: string): string {
  if (typeof url === 'string' && /^rediss?:\/\/./.test(url)) return url
  throw misconfigured(`${option} must begin with 'redis://' or 'rediss://'.`)
}

function parseClient (client: unknown, option: string): RedisClient {
  if (isClient(client)) return client
  throw misconfigured(`${option} must be a client of ioredis: new Redis(url). Got ${describeValue(client)}.`)
}

/** Refuses braces: in a cluster they would decide where a key is. */
function parsePrefix (prefix: unknown, option: string): string {
  if (typeof prefix === 'string' && /^[\w:.-]{1,64}$/.test(prefix)) return prefix
  throw misconfigured(`${option} must be 1 to 64 letters, digits and : . - _ Got ${describeValue(prefix)}.`)
}

function isClient (value: unknown): value is RedisClient {
  return isObject(value) && typeof value['evalsha'] === 'function' && 'duplicate' in value
}
