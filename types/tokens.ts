import type { FastifyRequest } from 'fastify'
import type { AnyReply } from './gatehouse.js'
import type { SchemeChoice } from './names.js'
import type { Duration } from './options.js'
import type { Foreign, Invalid } from './outcome.js'
import type { PrincipalInput } from './principal.js'
import type { Load } from './scheme.js'
import type { StoreOwner } from './store.js'

/** Type of `app.gatehouse.tokens`. */
export interface GatehouseTokens {
  /**
   * Signs a token for a principal.
   * @throws {AuthError} `AUTH_FAULT` if no scheme signs tokens, or several do and no scheme is given.
   */
  issue<P extends PrincipalInput> (principal: P, options?: IssueOptions & SchemeChoice): Promise<string>
  /**
   * Begins a grant for a person who has just authenticated. Returns an access token, and a refresh token to exchange
   * for the next one.
   * @throws {AuthError} `AUTH_FAULT` if no scheme has `sign.refresh`, several have and no scheme is given, or the
   * person is of another realm than `sign.realm`; `AUTH_UNAVAILABLE` if the store is unavailable or full.
   */
  grant<P extends PrincipalInput> (principal: P, options?: GrantOptions & SchemeChoice): Promise<GrantedTokens>
  /**
   * Exchanges a refresh token. Each token can be exchanged once. A second exchange within `reuseGrace` returns the same
   * successor; any other ends the grant.
   * @throws {AuthError} `AUTH_INVALID_CREDENTIALS` for a token that is missing or no longer valid, with the challenge
   * on the reply; `AUTH_UNAVAILABLE` if the store is unavailable.
   */
  refresh (reply: AnyReply, token: unknown, options?: RefreshOptions & SchemeChoice): Promise<GrantedTokens>
  /**
   * Revokes a token. A refresh token, or an access token of a grant, ends its grant; any other access token ends alone.
   * Ignores an unknown token, an expired one, and any value that is not a string; the promise resolves as for others.
   * @throws {AuthError} `AUTH_FAULT` if no scheme signs tokens, and for an access token of a scheme with
   * `sign.staleness: false`; `AUTH_UNAVAILABLE` if the store is unavailable.
   */
  revoke (token: unknown): Promise<void>
  /**
   * Returns the grants of one owner: a principal, or any `{ realm, id }`. Without `scheme`, those of all schemes.
   * @throws {AuthError} `AUTH_FAULT` if `owner` is not one, or if no scheme signs tokens.
   */
  of (owner: StoreOwner, options?: SchemeChoice): OwnerGrants
  /**
   * Returns the public keys that the tokens are verified with, for a route of the application. Call it at boot.
   * @throws {AuthError} `AUTH_MISCONFIGURED` if a key is symmetric; `AUTH_FAULT` if no scheme signs tokens, or schemes
   * of several issuers do and no scheme is given.
   */
  jwks (options?: SchemeChoice): PublicJwkSet
}

/** The options of `app.gatehouse.tokens.issue`. */
export interface IssueOptions {
  /** The scheme whose key signs; needed only when several can. */
  readonly scheme?: string
  /** The time until the token expires. Default: that of the scheme. */
  readonly expiresIn?: Duration
  /** Additional claims. The scheme itself writes `iss`, `aud`, `sub`, `exp`, `nbf`, `iat`, `jti`, scopes and roles. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** The options of `app.gatehouse.tokens.grant`. */
export interface GrantOptions {
  /** The scheme whose key signs; needed only when several can. */
  readonly scheme?: string
  /** The scopes of the tokens. Default: those of the principal. */
  readonly scopes?: readonly string[]
  /** The client that receives the tokens. Default: the application itself. */
  readonly client?: string
  /** The time at which the person authenticated. Default: now. */
  readonly authenticatedAt?: Date
}

/** The options of `app.gatehouse.tokens.refresh`. */
export interface RefreshOptions {
  /** The scheme that issued the refresh token. Default: the scheme that recognises it. */
  readonly scheme?: string
  /** Narrows the scopes of this access token. The grant keeps all of its scopes. */
  readonly scopes?: readonly string[]
  /** The client that presents the token. Default: the application itself. */
  readonly client?: string
}

/** Holds the tokens of one response of the token endpoint (RFC 6749, 5.1). */
export interface IssuedTokens {
  readonly access_token: string
  readonly token_type: 'Bearer'
  /** Seconds. */
  readonly expires_in: number
  /** Separated by spaces; empty for none. */
  readonly scope: string
  /** Left out if the grant cannot be refreshed. */
  readonly refresh_token?: string
}

/** Holds the tokens of a grant that can be refreshed. */
export interface GrantedTokens extends IssuedTokens {
  /** Can be exchanged once, for the next tokens. */
  readonly refresh_token: string
}

/** Describes one grant. Times are ISO 8601 strings. */
export interface GrantRecord {
  /** The same as the claim `sid` of its access tokens. It gives no access. */
  readonly id: string
  readonly owner: StoreOwner
  /** The scheme that issued it. */
  readonly scheme: string
  /** The client that has the tokens; `null` for the application itself. */
  readonly client: string | null
  readonly scopes: readonly string[]
  readonly createdAt: string
  /** The time of the last refresh, or of the beginning. */
  readonly lastUsedAt: string
  /** The time at which the grant ends, unless it is refreshed before. */
  readonly expiresAt: string
  /** `true` if the client was removed, so that none of the tokens is accepted any more. */
  readonly ended: boolean
}

/**
 * The grants of one owner. A grant of somebody else is treated like one that does not exist. Every call rejects with
 * `AUTH_UNAVAILABLE` if the store is unavailable; it is then unknown which grants were ended.
 */
export interface OwnerGrants {
  /** Lists the grants, the last used first. */
  list (): Promise<readonly GrantRecord[]>
  /** Ends a grant, so that none of its tokens is accepted any more. Returns `false` if there is no such grant. */
  revoke (id: string): Promise<boolean>
  /**
   * Ends every grant, except the one with the id `except`, and every authorization code that has not begun a grant yet.
   */
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

/** A public key (RFC 7517), with public members only. */
export type PublicJwk = Readonly<Record<string, string>>

/** A set of public keys (RFC 7517, 5). */
export interface PublicJwkSet {
  readonly keys: readonly PublicJwk[]
}

/** Issues and refreshes the tokens of one scheme. */
export interface TokenFeature {
  /** Signs a token for a principal: `app.gatehouse.tokens.issue`. */
  issue (principal: PrincipalInput, options: IssueOptions): Promise<string>
  /** Begins a grant: `app.gatehouse.tokens.grant`. Left out if the scheme has no refresh tokens. */
  grant? (principal: PrincipalInput, options: GrantOptions): Promise<GrantedTokens>
  /** Exchanges a refresh token. Returns *foreign* for a token of another scheme. */
  refresh? (
    request: FastifyRequest, token: unknown, options: RefreshOptions
  ): Promise<GrantedTokens | Invalid | Foreign>
  /** Revokes a token: `app.gatehouse.tokens.revoke`. Returns *unknown* for a token of another scheme. */
  revoke? (token: string): Promise<Revocation>
  /** Returns the grants of one owner: `app.gatehouse.tokens.of`. */
  of? (owner: StoreOwner): OwnerGrants
  /** Returns the public keys: `app.gatehouse.tokens.jwks`. */
  jwks? (): PublicJwkSet
  /** Issues tokens for the OAuth 2.0 server. Left out if the scheme has no issuer or audience. */
  readonly service?: TokenService
}

/** Describes a grant to begin. */
export interface NewGrant {
  /** The person. */
  readonly principal: PrincipalInput
  readonly client: string
  readonly scopes: readonly string[]
  /** The time at which the person authenticated; `null` if unknown. */
  readonly authenticatedAt: Date | null
  /**
   * 128 bits as base64url (22 characters), which identify the grant and are as secret as its refresh tokens. Derive
   * them from an authorization code, so that parallel redemptions of the code begin one grant.
   */
  readonly handle: string
  /**
   * `false` for a grant without a refresh token, which ends with its access token. Has no effect if the scheme has no
   * `sign.refresh`: such grants have none.
   */
  readonly refresh: boolean
  /**
   * `false` for delegated tokens: they carry no roles, and are refused on routes without a `scopes` rule unless the
   * scheme has `delegated: true`. `true` for a client of first parties, whose tokens are like those of the person.
   */
  readonly roles: boolean
}

/** A grant that was begun. */
export interface BegunGrant {
  readonly tokens: IssuedTokens
  /**
   * `false` if the grant of this handle existed already, such as after a redemption that failed half-way: the refresh
   * token is then the same as that of the first call.
   */
  readonly isNew: boolean
  /** Publishes the event `token-issued`. Call it once the tokens are certain to be sent. */
  readonly announce: () => void
}

/** Describes a refresh. */
export interface RefreshGrant {
  /** The client that presents the token, after it was authenticated. */
  readonly client: string
  /** Narrows the scopes of this access token. `undefined` for all scopes of the grant. */
  readonly scopes?: readonly string[] | undefined
  /**
   * `true` refuses, with the reason `invalid_scope`, to issue a token that has none of the scopes. The refresh token
   * stays valid. Default: `false`.
   */
  readonly needsScope?: boolean
  /** Looks up the person if the scheme itself has no `load`. Default: the plugin's `load`. */
  readonly load?: Load | null
}

/**
 * The result of a revocation: *revoked*; *unknown* to this scheme, such as a token of another scheme, or one that has
 * expired or ended; *foreign client*: valid, but issued to another client, and left as it is; *unsupported*: an access
 * token of a scheme with `sign.staleness: false` (RFC 7009, 2.2.1: `unsupported_token_type`).
 */
export type Revocation = 'revoked' | 'unknown' | 'foreign client' | 'unsupported'

/**
 * Issues and ends the tokens of one signing scheme for the OAuth 2.0 server. It is internal: applications use
 * `app.gatehouse.tokens`. Every promise rejects with `AUTH_UNAVAILABLE` if the store is unavailable; it is then unknown
 * if a change was made, and the call may be repeated.
 */
export interface TokenService {
  /** The name of the scheme. */
  readonly scheme: string
  readonly issuer: string
  /** The first audience, which tokens carry as `aud` and which identifies the resource (RFC 8707). */
  readonly resource: string
  readonly audiences: readonly string[]
  /** The scopes of the resource (`resource.scopes`); `null` if they are not listed. */
  readonly scopes: readonly string[] | null
  /** The realm of the people whom the scheme signs for. The realm of clients is the issuer. */
  readonly realm: string
  /** The lifetime of access tokens in seconds. */
  readonly expiresIn: number
  /** `true` if the scheme has `sign.refresh`. */
  readonly canRefresh: boolean
  /** The `client_id` of tokens that the application issues itself. No client may have it. */
  readonly firstParty: string
  /**
   * Begins a grant, or returns the tokens of the grant with this handle if it has been begun and not been refreshed.
   * After it, spend the code; if another call has spent it meanwhile, call {@link TokenService.end}.
   * @returns `null` if the grant with this handle has been refreshed already, so that its code was certainly spent.
   * @throws {AuthError} `AUTH_FAULT` for a principal of another realm, or with the id of a client.
   */
  begin (grant: NewGrant): Promise<BegunGrant | null>
  /** Issues an access token that a client gets for itself: `sub` is `client:<id>`, in the realm of the issuer. */
  clientToken (client: string, scopes: readonly string[]): Promise<IssuedTokens>
  /**
   * Exchanges a refresh token, as `app.gatehouse.tokens.refresh` does. Returns *foreign* for a token that this scheme
   * did not issue to this client, and *invalid* for one that is no longer valid.
   */
  refresh (request: FastifyRequest, token: string, options: RefreshGrant): Promise<IssuedTokens | Invalid | Foreign>
  /** Returns true if a text is a refresh token of this client at this scheme, whose grant has not ended. */
  holds (token: string, client: string): Promise<boolean>
  /** Ends a grant by the handle that it was begun with. Returns `false` if there is none. */
  end (handle: string): Promise<boolean>
  /** Revokes a refresh token or an access token that was issued to a client. */
  revoke (token: string, client: string): Promise<Revocation>
  /**
   * Returns the claims of an access token that this scheme would accept now, otherwise `null`. The person is looked up
   * as for a request.
   */
  introspect (request: FastifyRequest, token: string): Promise<Readonly<Record<string, unknown>> | null>
  /**
   * Returns the public keys of the issuer.
   * @throws {AuthError} `AUTH_MISCONFIGURED` if a key is symmetric. Call it at boot, so that this stops the boot.
   */
  jwks (): PublicJwkSet
  /**
   * Makes every access and refresh token of a client depend on the client, which may be removed. `isClient` is called
   * for each request with such a token, so it should cache, and not for {@link TokenService.firstParty}. Call it once,
   * at boot.
   */
  checkClients (isClient: (client: string) => boolean | Promise<boolean>): void
}
