import type { AuthErrorCode } from './outcome.js'

/** Holds the fields that all events about a request have. */
interface RequestEvent {
  /** Fastify's `request.id`, which is in each log line of the request as well. */
  readonly requestId: string
  readonly method: string
  /** The URL pattern of the route, such as `/orders/:id`; `null` if there is no such route. */
  readonly route: string | null
}

/** Reports that a credential was accepted. A request with several credentials has an event for each. */
export interface AuthenticatedEvent extends RequestEvent {
  readonly scheme: string
  /** The realm of the principal, who is identified by it together with {@link id}. */
  readonly realm: string
  readonly id: string
}

/** Reports that a request was refused. */
export interface RefusedEvent extends RequestEvent {
  readonly code: AuthErrorCode
  /** The scheme that refused the credential; `null` if none was sent. */
  readonly scheme: string | null
  /** The reason, for operators: it is not sent to the client. */
  readonly reason: string
}

/** Reports that a request exceeded a limit. */
export interface ThrottledEvent extends RefusedEvent {
  /** Seconds after which the client may try again; `null` if unknown. */
  readonly retryAfter: number | null
}

/** Reports that a request ended with a 500, because of an error of the plugin or of a function of the application. */
export interface FaultEvent extends RequestEvent {
  readonly code: AuthErrorCode
  readonly reason: string
}

/** Reports that a session began or ended. */
export interface SessionEvent extends RequestEvent {
  readonly scheme: string
  readonly realm: string
  readonly id: string
  /** The id of the session: a hash, which gives no access. */
  readonly session: string
}

/** Reports a login. */
export interface LoginEvent extends SessionEvent {
  /** `true` if the session replaces a live one of the same principal. */
  readonly renewed: boolean
}

/** Reports what happened to an API key. */
export interface KeyEvent {
  readonly scheme: string
  /** The id of the key: a hash, which gives no access. */
  readonly key: string
  /** The owner's realm and id. */
  readonly realm: string
  readonly id: string
}

/** Reports that an API key was replaced. */
export interface KeyRotatedEvent extends KeyEvent {
  /** The id of the new key. */
  readonly successor: string
}

/** Reports that an API key was revoked. */
export interface KeyRevokedEvent extends KeyEvent {
  /** `true` if it was revoked by `revokeLeaked`. */
  readonly leaked: boolean
}

/** Reports that a call of the store failed or timed out, after calls that succeeded. */
export interface StoreDownEvent {
  readonly reason: string
}

/** Reports that the store answers again. */
export interface StoreUpEvent {
  /** Milliseconds since `store-down`. */
  readonly downFor: number
}

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
  /** The number of the new refresh token within its grant. */
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
  /** `null` if no client is involved, or the record of the grant is damaged. */
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
  readonly authenticated: AuthenticatedEvent
  readonly refused: RefusedEvent
  readonly denied: RefusedEvent
  readonly throttled: ThrottledEvent
  readonly unavailable: ThrottledEvent
  readonly fault: FaultEvent
  readonly login: LoginEvent
  readonly logout: SessionEvent
  readonly 'key-created': KeyEvent
  readonly 'key-rotated': KeyRotatedEvent
  readonly 'key-revoked': KeyRevokedEvent
  readonly 'key-used-after-end': KeyEvent
  readonly 'store-down': StoreDownEvent
  readonly 'store-up': StoreUpEvent
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
