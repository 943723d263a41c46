import type { StoreOwner } from './store.js'

/** What is known of one session. Instants are ISO 8601 strings. */
export interface SessionRecord {
  /** A handle: it opens nothing. The same as `request.auth.credential.id`. */
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

/** The sessions of an application. Listing needs a store; ending works in one process without. */
export interface SessionIndex {
  /** The live sessions of a principal. @throws {AuthError} `AUTH_UNAVAILABLE` when the store does not answer. */
  list (owner: StoreOwner): Promise<readonly SessionRecord[]>
  /** Ends one session, wherever it was begun. With `owner`, only if it is theirs. @returns whether there was one. */
  revoke (id: string, owner?: StoreOwner): Promise<boolean>
  /** Ends every session of a principal, but the one with the id `except`. */
  revokeAll (owner: StoreOwner, options?: { readonly except?: string }): Promise<void>
}
