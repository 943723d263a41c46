import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { No, Right } from './answer.js'
import type { ApiKeys } from './api-keys.js'
import type { Challenge } from './challenge.js'
import type { AuthFailure } from './error.js'
import type { CrossSite, Limited, Outcome, Unavailable } from './outcome.js'
import type { Place } from './place.js'
import type { Principal, PrincipalInput } from './principal.js'
import type { SessionIndex } from './sessions.js'
import type { Store } from './store.js'

/** A security scheme as OpenAPI 3 describes it (Security Scheme Object). */
export type OpenApiSecurityScheme =
  | { readonly type: 'http', readonly scheme: string, readonly bearerFormat?: string, readonly description?: string }
  | { readonly type: 'apiKey', readonly in: 'header' | 'query' | 'cookie', readonly name: string, readonly description?: string }
  | { readonly type: 'openIdConnect', readonly openIdConnectUrl: string, readonly description?: string }
  | { readonly type: 'oauth2', readonly flows: Readonly<Record<string, unknown>>, readonly description?: string }
  | { readonly type: 'mutualTLS', readonly description?: string }

/** What a {@link Load} function is told beside the principal. */
export interface LoadContext {
  readonly scheme: string
  readonly request: FastifyRequest
}

/**
 * Adds what a database knows to a principal (roles, scopes, a disabled account). A no (`null`, `undefined`, `false` or `{ valid: false }`) refuses the caller with 401; what
 * it throws is a 500.
 */
export type Load<P extends Principal = Principal> = {
  bivarianceHack (principal: P, context: LoadContext): PrincipalInput | No | Promise<PrincipalInput | No>
}['bivarianceHack']

/** What `reply.login` takes beside the principal. */
export interface LoginOptions {
  /** The scheme that keeps the session; needed only when there are several. */
  readonly scheme?: string
  /** Remember me: the session may live for the scheme's longer time. */
  readonly keep?: boolean
  /**
   * Whoever is logged in was not asked again: a new id for their session, with its times, and its data unless other is given. For a change of what they may do;
   * after a password, leave it out. Refused with `AUTH_REQUIRED` where there is no live session.
   */
  readonly renew?: boolean
  /**
   * Allows a login that ends in a request from another site, such as the callback of an identity provider or a link in a mail, which is
   * refused with `AUTH_CROSS_SITE` otherwise. Write `true` only after the application has compared a state that came with the request to
   * one that it had bound to this browser: without that, any site can log a person in as somebody else (login CSRF).
   */
  readonly stateChecked?: boolean
  /** The session's own data. It travels in the cookie: keep it small. */
  readonly data?: Readonly<Record<string, unknown>>
}

/** What `app.gatehouse.tokens.issue` takes beside the principal. */
export interface IssueOptions {
  /** The scheme whose key signs; needed only when there are several that can. */
  readonly scheme?: string
  /** Seconds until the token expires; left out, the scheme's own. */
  readonly expiresIn?: number | `${number}${'s' | 'm' | 'h' | 'd'}`
  /** Further claims. The registered ones (`iss`, `aud`, `sub`, `exp`, `nbf`, `iat`, `jti`) are the scheme's to write. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/**
 * One way of proving identity, ready to be asked. This interface is the whole contract; what is optional is an optional member.
 *
 * `P` is the principal it makes, `C` what a handler may know of the credential.
 */
export interface Scheme<P extends Principal = Principal, C = unknown> {
  /**
   * Says of one request whether it carries a credential of this kind, and whose.
   * Returns, never throws: what it throws is a fault of ours and answers 500, in every mode.
   * Where nothing is awaited it returns the outcome itself, not a promise.
   */
  authenticate (request: FastifyRequest): Outcome<P, C> | Promise<Outcome<P, C>>
  /**
   * The challenge for one failure; left out, or `null`, where the scheme has none. A 401 that would have no challenge at all gets one that `openapi` implies:
   * `APIKey`, `Cookie`, `Bearer`, `ClientCertificate` or the HTTP scheme that is named there, with the scheme's name as its realm.
   */
  challenge? (failure: AuthFailure): Challenge | null
  /** Answers a refusal by itself (the redirect to a login page) and says `true`; `false` leaves it to the guard. */
  refuse? (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure): boolean
  /** How OpenAPI describes it. */
  readonly openapi: OpenApiSecurityScheme
  /** Where its credentials travel: what is kept out of the log. Left out, where `openapi` says; of `Authorization` and cookies it is known without. */
  readonly places?: readonly Place[]
  /** Browsers send the credential by themselves (cookies, Basic): cross-site requests are checked, unless the outcome says that this one came otherwise. */
  readonly ambient?: boolean
  /** Its outcomes say when the person authenticated (`authenticatedAt`): `maxAge` may be asked of it. */
  readonly dated?: boolean
  /**
   * Its principals may have less than those they act for, of whom it knows nothing: a `none` rule, which is judged by everything that somebody has, stops the boot where
   * principals of this scheme would meet it.
   */
  readonly ownerUnknown?: boolean
  /** `Cache-Control` of what an authenticated caller gets, unless the handler writes its own: for credentials that shared caches do not know as such (RFC 9111, 3.5). */
  readonly cacheControl?: string
  /** A path that must be open for this scheme to work (its login page): protected, it stops the boot. */
  readonly publicPath?: string
  /** Adds what a database knows, for principals of this scheme; the plugin's own `load` is then not asked. `null`: the scheme loads in its own way, and none is asked. */
  readonly load?: Load<P> | null
  /** Starts a session: what `reply.login` calls. */
  login? (request: FastifyRequest, reply: FastifyReply, principal: PrincipalInput, options: LoginOptions): Promise<void>
  /** Ends the session: what `reply.logout` calls. */
  logout? (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** The path that a person was on their way to when they were sent to log in; `fallback` when there is none that can be trusted. */
  returnTo? (request: FastifyRequest, fallback: string): string
  /** The sessions that it keeps: what `app.gatehouse.sessions` calls. */
  readonly sessions?: SessionIndex
  /** The keys that it manages: what `app.gatehouse.apiKeys` calls. */
  readonly apiKeys?: ApiKeys
  /** Signs a token for a principal: what `app.gatehouse.tokens.issue` calls. */
  issue? (principal: PrincipalInput, options: IssueOptions): Promise<string>
}

/** A guess that was checked: what the check returned, or `null` where it said no. */
export interface Checked<T> {
  readonly kind: 'checked'
  readonly result: Right<T> | null
}

/** Counts guesses of passwords and secrets: an account and an address each have a few in a window. */
export interface Guesses {
  /**
   * Reserves a slot for the account and for the address of the request, then checks; a success gives both back. A check that returned something falsy, or
   * `{ valid: false }`, was a wrong guess, and its result is `null`. What it throws is no guess, and is thrown.
   * @param account whose password is guessed, as it was sent: spellings of one name count as one.
   * @returns what `check` found, `null` for a wrong guess; or, where it was not called, the outcome for the guard: *limited*, *unavailable* (the store does not answer), *cross-site*.
   */
  attempt<T> (request: FastifyRequest, account: string, check: () => T | Promise<T>): Promise<Checked<T> | Limited | Unavailable | CrossSite>
}

/** What a scheme gets of the application that it is made for. */
export interface SchemeContext {
  /** The application's store, or one in the memory of the process. Every call ends within the deadline. */
  readonly store: Store
  /** A store was configured, so that other instances may share it. */
  readonly shared: boolean
  /** Guesses at the secrets of this scheme. */
  readonly guesses: Guesses
  /** The plugin's own `load`, for schemes that load in their own way. */
  readonly load: Load | null
  /** Whether a principal has a scope or role, itself or by a role that includes it. */
  grants (principal: Principal, kind: 'scopes' | 'roles', name: string): boolean
}

/**
 * What `jwt({...})` and its like return: makes the scheme for one application, under its name, once.
 * Keeps no state of its own, so that one definition can serve two applications. The plugin always gives the context.
 */
export type SchemeFactory<P extends Principal = Principal, C = unknown> =
  (app: FastifyInstance, name: string, context?: SchemeContext) => Scheme<P, C> | Promise<Scheme<P, C>>
