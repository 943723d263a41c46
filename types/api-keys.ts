import type { RateLimitRule } from './limits.js'
import type { StoreOwner } from './store.js'

/** What an owner's key is made of. */
export interface ApiKeyInput {
  /** The principal that it acts for. */
  readonly owner: StoreOwner
  /** For people, to tell their keys apart. */
  readonly name: string
  /** A subset of the owner's, when the key is made and whenever it is used. */
  readonly scopes?: readonly string[]
  readonly roles?: readonly string[]
  /** Left out, it does not end. */
  readonly expiresAt?: Date
  readonly rateLimit?: RateLimitRule
}

/** What may be changed of a key. */
export type ApiKeyChange = Partial<Omit<ApiKeyInput, 'owner'>>

/** What is known of a key: everything but the key. Instants are ISO 8601 strings. */
export interface ApiKeyRecord {
  readonly id: string
  readonly owner: StoreOwner
  readonly name: string
  /** The beginning of the key, public, for people to recognise it by. */
  readonly start: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly createdAt: string
  readonly expiresAt: string | null
  /** Within a minute or so: it is written in batches, never per request. */
  readonly lastUsedAt: string | null
  readonly rateLimit: RateLimitRule | null
  /** The key that replaces it, after {@link ApiKeys.rotate}. */
  readonly replacedBy: string | null
}

/** A key and its record. The key is shown this once; nobody can read it again. */
export interface NewApiKey {
  readonly key: string
  readonly record: ApiKeyRecord
}

/** Managed API keys: issued, listed, rotated and taken back at run time. */
export interface ApiKeys {
  /** @throws {AuthError} `AUTH_ACCESS_DENIED` for scopes or roles that the owner has not, `AUTH_UNAVAILABLE` when the store does not answer. */
  create (input: ApiKeyInput): Promise<NewApiKey>
  list (owner: StoreOwner): Promise<readonly ApiKeyRecord[]>
  /** With `owner`, a key of somebody else is `null`, as one that is not there. */
  get (id: string, owner?: StoreOwner): Promise<ApiKeyRecord | null>
  update (id: string, change: ApiKeyChange, owner?: StoreOwner): Promise<ApiKeyRecord | null>
  /** @returns whether there was such a key. */
  revoke (id: string, owner?: StoreOwner): Promise<boolean>
  /** A new key with the old one's rights; the old one is good until `overlap` has passed (a duration; 0 ends it at once). `null` when there is no such key. */
  rotate (id: string, options: { readonly overlap: number | `${number}${'s' | 'm' | 'h' | 'd'}` }, owner?: StoreOwner): Promise<NewApiKey | null>
  /** Revokes a key that leaked, by the key itself. Says nothing of whether there was one. */
  revokeLeaked (key: string): Promise<void>
}
