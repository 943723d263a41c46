import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { Duration } from '../../../types/options.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, object, optional } from '../../util/options.js'

/** A client of ioredis: one server, or a cluster. */
export type RedisClient = Redis | Cluster

/** Returns the milliseconds before the next attempt to reconnect: 50 doubled each time, up to 500. */
export function retryDelay (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 500)
}

/**
 * The options in which a connection for subscriptions differs from the client that it is duplicated from. There is no
 * `keyPrefix`, because the names of the channels already contain the store's prefix.
 */
export const subscriberOptions = Object.freeze({
  keyPrefix: '',
  lazyConnect: false,
  readOnly: false,
  connectTimeout: 2_000,
  // The connection sends nothing, so that only keep-alive notices when it is cut silently.
  keepAlive: 10_000,
  retryStrategy: retryDelay
}) satisfies RedisOptions

interface CommonOptions {
  /** The prefix of every key and channel. Default `gatehouse`. */
  readonly prefix?: string
}

/**
 * Options of `redisStore`: a URL, or a client of the application, which keeps its own settings and stays open when the
 * store is closed.
 */
export type RedisStoreOptions = CommonOptions & (
  | {
    /** `redis://…`, or `rediss://…` with TLS. */
    readonly url: string | undefined
    /** The time limit of connecting and of each command. Default 2 seconds. */
    readonly timeout?: Duration
    readonly client?: never
  }
  | { readonly client: RedisClient, readonly url?: never, readonly timeout?: never })

export interface ParsedOptions {
  /** `timeout` is in milliseconds. */
  readonly source: { readonly url: string, readonly timeout: number } | { readonly client: RedisClient }
  readonly prefix: string
}

const parse = object({
  url: optional(parseUrl, null),
  client: optional(parseClient, null),
  prefix: optional(parsePrefix, 'gatehouse'),
  timeout: optional(duration({ positive: true, max: 600 }), null)
})

/**
 * Parses the options of `redisStore`. No message contains the URL, which may hold a password.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
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

/** Parses a prefix. Refuses braces, because in a cluster they decide the slot of a key. */
function parsePrefix (prefix: unknown, option: string): string {
  if (typeof prefix === 'string' && /^[\w:.-]{1,64}$/.test(prefix)) return prefix
  throw misconfigured(`${option} must be 1 to 64 letters, digits and : . - _ Got ${describeValue(prefix)}.`)
}

function isClient (value: unknown): value is RedisClient {
  return isObject(value) && typeof value['evalsha'] === 'function' && 'duplicate' in value
}
