import type { FastifyBaseLogger } from 'fastify'
import type { ApiKeyCredential, ApiKeyRecord } from '../../../types/api-keys.js'
import type { Authenticated, Outcome } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'
import { publish } from '../../events/events.js'
import { completeOutcome, expired, invalid, unavailableOr } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { toStoreError } from '../../stores/operations.js'
import { fieldsOf, number, orNull, ownerOf, recordParser } from '../../stores/records.js'
import { deepFreeze, isThenable } from '../../util/objects.js'
import { listOf, string } from '../../util/options.js'
import { WatchedCache } from '../../util/revocation-watch.js'
import type { ManagedSettings } from './options.js'

/** The outcome of a managed key. */
export type KeyOutcome = Outcome<Principal, ApiKeyCredential>

interface KnownKey {
  readonly outcome: Authenticated<Principal, ApiKeyCredential>
  /** Milliseconds since 1970; `Infinity` without an end. */
  readonly end: number
}

export interface KeyLookupOptions extends ManagedSettings {
  /** The name of the scheme. */
  readonly scheme: string
  readonly store: Store
  readonly lastUsed: LastUsed
  readonly log: FastifyBaseLogger
}

/** Looks keys up by their id. Every request comes here: a cached key is answered synchronously, without the store. */
export class KeyLookup {
  readonly #scheme: string
  readonly #prefix: string
  readonly #store: Store
  readonly #lastUsed: LastUsed
  readonly #cache: WatchedCache<KnownKey | null>

  constructor ({ scheme, prefix, staleness, store, lastUsed, log }: KeyLookupOptions) {
    this.#scheme = scheme
    this.#prefix = prefix
    this.#store = store
    this.#lastUsed = lastUsed
    const hasEnded = (id: string): Promise<boolean> => this.#hasEnded(id)
    const stalenessMs = staleness * 1000
    this.#cache = new WatchedCache({ store, kind, stalenessMs, hasEnded, isNegative: known => known === null, log })
  }

  /** Returns true for the id of a key that came before. */
  knows (id: string): boolean {
    return this.#cache.has(id)
  }

  outcomeOf (id: string): KeyOutcome | Promise<KeyOutcome> {
    const known = this.#cache.get(id, () => this.#load(id))
    return isThenable(known) ? this.#judgeLater(id, known) : this.#judge(id, known)
  }

  /** Drops the cached record of a key that this process has changed. */
  forget (id: string): void {
    this.#cache.delete(id)
  }

  /** Drops the cached record of a key that this process has removed, and notifies those who watch it. */
  end (id: string): void {
    this.#cache.end(id)
  }

  close (): void {
    this.#cache.close()
  }

  /** Returns true if a key was revoked or has expired. */
  async #hasEnded (id: string): Promise<boolean> {
    const found = await this.#store.get(kind, id)
    return found === null || endOf(parseStoredKey(found).record) <= Date.now()
  }

  async #load (id: string): Promise<KnownKey | null> {
    const found = await this.#store.get(kind, id)
    if (found === null) return null
    const stored = parseStoredKey(found)
    return stored.prefix === this.#prefix ? this.#complete(stored) : null
  }

  async #judgeLater (id: string, known: Promise<KnownKey | null>): Promise<KeyOutcome> {
    try {
      return this.#judge(id, await known)
    } catch (error) {
      return unavailableOr(error, 'the store of API keys is unavailable')
    }
  }

  #judge (id: string, known: KnownKey | null): KeyOutcome {
    if (known === null) return invalid('the API key is unknown')
    if (known.end <= Date.now()) {
      const { realm, id: owner } = known.outcome.principal
      publish('key-used-after-end', { scheme: this.#scheme, key: id, realm, id: owner })
      return expired('the API key expired')
    }
    this.#lastUsed.record(id)
    return known.outcome
  }

  /** Returns the outcome that all requests with a key share. */
  #complete ({ record }: StoredKey): KnownKey {
    const { id, owner, name, scopes, roles, rateLimit } = record
    const end = endOf(record)
    const principal: Principal = principalFrom({ realm: owner.realm, id: owner.id, scopes, roles }, owner.realm)
    const outcome = completeOutcome(principal, {
      credential: Object.freeze({ id, name }),
      expiresAt: end === Infinity ? null : new Date(end),
      onRevoked: revoked => this.#cache.watch(id, revoked),
      recheck: () => this.outcomeOf(id),
      rateLimit: rateLimit === null ? null : Object.freeze({ id, ...rateLimit }),
      headers: deprecationHeaders(record)
    })
    return { outcome, end }
  }
}

/**
 * Returns the headers `Deprecation` (RFC 9745, 2: a structured date) and `Sunset` (RFC 8594, 3: an HTTP date) for a key
 * that has a successor, else `null`.
 */
function deprecationHeaders ({ replacedAt, sunsetAt }: StoredKey['record']): Readonly<Record<string, string>> | null {
  if (replacedAt === null || sunsetAt === null) return null
  const deprecation = `@${Math.floor(Date.parse(replacedAt) / 1000)}`
  return Object.freeze({ deprecation, sunset: new Date(sunsetAt).toUTCString() })
}

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

  /** Writes the pending uses. A failure is only logged, because the next use of the key is recorded as well. */
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

/** The kind of API keys in a store. */
export const kind = 'api-key'

/** Milliseconds for which the record of an expired key is kept, so that requests with it are refused as expired. */
const keptAfterEndMs = 7 * 86_400_000

/** The record of a key, and the scheme that it belongs to. */
interface StoredKey {
  /** The prefix of the scheme's keys, which separates two schemes that share a store. */
  readonly prefix: string
  readonly record: ApiKeyRecord
}

/** Returns the instant at which a key ends, in milliseconds since 1970; `Infinity` when it does not. */
export function endOf ({ expiresAt, sunsetAt }: ApiKeyRecord): number {
  return Math.min(instantOf(expiresAt), instantOf(sunsetAt))
}

function instantOf (text: string | null): number {
  return text === null ? Infinity : Date.parse(text)
}

/** Returns the entry of a key for the store, under the digest of the key. */
export function entryOf ({ prefix, record }: StoredKey): StoreEntry {
  const { id, owner, rateLimit, ...rest } = record
  const limit = rateLimit === null ? null : { max: rateLimit.max, window: rateLimit.window }
  const end = endOf(record)
  const value: JsonObject = { ...rest, rateLimit: limit, prefix }
  return { kind, id, owner, value, expiresAt: end === Infinity ? null : new Date(end + keptAfterEndMs) }
}

const parseValue = recordParser({
  prefix: string,
  name: string,
  start: string,
  scopes: listOf(string),
  roles: listOf(string),
  createdAt: string,
  expiresAt: orNull(string),
  lastUsedAt: orNull(string),
  rateLimit: orNull(fieldsOf({ max: number, window: number })),
  replacedBy: orNull(string),
  replacedAt: orNull(string),
  sunsetAt: orNull(string)
} satisfies Record<'prefix' | Exclude<keyof ApiKeyRecord, 'id' | 'owner'>, unknown>)

/** Parses a record of the store. @throws {AuthError} `AUTH_FAULT` for one that cannot be read. */
export function parseStoredKey (stored: StoreRecord): StoredKey {
  const { prefix, ...fields } = parseValue(stored)
  return deepFreeze({ prefix, record: { id: stored.id, owner: ownerOf(stored), ...fields } })
}
