import { EventEmitter } from 'node:events'
import { type Cluster, Redis, type RedisOptions } from 'ioredis'
import type { StoreChange } from '../../../types/store.js'
import { isError } from '../../errors.js'
import { getOrCreate } from '../../util/objects.js'

/** A client of ioredis: one server, or a cluster. */
export type RedisClient = Redis | Cluster

/** The Redis to connect to: a URL with a time limit in milliseconds, or a client of the application. */
export type RedisSource = { readonly url: string, readonly timeout: number } | { readonly client: RedisClient }

/** Connections to one Redis. */
interface Connection {
  readonly client: RedisClient
  /** Resolves after the first attempt to connect has succeeded or failed; later calls resolve at once. */
  ready (): Promise<void>
  /** Opens another connection for subscriptions: a connection in subscriber mode accepts no other commands. */
  subscriber (): Subscriber
  /** Reconnects if an error says that the server is read-only. Returns true if it did. */
  reconnectAfter (error: unknown): boolean
  close (): Promise<void>
}

export function connect (source: RedisSource): Connection {
  if (!('client' in source)) return openClient(source.url, source.timeout)
  return source.client.isCluster ? useCluster(source.client as Cluster) : useClient(source.client as Redis)
}

/** Returns the milliseconds before the next attempt to reconnect: 50 doubled each time, up to 500. */
function retryDelay (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 500)
}

/**
 * The options in which a connection for subscriptions differs from the client that it is duplicated from. There is no
 * `keyPrefix`, because the names of the channels already contain the store's prefix.
 */
const subscriberOptions = Object.freeze({
  keyPrefix: '',
  lazyConnect: false,
  readOnly: false,
  connectTimeout: 2_000,
  // The connection sends nothing, so that only keep-alive notices when it is cut silently.
  keepAlive: 10_000,
  retryStrategy: retryDelay
}) satisfies RedisOptions

/** Uses a client of the application, whose own options decide what happens to commands while it is disconnected. */
function useClient (client: Redis): Connection {
  return {
    client,
    ready: async () => {},
    subscriber: () => ignoreErrors(client.duplicate(subscriberOptions)),
    reconnectAfter: createReconnect(client),
    close: async () => {}
  }
}

/** Uses a cluster of the application. It finds the new master of a slot by itself. */
function useCluster (client: Cluster): Connection {
  return {
    client,
    ready: async () => {},
    subscriber: () => new ClusterSubscriber(client),
    reconnectAfter: () => false,
    close: async () => {}
  }
}

function openClient (url: string, timeout: number): Connection {
  const client = ignoreErrors(new Redis(url, connectionOptions(timeout)))
  const first = firstConnection(client, timeout)
  return {
    client,
    ready: first,
    subscriber: () => ignoreErrors(new Redis(url, connectionOptions(timeout))),
    reconnectAfter: createReconnect(client),
    async close () {
      client.disconnect()
    }
  }
}

/** The minimum time between two reconnections to a read-only server. */
const reconnectIntervalMs = 1_000

/**
 * Returns a function that reconnects after a READONLY error, at most once a second. After a failover behind one address
 * (a proxy, a DNS name), the existing connection still leads to the old master, which is now a replica and refuses
 * every write; a new connection leads to the new master. A client without a `retryStrategy` would not reconnect, so it
 * is left alone.
 */
function createReconnect (client: Redis): Connection['reconnectAfter'] {
  let lastAt = -Infinity
  return error => {
    const isReplica = isError(error) && /\bREADONLY\b/.test(error.message)
    if (!isReplica || client.options.retryStrategy === null || performance.now() - lastAt < reconnectIntervalMs) {
      return false
    }
    lastAt = performance.now()
    client.disconnect(true)
    return true
  }
}

/**
 * Returns options with which commands fail at once while there is no connection, and no command is sent twice: one that
 * was sent before the connection broke may have been executed.
 */
function connectionOptions (timeout: number): RedisOptions {
  return {
    connectTimeout: timeout,
    commandTimeout: timeout,
    // Reconnects if the server accepts commands but does not reply.
    socketTimeout: timeout * 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    keepAlive: 10_000,
    retryStrategy: retryDelay
  }
}

/**
 * Ignores the `error` events of a client, which ioredis would print otherwise. The client reconnects by itself, and
 * every failed command rejects with the reason.
 */
function ignoreErrors (client: Redis): Redis {
  client.on('error', () => {})
  return client
}

/** Returns a function that waits for the first connection, so that calls right after the start do not fail. */
function firstConnection (client: Redis, timeout: number): () => Promise<void> {
  let waiting: Promise<void> | null = new Promise(resolve => {
    const timer = setTimeout(resolve, timeout)
    for (const event of ['ready', 'error', 'close', 'end']) client.once(event, () => { clearTimeout(timer); resolve() })
  })
  waiting.then(() => { waiting = null }, () => {})
  return async () => { if (waiting !== null) await waiting }
}

/** Milliseconds before another node is tried. */
const retryAfter = 200

/**
 * Subscribes at one node of a cluster, because every node receives the messages of all of them, and changes to another
 * node when the connection ends or the node leaves the cluster. It emits `ready` after each change, so that listeners
 * know that they may have missed messages; the subscriber of ioredis' own `Cluster` changes nodes silently.
 */
class ClusterSubscriber extends EventEmitter implements Subscriber {
  readonly #cluster: Cluster
  #connection: Redis | null = null
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (cluster: Cluster) {
    super()
    this.#cluster = cluster
    cluster.on('-node', this.#onLeft)
    // A client with lazyConnect knows no node before its first command.
    if (cluster.status === 'wait') cluster.connect().catch(() => {})
    this.#open()
  }

  get status (): string {
    return this.#connection?.status ?? 'connecting'
  }

  async subscribe (...channels: readonly string[]): Promise<unknown> {
    return await this.#connection?.subscribe(...channels)
  }

  async unsubscribe (...channels: readonly string[]): Promise<unknown> {
    return await this.#connection?.unsubscribe(...channels)
  }

  disconnect (): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#cluster.off('-node', this.#onLeft)
    this.#connection?.disconnect()
  }

  #open (): void {
    const nodes = this.#cluster.nodes()
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    if (node === undefined) {
      this.#openLater()
      return
    }
    const connection = node.duplicate({ ...subscriberOptions, retryStrategy: null })
    connection.on('error', () => {})
    connection.on('ready', () => { this.emit('ready') })
    connection.on('message', (channel, id) => { this.emit('message', channel, id) })
    connection.once('end', () => { this.#openLater() })
    this.#connection = connection
  }

  #openLater (): void {
    if (!this.#isClosed) this.#timer = setTimeout(() => { this.#open() }, retryAfter).unref()
  }

  /** Disconnects from a node that has left the cluster: it still answers, but receives no more messages. */
  readonly #onLeft = ({ options }: Redis): void => {
    const own = this.#connection?.options
    if (own?.host === options.host && own?.port === options.port) this.#connection?.disconnect()
  }
}

type ChangeListener = (change: StoreChange) => void

/** A connection in subscriber mode. It reconnects by itself, and emits `ready` each time it is connected. */
export interface Subscriber {
  readonly status: string
  on (event: 'ready' | 'message', run: (...args: string[]) => void): unknown
  subscribe (...channels: readonly string[]): Promise<unknown>
  unsubscribe (...channels: readonly string[]): Promise<unknown>
  /** Closes the connection for good, or opens a new one in its place if `reconnect` is true. */
  disconnect (reconnect?: boolean): void
}

/**
 * Publishes changes to listeners through one connection, which is opened for the first listener. Each time it is
 * connected, all channels are subscribed again and every listener is called with `null`: Redis does not keep messages,
 * so changes may have been missed.
 */
export class Changes {
  readonly #connect: () => Subscriber
  readonly #channels = new Map<string, Set<ChangeListener>>()
  #connection: Subscriber | null = null

  constructor (connect: () => Subscriber) {
    this.#connect = connect
  }

  /** Listens to a channel. Returns a function that ends this. */
  listen (channel: string, listener: ChangeListener): () => void {
    // A new function for each call, because the same listener may subscribe twice.
    const own: ChangeListener = change => { listener(change) }
    const listeners = getOrCreate(this.#channels, channel, () => new Set<ChangeListener>()).add(own)
    this.#connection ??= this.#open()
    if (this.#connection.status === 'ready') this.#subscribe(this.#connection, [channel])
    return () => { this.#remove(channel, listeners, own) }
  }

  /** Replaces the connection, if there is one. */
  reconnect (): void {
    this.#connection?.disconnect(true)
  }

  close (): void {
    this.#channels.clear()
    this.#connection?.disconnect()
  }

  #open (): Subscriber {
    const client = this.#connect()
    client.on('message', (channel = '', id = '') => { this.#notify(channel, { id }) })
    client.on('ready', () => { if (this.#channels.size > 0) this.#subscribe(client, [...this.#channels.keys()]) })
    return client
  }

  #subscribe (client: Subscriber, names: readonly string[]): void {
    // If the connection breaks, all channels are subscribed again once it is back.
    client.subscribe(...names).then(() => { for (const name of names) this.#notify(name, null) }, () => {})
  }

  #notify (channel: string, change: StoreChange): void {
    for (const listener of this.#channels.get(channel) ?? []) listener(change)
  }

  #remove (channel: string, listeners: Set<ChangeListener>, own: ChangeListener): void {
    listeners.delete(own)
    if (listeners.size > 0 || this.#channels.get(channel) !== listeners) return
    this.#channels.delete(channel)
    if (this.#connection?.status === 'ready') this.#connection.unsubscribe(channel).catch(() => {})
  }
}
