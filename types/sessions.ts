import type { StoreOwner } from './store.js'

/** What is known of one session. Instants are ISO 8601 strings. */
export interface SessionRecord {
  /** A handle, which opens nothing: the same as `request.auth.credential.id`. */
  readonly id: string
  readonly owner: StoreOwner
  readonly createdAt: string
  /** Within a minute. */
  readonly lastSeenAt: string
  readonly expiresAt: string
  /** The address of the login, as Fastify's `request.ip` said it. */
  readonly address: string
  readonly userAgent: string
}

/**
 * The sessions of an application. Where a store is asked, everything rejects with `AUTH_UNAVAILABLE` when it does not answer; of an end it is then not known whether it happened.
 *
 * Without the plugin's option `store`, what is ended is remembered by this process alone, and nobody can list.
 */
export interface SessionIndex {
  /** The live sessions of a principal, the last seen first. @throws {AuthError} `AUTH_FAULT` without a store: nobody knows them all. */
  list (owner: StoreOwner): Promise<readonly SessionRecord[]>
  /**
   * Ends one session, wherever it was begun. With `owner`, only if it is theirs: for ids that came from a request.
   * @returns whether there was one; without a store, which cannot be known, whether it can be an id.
   */
  revoke (id: string, owner?: StoreOwner): Promise<boolean>
  /** Ends every session of a principal, but the one with the id `except`. */
  revokeAll (owner: StoreOwner, options?: { readonly except?: string }): Promise<void>
}
