import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Right } from './answer.js'
import type { GatehouseApiKeys } from './api-keys.js'
import type { AuditRow } from './audit.js'
import type { GrantedTokens, GrantOptions, IssueOptions, RefreshOptions } from './features.js'
import type { PrincipalInput } from './principal.js'
import type { SchemeChoice } from './names.js'
import type { GroupAuth, GuardAuth, PublicAuth } from './route-auth.js'
import type { GatehouseSessions } from './sessions.js'

/**
 * Any request, of any route and any kind of server. Written as `FastifyRequest`, a hook beside `config` would take the
 * config out of the route's types.
 */
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
  issue<P extends PrincipalInput> (principal: P, options?: IssueOptions & SchemeChoice): Promise<string>
  /**
   * Begins a grant for a person who has just authenticated: an access token, and a refresh token that gets the next
   * one.
   * @throws {AuthError} `AUTH_FAULT` when no scheme has `sign.refresh`, several do and none is named, or the person is
   * of another realm than `sign.realm`; `AUTH_UNAVAILABLE` when the store does not answer or is full.
   */
  grant<P extends PrincipalInput> (principal: P, options?: GrantOptions & SchemeChoice): Promise<GrantedTokens>
  /**
   * Exchanges a refresh token. Each is good for one exchange; a second one within `reuseGrace` gets the same successor,
   * and any other ends the grant.
   * @throws {AuthError} `AUTH_INVALID_CREDENTIALS` for a token that is missing or no longer good, with the challenge on
   * the reply; `AUTH_UNAVAILABLE` when the store does not answer.
   */
  refresh (reply: AnyReply, token: unknown, options?: RefreshOptions & SchemeChoice): Promise<GrantedTokens>
}

/** What `app.gatehouse.guesses` holds. */
export interface GatehouseGuesses {
  /**
   * Checks a password, or any secret that people type, for an application's own login. A slot for the account and for
   * the caller's address is reserved before the check and given back when it was right. Where the browser is one that
   * this account logged in with before, only the guesses of that browser at this account count; a success leaves the
   * cookie that tells.
   *
   * @example
   * const person = await app.gatehouse.guesses.attempt(reply, request.body.username, () => people.verify(request.body.username, request.body.password))
   * if (person === null) return reply.code(401).send({ error: 'Wrong name or password' })
   * await reply.login(person)
   * @param account as it was sent: spellings of one name count as one.
   * @param check a falsy value is a wrong guess, and so is `{ valid: false }`, which `verifyPassword` returns. What it
   * throws is thrown, and is no guess.
   * @param options `realm`: whose accounts they are, where an application has several kinds; the name of a `basic`
   * scheme shares the counts of that scheme.
   * @returns what `check` returned, whole; `null` for a wrong guess, whatever `check` returned.
   * @throws {AuthError} without having called `check`: `AUTH_RATE_LIMITED` and `AUTH_UNAVAILABLE`, with `Retry-After`
   * on the reply; `AUTH_CROSS_SITE` when a browser says that another site asked; `AUTH_INVALID_CREDENTIALS` when
   * `account` is no text.
   */
  attempt<T> (
    reply: AnyReply, account: string, check: () => T | Promise<T>, options?: { readonly realm?: string }
  ): Promise<Right<T> | null>
}

/** What an application calls: `app.gatehouse`. */
export interface Gatehouse {
  /**
   * Sets `auth` for all routes of this context and of those within it, including the routes of plugins. Call it before
   * the first route of the context. `{ public }` opens the routes that have no `config.auth`, and gives the reason.
   */
  default (auth: GroupAuth | PublicAuth): void
  /** The guard as a hook. It authenticates once per request. */
  guard (auth: GuardAuth): GuardHook
  /** Every route, with who may enter and why. */
  audit (): readonly AuditRow[]
  readonly guesses: GatehouseGuesses
  readonly tokens: GatehouseTokens
  readonly sessions: GatehouseSessions
  readonly apiKeys: GatehouseApiKeys
}
