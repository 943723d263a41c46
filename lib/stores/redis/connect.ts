import { Redis, type Cluster, type RedisOptions } from 'ioredis'
import type { ParsedOptions, RedisClient } from './options.js'

/** Connections to one Redis. */
export interface Connection {
  readonly client: RedisClient
  /** Waits for the first connection, or for its failure; later, for nothing. */
  ready (): Promise<void>
  /** Another connection, for listening: in that state it takes no other commands. */
  listener (): RedisClient
  close (): Promise<void>
}

export function connect (source: ParsedOptions['source']): Connection {
  return 'client' in source ? borrowed(source.client) : own(source.url, source.timeout)
}

/** The application's client. What becomes of commands while it is not connected is the application's choice. */
function borrowed (client: RedisClient): Connection {
  return {
    client,
    ready: async () => {},
    // the channels' names are whole as they are
    listener: () => heard(client.isCluster ? (client as Cluster).duplicate() : (client as Redis).duplicate({ keyPrefix: '', lazyConnect: false })),
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
    async close () {
      client.disconnect()
    }
  }
}

/** Commands fail at once while there is no connection, and none is sent twice: one that was under way when the connection broke may have been done. */
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
    retryStrategy: attempt => Math.min(50 * 2 ** Math.min(attempt, 5), 500)
  }
}

/** Connecting again is the client's own business, and every command says why it failed: nobody is to hear the event, and it must not be loud either. */
function heard<T extends RedisClient> (client: T): T {
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
