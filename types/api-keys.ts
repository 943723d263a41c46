import type { Duration } from './duration.js'
import type { RateLimitRule } from './limits.js'
import type { Principal } from './principal.js'
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
  /** Left out or `null`, it does not end. */
  readonly expiresAt?: Date | null
  /** Of the key, on all routes together, beside the routes' own limits. Left out or `null`, it has none. */
  readonly rateLimit?: RateLimitRule | null
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
  /** The key that replaces it, after {@link ApiKeys.rotate}, since when, and when it ends because of that. */
  readonly replacedBy: string | null
  readonly replacedAt: string | null
  readonly sunsetAt: string | null
}

/** What a handler may know of a managed key: `request.auth.credential`. */
export interface ApiKeyCredential {
  readonly id: string
  readonly name: string
}

/** Whose rights a key may not exceed beside its owner's: of the person who asks for it. */
export interface ApiKeyBounds {
  readonly within?: Principal
}

/** What bounds a new key. */
export interface NewApiKeyBounds extends ApiKeyBounds {
  /** How many live keys the owner may have, the new one included, also where several are made at once. */
  readonly most?: number
}

/** A key and its record. The key is shown this once; nobody can read it again. */
export interface NewApiKey {
  readonly key: string
  readonly record: ApiKeyRecord
}

/**
 * Managed API keys: issued, listed, rotated and taken back at run time. Everything rejects with `AUTH_UNAVAILABLE` when the store does not answer (of a change it is
 * then not known whether it happened) and with `AUTH_FAULT` for arguments that are none. With `owner`, a key of somebody else is as one that is not there.
 */
export interface ApiKeys {
  /** @throws {AuthError} `AUTH_ACCESS_DENIED` for scopes or roles that the owner has not, and for more keys than `most`. */
  create (input: ApiKeyInput, bounds?: NewApiKeyBounds): Promise<NewApiKey>
  /** The newest first. Keys that ended are listed for a week. */
  list (owner: StoreOwner): Promise<readonly ApiKeyRecord[]>
  get (id: string, owner?: StoreOwner): Promise<ApiKeyRecord | null>
  /** `null` when there is no such key, or it ended. @throws {AuthError} `AUTH_ACCESS_DENIED` as {@link ApiKeys.create} does. */
  update (id: string, change: ApiKeyChange, owner?: StoreOwner, bounds?: ApiKeyBounds): Promise<ApiKeyRecord | null>
  /** @returns whether there was such a key. */
  revoke (id: string, owner?: StoreOwner): Promise<boolean>
  /**
   * A new key with the old one's rights and end, as far as `within` has them. The old one is good until `overlap` has passed, and says so in its answers (`Deprecation`,
   * RFC 9745; `Sunset`, RFC 8594); 0, for a key that may be known to others, ends it at once and leaves no trace. `null` when there is no such key, or it ended.
   */
  rotate (id: string, options: { readonly overlap: Duration } & NewApiKeyBounds, owner?: StoreOwner): Promise<NewApiKey | null>
  /** Revokes a key that leaked, by the key itself. Says nothing of whether there was one. */
  revokeLeaked (key: string): Promise<void>
}
