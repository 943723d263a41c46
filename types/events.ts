/** Reports that a token was signed for a principal. */
export interface TokenIssuedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The realm of the principal, who is identified by it together with {@link id}. */
  readonly realm: string
  readonly id: string
  /** The OAuth client that the token was issued to; `null` if no client is involved. */
  readonly client: string | null
  readonly scopes: readonly string[]
  /** The `jti` of the access token. */
  readonly tokenId: string
  /** The grant (refresh family) that the token belongs to; `null` if it belongs to none. */
  readonly grant: string | null
  /** ISO 8601. */
  readonly expiresAt: string
}

/** Holds the fields that all events about a grant have. */
interface GrantEvent {
  readonly scheme: string
  /** The id of the refresh family's record: a hash, which gives no access. */
  readonly grant: string
  readonly realm: string
  readonly id: string
  readonly client: string | null
}

/** Reports that a refresh token was exchanged for its successor. */
export interface TokenRefreshedEvent extends GrantEvent {
  readonly scopes: readonly string[]
  readonly generation: number
}

/** Reports that a refresh token was presented again after it had been exchanged, which ended its grant. */
export interface TokenReusedEvent extends GrantEvent {
  /** The generation of the token that was presented. */
  readonly generation: number
  /** The generation of the current token. */
  readonly current: number
}

/** Reports that a grant or a single access token was revoked. */
export interface TokenRevokedEvent {
  readonly scheme: string
  /** `null` if the revoked access token belongs to no grant. */
  readonly grant: string | null
  /** The `jti` of the access token; `null` if the whole grant was revoked. */
  readonly tokenId: string | null
  readonly realm: string
  readonly id: string
  readonly client: string | null
}

/** Reports that an authorization code was presented again after it had been redeemed, which ended its grant. */
export interface CodeReusedEvent extends GrantEvent {}

/** Reports that a person allowed a client to act for them. */
export interface ConsentGivenEvent {
  readonly realm: string
  readonly id: string
  readonly client: string
  readonly scopes: readonly string[]
  /** `true` if the consent is stored, so that the person does not have to give it again for these scopes. */
  readonly remembered: boolean
}

/** Reports that an OAuth client did not authenticate: its secret is wrong or missing, or there is no such client. */
export interface ClientRefusedEvent {
  /** `null` if there is no client with the id that was sent. */
  readonly client: string | null
  /** The address of the caller: Fastify's `request.ip`. */
  readonly address: string
}

/** Reports that the keys of another issuer were fetched. */
export interface KeysFetchedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The URL of the JWK set. */
  readonly url: string
  /** The `kid` of every usable key that has one. */
  readonly kids: readonly string[]
  /** The number of usable keys, with and without a `kid`. */
  readonly keys: number
  /** The number of keys in the set that cannot be used. */
  readonly ignored: number
}

/** Reports that the keys of another issuer could not be fetched. Cached keys are used until `staleFor` has passed. */
export interface KeysFailedEvent {
  readonly scheme: string
  readonly issuer: string | null
  /** The URL that failed. */
  readonly url: string
  readonly reason: string
  /** The number of cached keys. */
  readonly keys: number
}

/** Maps the name of every event to its payload. The channel of an event is `fastify-gatehouse:<name>`. */
export interface GatehouseEvents {
  readonly 'token-issued': TokenIssuedEvent
  readonly 'token-refreshed': TokenRefreshedEvent
  readonly 'token-reused': TokenReusedEvent
  readonly 'token-revoked': TokenRevokedEvent
  readonly 'code-reused': CodeReusedEvent
  readonly 'consent-given': ConsentGivenEvent
  readonly 'client-refused': ClientRefusedEvent
  readonly 'keys-fetched': KeysFetchedEvent
  readonly 'keys-failed': KeysFailedEvent
}

/** The name of an event. */
export type GatehouseEventName = keyof GatehouseEvents
