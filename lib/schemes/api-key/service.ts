import type { FastifyBaseLogger } from 'fastify'
import type {
  AnyOwnerApiKeys, ApiKeyChange, ApiKeyFeature, ApiKeyInput, ApiKeyRecord, NewApiKey, OwnerApiKeys, RotateOptions
} from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import type { SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import { AuthError, explain, internalError } from '../../errors.js'
import { publish } from '../../events/events.js'
import { changeRecord } from '../../stores/records.js'
import { deepFreeze } from '../../util/objects.js'
import { digestOf, isKeyId, type KeyFormat } from './key.js'
import { endOf, entryOf, type KeyLookup, kind, type LastUsed, parseStoredKey } from './lookup.js'
import { commonRights, missingRights, OwnerLock, type Owners, type Rights, TooManyKeys } from './owners.js'
import { checkOwner, type KeyFields, parseBounds, parseChange, parseInput, parseRotation } from './parse-input.js'

export interface KeyServiceOptions {
  /** The name of the scheme. */
  readonly scheme: string
  readonly format: KeyFormat
  readonly store: Store
  readonly lookup: KeyLookup
  /** `null` without a `load`: then a key has its own scopes and roles. */
  readonly owners: Owners | null
  readonly lastUsed: LastUsed
  readonly grants: SchemeContext['grants']
  readonly log: FastifyBaseLogger
}

interface Found {
  readonly stored: StoreRecord
  readonly record: ApiKeyRecord
}

type Find = () => Promise<Found | null>

/** Manages the keys of one scheme: `app.gatehouse.apiKeys`. */
export class KeyService implements ApiKeyFeature {
  readonly #options: KeyServiceOptions
  readonly #ownerLock: OwnerLock

  constructor (options: KeyServiceOptions) {
    this.#options = options
    this.#ownerLock = new OwnerLock(options.store, options.format.prefix)
  }

  of (owner: StoreOwner): OwnerApiKeys {
    checkOwner(owner)
    return Object.freeze({
      ...this.#calls(record => record.owner.realm === owner.realm && record.owner.id === owner.id),
      create: async (input: ApiKeyInput, ...bounds: unknown[]) => await this.#create(owner, input, bounds),
      list: async () => await this.#list(owner)
    })
  }

  ofAnyOwner (): AnyOwnerApiKeys {
    return Object.freeze(this.#calls(() => true))
  }

  /** @param isVisible returns `false` for a key that is treated like one that does not exist. */
  #calls (isVisible: (record: ApiKeyRecord) => boolean): AnyOwnerApiKeys {
    const finder = (id: string): Find => async () => {
      const found = await this.#find(id)
      return found !== null && isVisible(found.record) ? found : null
    }
    return {
      get: async id => (await finder(id)())?.record ?? null,
      update: async (id, change, ...bounds) => await this.#update(finder(id), change, bounds),
      revoke: async id => await this.#revoke(await finder(id)(), false),
      rotate: async (id, options) => await this.#rotate(finder(id), options)
    }
  }

  async #create (owner: StoreOwner, input: ApiKeyInput, bounds: readonly unknown[]): Promise<NewApiKey> {
    const fields = parseInput(input)
    const { within, maxKeys } = parseBounds('create', bounds)
    await this.#checkRights(owner, fields, within)
    return await this.#createWithin(owner, maxKeys, async () => {
      const created = this.#draft({ owner, ...fields, createdAt: now() })
      await this.#add(created.record)
      publish('key-created', this.#eventOf(created.record))
      return created
    })
  }

  async #list (owner: StoreOwner): Promise<readonly ApiKeyRecord[]> {
    const found = await this.#options.store.find(kind, owner)
    return found
      .flatMap(stored => this.#parse(stored)?.record ?? [])
      .sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  }

  async #update (find: Find, change: ApiKeyChange, bounds: readonly unknown[]): Promise<ApiKeyRecord | null> {
    const fields = parseChange(change)
    const { within } = parseBounds('update', bounds)
    return await this.#retry(find, async ({ stored, record }) => {
      const changed = deepFreeze({ ...record, ...fields })
      await this.#checkRights(record.owner, { scopes: fields.scopes ?? [], roles: fields.roles ?? [] }, within)
      return await this.#swap(stored, changed) ? changed : null
    })
  }

  async #rotate (find: Find, options: RotateOptions): Promise<NewApiKey | null> {
    const { overlap, within, maxKeys } = parseRotation(options)
    const found = maxKeys === undefined ? null : await find()
    const rotate = async ({ stored, record }: Found): Promise<NewApiKey | null> => {
      const { owner, name, expiresAt, rateLimit } = record
      const rights = within === undefined ? record : commonRights(record, within, this.#options.grants)
      const { scopes, roles } = rights
      const successor = this.#draft({ owner, name, scopes, roles, expiresAt, rateLimit, createdAt: now() })
      // the new key is added first, so that a store that fails in between leaves the old one valid
      await this.#add(successor.record)
      const isReplaced = await (overlap === 0
        ? this.#end(stored)
        : this.#swap(stored, replacedBy(successor.record, record, overlap)))
      if (isReplaced) {
        publish('key-rotated', { ...this.#eventOf(record), successor: successor.record.id })
        return successor
      }
      await this.#take(successor.record.id)
      return null
    }
    return await this.#createWithin(found?.record.owner, maxKeys, () => this.#retry(find, rotate))
  }

  async revokeLeaked (key: string): Promise<void> {
    if (typeof key !== 'string' || this.#options.format.formOf(key) !== 'ours') return
    const id = digestOf(key)
    if (await this.#revoke(await this.#find(id), true)) {
      this.#options.log.warn({ apiKey: id }, 'a leaked API key was revoked')
    }
  }

  async #revoke (found: Found | null, leaked: boolean): Promise<boolean> {
    if (found === null || !await this.#take(found.record.id)) return false
    publish('key-revoked', { ...this.#eventOf(found.record), leaked })
    return true
  }

  #eventOf ({ id: key, owner: { realm, id } }: ApiKeyRecord) {
    return { scheme: this.#options.scheme, key, realm, id }
  }

  /** Creates a key of an owner who may have `maxKeys`, one at a time, so that concurrent calls are counted too. */
  async #createWithin<T> (
    owner: StoreOwner | undefined, maxKeys: number | undefined, create: () => Promise<T>
  ): Promise<T> {
    if (owner === undefined || maxKeys === undefined) return await create()
    return await this.#ownerLock.run(owner, async () => {
      await this.#checkMaxKeys(owner, maxKeys)
      return await create()
    })
  }

  /**
   * Refuses an owner who has `maxKeys` live keys. Keeps as many expired keys as there may be live ones and removes
   * older ones, so that one person cannot fill the store.
   */
  async #checkMaxKeys (owner: StoreOwner, maxKeys: number): Promise<void> {
    const records = await this.#list(owner)
    const ended = records.filter(record => endOf(record) <= Date.now()).sort((a, b) => endOf(b) - endOf(a))
    for (const { id } of ended.slice(maxKeys - 1)) await this.#take(id)
    if (records.length - ended.length >= maxKeys) throw explain(new TooManyKeys(maxKeys))
  }

  /** Finds a key of this scheme. */
  async #find (id: string): Promise<Found | null> {
    const stored = isKeyId(id) ? await this.#options.store.get(kind, id) : null
    return stored === null ? null : this.#parse(stored)
  }

  #parse (stored: StoreRecord): Found | null {
    const { prefix, record } = parseStoredKey(stored)
    const lastUsedAt = this.#options.lastUsed.pendingUse(record.id) ?? record.lastUsedAt
    return prefix === this.#options.format.prefix ? { stored, record: deepFreeze({ ...record, lastUsedAt }) } : null
  }

  /** Changes a key that has not expired. Tries again with the current record when `change` returns `null`. */
  async #retry<T> (find: Find, change: (found: Found) => Promise<T | null>): Promise<T | null> {
    return await changeRecord('an API key', async () => {
      const found = await find()
      if (found === null || endOf(found.record) <= Date.now()) return null
      return await change(found) ?? undefined
    })
  }

  /** Generates a key and its record, which is not stored yet. */
  #draft (fields: KeyFields & Pick<ApiKeyRecord, 'owner' | 'createdAt'>): NewApiKey {
    const { format } = this.#options
    const key = format.generate()
    const unused = { lastUsedAt: null, replacedBy: null, replacedAt: null, sunsetAt: null }
    return { key, record: deepFreeze({ id: digestOf(key), start: format.startOf(key), ...fields, ...unused }) }
  }

  async #add (record: ApiKeyRecord): Promise<void> {
    const { store, format } = this.#options
    if (await store.add(entryOf({ prefix: format.prefix, record }))) return
    throw internalError('the store did not add a new API key')
  }

  async #swap (stored: StoreRecord, record: ApiKeyRecord): Promise<boolean> {
    const { value, expiresAt } = entryOf({ prefix: this.#options.format.prefix, record })
    return this.#write(record.id, false, () => this.#options.store.swap({ ...stored, value, expiresAt }))
  }

  /** Removes a record, unless it was changed since it was read. */
  async #end (stored: StoreRecord): Promise<boolean> {
    return this.#write(stored.id, true, () => this.#options.store.swap({ ...stored, expiresAt: new Date(0) }))
  }

  async #take (id: string): Promise<boolean> {
    return this.#write(id, true, async () => await this.#options.store.take(kind, id) !== null)
  }

  /** Writes, and then drops the cached state of the key, also after an error, because the write may have happened. */
  async #write (id: string, ends: boolean, write: () => Promise<boolean>): Promise<boolean> {
    let done = false
    try {
      done = await write()
      return done
    } finally {
      this.#options.lookup.invalidate(id, ends && done)
    }
  }

  /** Refuses rights that the owner, or the principal `within`, does not have. */
  async #checkRights (owner: StoreOwner, rights: Rights, within: Principal | undefined): Promise<void> {
    const { owners, grants } = this.#options
    const holders: Principal[] = within === undefined ? [] : [within]
    if (owners !== null) {
      const found = await owners.find(owner)
      if (found === null) throw denied('load knows no such owner of an API key, or it is disabled')
      holders.push(found)
    }
    const missing = holders.flatMap(holder => missingRights(rights, holder, grants))
    if (missing.length === 0) return
    const names = [...new Set(missing)].join(', ').slice(0, 500)
    throw denied(`an API key cannot have rights that its owner, or the principal in within, does not have: ${names}`)
  }
}

function denied (detail: string): AuthError {
  return explain(new AuthError('AUTH_ACCESS_DENIED', detail))
}

/** Returns the record of a key that has a successor. The overlap never extends the life of the old key. */
function replacedBy ({ id, createdAt }: ApiKeyRecord, record: ApiKeyRecord, overlap: number): ApiKeyRecord {
  const sunsetAt = new Date(Math.min(Date.now() + overlap, endOf(record))).toISOString()
  return deepFreeze({ ...record, replacedBy: id, replacedAt: record.replacedAt ?? createdAt, sunsetAt })
}

function now (): string {
  return new Date(Date.now()).toISOString()
}
