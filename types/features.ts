import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ApiKeyFeature } from './api-keys.js'
import type { Duration } from './duration.js'
import type { Foreign, Invalid } from './outcome.js'
import type { PrincipalInput } from './principal.js'
import type { SessionFeature } from './sessions.js'

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
  /** What the tokens may do. Default: the scopes of the principal. */
  readonly scopes?: readonly string[]
  /** The client that the tokens are for. Default: the application's own. */
  readonly client?: string
  /** When the person authenticated. Default: now. */
  readonly authenticatedAt?: Date
}

/** The options of `app.gatehouse.tokens.refresh`. */
export interface RefreshOptions {
  /** The scheme that granted it. Left out, it is found by the token. */
  readonly scheme?: string
  /** Narrows the scopes of this access token. The grant keeps its own. */
  readonly scopes?: readonly string[]
  /** The client that presents the token. Default: the application's own. */
  readonly client?: string
}

/** An access token with the refresh token that gets the next one (RFC 6749, 5.1). */
export interface GrantedTokens {
  readonly access_token: string
  readonly token_type: 'Bearer'
  /** Seconds. */
  readonly expires_in: number
  /** Separated by spaces. */
  readonly scope: string
  readonly refresh_token: string
}

/** Tokens of one scheme. */
export interface TokenFeature {
  /** Signs a token for a principal: `app.gatehouse.tokens.issue`. */
  issue (principal: PrincipalInput, options: IssueOptions): Promise<string>
  /** Begins a grant: `app.gatehouse.tokens.grant`. Left out where tokens cannot be refreshed. */
  grant? (principal: PrincipalInput, options: GrantOptions): Promise<GrantedTokens>
  /** Exchanges a refresh token; *foreign* for one of another scheme. */
  refresh? (
    request: FastifyRequest, token: unknown, options: RefreshOptions
  ): Promise<GrantedTokens | Invalid | Foreign>
}

/**
 * Functions of a scheme beyond authentication. A factory returns them beside the scheme, and `app.gatehouse` and
 * `reply.login` call them.
 */
export interface Features {
  /** Declares routes of the scheme's own, when the plugin's hooks stand. Each says its `config.auth`. */
  readonly routes?: (app: FastifyInstance) => void
  readonly sessions?: SessionFeature
  readonly apiKeys?: ApiKeyFeature
  readonly tokens?: TokenFeature
}
