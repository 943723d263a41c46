import type { FastifyInstance } from 'fastify'
import type { ApiKeyFeature } from './api-keys.js'
import type { Duration } from './duration.js'
import type { PrincipalInput } from './principal.js'
import type { SessionFeature } from './sessions.js'

/** The options of `app.gatehouse.tokens.issue`. */
export interface IssueOptions {
  /** The scheme whose key signs; needed only when several can. */
  readonly scheme?: string
  /** Time until the token expires, in seconds or such as `'15m'`. Default: the scheme's own. */
  readonly expiresIn?: Duration
  /** Further claims. The scheme itself writes `iss`, `aud`, `sub`, `exp`, `nbf`, `iat`, `jti`, scopes and roles. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Tokens of one scheme. */
export interface TokenFeature {
  /** Signs a token for a principal: `app.gatehouse.tokens.issue`. */
  issue (principal: PrincipalInput, options: IssueOptions): Promise<string>
}

/**
 * What a scheme offers to applications beside proving identity. The guard does not know of it: a factory returns it
 * beside the scheme, and `app.gatehouse` and `reply.login` call it.
 */
export interface Features {
  /** Declares routes of the scheme's own, when the plugin's hooks stand. Each says its `config.auth`. */
  readonly routes?: (app: FastifyInstance) => void
  readonly sessions?: SessionFeature
  readonly apiKeys?: ApiKeyFeature
  readonly tokens?: TokenFeature
}
