import type { FastifyReply, FastifyRequest } from 'fastify'
import type { PrincipalInput } from './principal.js'
import type { SchemeChoice, SchemeName } from './names.js'
import type { StoreOwner } from './store.js'

/** The options of `reply.login`. */
export interface LoginOptions {
  /** The scheme that keeps the session; needed only when several do. */
  readonly scheme?: string
  /** Remembers the person: the session may live for the scheme's `keepTimeout`. */
  readonly keep?: boolean
  /**
   * Gives the live session a new id, without asking the person again: it keeps its times, and its data unless other
   * data is given. Use it after a change of what they may do; leave it out after a password was checked. Refused with
   * `AUTH_REQUIRED` where there is no live session.
   */
  readonly renew?: boolean
  /**
   * Allows a login that ends in a request from another site, such as the callback of an identity provider or a link
   * in a mail, which is refused with `AUTH_CROSS_SITE` otherwise. Write `true` only after the application has compared
   * a state that came with the request to one that it had bound to this browser: without that, any site can log a
   * person in as somebody else (login CSRF).
   */
  readonly stateChecked?: boolean
  /** The session's own data. It travels in the cookie: keep it small. */
  readonly data?: Readonly<Record<string, unknown>>
}

/** Type of `request.auth.credential` of a session. `D` is the type of the data that the application keeps in it. */
export interface SessionCredential<D extends object = Record<string, unknown>> {
  /** The id of the session, for logs and lists. It does not open the session. */
  readonly id: string
  /** The data of `reply.login(principal, { data })` or the last `update`, deep-frozen; `{}` without any. */
  readonly data: Readonly<Partial<D>>
  /**
   * Replaces the data. The cookie is rewritten with the response; of two concurrent requests, the later response wins.
   * A response that is sent with `reply.hijack()` or `reply.raw` does not carry the cookie, which is logged as an
   * error.
   * @throws {AuthError} `AUTH_FAULT` when the data is not JSON or makes the cookie larger than browsers accept, after
   * `reply.login` or `reply.logout`, and once the response is sent. Nothing is changed then.
   */
  update (data: D): void
}

/** Describes one session. Instants are ISO 8601 strings. */
export interface SessionRecord {
  /** A handle that opens nothing: the same as `request.auth.credential.id`. */
  readonly id: string
  readonly owner: StoreOwner
  readonly createdAt: string
  /** Accurate to a minute. */
  readonly lastSeenAt: string
  readonly expiresAt: string
  /** The address of the login: Fastify's `request.ip`. */
  readonly address: string
  readonly userAgent: string
}

/**
 * Sessions, found by their id whoever owns them. With an id that came from a request, use {@link OwnerSessions}.
 */
export interface AnyOwnerSessions {
  /**
   * Ends one session, wherever it was begun.
   * Returns whether it existed; without a store, where nobody can tell, whether `id` has the form of an id.
   */
  revoke (id: string): Promise<boolean>
}

/**
 * The sessions of one owner. A session of somebody else is treated like one that does not exist.
 *
 * With a store, every call rejects with `AUTH_UNAVAILABLE` when it does not respond; whether a session ended is then
 * unknown. Without one, ends are remembered by this process alone, and nobody can list.
 */
export interface OwnerSessions extends AnyOwnerSessions {
  /** Lists the live sessions, the last seen first. @throws {AuthError} `AUTH_FAULT` without a store. */
  list (): Promise<readonly SessionRecord[]>
  /** Ends every session, except the one with the id `except`. */
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

/** Sessions of one scheme. */
export interface SessionFeature {
  /** Starts a session: `reply.login`. */
  login (request: FastifyRequest, reply: FastifyReply, principal: PrincipalInput, options: LoginOptions): Promise<void>
  /** Ends the session of the request: `reply.logout`. */
  logout (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Returns the sessions of one owner. */
  of (owner: StoreOwner): OwnerSessions
  /** Returns the sessions of all owners. */
  ofAnyOwner (): AnyOwnerSessions
  /**
   * Returns the path that a person was on their way to when they were sent to log in; `fallback` when there is none
   * that can be trusted.
   */
  returnTo? (request: FastifyRequest, fallback: string): string
  /** Where people are sent to log in. A protected one stops the boot: it would send them in a circle. */
  readonly loginPath?: string
}

/**
 * Type of `app.gatehouse.sessions`.
 *
 * @example
 * const sessions = app.gatehouse.sessions.of(request.principal)
 * await sessions.revokeAll({ except: request.auth.credential.id })
 */
export interface GatehouseSessions {
  /** The schemes that keep sessions. */
  readonly schemes: readonly SchemeName[]
  /**
   * Returns the sessions of one owner: a principal, or any `{ realm, id }`. Without `scheme`, those of all schemes
   * that keep sessions, so that `revokeAll` logs out everywhere.
   * @throws {AuthError} `AUTH_FAULT` when `owner` is not one, or when no scheme keeps sessions.
   */
  of (owner: StoreOwner, options?: SchemeChoice): OwnerSessions
  /**
   * Returns the sessions of all owners, for administration. Without `scheme`, those of all schemes.
   * @throws {AuthError} `AUTH_FAULT` when no scheme keeps sessions.
   */
  ofAnyOwner (options?: SchemeChoice): AnyOwnerSessions
  /**
   * Returns the path that a person was on their way to when they were sent to log in; `fallback` (`/`) when there is
   * none that can be trusted.
   */
  returnTo (request: FastifyRequest, fallback?: string): string
}
