import { randomBytes } from 'node:crypto'
import type {
  AnyOwnerOAuthClients, NewOAuthClient, OAuthClientInput, OAuthClientRecord, OAuthGrant, OwnerOAuthClients
} from '../../types/oauth.js'
import type { JsonObject, Store, StoreEntry, StoreOwner, StoreRecord } from '../../types/store.js'
import { internalError } from '../errors.js'
import { changeRecord, fieldsOf, isRemovable, number, orNull, ownerOf, recordParser } from '../stores/records.js'
import { TtlCache } from '../util/cache.js'
import { isSameOwner } from '../util/encoding.js'
import { deepFreeze } from '../util/objects.js'
import { atRunTime, duration, listOf, object, oneOf, optional, readOptions, string, text } from '../util/options.js'
import {
  digestOf, grantsOf, parseGrants, parseRedirectUris, scopesParser, storedPrefix, type Client, type ClientSecret
} from './client.js'

/** The kind of the store's records of clients. */
const kind = 'oauth-client'

/** The time for which a client is cached. */
const ttlMs = 10_000

const maxCached = 10_000

/** Configuration of {@link StoredClients}. */
export interface StoredClientsOptions {
  readonly store: Store
  /** The issuer, which separates two servers that share a store. */
  readonly issuer: string
  /** The scopes that the application declares; `null` if it declares none. */
  readonly scopes: ReadonlySet<string> | null
  /** `false` refuses clients without a secret. */
  readonly allowsPublic: boolean
}

/** The value of a record. */
interface StoredClient {
  readonly issuer: string
  readonly name: string
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
  readonly grants: readonly OAuthGrant[]
  readonly secrets: readonly ClientSecret[]
  readonly confidential: boolean
  readonly createdAt: string
}

type Visible = (record: StoreRecord) => boolean

/** Manages the clients that an application adds at run time: `app.gatehouse.oauth.clients`. */
export class StoredClients {
  readonly #options: StoredClientsOptions
  readonly #cache = new TtlCache<Client | null>({ ttlMs, maxEntries: maxCached, isNegative: client => client === null })
  readonly #parse: ReturnType<typeof inputParser>

  constructor (options: StoredClientsOptions) {
    this.#options = options
    this.#parse = inputParser(options.scopes)
  }

  /** Listens to changes by other instances, where the store reports them. Returns a function that ends this. */
  listen (): () => void {
    return this.#options.store.subscribe?.(kind, change => {
      if (change === null) this.#cache.clear()
      else this.#cache.delete(change.id)
    }) ?? (() => {})
  }

  /** Returns a client by its id. Garbage costs no call of the store. */
  find (id: string): Client | null | Promise<Client | null> {
    if (!isStoredId(id)) return null
    return this.#cache.get(id, async () => {
      const record = await this.#get(id)
      return record === null ? null : clientOf(record)
    })
  }

  /** Returns the same as {@link find}, always from the store and never from the cache. */
  findNow (id: string): Client | null | Promise<Client | null> {
    this.#cache.delete(id)
    return this.find(id)
  }

  of (owner: StoreOwner): OwnerOAuthClients {
    const isVisible: Visible = record => isSameOwner(record.owner, owner)
    return Object.freeze({
      ...this.#calls(isVisible),
      create: async (input: OAuthClientInput) => await this.#create(owner, input),
      list: async () => (await this.#options.store.find(kind, owner))
        .filter(record => this.#isOwn(record)).map(publicRecord)
        .sort((a, b) => b.createdAt.localeCompare(a.createdAt)),
      update: async (id: string, change: Partial<OAuthClientInput>) => await this.#update(id, isVisible, change),
      rotateSecret: async (id: string, options: unknown) => await this.#rotate(id, isVisible, options)
    })
  }

  ofAnyOwner (): AnyOwnerOAuthClients {
    return Object.freeze(this.#calls(() => true))
  }

  #calls (isVisible: Visible): AnyOwnerOAuthClients {
    return {
      get: async id => {
        const record = await this.#get(id)
        return record !== null && isVisible(record) ? publicRecord(record) : null
      },
      remove: async id => {
        const { store, issuer } = this.#options
        const record = await this.#read(id)
        if (record === null || !isVisible(record) || !isRemovable(record, { issuer })) return false
        return await this.#write(id, async () => await store.take(kind, id) !== null)
      }
    }
  }

  async #create (owner: StoreOwner, input: OAuthClientInput): Promise<NewOAuthClient> {
    const { confidential = true, name, redirectUris, scopes, grants } = this.#parse(input, 'oauth.clients.create()')
    if (name === null) throw internalError('oauth.clients.create() needs a name')
    this.#checkPublic(confidential)
    const secret = confidential ? createSecret() : null
    const secrets = secret === null ? [] : [{ digest: digestOf(secret), expiresAt: null }]
    const draft = {
      issuer: this.#options.issuer,
      name,
      redirectUris: redirectUris ?? [],
      scopes: scopes ?? [],
      grants,
      secrets,
      confidential,
      createdAt: new Date(Date.now()).toISOString()
    }
    const entry = entryOf(`${storedPrefix}${randomBytes(16).toString('base64url')}`, owner, withGrants(draft))
    if (!await this.#options.store.add(entry)) throw internalError('the store did not add a new client')
    return Object.freeze({ client: publicRecord(entry), secret })
  }

  #checkPublic (confidential: boolean): void {
    if (confidential || this.#options.allowsPublic) return
    throw internalError('oauth.clients.create() has confidential: false, but the server has no public clients. Set ' +
      'the option publicClients of oauthServer, which the metadata depends on')
  }

  async #update (id: string, isVisible: Visible, change: unknown): Promise<OAuthClientRecord | null> {
    const fields = this.#parse(change, 'oauth.clients.update()')
    if (fields.confidential !== undefined) throw internalError('oauth.clients.update() cannot change confidential')
    return await this.#change(id, isVisible, stored => {
      const { name, redirectUris, scopes, grants } = fields
      return withGrants({
        ...stored,
        name: name ?? stored.name,
        redirectUris: redirectUris ?? stored.redirectUris,
        scopes: scopes ?? stored.scopes,
        grants: grants ?? stored.grants
      })
    })
  }

  async #rotate (id: string, isVisible: Visible, options: unknown): Promise<NewOAuthClient | null> {
    const seconds = atRunTime(() => {
      const { overlap } = readOptions(options, ['overlap'], 'The options of oauth.clients.rotateSecret()')
      return duration()(overlap, 'The option overlap of oauth.clients.rotateSecret()')
    })
    const secret = createSecret()
    const client = await this.#change(id, isVisible, stored => {
      if (!stored.confidential) return null
      const end = Date.now() + seconds * 1000
      // only the secret that was current until now stays valid for the overlap; older ones end at once
      const previous = stored.secrets.slice(0, seconds === 0 ? 0 : 1)
      const ending = previous.map(each => ({ ...each, expiresAt: end }))
      return { ...stored, secrets: [{ digest: digestOf(secret), expiresAt: null }, ...ending] }
    })
    return client === null ? null : Object.freeze({ client, secret })
  }

  /** Changes a client, and tries again if another call has changed it at the same time. */
  async #change (
    id: string, isVisible: Visible, change: (stored: StoredClient) => StoredClient | null
  ): Promise<OAuthClientRecord | null> {
    return await changeRecord('a client', async () => {
      const record = await this.#get(id)
      const changed = record !== null && isVisible(record) ? change(storedOf(record)) : null
      if (record === null || changed === null) return null
      const next = { ...record, value: { ...record.value, ...toJson(changed) } }
      return await this.#write(id, () => this.#options.store.swap(next)) ? publicRecord(next) : undefined
    })
  }

  async #get (id: string): Promise<StoreRecord | null> {
    const record = await this.#read(id)
    return record !== null && this.#isOwn(record) ? record : null
  }

  /** Reads a record, which may be damaged, or belong to another server. */
  async #read (id: string): Promise<StoreRecord | null> {
    return isStoredId(id) ? await this.#options.store.get(kind, id) : null
  }

  #isOwn (record: StoreRecord): boolean {
    return storedOf(record).issuer === this.#options.issuer
  }

  /** Writes, and then drops the cached client, also after an error, because the write may have happened. */
  async #write (id: string, write: () => Promise<boolean>): Promise<boolean> {
    try {
      return await write()
    } finally {
      this.#cache.delete(id)
    }
  }
}

const idShape = new RegExp(`^${storedPrefix}[\\w-]{22}$`)

function isStoredId (id: unknown): id is string {
  return typeof id === 'string' && idShape.test(id)
}

/** Generates a secret of 256 random bits. */
function createSecret (): string {
  return randomBytes(32).toString('base64url')
}

function inputParser (declared: ReadonlySet<string> | null) {
  const parse = object({
    name: optional(text, null),
    redirectUris: optional(parseRedirectUris, null),
    scopes: optional(scopesParser(declared), null),
    grants: optional(parseGrants, null),
    confidential: optional(oneOf<boolean>(true, false), undefined)
  })
  return (input: unknown, call: string) => atRunTime(() => parse(input, `The options of ${call}`))
}

type Draft = Omit<StoredClient, 'grants'> & { readonly grants: readonly OAuthGrant[] | null }

/** Completes and checks the grants of a client. */
function withGrants (draft: Draft): StoredClient {
  const { redirectUris, confidential: isConfidential } = draft
  const grants = atRunTime(() => grantsOf({ grants: draft.grants, redirectUris, isConfidential }, 'The client'))
  if (grants.length > 0) return { ...draft, grants }
  throw internalError("the client can do nothing: give it redirectUris, or grants such as ['client_credentials']")
}

function toJson (stored: StoredClient): JsonObject {
  return { ...stored, secrets: stored.secrets.map(secret => ({ ...secret })) }
}

function entryOf (id: string, owner: StoreOwner, stored: StoredClient): StoreEntry {
  return { kind, id, owner: { realm: owner.realm, id: owner.id }, value: toJson(stored), expiresAt: null }
}

const storedOf: (record: StoreEntry) => StoredClient = recordParser({
  issuer: string,
  name: string,
  redirectUris: listOf(string),
  scopes: listOf(string),
  grants: parseGrants,
  secrets: listOf(fieldsOf({ digest: string, expiresAt: orNull(number) })),
  confidential: oneOf<boolean>(true, false),
  createdAt: string
} satisfies Record<keyof StoredClient, unknown>)

function clientOf (record: StoreRecord): Client {
  const { confidential, createdAt, issuer, ...fields } = storedOf(record)
  return Object.freeze({
    ...fields, id: record.id, isConfidential: confidential, consent: undefined, roles: false, introspect: []
  })
}

function publicRecord (record: StoreEntry): OAuthClientRecord {
  const { name, redirectUris, scopes, grants, confidential, createdAt } = storedOf(record)
  return deepFreeze({
    id: record.id, owner: ownerOf(record), name, redirectUris, scopes, grants, confidential, createdAt
  })
}
