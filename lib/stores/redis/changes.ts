import type { StoreChange } from '../../../types/store.js'

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
    const listeners = this.#channels.get(channel) ?? new Set()
    listeners.add(own)
    this.#channels.set(channel, listeners)
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
