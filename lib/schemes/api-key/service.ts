import type { FastifyBaseLogger } from 'fastify'
import type { ApiKeyBounds, ApiKeyChange, ApiKeyInput, ApiKeyRecord, ApiKeys, NewApiKey, NewApiKeyBounds } from '../../../types/api-keys.js'
import type { Duration } from '../../../types/duration.js'
import type { Principal } from '../../../types/principal.js'
import type { SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import { AuthError, internalError } from '../../errors.js'
import { deepFreeze } from '../../util/objects.js'
import { digestOf, isKeyId, type KeyFormat } from './key.js'
import type { Uses } from './last-used.js'
import type { Directory } from './lookup.js'
import { oneAtATime, TooManyKeys } from './owner-lock.js'
import { common, missing, type Owners, type Rights } from './owners.js'
import { ownerOf, parseBounds, parseChange, parseInput, parseRotation } from './parse-input.js'
import { endOf, entryOf, kind, storedKeyOf } from './record.js'

/** What {@link ManagedKeys} works with. */
export interface ManagedKeysOptions {
  readonly format: KeyFormat
  readonly store: Store
  readonly directory: Directory
  /** `null` where nobody knows what owners may do: then a key's own scopes and roles stand. */
  readonly owners: Owners | null
  readonly uses: Uses
  readonly grants: SchemeContext['grants']
  readonly log: FastifyBaseLogger
}

interface Found {
  readonly stored: StoreRecord
  readonly record: ApiKeyRecord
}

/** Changes that meet another one begin anew. That many at once on one key are no accident. */
const attempts = 20

/** What `app.gatehouse.apiKeys` calls. */
export class ManagedKeys implements ApiKeys {
  readonly #with: ManagedKeysOptions

  constructor (options: ManagedKeysOptions) {
    this.#with = options
  }

  async create (input: ApiKeyInput, bounds: NewApiKeyBounds = {}): Promise<NewApiKey> {
    const fields = parseInput(input)
    const { within, most } = parseBounds('create', bounds)
    await this.#checkRights(fields.owner, fields, within)
    return this.#withRoom(fields.owner, most, async () => {
      const made = this.#draft({ ...fields, createdAt: now() })
      await this.#add(made.record)
      return made
    })
  }

  async list (owner: StoreOwner): Promise<readonly ApiKeyRecord[]> {
    const found = await this.#with.store.find(kind, ownerOf(owner))
    return found.flatMap(stored => this.#own(stored)?.record ?? []).sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  }

  async get (id: string, owner?: StoreOwner): Promise<ApiKeyRecord | null> {
    return (await this.#find(id, owner))?.record ?? null
  }

  async update (id: string, change: ApiKeyChange, owner?: StoreOwner, bounds: ApiKeyBounds = {}): Promise<ApiKeyRecord | null> {
    const fields = parseChange(change)
    const { within } = parseBounds('update', bounds)
    return this.#untilFirst(id, owner, async ({ stored, record }) => {
      const changed = deepFreeze({ ...record, ...fields })
      await this.#checkRights(record.owner, { scopes: fields.scopes ?? [], roles: fields.roles ?? [] }, within)
      return await this.#swap(stored, changed) ? changed : null
    })
  }

  async revoke (id: string, owner?: StoreOwner): Promise<boolean> {
    return await this.#find(id, owner) !== null && await this.#take(id)
  }

  async rotate (id: string, options: { readonly overlap: Duration } & NewApiKeyBounds, owner?: StoreOwner): Promise<NewApiKey | null> {
    const { overlap, within, most } = parseRotation(options)
    const found = most === undefined ? null : await this.#find(id, owner)
    return this.#withRoom(found?.record.owner, most, () => this.#untilFirst(id, owner, async ({ stored, record }) => {
      const { name, expiresAt, rateLimit } = record
      const rights = within === undefined ? record : common(record, within, this.#with.grants)
      const successor = this.#draft({ owner: record.owner, name, scopes: rights.scopes, roles: rights.roles, expiresAt, rateLimit, createdAt: now() })
      // first the new one, so that a store which fails between the two leaves nobody without a key; nobody knows it until the old one is settled
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

  /** Makes a key of an owner who may have `most`: one at a time, so that those which are made at once are counted too. */
  async #withRoom<T> (owner: StoreOwner | undefined, most: number | undefined, make: () => Promise<T>): Promise<T> {
    if (owner === undefined || most === undefined) return make()
    const { store, format } = this.#with
    return oneAtATime(store, format.prefix, owner, async () => {
      await this.#makeRoom(owner, most)
      return make()
    })
  }

  /** Of keys that ended as many are kept as there may be good ones, those that ended last: all of them, for their week, would let one person fill the store. */
  async #makeRoom (owner: StoreOwner, most: number): Promise<void> {
    const records = await this.list(owner)
    const ended = records.filter(record => endOf(record) <= Date.now()).sort((a, b) => endOf(b) - endOf(a))
    for (const { id } of ended.slice(most - 1)) await this.#take(id)
    if (records.length - ended.length >= most) throw new TooManyKeys(most)
  }

  /** A key of this scheme, and of this owner when one is named. */
  async #find (id: string, owner: StoreOwner | undefined): Promise<Found | null> {
    const wanted = owner === undefined ? null : ownerOf(owner)
    const stored = isKeyId(id) ? await this.#with.store.get(kind, id) : null
    const found = stored === null ? null : this.#own(stored)
    if (found === null || wanted === null) return found
    return found.record.owner.realm === wanted.realm && found.record.owner.id === wanted.id ? found : null
  }

  #own (stored: StoreRecord): Found | null {
    const { prefix, record } = storedKeyOf(stored)
    const lastUsedAt = this.#with.uses.latest(record.id) ?? record.lastUsedAt
    return prefix === this.#with.format.prefix ? { stored, record: deepFreeze({ ...record, lastUsedAt }) } : null
  }

  /** Changes a key that has not ended, with what it says now: `null` of `change` means that somebody else was first. */
  async #untilFirst<T> (id: string, owner: StoreOwner | undefined, change: (found: Found) => Promise<T | null>): Promise<T | null> {
    for (let i = 0; i < attempts; i++) {
      const found = await this.#find(id, owner)
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
      this.#with.directory.changed(id, ends && done)
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
