import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ApiKeyFeature } from './api-keys.js'
import type { Duration } from './options.js'
import type { Foreign, Invalid } from './outcome.js'
import type { PrincipalInput } from './principal.js'
import type { SessionFeature } from './sessions.js'
import type { StoreOwner } from './store.js'
import type { PublicJwk, Revocation, TokenService } from './token-service.js'

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

/** Holds an access token and the refresh token to exchange for the next one (RFC 6749, 5.1). */
export interface GrantedTokens {
  readonly access_token: string
  readonly token_type: 'Bearer'
  /** Seconds. */
  readonly expires_in: number
  /** Separated by spaces. */
  readonly scope: string
  readonly refresh_token: string
}

/** Describes one grant. Instants are ISO 8601 strings. */
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
  /** Ends every grant, except the one with the id `except`. */
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

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

/**
 * Holds the functions of a scheme other than authentication. A factory returns them beside the scheme, and
 * `app.gatehouse` and `reply.login` call them.
 */
export interface Features {
  /** Declares the scheme's own routes after the hooks of the plugin are added. Each route needs a `config.auth`. */
  readonly routes?: (app: FastifyInstance) => void
  readonly sessions?: SessionFeature
  readonly apiKeys?: ApiKeyFeature
  readonly tokens?: TokenFeature
}
