import type { FastifyBaseLogger } from 'fastify'
import type { AnyOwnerApiKeys, ApiKeyChange, ApiKeyFeature, ApiKeyInput, ApiKeyRecord, NewApiKey, OwnerApiKeys, RotateOptions } from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import type { SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import { AuthError, internalError } from '../../errors.js'
import { deepFreeze } from '../../util/objects.js'
import { digestOf, isKeyId, type KeyFormat } from './key.js'
import type { LastUsed } from './last-used.js'
import type { KeyLookup } from './lookup.js'
import { OwnerLock, TooManyKeys } from './owner-lock.js'
import { common, missing, type Owners, type Rights } from './owners.js'
import { checkOwner, parseBounds, parseChange, parseInput, parseRotation } from './parse-input.js'
import { endOf, entryOf, kind, storedKeyOf } from './record.js'

/** What {@link KeyService} works with. */
export interface KeyServiceOptions {
  readonly format: KeyFormat
  readonly store: Store
  readonly lookup: KeyLookup
  /** `null` where nobody knows what owners may do: then a key's own scopes and roles stand. */
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

/** Changes that meet another one begin anew. That many at once on one key are no accident. */
const attempts = 20

/** Manages the keys of one scheme: `app.gatehouse.apiKeys`. */
export class KeyService implements ApiKeyFeature {
  readonly #with: KeyServiceOptions
  readonly #ownerLock: OwnerLock

  constructor (options: KeyServiceOptions) {
    this.#with = options
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

  /** @param isMeant returns `false` for a key that is to be treated like one that does not exist. */
  #calls (isMeant: (record: ApiKeyRecord) => boolean): AnyOwnerApiKeys {
    const finder = (id: string): Find => async () => {
      const found = await this.#find(id)
      return found !== null && isMeant(found.record) ? found : null
    }
    return {
      get: async id => (await finder(id)())?.record ?? null,
      update: async (id, change, ...bounds) => await this.#update(finder(id), change, bounds),
      revoke: async id => await finder(id)() !== null && await this.#take(id),
      rotate: async (id, options) => await this.#rotate(finder(id), options)
    }
  }

  async #create (owner: StoreOwner, input: ApiKeyInput, bounds: readonly unknown[]): Promise<NewApiKey> {
    const fields = parseInput(input)
    const { within, maxKeys } = parseBounds('create', bounds)
    await this.#checkRights(owner, fields, within)
    return await this.#withRoom(owner, maxKeys, async () => {
      const made = this.#draft({ owner, ...fields, createdAt: now() })
      await this.#add(made.record)
      return made
    })
  }

  async #list (owner: StoreOwner): Promise<readonly ApiKeyRecord[]> {
    const found = await this.#with.store.find(kind, owner)
    return found.flatMap(stored => this.#own(stored)?.record ?? []).sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  }

  async #update (find: Find, change: ApiKeyChange, bounds: readonly unknown[]): Promise<ApiKeyRecord | null> {
    const fields = parseChange(change)
    const { within } = parseBounds('update', bounds)
    return await this.#untilFirst(find, async ({ stored, record }) => {
      const changed = deepFreeze({ ...record, ...fields })
      await this.#checkRights(record.owner, { scopes: fields.scopes ?? [], roles: fields.roles ?? [] }, within)
      return await this.#swap(stored, changed) ? changed : null
    })
  }

  async #rotate (find: Find, options: RotateOptions): Promise<NewApiKey | null> {
    const { overlap, within, maxKeys } = parseRotation(options)
    const found = maxKeys === undefined ? null : await find()
    return await this.#withRoom(found?.record.owner, maxKeys, () => this.#untilFirst(find, async ({ stored, record }) => {
      const { name, expiresAt, rateLimit } = record
      const rights = within === undefined ? record : common(record, within, this.#with.grants)
      const successor = this.#draft({ owner: record.owner, name, scopes: rights.scopes, roles: rights.roles, expiresAt, rateLimit, createdAt: now() })
      // add the new key first, so that a store which fails in between leaves nobody without a key; nobody knows it until the old one is settled
      await this.#add(successor.record)
      const settled = await (overlap === 0 ? this.#end(stored) : this.#swap(stored, replaced(record, successor.record, overlap)))
      if (settled) return successor
      await this.#take(successor.record.id)
      return null
    }))
  }

  async revokeLeaked (key: string): Promise<void> {
    if (typeof key !== 'string' || this.#with.format.formOf(key) !== 'ours') return
    const id = digestOf(key)
    if (await this.#take(id)) this.#with.log.warn({ apiKey: id }, 'a leaked API key was revoked')
  }

  /** Makes a key of an owner who may have `maxKeys`: one at a time, so that keys which are made at once are counted too. */
  async #withRoom<T> (owner: StoreOwner | undefined, maxKeys: number | undefined, make: () => Promise<T>): Promise<T> {
    if (owner === undefined || maxKeys === undefined) return await make()
    return await this.#ownerLock.run(owner, async () => {
      await this.#makeRoom(owner, maxKeys)
      return await make()
    })
  }

  /**
   * Keeps as many ended keys as there may be live ones, those that ended last: kept for their week, all of them would
   * let one person fill the store.
   */
  async #makeRoom (owner: StoreOwner, maxKeys: number): Promise<void> {
    const records = await this.#list(owner)
    const ended = records.filter(record => endOf(record) <= Date.now()).sort((a, b) => endOf(b) - endOf(a))
    for (const { id } of ended.slice(maxKeys - 1)) await this.#take(id)
    if (records.length - ended.length >= maxKeys) throw new TooManyKeys(maxKeys)
  }

  /** Finds a key of this scheme. */
  async #find (id: string): Promise<Found | null> {
    const stored = isKeyId(id) ? await this.#with.store.get(kind, id) : null
    return stored === null ? null : this.#own(stored)
  }

  #own (stored: StoreRecord): Found | null {
    const { prefix, record } = storedKeyOf(stored)
    const lastUsedAt = this.#with.lastUsed.latest(record.id) ?? record.lastUsedAt
    return prefix === this.#with.format.prefix ? { stored, record: deepFreeze({ ...record, lastUsedAt }) } : null
  }

  /** Changes a key that has not ended, with what it says now: `null` of `change` means that somebody else was first. */
  async #untilFirst<T> (find: Find, change: (found: Found) => Promise<T | null>): Promise<T | null> {
    for (let i = 0; i < attempts; i++) {
      const found = await find()
      if (found === null || endOf(found.record) <= Date.now()) return null
      const done = await change(found)
      if (done !== null) return done
    }
    throw new AuthError('AUTH_UNAVAILABLE', 'an API key is changed by many at once')
  }

  #draft (fields: Omit<ApiKeyRecord, 'id' | 'start' | 'lastUsedAt' | 'replacedBy' | 'replacedAt' | 'sunsetAt'>): NewApiKey {
    const { format } = this.#with
    const key = format.make()
    const record: ApiKeyRecord = { id: digestOf(key), start: format.startOf(key), ...fields, lastUsedAt: null, replacedBy: null, replacedAt: null, sunsetAt: null }
    return { key, record: deepFreeze(record) }
  }

  async #add (record: ApiKeyRecord): Promise<void> {
    const { store, format } = this.#with
    if (!await store.add(entryOf({ prefix: format.prefix, record }))) throw internalError('the store did not add a new API key')
  }

  async #swap (stored: StoreRecord, record: ApiKeyRecord): Promise<boolean> {
    const { value, expiresAt } = entryOf({ prefix: this.#with.format.prefix, record })
    return this.#changing(record.id, false, () => this.#with.store.swap({ ...stored, value, expiresAt }))
  }

  /** Removes the record, if it is still the one that was read. */
  async #end (stored: StoreRecord): Promise<boolean> {
    return this.#changing(stored.id, true, () => this.#with.store.swap({ ...stored, expiresAt: new Date(0) }))
  }

  async #take (id: string): Promise<boolean> {
    return this.#changing(id, true, async () => await this.#with.store.take(kind, id) !== null)
  }

  /** Of a write that failed it is not known whether it happened: what was remembered counts for nothing in any case. */
  async #changing (id: string, ends: boolean, write: () => Promise<boolean>): Promise<boolean> {
    let done = false
    try {
      done = await write()
      return done
    } finally {
      this.#with.lookup.changed(id, ends && done)
    }
  }

  /** A key has nothing that its owner has not, nor the person who asks for it. */
  async #checkRights (owner: StoreOwner, rights: Rights, within: Principal | undefined): Promise<void> {
    const { owners, grants } = this.#with
    const holders: Principal[] = within === undefined ? [] : [within]
    if (owners !== null) {
      const found = await owners.find(owner)
      if (found === null) throw new AuthError('AUTH_ACCESS_DENIED', 'load knows no such owner of an API key, or it is disabled')
      holders.push(found)
    }
    const lacking = holders.flatMap(holder => missing(rights, holder, grants))
    if (lacking.length > 0) throw new AuthError('AUTH_ACCESS_DENIED', `an API key may not have what its owner has not: ${[...new Set(lacking)].join(', ').slice(0, 500)}`)
  }
}

/** What an old key says from now on. An overlap never makes it last longer than it did. */
function replaced (record: ApiKeyRecord, { id, createdAt }: ApiKeyRecord, overlap: number): ApiKeyRecord {
  const sunset = Math.min(Date.now() + overlap, endOf(record))
  return deepFreeze({ ...record, replacedBy: id, replacedAt: record.replacedAt ?? createdAt, sunsetAt: new Date(sunset).toISOString() })
}

function now (): string {
  return new Date(Date.now()).toISOString()
}
