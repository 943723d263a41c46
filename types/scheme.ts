import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { No, Right } from './answer.js'
import type { Challenge } from './challenge.js'
import type { CredentialSource } from './credential-source.js'
import type { AuthFailure } from './error.js'
import type { Features } from './features.js'
import type { OpenApiSecurityScheme } from './openapi.js'
import type { CrossSite, Limited, Outcome, Unavailable } from './outcome.js'
import type { Principal, PrincipalInput } from './principal.js'
import type { Store } from './store.js'

/** Passed to a {@link Load} function beside the principal. */
export interface LoadContext {
  readonly scheme: string
  readonly request: FastifyRequest
}

/**
 * Adds what a database knows to a principal (roles, scopes, a disabled account). A no (`null`, `undefined`, `false` or
 * `{ valid: false }`) refuses the caller with 401; an error that it throws is answered with 500.
 */
export type Load<P extends Principal = Principal> = {
  bivarianceHack (principal: P, context: LoadContext): PrincipalInput | No | Promise<PrincipalInput | No>
}['bivarianceHack']

/**
 * One way of proving identity, made for one application. This interface is all that the guard knows of a scheme.
 *
 * `P` is the principal that it makes, `C` what a handler may know of the credential.
 */
export interface Scheme<P extends Principal = Principal, C = unknown> {
  /**
   * Reads from a request whether it carries a credential of this kind, and whose.
   * Returns, never throws: what it throws is answered with 500, in every mode.
   * Where nothing is awaited it returns the outcome itself, not a promise.
   */
  authenticate (request: FastifyRequest): Outcome<P, C> | Promise<Outcome<P, C>>
  /**
   * Returns the challenge of a failure, or several; left out, or `null`, where the scheme has none. A 401 that would
   * have no challenge at all gets the one that `openapi` implies: `APIKey`, `Cookie`, `Bearer`, `ClientCertificate` or
   * the HTTP scheme that is named there, with the scheme's name as its realm.
   */
  challenge? (failure: AuthFailure): Challenge | readonly Challenge[] | null
  /**
   * Answers a refusal itself (such as by a redirect to a login page) and returns `true`; `false` leaves it to the
   * guard.
   */
  refuse? (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure): boolean
  /** Describes the scheme as OpenAPI does. */
  readonly openapi: OpenApiSecurityScheme
  /** Where its credentials travel, which is kept out of the log. Default: where `openapi` says. */
  readonly sources?: readonly CredentialSource[]
  /**
   * `true` if browsers send the credential by themselves (cookies, Basic): cross-site requests are then checked, unless
   * the outcome says that this credential came otherwise.
   */
  readonly ambient?: boolean
  /** `true` if its outcomes say when the person authenticated (`authenticatedAt`), so that `maxAge` can be checked. */
  readonly reportsAuthTime?: boolean
  /**
   * `true` if its principals may have less than those they act for, of whom it knows nothing. A `none` rule is judged
   * by everything that the owner has, so it stops the boot where principals of this scheme would meet it.
   */
  readonly ownerUnknown?: boolean
  /**
   * `Cache-Control` of responses to authenticated callers, unless the handler writes its own: for credentials that
   * shared caches do not recognise (RFC 9111, 3.5).
   */
  readonly cacheControl?: string
  /**
   * Completes principals of this scheme from a database, in place of the plugin's `load`. `null`: the scheme loads in
   * its own way, and neither is called.
   */
  readonly load?: Load<P> | null
  /**
   * Adds a property to every request: the principal of this scheme if it authenticated the request, else `null`. `true`
   * for the scheme's own name.
   */
  readonly decorate?: true | string | null
}

/** A guess that was checked: `result` is what the check returned, or `null` for a wrong guess. */
export interface Checked<T> {
  readonly kind: 'checked'
  readonly result: Right<T> | null
}

/** Limits guesses of passwords and secrets: an account and an address each have a few in a window. */
export interface Guesses {
  /**
   * Reserves a slot for the account and for the address of the request, then checks; a success gives both back. A check
   * that returned something falsy, or `{ valid: false }`, was a wrong guess, and its result is `null`. What it throws
   * does not count as a guess, and is thrown on.
   * @param account whose password is guessed, as it was sent: spellings of one name count as one.
   * @returns the result of `check`, `null` for a wrong guess; or, where it was not called, the outcome for the guard:
   * *limited*, *unavailable* (the store does not respond), *cross-site*.
   */
  attempt<T> (
    request: FastifyRequest, account: string, check: () => T | Promise<T>
  ): Promise<Checked<T> | Limited | Unavailable | CrossSite>
}

/** Passed to a factory: what the application has for its schemes. */
export interface SchemeContext {
  /** The application's store, or one in the memory of the process. Every call ends within the deadline. */
  readonly store: Store
  /** `true` if a store was configured, so that other instances may share it. */
  readonly shared: boolean
  /** Limits guesses at the secrets of this scheme. */
  readonly guesses: Guesses
  /** The plugin's own `load`, for schemes that load in their own way. */
  readonly load: Load | null
  /** Returns whether a principal has a scope or role, itself or by a role that includes it. */
  grants (principal: Principal, kind: 'scopes' | 'roles', name: string): boolean
}

/** The result of a factory: a scheme, alone or with what it offers to applications. */
export type Made<P extends Principal = Principal, C = unknown> =
  | Scheme<P, C>
  | { readonly scheme: Scheme<P, C>, readonly features: Features }

/**
 * Makes a scheme for one application, under its name, once: the type of what `jwt({...})` and its like return.
 * Keeps no state of its own, so that one definition can serve two applications.
 */
export type SchemeFactory<P extends Principal = Principal, C = unknown> =
  (app: FastifyInstance, name: string, context: SchemeContext) => Made<P, C> | Promise<Made<P, C>>
