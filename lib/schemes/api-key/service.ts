import type { FastifyBaseLogger } from 'fastify'
import type {
  AnyOwnerApiKeys, ApiKeyChange, ApiKeyFeature, ApiKeyInput, ApiKeyRecord, NewApiKey, OwnerApiKeys, RotateOptions
} from '../../../types/api-keys.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner, StoreRecord } from '../../../types/store.js'
import { AuthError, explain, internalError, misconfigured } from '../../errors.js'
import { publish } from '../../events/events.js'
import { principalFrom } from '../../kit/principal.js'
import { changeRecord, isRemovable } from '../../stores/records.js'
import { isSameOwner } from '../../util/encoding.js'
import { deepFreeze, isObject, property } from '../../util/objects.js'
import {
  atRunTime, date, duration, listOf, object, optional, partial, wholeNumber, type Parser
} from '../../util/options.js'
import { digestOf, isKeyId, type KeyFormat } from './key.js'
import { endOf, entryOf, type KeyLookup, kind, type LastUsed, parseStoredKey } from './lookup.js'
import { commonRights, missingRights, OwnerLock, type Owners, type Rights, TooManyKeys } from './owners.js'

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

/** Returns `false` for a key that is treated like one that does not exist. */
type IsVisible = (record: { readonly owner: StoreOwner | null }) => boolean

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
      ...this.#calls(record => isSameOwner(record.owner, owner)),
      create: async (input: ApiKeyInput, ...bounds: unknown[]) => await this.#create(owner, input, bounds),
      list: async () => await this.#list(owner)
    })
  }

  ofAnyOwner (): AnyOwnerApiKeys {
    return Object.freeze(this.#calls(() => true))
  }

  #calls (isVisible: IsVisible): AnyOwnerApiKeys {
    const finder = (id: string): Find => async () => {
      const found = await this.#find(id)
      return found !== null && isVisible(found.record) ? found : null
    }
    return {
      get: async id => (await finder(id)())?.record ?? null,
      update: async (id, change, ...bounds) => await this.#update(finder(id), change, bounds),
      revoke: async id => await this.#revoke(id, { isVisible, leaked: false }),
      rotate: async (id, options) => await this.#rotate(finder(id), options)
    }
  }

  async #create (owner: StoreOwner, input: ApiKeyInput, bounds: readonly unknown[]): Promise<NewApiKey> {
    const fields = parseArgument(parseNewKey, 'create', [input])
    const { within, maxKeys } = parseArgument(parseBounds, 'create', bounds)
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
    const fields = parseArgument(parseChange, 'update', [change])
    const { within } = parseArgument(parseChangeBounds, 'update', bounds)
    return await this.#retry(find, async ({ stored, record }) => {
      const changed = deepFreeze({ ...record, ...fields })
      await this.#checkRights(record.owner, { scopes: fields.scopes ?? [], roles: fields.roles ?? [] }, within)
      return await this.#swap(stored, changed) ? changed : null
    })
  }

  async #rotate (find: Find, options: RotateOptions): Promise<NewApiKey | null> {
    const { overlap, within, maxKeys } = parseArgument(parseRotation, 'rotate', [options])
    const found = maxKeys === null ? null : await find()
    const rotate = async ({ stored, record }: Found): Promise<NewApiKey | null> => {
      const { owner, name, expiresAt, rateLimit } = record
      const rights = within === null ? record : commonRights(record, within, this.#options.grants)
      const { scopes, roles } = rights
      const successor = this.#draft({ owner, name, scopes, roles, expiresAt, rateLimit, createdAt: now() })
      // the new key is added first, so that a store that fails in between leaves the old one valid
      await this.#add(successor.record)
      const isReplaced = await (overlap === 0
        ? this.#end(stored)
        : this.#swap(stored, replacedBy(successor.record, record, overlap * 1000)))
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
    if (await this.#revoke(id, { isVisible: () => true, leaked: true })) {
      this.#options.log.warn({ apiKey: id }, 'a leaked API key was revoked')
    }
  }

  /** Removes a key, whose record may be damaged. */
  async #revoke (
    id: string, { isVisible, leaked }: { readonly isVisible: IsVisible, readonly leaked: boolean }
  ): Promise<boolean> {
    const { scheme, format: { prefix } } = this.#options
    const stored = await this.#read(id)
    if (stored === null || !isVisible(stored) || !isRemovable(stored, { prefix }) || !await this.#take(id)) return false
    const { owner } = stored
    if (owner !== null) publish('key-revoked', { scheme, key: id, realm: owner.realm, id: owner.id, leaked })
    return true
  }

  #eventOf ({ id: key, owner: { realm, id } }: ApiKeyRecord) {
    return { scheme: this.#options.scheme, key, realm, id }
  }

  /** Creates a key of an owner who may have `maxKeys`, one at a time, so that concurrent calls are counted too. */
  async #createWithin<T> (
    owner: StoreOwner | undefined, maxKeys: number | null, create: () => Promise<T>
  ): Promise<T> {
    if (owner === undefined || maxKeys === null) return await create()
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
    const stored = await this.#read(id)
    return stored === null ? null : this.#parse(stored)
  }

  /** Reads a record, which may be damaged, or belong to another scheme. */
  async #read (id: string): Promise<StoreRecord | null> {
    return isKeyId(id) ? await this.#options.store.get(kind, id) : null
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
    return await this.#write(record.id, () => this.#options.store.swap({ ...stored, value, expiresAt }))
  }

  /** Removes a record, unless it was changed since it was read. */
  async #end (stored: StoreRecord): Promise<boolean> {
    return await this.#remove(stored.id, () => this.#options.store.swap({ ...stored, expiresAt: new Date(0) }))
  }

  async #take (id: string): Promise<boolean> {
    return await this.#remove(id, async () => await this.#options.store.take(kind, id) !== null)
  }

  /** Removes a record by a write, and notifies those who watch the key. */
  async #remove (id: string, write: () => Promise<boolean>): Promise<boolean> {
    const isRemoved = await this.#write(id, write)
    if (isRemoved) this.#options.lookup.end(id)
    return isRemoved
  }

  /** Writes, and then drops the cached state of the key, also after an error, because the write may have happened. */
  async #write (id: string, write: () => Promise<boolean>): Promise<boolean> {
    try {
      return await write()
    } finally {
      this.#options.lookup.forget(id)
    }
  }

  /** Refuses rights that the owner, or the principal `within`, does not have. */
  async #checkRights (owner: StoreOwner, rights: Rights, within: Principal | null): Promise<void> {
    const { owners, grants } = this.#options
    const holders: Principal[] = within === null ? [] : [within]
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

/**
 * Returns the record of a key that has a successor.
 * @param overlap milliseconds, which never extend the life of the old key.
 */
function replacedBy ({ id, createdAt }: ApiKeyRecord, record: ApiKeyRecord, overlap: number): ApiKeyRecord {
  const sunsetAt = new Date(Math.min(Date.now() + overlap, endOf(record))).toISOString()
  return deepFreeze({ ...record, replacedBy: id, replacedAt: record.replacedAt ?? createdAt, sunsetAt })
}

function now (): string {
  return new Date(Date.now()).toISOString()
}

/** The fields of a key that the caller chooses. */
type KeyFields = Pick<ApiKeyRecord, 'name' | 'scopes' | 'roles' | 'expiresAt' | 'rateLimit'>

/** Characters of the name of a key, a scope or a role. */
const maxNameLength = 200
/** Characters of a realm, and of an id. */
const maxOwnerLength = 1_000
/** Seconds: ten years. */
const maxOverlap = 10 * 365 * 86_400
/** The last instant of the year 9999: later ones have no plain ISO 8601 form, and some stores cannot hold them. */
const maxExpiry = Date.UTC(10_000, 0) - 1
/** Scopes of a key, and roles: stores limit the size of a record. */
const maxNames = 200

const parseRateLimit = object({ max: wholeNumber(), window: duration({ min: 1 }) })

const keyFields = {
  name: parseName,
  scopes: parseNames,
  roles: parseNames,
  expiresAt: parseExpiry,
  rateLimit: (value: unknown, option: string) => value === null ? null : parseRateLimit(value, option)
}

const none: readonly string[] = Object.freeze([])

/** The fields of a new key, of which only the name is required. */
const parseNewKey = object({
  name: keyFields.name,
  scopes: optional(keyFields.scopes, none),
  roles: optional(keyFields.roles, none),
  expiresAt: optional(keyFields.expiresAt, null),
  rateLimit: optional(keyFields.rateLimit, null)
})

const parseChange = partial(keyFields)

/** The principal whose rights limit those of a key, and the number of keys that an owner may have; `null`: no bound. */
const keyBounds = { within: optional(parseWithin, null), maxKeys: optional(wholeNumber(), null) }

const parseBounds = object(keyBounds)

const parseChangeBounds = object({ within: keyBounds.within })

const parseRotation = object({ overlap: duration({ max: maxOverlap }), ...keyBounds })

/**
 * Parses an argument of a call.
 * @param rest the argument, or nothing if it was left out. An explicit `undefined` is refused: read as left out, it
 * would lift every bound.
 * @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong.
 */
function parseArgument<T> (parse: Parser<T>, call: 'create' | 'update' | 'rotate', rest: readonly unknown[]): T {
  return atRunTime(() => parse(rest.length === 0 ? {} : rest[0], `The options of apiKeys.${call}()`))
}

/** Refuses an owner that a store cannot hold. @throws {AuthError} `AUTH_FAULT` */
function checkOwner ({ realm, id }: StoreOwner): void {
  if (isText(realm, maxOwnerLength) && isText(id, maxOwnerLength)) return
  throw internalError('the realm and the id of the owner of API keys must be strings of 1 to ' +
    `${maxOwnerLength} characters`)
}

/** Parses `within`. Anything but a principal is refused, as it would lift the bound. */
function parseWithin (within: unknown, option: string): Principal {
  const rights = isObject(within) ? [property(within, 'scopes'), property(within, 'roles')] : []
  if (!isObject(within) || !rights.every(Array.isArray)) {
    throw misconfigured(`${option} must be a principal with scopes and roles.`)
  }
  return principalFrom(within as unknown as PrincipalInput, '')
}

function parseName (name: unknown, option: string): string {
  if (isText(name, maxNameLength)) return name
  throw misconfigured(`${option} must be a string of 1 to ${maxNameLength} characters.`)
}

function parseNames (value: unknown, option: string): readonly string[] {
  const names = listOf(parseName)(value, option)
  if (names.length <= maxNames) return [...new Set(names)]
  throw misconfigured(`${option} must have at most ${maxNames} names.`)
}

function parseExpiry (value: unknown, option: string): string | null {
  if (value === null) return null
  const end = date(value, option)
  if (end.getTime() > Date.now() && end.getTime() <= maxExpiry) return end.toISOString()
  throw misconfigured(`${option} must be in the future, up to the year 9999.`)
}

function isText (value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= maxLength
}
