import type { FastifyReply, FastifyRequest } from 'fastify'
import type { PrincipalInput } from './principal.js'
import type { SchemeChoice, SchemeName } from './names.js'
import type { StoreOwner } from './store.js'

/** The options of `reply.login`. */
export interface LoginOptions {
  /** The scheme of the session; needed only when several schemes have sessions. */
  readonly scheme?: string
  /** Keeps the person logged in after the browser is closed, for up to the `keepTimeout` of the scheme. */
  readonly keep?: boolean
  /**
   * Gives the current session a new id. It keeps its timeouts, and its data unless other data is given. Use it when the
   * rights of the person change, but not after a password was verified. Refused with `AUTH_REQUIRED` when there is no
   * live session.
   */
  readonly renew?: boolean
  /**
   * Allows a login that ends in a request from another site, such as the callback of an identity provider or a link
   * in a mail, which is refused with `AUTH_CROSS_SITE` otherwise. Set it only after the application has compared the
   * state in the request to one that it had bound to this browser: without that, any site can log a person in as
   * somebody else (login CSRF).
   */
  readonly stateChecked?: boolean
  /**
   * The time at which the person proved who they are, if that was before this call: `auth_time` of an identity
   * provider. `null` if it is unknown, which no `maxAge` accepts. Default: now.
   */
  readonly authenticatedAt?: Date | null
  /** Data of the session. It is in the cookie, so keep it small. */
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

/** Describes one session. Times are ISO 8601 strings. */
export interface SessionRecord {
  /** The same as `request.auth.credential.id`. It does not open the session. */
  readonly id: string
  readonly owner: StoreOwner
  readonly createdAt: string
  /** The last request, accurate to a minute. */
  readonly lastSeenAt: string
  /** The absolute end of the session. It ends earlier if it is idle. */
  readonly expiresAt: string
  /** The address of the login: Fastify's `request.ip`. */
  readonly address: string
  readonly userAgent: string
}

/**
 * Ends sessions of any owner by their id. For an id that comes from a request, use {@link OwnerSessions}.
 */
export interface AnyOwnerSessions {
  /**
   * Ends a session of any instance. Returns `false` if it did not exist. Without a store that is unknown, so the result
   * is `false` only if `id` does not have the form of an id.
   */
  revoke (id: string): Promise<boolean>
}

/**
 * The sessions of one owner. A session of somebody else is treated like one that does not exist.
 *
 * With a store, every call rejects with `AUTH_UNAVAILABLE` when the store is unavailable; whether a session was ended
 * is then unknown. Without one, only this process remembers which sessions were ended, and `list` rejects.
 */
export interface OwnerSessions extends AnyOwnerSessions {
  /** Lists the live sessions, the last used first. @throws {AuthError} `AUTH_FAULT` without a store. */
  list (): Promise<readonly SessionRecord[]>
  /** Ends every session, except the one with the id `except`. */
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

/** Describes the login that a redirect to the login page asks for. */
export interface LoginRequest {
  /** The path to which the login leads back, or `null`. */
  readonly path: string | null
  /** The maximum age of the authentication that the path requires, in seconds; 0 asks for a new one; or `null`. */
  readonly maxAge: number | null
}

/** A login at an OpenID provider, which a logout ends there too. */
export interface ProviderLogin {
  /** The name of the provider in this application. */
  readonly name: string
  /** The ID token, or `null` if the cookie had no room for it. */
  readonly idToken: string | null
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
   * Returns the path from which a person was redirected to the login page; `fallback` when there is no authentic one.
   */
  returnTo? (request: FastifyRequest, fallback: string): string
  /** The path of the login page. The boot stops if its route is protected, which would cause a redirect loop. */
  readonly loginPath?: string
  /**
   * Redirects a browser to the login page, which leads back to the path. Returns `false`, and sends nothing, if there
   * is not a login page or the client does not expect a page.
   */
  redirectToLogin? (request: FastifyRequest, reply: FastifyReply, login: LoginRequest): boolean
  /** Returns the login that the redirect to this request asks for. */
  loginRequestOf? (request: FastifyRequest): LoginRequest
  /** Derives keys from the secrets of the scheme for another part of the plugin, those of the newest secret first. */
  deriveKeys? (purpose: string): readonly Uint8Array[]
  /** The attributes of the cookie. */
  readonly cookie?: Readonly<{ secure: boolean, sameSite: 'Lax' | 'Strict' | 'None' }>
  /** Keeps the provider in the session that `login` begins for this request. */
  noteProvider? (request: FastifyRequest, provider: ProviderLogin): void
  /** Returns the provider of the session that the request carries, or `null`. */
  providerOf? (request: FastifyRequest): ProviderLogin | null
}

/**
 * Type of `app.gatehouse.sessions`.
 *
 * @example
 * const sessions = app.gatehouse.sessions.of(request.principal)
 * await sessions.revokeAll({ except: request.auth.credential.id })
 */
export interface GatehouseSessions {
  /** The schemes with sessions. */
  readonly schemes: readonly SchemeName[]
  /**
   * Returns the sessions of one owner: a principal, or any `{ realm, id }`. Without `scheme`, those of all schemes,
   * so that `revokeAll` logs out everywhere.
   * @throws {AuthError} `AUTH_FAULT` when `owner` is not one, or when no scheme has sessions.
   */
  of (owner: StoreOwner, options?: SchemeChoice): OwnerSessions
  /**
   * Returns the sessions of all owners, for administration. Without `scheme`, those of all schemes.
   * @throws {AuthError} `AUTH_FAULT` when no scheme has sessions.
   */
  ofAnyOwner (options?: SchemeChoice): AnyOwnerSessions
  /**
   * Returns the path from which a person was redirected to the login page; `fallback` (default `/`) when there is no
   * authentic one.
   */
  returnTo (request: FastifyRequest, fallback?: string): string
}
