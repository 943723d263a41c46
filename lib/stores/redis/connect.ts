import { EventEmitter } from 'node:events'
import { type Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Listener } from './changes.js'
import { listenerOptions, type ParsedOptions, type RedisClient, retryDelay } from './options.js'

/** Connections to one Redis. */
interface Connection {
  readonly client: RedisClient
  /** Waits for the first connection, or for its failure; later, for nothing. */
  ready (): Promise<void>
  /** Another connection, for listening: in that state it takes no other commands. */
  listener (): Listener
  /**
   * Makes the connection anew where an error says that it leads to a server that takes no writes. Returns true if it
   * did.
   */
  reconnectAfter (error: unknown): boolean
  close (): Promise<void>
}

export function connect (source: ParsedOptions['source']): Connection {
  if (!('client' in source)) return own(source.url, source.timeout)
  return source.client.isCluster ? borrowedCluster(source.client as Cluster) : borrowed(source.client as Redis)
}

/** The application's client. What becomes of commands while it is not connected is the application's choice. */
function borrowed (client: Redis): Connection {
  return {
    client,
    ready: async () => {},
    listener: () => heard(client.duplicate(listenerOptions)),
    reconnectAfter: reconnecting(client),
    close: async () => {}
  }
}

/** The application's cluster, which by itself finds the master of a slot again. */
function borrowedCluster (client: Cluster): Connection {
  return {
    client,
    ready: async () => {},
    listener: () => new ClusterListener(client),
    reconnectAfter: () => false,
    close: async () => {}
  }
}

function own (url: string, timeout: number): Connection {
  const client = heard(new Redis(url, optionsOf(timeout)))
  const first = firstConnection(client, timeout)
  return {
    client,
    ready: first,
    listener: () => heard(new Redis(url, optionsOf(timeout))),
    reconnectAfter: reconnecting(client),
    async close () {
      client.disconnect()
    }
  }
}

/** Milliseconds between two connections that are made because a server takes no writes. */
const reconnectEvery = 1_000

/**
 * After a failover behind one address (a proxy, a name) the old connection leads to what is a replica now, for as long
 * as it lasts: every write is refused with READONLY. A new connection leads to the new master. A client that makes no
 * connection again is left as it is.
 */
function reconnecting (client: Redis): Connection['reconnectAfter'] {
  let lastAt = -Infinity
  return error => {
    const isReplica = error instanceof Error && /\bREADONLY\b/.test(error.message)
    if (!isReplica || client.options.retryStrategy === null || performance.now() - lastAt < reconnectEvery) return false
    lastAt = performance.now()
    client.disconnect(true)
    return true
  }
}

/**
 * Commands fail at once while there is no connection, and none is sent twice: one that was under way when the
 * connection broke may have been done.
 */
function optionsOf (timeout: number): RedisOptions {
  return {
    connectTimeout: timeout,
    commandTimeout: timeout,
    // a server that takes commands and answers none is left, and looked for again
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
 * Connecting again is the client's own business, and every command says why it failed: nobody is to hear the event, and
 * it must not be loud either.
 */
function heard (client: Redis): Redis {
  client.on('error', () => {})
  return client
}

/** Without this the first calls after the start would find no connection yet. */
function firstConnection (client: Redis, timeout: number): () => Promise<void> {
  let waiting: Promise<void> | null = new Promise(resolve => {
    const timer = setTimeout(resolve, timeout)
    for (const event of ['ready', 'error', 'close', 'end']) client.once(event, () => { clearTimeout(timer); resolve() })
  })
  waiting.then(() => { waiting = null }, () => {})
  return async () => { if (waiting !== null) await waiting }
}

/** Milliseconds until another node is tried. */
const retryAfter = 200

/**
 * Listens at one node of a cluster, which has every message of all of them, and at another one when the connection ends
 * or the node leaves. It emits `ready` each time, so that what was missed in between is known to have been missed; the
 * subscriber of ioredis' own `Cluster` changes nodes and tells nobody.
 */
class ClusterListener extends EventEmitter implements Listener {
  readonly #cluster: Cluster
  #connection: Redis | null = null
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (cluster: Cluster) {
    super()
    this.#cluster = cluster
    cluster.on('-node', this.#onLeft)
    // with lazyConnect nobody may have asked the cluster anything, and no node is known
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
    const connection = node.duplicate({ ...listenerOptions, retryStrategy: null })
    connection.on('error', () => {})
    connection.on('ready', () => { this.emit('ready') })
    connection.on('message', (channel, id) => { this.emit('message', channel, id) })
    connection.once('end', () => { this.#openLater() })
    this.#connection = connection
  }

  #openLater (): void {
    if (!this.#isClosed) this.#timer = setTimeout(() => { this.#open() }, retryAfter).unref()
  }

  /** A node that is no member any more goes on answering, and hears nothing. */
  readonly #onLeft = ({ options }: Redis): void => {
    const own = this.#connection?.options
    if (own?.host === options.host && own?.port === options.port) this.#connection?.disconnect()
  }
}
