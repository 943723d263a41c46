import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ApiKeyFeature } from './api-keys.js'
import type { OpenApiSecurityScheme } from './openapi.js'
import type { AuthFailure, CrossSite, Limited, Outcome, Unavailable } from './outcome.js'
import type { No, Principal, PrincipalInput, Right } from './principal.js'
import type { SessionFeature } from './sessions.js'
import type { Store } from './store.js'
import type { TokenFeature } from './tokens.js'

/** Parameters of a {@link Load} function beside the principal. */
export interface LoadContext {
  /** The name of the scheme that authenticated the principal. */
  readonly scheme: string
  /** The request. For the owner of a managed API key, it has only `server` and `log`. */
  readonly request: FastifyRequest
}

type Loaded = Partial<PrincipalInput>

/**
 * Returns the fields to add to a principal from a database, such as its roles and scopes. `null`, `undefined`,
 * `false` or `{ valid: false }`, such as for a disabled account, refuses the caller with 401. An error is answered with
 * 500.
 */
export type Load<P extends Principal = Principal> = {
  bivarianceHack (principal: P, context: LoadContext): Loaded | No | Promise<Loaded | No>
}['bivarianceHack']

/**
 * Authenticates requests by one kind of credential, in one application. The guard uses nothing of a scheme but this
 * interface.
 *
 * `P` is the type of its principals, and `C` that of the credential data for handlers.
 */
export interface Scheme<P extends Principal = Principal, C = unknown> {
  /**
   * Reads and checks the credential of a request. An error that it throws is answered with 500, in every mode. Return a
   * promise only if something is awaited.
   */
  authenticate (request: FastifyRequest): Outcome<P, C> | Promise<Outcome<P, C>>
  /**
   * Returns the challenge or challenges of a failure, or `null` for none. A 401 without any challenge gets one by
   * `openapi`: `APIKey`, `Cookie`, `Bearer`, `ClientCertificate` or the HTTP scheme that is named there, with the
   * scheme's name as its realm.
   */
  challenge? (failure: AuthFailure): Challenge | readonly Challenge[] | null
  /**
   * Answers a refusal itself (such as by a redirect to a login page) and returns `true`; `false` leaves it to the
   * guard. If it returns `true` and no response begins within ten seconds, the response is a 500.
   */
  refuse? (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure): boolean
  /** Describes the scheme as OpenAPI does. */
  readonly openapi: OpenApiSecurityScheme
  /** The parts of requests that carry its credentials, and are redacted in the log. Default: by `openapi`. */
  readonly sources?: readonly CredentialSource[]
  /**
   * `true` if browsers send the credential automatically (cookies, Basic): cross-site requests are then checked, unless
   * the outcome has `ambient: false`. Default: `true` if one of its `sources` is such a place.
   */
  readonly ambient?: boolean
  /** `true` if its outcomes have the time of authentication (`authenticatedAt`), so that `maxAge` can be checked. */
  readonly reportsAuthTime?: boolean
  /**
   * `true` if its principals may have fewer rights than their owners, whom the scheme does not know. A `none` rule is
   * checked against all rights of the owner, so such a rule stops the boot if it applies to principals of this scheme.
   */
  readonly ownerUnknown?: boolean
  /**
   * `true` if delegated credentials may use all routes of the scheme; `false` if only those that require a scope. Left
   * out if the scheme has no delegated credentials.
   */
  readonly delegated?: boolean
  /**
   * Describes what credentials must have, such as issuers and audiences, as JSON. The command `fastify-gatehouse audit`
   * compares it between releases. It must not contain a secret.
   */
  readonly accepts?: Readonly<Record<string, unknown>>
  /**
   * The realms of the configured principals, if any differs from the name of the scheme. The boot stops if one of them
   * is the issuer of a scheme that signs tokens, because that is the realm of its clients.
   */
  readonly realms?: readonly string[]
  /**
   * `Cache-Control` of responses to authenticated callers, unless the handler writes its own: for credentials that
   * shared caches do not recognise (RFC 9111, 3.5).
   */
  readonly cacheControl?: string
  /**
   * Adds fields from a database to principals of this scheme, in place of the plugin's `load`. `null` if the scheme
   * does this itself, so that no `load` is called.
   */
  readonly load?: Load<P> | null
  /**
   * Adds a property to every request: the principal of this scheme if it authenticated the request, else `null`. `true`
   * for the scheme's own name.
   */
  readonly decorate?: true | string | null
}

/** Holds the result of a guess that was checked, or `null` for a wrong guess. */
export interface Checked<T> {
  readonly kind: 'checked'
  readonly result: Right<T> | null
}

/** Limits guesses of passwords and secrets per account and per address. */
export interface Guesses {
  /**
   * Reserves a guess for the account and one for the address of the request, and then calls `check`; a success releases
   * both. A falsy result, or `{ valid: false }`, is a wrong guess. An error that `check` throws is rethrown and not
   * counted.
   * @param account the name as it was sent: different spellings of a name are counted together.
   * @returns the result of `check`, `null` for a wrong guess; or, if `check` was not called, the outcome for the guard:
   * *limited*, *unavailable* (the store does not respond) or *cross-site*.
   */
  attempt<T> (
    request: FastifyRequest, account: string, check: () => T | Promise<T>
  ): Promise<Checked<T> | Limited | Unavailable | CrossSite>
}

/** Parameters of a {@link SchemeFactory} from the application. */
export interface SchemeContext {
  /** The application's store, or one in the memory of the process. Every call ends within the deadline. */
  readonly store: Store
  /** `true` if a store was configured, so that other instances may share it. */
  readonly shared: boolean
  /** Limits guesses at the secrets of this scheme. */
  readonly guesses: Guesses
  /** The plugin's own `load`, for schemes that complete principals themselves. */
  readonly load: Load | null
  /** Returns `true` if a principal has a scope or role, itself or by a role that includes it. */
  grants (principal: Principal, kind: 'scopes' | 'roles', name: string): boolean
}

/** The result of a {@link SchemeFactory}: a scheme, alone or with its functions for applications. */
export type Made<P extends Principal = Principal, C = unknown> =
  | Scheme<P, C>
  | { readonly scheme: Scheme<P, C>, readonly features: Features }

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

/**
 * Creates a scheme for one application; `jwt({...})` and the like return such a function. It must not keep state of its
 * own, so that several applications can use one definition.
 */
export type SchemeFactory<P extends Principal = Principal, C = unknown> =
  (app: FastifyInstance, name: string, context: SchemeContext) => Made<P, C> | Promise<Made<P, C>>

/**
 * Describes one challenge of the header `WWW-Authenticate` (RFC 9110, 11.6.1). When it is serialised, strings are
 * quoted and escaped, and numbers are not.
 */
export interface Challenge {
  /** The HTTP authentication scheme, such as `Bearer` or `Basic`. */
  readonly scheme: string
  /** The parameters. Those that are `undefined` are left out. */
  readonly params: Readonly<Record<string, string | number | undefined>>
}

/**
 * Names the part of a request that carries a credential: `Authorization: Bearer`, another word in `Authorization`
 * (`authorization:Token`), the user name of HTTP Basic with an empty password (`curl -u KEY:`), a header, a query
 * parameter or a cookie.
 */
export type CredentialSource =
  | 'bearer'
  | 'basic:username'
  | `authorization:${string}`
  | `header:${string}`
  | `query:${string}`
  | `cookie:${string}`
