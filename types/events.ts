/** A token was signed for a principal. */
export interface TokenIssuedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The principal's, together with {@link id}. */
  readonly realm: string
  readonly id: string
  /** The OAuth client that it was issued to; `null` where no client is involved. */
  readonly client: string | null
  readonly scopes: readonly string[]
  /** The `jti` of the access token. */
  readonly tokenId: string
  /** The grant (refresh family) that it belongs to; `null` for a token on its own. */
  readonly grant: string | null
  /** ISO 8601. */
  readonly expiresAt: string
}

/** What the events about one grant have in common. */
interface GrantEvent {
  readonly scheme: string
  /** The record id of the refresh family, a hash: it opens nothing. */
  readonly grant: string
  readonly realm: string
  readonly id: string
  readonly client: string | null
}

/** A refresh token was exchanged for its successor. */
export interface TokenRefreshedEvent extends GrantEvent {
  readonly scopes: readonly string[]
  readonly generation: number
}

/** A refresh token that had been exchanged before was presented again, and its grant ended. */
export interface TokenReusedEvent extends GrantEvent {
  /** The generation of the token that was presented, and the one that is current. */
  readonly generation: number
  readonly current: number
}

/** A grant, or a single access token, was taken back. */
export interface TokenRevokedEvent {
  readonly scheme: string
  /** `null` when one access token was revoked that belongs to no grant. */
  readonly grant: string | null
  /** The `jti` of the access token; `null` when a whole grant ended. */
  readonly tokenId: string | null
  readonly realm: string
  readonly id: string
  readonly client: string | null
}

/** An authorization code that had been redeemed before was presented again, and what it gave ended. */
export interface CodeReusedEvent extends GrantEvent {}

/** A person allowed a client to act for them. */
export interface ConsentGivenEvent {
  readonly realm: string
  readonly id: string
  readonly client: string
  readonly scopes: readonly string[]
  /** It is remembered: the person is not asked again for these scopes. */
  readonly remembered: boolean
}

/** The keys of another issuer were fetched. */
export interface KeysFetchedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The URL of the JWK set. */
  readonly url: string
  /** The `kid` of every usable key; keys without one are only counted. */
  readonly kids: readonly string[]
  readonly keys: number
  /** Keys of the set that cannot be used. */
  readonly ignored: number
}

/** The keys of another issuer could not be fetched. Keys that are known are used until `staleFor` has passed. */
export interface KeysFailedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The URL that failed. */
  readonly url: string
  readonly reason: string
  /** Keys that are still known. */
  readonly keys: number
}

/** The payload of every event, by its name. The channel of an event is `fastify-gatehouse:<name>`. */
export interface GatehouseEvents {
  readonly 'token-issued': TokenIssuedEvent
  readonly 'token-refreshed': TokenRefreshedEvent
  readonly 'token-reused': TokenReusedEvent
  readonly 'token-revoked': TokenRevokedEvent
  readonly 'code-reused': CodeReusedEvent
  readonly 'consent-given': ConsentGivenEvent
  readonly 'keys-fetched': KeysFetchedEvent
  readonly 'keys-failed': KeysFailedEvent
}

/** The name of an event. */
export type GatehouseEventName = keyof GatehouseEvents
