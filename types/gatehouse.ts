import type { FastifyReply, FastifyRequest } from 'fastify'
import type { PrincipalInput } from './principal.js'
import type { SchemeName } from './registry.js'
import type { GroupAuth, GuardAuth, Mode } from './route-auth.js'
import type { IssueOptions } from './scheme.js'

/** One route of the audit. */
export interface AuditRow {
  readonly method: string
  /** The route's pattern, prefix included. */
  readonly url: string
  readonly access: 'public' | Mode
  /** The schemes in words: `user or web`, `web and service`; empty on public routes. */
  readonly schemes: string
  /** The rules in words, one each. */
  readonly rules: readonly string[]
  /** Where the policy comes from: the plugin's default, a group's, the route, a public path. */
  readonly from: string
  readonly stage: string
  /** Why it is public, or what the audit has to say of it. */
  readonly reason: string | null
}

/** Any request, of any route and any kind of server. Written as `FastifyRequest`, a hook beside `config` would take the config out of the route's types. */
export type AnyRequest = Pick<FastifyRequest, 'id' | 'ip' | 'is404' | 'method' | 'url'>

/** Any reply, of any route and any kind of server. */
export type AnyReply = Pick<FastifyReply, 'elapsedTime' | 'sent' | 'statusCode'>

/** A guard as a hook: for any stage, for `setNotFoundHandler`, for places that no route policy reaches. */
export type GuardHook = {
  bivarianceHack (request: AnyRequest, reply: AnyReply): Promise<void>
}['bivarianceHack']

/** What `app.gatehouse.tokens` holds. */
export interface GatehouseTokens {
  /**
   * Signs a token for a principal.
   * @throws {AuthError} `AUTH_FAULT` when no scheme signs tokens, or several do and none is named.
   */
  issue<P extends PrincipalInput> (principal: P, options?: IssueOptions & { readonly scheme?: SchemeName }): Promise<string>
}

/** What `app.gatehouse.sessions` holds. */
export interface GatehouseSessions {
  /** The path that a person was on their way to when they were sent to log in; `fallback` (`/`) when there is none that can be trusted. */
  returnTo (request: FastifyRequest, fallback?: string): string
}

/** What an application calls: `app.gatehouse`. */
export interface Gatehouse {
  /** Says `auth` for every route of this context and of those within, plugins' routes too. Set before the first route of the context. */
  default (auth: GroupAuth): void
  /** The guard as a hook. It authenticates once per request. */
  guard (auth: GuardAuth): GuardHook
  /** Every route, with who may enter and why. */
  audit (): readonly AuditRow[]
  readonly tokens: GatehouseTokens
  readonly sessions: GatehouseSessions
}
