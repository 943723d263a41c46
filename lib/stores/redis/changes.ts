import type { StoreChange } from '../../../types/store.js'

type ChangeListener = (change: StoreChange) => void

/** A connection that only listens, and comes back by itself: `ready` is emitted each time that it is there. */
export interface Listener {
  readonly status: string
  on (event: 'ready' | 'message', run: (...args: string[]) => void): unknown
  subscribe (...channels: readonly string[]): Promise<unknown>
  unsubscribe (...channels: readonly string[]): Promise<unknown>
  /** Ends it, or this connection of it when `reconnect` is true. */
  disconnect (reconnect?: boolean): void
}

/** Who listens to which channel. */
export interface Changes {
  listen (channel: string, listener: ChangeListener): () => void
  /** Makes the connection anew, where there is one. */
  reconnect (): void
  close (): void
}

/**
 * One connection for all listeners, made when the first comes. Whenever it is there (again), its channels are asked
 * for, and each listener hears that it may have missed something: what happened before is lost.
 */
export function changes (connect: () => Listener): Changes {
  const channels = new Map<string, Set<ChangeListener>>()
  let connection: Listener | null = null

  function tell (channel: string, change: StoreChange): void {
    for (const listener of channels.get(channel) ?? []) listener(change)
  }

  function ask (client: Listener, names: readonly string[]): void {
    // if it breaks, all of them are asked for again when it is back
    client.subscribe(...names).then(() => { for (const name of names) tell(name, null) }, () => {})
  }

  function open (): Listener {
    const client = connect()
    client.on('message', (channel = '', id = '') => { tell(channel, { id }) })
    client.on('ready', () => { if (channels.size > 0) ask(client, [...channels.keys()]) })
    return client
  }

  function forget (channel: string, listeners: Set<ChangeListener>, own: ChangeListener): void {
    listeners.delete(own)
    if (listeners.size > 0 || channels.get(channel) !== listeners) return
    channels.delete(channel)
    if (connection?.status === 'ready') connection.unsubscribe(channel).catch(() => {})
  }

  return {
    listen (channel, listener) {
      // one of its own for each call: the same function may listen twice
      const own: ChangeListener = change => { listener(change) }
      const known = channels.get(channel)
      const listeners = known ?? new Set()
      listeners.add(own)
      channels.set(channel, listeners)
      connection ??= open()
      if (connection.status === 'ready') ask(connection, [channel])
      return () => { forget(channel, listeners, own) }
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
