import type { FastifyBaseLogger } from 'fastify'
import type { Store } from '../../../types/store.js'
import { toStoreError } from '../../stores/errors.js'
import { entryOf, kind, parseStoredKey } from './record.js'

const batchIntervalMs = 60_000
/** Keys in one batch. Uses of further keys in the same minute are not recorded. */
const maxBatchSize = 100_000
const maxConcurrentWrites = 16

/**
 * Records when keys were last used. Uses are kept in memory and written in batches, so that no request waits for the
 * store, and no key is written more than once a minute.
 */
export class LastUsed {
  readonly #store: Store
  readonly #log: FastifyBaseLogger
  #pending = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor (store: Store, log: FastifyBaseLogger) {
    this.#store = store
    this.#log = log
  }

  record (id: string): void {
    if (this.#pending.size >= maxBatchSize && !this.#pending.has(id)) return
    this.#pending.set(id, Date.now())
    this.#timer ??= setTimeout(() => { void this.flush() }, batchIntervalMs).unref()
  }

  /** Returns when a key was last used, or `null` when there is no use that is not written yet. */
  pendingUse (id: string): string | null {
    const at = this.#pending.get(id)
    return at === undefined ? null : new Date(at).toISOString()
  }

  /** Writes the pending uses. A failure is only logged: the next use of the key is recorded again. */
  async flush (): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const batch = [...this.#pending]
    this.#pending = new Map()
    const failures: unknown[] = []
    const writeNext = async (): Promise<void> => {
      for (let use = batch.pop(); use !== undefined; use = batch.pop()) {
        await this.#write(...use).catch((error: unknown) => { failures.push(error) })
      }
    }
    await Promise.all(Array.from({ length: Math.min(maxConcurrentWrites, batch.length) }, writeNext))
    if (failures.length === 0) return
    const reason = toStoreError('swap', failures[0]).detail
    this.#log.warn({ failed: failures.length, reason }, 'failed to write when API keys were last used')
  }

  /**
   * Writes one use, unless another instance wrote one in the last minute. If the record is changed at the same time,
   * the swap fails and the use is dropped.
   */
  async #write (id: string, at: number): Promise<void> {
    const found = await this.#store.get(kind, id)
    if (found === null) return
    const { prefix, record } = parseStoredKey(found)
    if (record.lastUsedAt !== null && at - Date.parse(record.lastUsedAt) < batchIntervalMs) return
    const entry = entryOf({ prefix, record: { ...record, lastUsedAt: new Date(at).toISOString() } })
    await this.#store.swap({ ...found, value: entry.value })
  }
}
