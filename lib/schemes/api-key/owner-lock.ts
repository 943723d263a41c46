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
/** Seconds after which the lock of a process that died is released. Longer than a look-up and a write of the store. */
const lockTtl = 10
const retryMs = 20
const maxWaitMs = 4_000

/** The last queued work of each lock in this process, by store. */
const queues = new WeakMap<Store, Map<string, Promise<unknown>>>()

/**
 * Serialises the creation of keys of one owner across all processes that share a store, so that a count of keys is
 * still right when the new key is added. Callers in one process queue up, and only the first of them polls the store:
 * otherwise one person could overload it.
 */
export class OwnerLock {
  readonly #store: Store
  readonly #prefix: string
  readonly #queue: Map<string, Promise<unknown>>

  /** @param prefix the prefix of the scheme's keys: each scheme has its own lock for an owner. */
  constructor (store: Store, prefix: string) {
    this.#store = store
    this.#prefix = prefix
    this.#queue = queues.get(store) ?? new Map<string, Promise<unknown>>()
    queues.set(store, this.#queue)
  }

  /**
   * Runs `work` while nobody else creates keys of this owner.
   * @throws {AuthError} `AUTH_UNAVAILABLE` after 4 seconds of waiting.
   */
  async run<T> ({ realm, id }: StoreOwner, work: () => Promise<T>): Promise<T> {
    const name = digestOf(JSON.stringify([this.#prefix, realm, id]))
    const deadline = performance.now() + maxWaitMs
    const previous = this.#queue.get(name)
    let leave = (): void => {}
    const last = Promise.all([previous, new Promise<void>(resolve => { leave = resolve })])
    this.#queue.set(name, last)
    try {
      if (previous !== undefined && !await endsInTime(previous)) throw tooBusy()
      return await this.#runLocked(name, deadline, work)
    } finally {
      leave()
      if (this.#queue.get(name) === last) this.#queue.delete(name)
    }
  }

  /** Runs `work` while no other process holds the lock: a counter of the store that may reach 1. */
  async #runLocked<T> (name: string, deadline: number, work: () => Promise<T>): Promise<T> {
    do {
      const { counted, expiresAt } = await this.#store.increment(kind, name, { window: lockTtl, ceiling: 1 })
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

async function endsInTime (work: Promise<unknown>): Promise<boolean> {
  const waiting = new AbortController()
  try {
    return await Promise.race([work.then(() => true), pause(maxWaitMs, false, { signal: waiting.signal })])
  } finally {
    waiting.abort()
  }
}

function tooBusy (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'too many API keys of one owner are created at once')
}
