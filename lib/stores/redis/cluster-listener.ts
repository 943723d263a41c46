import { EventEmitter } from 'node:events'
import type { Cluster, Redis } from 'ioredis'
import type { Listener } from './changes.js'
import { listenerOptions } from './options.js'

/** Milliseconds until another node is tried. */
const retryAfter = 200

/**
 * Listens at one node of a cluster, which has every message of all of them, and at another one when the connection ends or the node leaves. It emits `ready` each time, so
 * that what was missed in between is known to have been missed; the subscriber of ioredis' own `Cluster` changes nodes and tells nobody.
 */
export class ClusterListener extends EventEmitter implements Listener {
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
