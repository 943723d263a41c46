import type { FastifyReply, FastifyRequest } from 'fastify'
import type { GatehouseApiKeys } from './api-keys.js'
import type { AuditRow } from './audit.js'
import type { Finding } from './doctor.js'
import type { CredentialOf, PrincipalOf, SchemeName } from './names.js'
import type { GatehouseOAuth } from './oauth.js'
import type { Authenticated, CredentialCaller, Outcome } from './outcome.js'
import type { Right } from './principal.js'
import type { DeclaredDefault } from './request-auth.js'
import type { GroupAuth, GuardAuth, PublicAuth } from './route-auth.js'
import type { GatehouseSessions } from './sessions.js'
import type { GatehouseTokens } from './tokens.js'

/**
 * Accepts requests of any route and any kind of server. With `FastifyRequest` as the parameter of a hook, TypeScript
 * would not infer the type of `config` in the options of the same route.
 */
export type AnyRequest = Pick<FastifyRequest, 'id' | 'ip' | 'is404' | 'method' | 'url'>

/** Accepts replies of any route and any kind of server. */
export type AnyReply = Pick<FastifyReply, 'elapsedTime' | 'sent' | 'statusCode'>

/**
 * Guards requests as a hook of any stage, for `setNotFoundHandler` and other places without a route policy. Rejects
 * with the refusal of a caller, also if the response has already been sent.
 */
export type GuardHook = {
  bivarianceHack (request: AnyRequest, reply: AnyReply): Promise<void>
}['bivarianceHack']

/** Type of `app.gatehouse.guesses`. */
export interface GatehouseGuesses {
  /**
   * Checks a password, or any secret that people type, for an application's own login. Before the check it reserves a
   * guess for the account and one for the caller's address, and releases both after a success. In a browser that has
   * logged in to this account before, only that browser's guesses at this account are counted; a success sets the
   * cookie that identifies the browser.
   *
   * @example
   * const { username, password } = request.body
   * const person = await app.gatehouse.guesses.attempt(reply, username, () => people.verify(username, password))
   * if (person === null) return reply.code(401).send({ error: 'Wrong name or password' })
   * await reply.login(person)
   * @param account the name as it was sent: different spellings of a name are counted together.
   * @param check returns a falsy value or `{ valid: false }`, as `verifyPassword` does, for a wrong guess. An error
   * that it throws is rethrown and not counted.
   * @param options `realm`: the kind of account, if an application has several kinds. The name of a `basic` scheme
   * shares the counts of that scheme.
   * @returns the result of `check`; `null` for a wrong guess.
   * @throws {AuthError} without calling `check`: `AUTH_RATE_LIMITED` and `AUTH_UNAVAILABLE`, with `Retry-After` on the
   * reply; `AUTH_CROSS_SITE` if the browser reports that another site caused the request; `AUTH_INVALID_CREDENTIALS` if
   * `account` is not a string; `AUTH_FAULT` if `check` is not a function.
   */
  attempt<T> (
    reply: AnyReply, account: string, check: () => T | Promise<T>, options?: { readonly realm?: string }
  ): Promise<Right<T> | null>
}

/** Type of `app.gatehouse`. */
export interface Gatehouse {
  /**
   * Sets the default of `config.auth` for all routes of this context and its child contexts, including routes of
   * plugins. Call it before the first route of the context. `{ public }` makes routes without a `config.auth` public,
   * and states the reason.
   */
  default (auth: DeclaredDefault<GroupAuth | PublicAuth>): void
  /** Returns the guard as a hook. It authenticates once per request. */
  guard (auth: GuardAuth): GuardHook
  /**
   * Authenticates a credential that came in a message, such as the `connection_init` of GraphQL over WebSocket. The
   * scheme checks it as on a request: guesses are limited, and a credential that was revoked or used up is refused.
   * Rules of routes and limits of requests do not apply.
   *
   * @example
   * const caller = await app.gatehouse.authenticate('user', message.payload.token, { request })
   * if (caller.kind !== 'authenticated') return socket.close(4403, 'Forbidden')
   * caller.signal.addEventListener('abort', () => socket.close(4401))
   * @param credential as a client would send it, without `Bearer`. `undefined`, `null` and `''` are *absent*, and
   * anything else that is not a string is *invalid*.
   * @param options `request`: the request that opened the connection. Its own credentials do not count.
   * @returns the outcome of the scheme. The `detail` of a refusal is for the log only.
   * @throws {AuthError} `AUTH_FAULT` for an unknown scheme, if the scheme throws, and for a scheme whose credentials
   * browsers send by themselves (cookies, Basic): a message cannot prove that its sender has one.
   */
  authenticate<K extends SchemeName> (
    scheme: K, credential: unknown, options: { readonly request: AnyRequest }
  ): Promise<CredentialCaller<PrincipalOf<K>, CredentialOf<K>> | Exclude<Outcome, Authenticated>>
  /** Returns every route with its policy and the origin of the policy. */
  audit (): readonly AuditRow[]
  /**
   * Returns the weaknesses of the set-up, including ignored ones. The list is complete once the application is ready,
   * except for findings about logins, which are added as people log in.
   */
  doctor (): readonly Finding[]
  /** Limits wrong passwords in the application's own login. */
  readonly guesses: GatehouseGuesses
  /** Issues, refreshes and revokes tokens of `jwt` schemes with `sign`. */
  readonly tokens: GatehouseTokens
  /** Lists and ends sessions of `session` schemes. */
  readonly sessions: GatehouseSessions
  /** Creates, lists, rotates and revokes keys of `apiKey` schemes with `managed`. */
  readonly apiKeys: GatehouseApiKeys
  /** Manages the clients and consents of `oauthServer`. */
  readonly oauth: GatehouseOAuth
}
