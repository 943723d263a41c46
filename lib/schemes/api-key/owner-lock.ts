import { setTimeout as pause } from 'node:timers/promises'
import type { Store, StoreOwner } from '../../../types/store.js'
import { AuthError } from '../../errors.js'
import { digestOf } from './key.js'

/** Thrown when the owner already has as many keys as they may have. */
export class TooManyKeys extends AuthError {
  constructor (maxKeys: number) {
    super('AUTH_ACCESS_DENIED', `the owner of an API key already has ${maxKeys}, which is the maximum`)
  }
}

const kind = 'api-key-room'
/** Seconds after which the lock of a process that died is released. A look-up and a write of a store take less. */
const window = 10
const retryMs = 20
const maxWaitMs = 4_000

/** The last in the queue of each lock, of those in this process that share a store. */
const queues = new WeakMap<Store, Map<string, Promise<unknown>>>()

/**
 * Serialises what creates keys of one owner, among all processes that share a store: a count that was taken inside is
 * still right when the key is added. Callers of one process queue, and only the first of them asks the store: if all
 * did, again and again, one person could overload it.
 */
export class OwnerLock {
  readonly #store: Store
  readonly #prefix: string
  readonly #queue: Map<string, Promise<unknown>>

  /** @param prefix that of the scheme's keys: owners have a lock for each scheme. */
  constructor (store: Store, prefix: string) {
    this.#store = store
    this.#prefix = prefix
    this.#queue = queues.get(store) ?? new Map<string, Promise<unknown>>()
    queues.set(store, this.#queue)
  }

  /** @throws {AuthError} `AUTH_UNAVAILABLE` when others of this owner take too long. */
  async run<T> ({ realm, id }: StoreOwner, work: () => Promise<T>): Promise<T> {
    const name = digestOf(JSON.stringify([this.#prefix, realm, id]))
    const deadline = performance.now() + maxWaitMs
    const before = this.#queue.get(name)
    let leave = (): void => {}
    const last = Promise.all([before, new Promise<void>(resolve => { leave = resolve })])
    this.#queue.set(name, last)
    try {
      if (before !== undefined && !await endsInTime(before)) throw tooBusy()
      return await this.#alone(name, deadline, work)
    } finally {
      leave()
      if (this.#queue.get(name) === last) this.#queue.delete(name)
    }
  }

  /** Runs `work` while no other process does, by a counter of the store that may reach 1. */
  async #alone<T> (name: string, deadline: number, work: () => Promise<T>): Promise<T> {
    do {
      const { counted, expiresAt } = await this.#store.increment(kind, name, { window, ceiling: 1 })
      if (counted && expiresAt !== null) {
        try {
          return await work()
        } finally {
          await this.#store.decrement(kind, name, expiresAt).catch(() => {})
        }
      }
      await pause(retryMs)
    } while (performance.now() < deadline)
    throw tooBusy()
  }
}

async function endsInTime (before: Promise<unknown>): Promise<boolean> {
  const waiting = new AbortController()
  try {
    return await Promise.race([before.then(() => true), pause(maxWaitMs, false, { signal: waiting.signal })])
  } finally {
    waiting.abort()
  }
}

function tooBusy (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'too many API keys of one owner are made at once')
}
