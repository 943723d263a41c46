import type { Duration } from './options.js'
import type { RateLimitRule } from './limits.js'
import type { Principal } from './principal.js'
import type { SchemeChoice, SchemeName } from './names.js'
import type { StoreOwner } from './store.js'

/** The fields of a new key. */
export interface ApiKeyInput {
  /** A name by which people recognise the key. */
  readonly name: string
  /** A subset of the owner's scopes, checked when the key is created and whenever it is used. */
  readonly scopes?: readonly string[]
  /** A subset of the owner's roles, checked in the same way. */
  readonly roles?: readonly string[]
  /** Default `null`: the key does not expire. */
  readonly expiresAt?: Date | null
  /**
   * Limits requests with this key on all routes together, in addition to the limits of routes. Default `null`: no
   * limit.
   */
  readonly rateLimit?: RateLimitRule | null
}

/** The fields of a key that may be changed. */
export type ApiKeyChange = Partial<ApiKeyInput>

/** Describes a key, without the key itself. Times are ISO 8601 strings. */
export interface ApiKeyRecord {
  /** The digest of the key. It gives no access. */
  readonly id: string
  readonly owner: StoreOwner
  readonly name: string
  /** The public beginning of the key, by which people recognise it. */
  readonly start: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly createdAt: string
  readonly expiresAt: string | null
  /** Accurate to about a minute: it is written in batches, never per request. */
  readonly lastUsedAt: string | null
  readonly rateLimit: RateLimitRule | null
  /** The id of the key that `rotate` made in place of this one; `null` before. */
  readonly replacedBy: string | null
  /** The time of the rotation. */
  readonly replacedAt: string | null
  /** The end of the overlap, when this key stops being valid. */
  readonly sunsetAt: string | null
}

/** Type of `request.auth.credential` of a managed key. */
export interface ApiKeyCredential {
  readonly id: string
  readonly name: string
}

/** Bounds the rights of a key, in addition to those of its owner. */
export interface ApiKeyBounds {
  /** The person who requests the key, which must not have more rights. */
  readonly within?: Principal
}

/** Bounds a new key. */
export interface NewApiKeyBounds extends ApiKeyBounds {
  /** The maximum number of valid keys of the owner, including the new one. Parallel calls are counted too. */
  readonly maxKeys?: number
}

/** The options of `rotate`. */
export interface RotateOptions extends NewApiKeyBounds {
  /** The time for which the old key stays valid; 0 ends it at once. */
  readonly overlap: Duration
}

/** A new key and its record. The key cannot be read again. */
export interface NewApiKey {
  readonly key: string
  readonly record: ApiKeyRecord
}

/**
 * Manages keys of any owner by their id, for administrators, and for ids that the application stored itself. For an id
 * that comes from a request, use {@link OwnerApiKeys}.
 */
export interface AnyOwnerApiKeys {
  /** Returns the record of a key, or `null` if there is no such key. */
  get (id: string): Promise<ApiKeyRecord | null>
  /**
   * Changes a key. Returns `null` when there is no such key, or it expired.
   * @throws {AuthError} `AUTH_ACCESS_DENIED` for scopes or roles that the owner does not have.
   */
  update (id: string, change: ApiKeyChange, bounds?: ApiKeyBounds): Promise<ApiKeyRecord | null>
  /** Revokes a key. Returns `false` when there is no such key. */
  revoke (id: string): Promise<boolean>
  /**
   * Creates a successor with the expiry of the old key and its rights, as far as `within` has them. The old key stays
   * valid for `overlap` and announces its end in its responses (`Deprecation`, RFC 9745; `Sunset`, RFC 8594). With an
   * overlap of 0, for a key that may have leaked, it ends at once and leaves no record. Returns `null` when there is
   * no such key, or it expired.
   * @throws {AuthError} `AUTH_ACCESS_DENIED` when the owner would have more keys than `maxKeys`.
   */
  rotate (id: string, options: RotateOptions): Promise<NewApiKey | null>
}

/** Manages the keys of one owner. A key of somebody else is treated like one that does not exist. */
export interface OwnerApiKeys extends AnyOwnerApiKeys {
  /**
   * Creates a key for the owner.
   * @throws {AuthError} `AUTH_ACCESS_DENIED` for scopes or roles that the owner does not have, and for more keys than
   * `maxKeys`.
   */
  create (input: ApiKeyInput, bounds?: NewApiKeyBounds): Promise<NewApiKey>
  /** Lists the owner's keys, the newest first. Expired keys are listed for a week. */
  list (): Promise<readonly ApiKeyRecord[]>
}

/**
 * Managed keys of one scheme: issued, listed, rotated and revoked at run time. Every call rejects with
 * `AUTH_UNAVAILABLE` when the store is unavailable (whether a change happened is then unknown), and with
 * `AUTH_FAULT` for wrong arguments.
 */
export interface ApiKeyFeature {
  /** Returns the keys of one owner. */
  of (owner: StoreOwner): OwnerApiKeys
  /** Returns the keys of all owners. */
  ofAnyOwner (): AnyOwnerApiKeys
  /** Revokes a key that leaked, given the key itself. The result does not reveal if it existed. */
  revokeLeaked (key: string): Promise<void>
}

/**
 * Type of `app.gatehouse.apiKeys`.
 *
 * @example
 * const keys = app.gatehouse.apiKeys.of(request.principal)
 * const { key, record } = await keys.create({ name: 'laptop', scopes: ['orders:read'] })
 * await keys.revoke(record.id)
 */
export interface GatehouseApiKeys {
  /** The schemes that manage keys. */
  readonly schemes: readonly SchemeName[]
  /**
   * Returns the keys of one owner: a principal, or any `{ realm, id }`.
   * @throws {AuthError} `AUTH_FAULT` when `owner` is not one, when no scheme manages keys, or when several do and
   * none is named.
   */
  of (owner: StoreOwner, options?: SchemeChoice): OwnerApiKeys
  /**
   * Returns the keys of all owners, for administration.
   * @throws {AuthError} `AUTH_FAULT` as {@link GatehouseApiKeys.of} does for its options.
   */
  ofAnyOwner (options?: SchemeChoice): AnyOwnerApiKeys
  /** Revokes a key that leaked, given the key itself. The result does not reveal if it existed. */
  revokeLeaked (key: string, options?: SchemeChoice): Promise<void>
}
