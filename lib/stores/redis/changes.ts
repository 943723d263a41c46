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

/** The listeners of all channels. */
export interface Changes {
  listen (channel: string, listener: ChangeListener): () => void
  /** Replaces the connection, if there is one. */
  reconnect (): void
  close (): void
}

/**
 * Publishes changes to listeners through one connection, which is opened for the first listener. Each time it is
 * connected, all channels are subscribed again and every listener is called with `null`: Redis does not keep messages,
 * so changes may have been missed.
 */
export function createChanges (connect: () => Subscriber): Changes {
  const channels = new Map<string, Set<ChangeListener>>()
  let connection: Subscriber | null = null

  function notify (channel: string, change: StoreChange): void {
    for (const listener of channels.get(channel) ?? []) listener(change)
  }

  function subscribe (client: Subscriber, names: readonly string[]): void {
    // If the connection breaks, all channels are subscribed again once it is back.
    client.subscribe(...names).then(() => { for (const name of names) notify(name, null) }, () => {})
  }

  function open (): Subscriber {
    const client = connect()
    client.on('message', (channel = '', id = '') => { notify(channel, { id }) })
    client.on('ready', () => { if (channels.size > 0) subscribe(client, [...channels.keys()]) })
    return client
  }

  function remove (channel: string, listeners: Set<ChangeListener>, own: ChangeListener): void {
    listeners.delete(own)
    if (listeners.size > 0 || channels.get(channel) !== listeners) return
    channels.delete(channel)
    if (connection?.status === 'ready') connection.unsubscribe(channel).catch(() => {})
  }

  return {
    listen (channel, listener) {
      // A new function for each call, because the same listener may subscribe twice.
      const own: ChangeListener = change => { listener(change) }
      const known = channels.get(channel)
      const listeners = known ?? new Set()
      listeners.add(own)
      channels.set(channel, listeners)
      connection ??= open()
      if (connection.status === 'ready') subscribe(connection, [channel])
      return () => { remove(channel, listeners, own) }
    },
    reconnect () {
      connection?.disconnect(true)
    },
    close () {
      channels.clear()
      connection?.disconnect()
    }
  }
}
