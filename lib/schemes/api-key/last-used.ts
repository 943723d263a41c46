import type { FastifyBaseLogger } from 'fastify'
import type { Store } from '../../../types/store.js'
import { toStoreError } from '../../stores/errors.js'
import { entryOf, kind, storedKeyOf } from './record.js'

/** Milliseconds between two batches. */
const every = 60_000
/** Keys of one batch. Uses of others in the same minute are not noted. */
const most = 100_000
/** Writes under way at once. */
const atOnce = 16

/** When keys were last used: noted in memory and written in batches, so that no request waits for it and no key is written more than once a minute. */
export class LastUsed {
  readonly #store: Store
  readonly #log: FastifyBaseLogger
  #noted = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor (store: Store, log: FastifyBaseLogger) {
    this.#store = store
    this.#log = log
  }

  note (id: string): void {
    if (this.#noted.size >= most && !this.#noted.has(id)) return
    this.#noted.set(id, Date.now())
    this.#timer ??= setTimeout(() => { void this.flush() }, every).unref()
  }

  /** When a key was last used, if that is not written yet. */
  latest (id: string): string | null {
    const at = this.#noted.get(id)
    return at === undefined ? null : new Date(at).toISOString()
  }

  /** Writes what is noted. A failure is logged and nothing more: the next use is noted again. */
  async flush (): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const batch = [...this.#noted]
    this.#noted = new Map()
    const failures: unknown[] = []
    const next = async (): Promise<void> => {
      for (let use = batch.pop(); use !== undefined; use = batch.pop()) {
        await this.#write(...use).catch((error: unknown) => { failures.push(error) })
      }
    }
    await Promise.all(Array.from({ length: Math.min(atOnce, batch.length) }, next))
    if (failures.length > 0) this.#log.warn({ failed: failures.length, reason: toStoreError('swap', failures[0]).detail }, 'when API keys were last used could not be written')
  }

  /** Other instances note the same key: one of them writes in a minute. Who changes the record at the same time is first, and the use is forgotten. */
  async #write (id: string, at: number): Promise<void> {
    const found = await this.#store.get(kind, id)
    if (found === null) return
    const { prefix, record } = storedKeyOf(found)
    if (record.lastUsedAt !== null && at - Date.parse(record.lastUsedAt) < every) return
    const entry = entryOf({ prefix, record: { ...record, lastUsedAt: new Date(at).toISOString() } })
    await this.#store.swap({ ...found, value: entry.value })
  }
}
