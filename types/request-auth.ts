import type { AnyPrincipal, CredentialOf, PrincipalOf, RoleName, SchemeName, ScopeName } from './names.js'
import type { AuthErrorCode } from './outcome.js'
import type { Defaults } from './registry.js'
import type { AtLeastOne, Clause, DidYouMean } from './route-auth.js'

/** Describes why a credential was refused. Type of `request.auth.error`. */
export interface RequestAuthError extends Error {
  readonly code: AuthErrorCode
  readonly statusCode: number
  /** The same as `statusCode`, for error handlers that were written for `http-errors`. */
  readonly status: number
  /** `true` if clients may see `message`: for a status below 500. */
  readonly expose: boolean
  /** The scheme that refused the credential, or failed; if none was sent, the only scheme of the route, or `null`. */
  readonly scheme: string | null
  /** The headers of the refusal, which are on the reply already. */
  readonly headers: Readonly<Record<string, string>>
  /** The reason, for the operator's log; never for the client. */
  readonly detail: string
}

/** Parameters of `request.auth.allows`: scopes, roles, or both, all of which must hold. */
export type AllowsQuery = AtLeastOne<{ readonly scopes?: Clause<ScopeName>, readonly roles?: Clause<RoleName> }> & {
  readonly scope?: DidYouMean<'scopes'>
  readonly role?: DidYouMean<'roles'>
}

/** Describes the caller as authenticated by one scheme. */
export interface AuthEntry<P = AnyPrincipal, C = unknown> {
  readonly principal: P
  /** Describes the credential, such as by the claims of a token. Never contains the secret itself. */
  readonly credential: C
  /** The time of authentication, as an ISO 8601 string; `null` if the scheme does not report it. */
  readonly authenticatedAt: string | null
  /** The time at which the credential expires, as an ISO 8601 string; `null` if it does not. */
  readonly expiresAt: string | null
}

/** Holds an entry for every scheme that authenticated the request: several only for a route with `{ all }`. */
export type AllEntries = { readonly [K in SchemeName]?: AuthEntry<PrincipalOf<K>, CredentialOf<K>> }

/** Describes a caller who is authenticated by the scheme `K`. */
export interface AuthenticatedAs<K extends SchemeName> extends AuthEntry<PrincipalOf<K>, CredentialOf<K>> {
  readonly authenticated: true
  readonly scheme: K
  readonly error: null
  readonly all: AllEntries
  /**
   * Aborts when the credential expires or is revoked, for WebSockets and event streams, which outlive their request.
   * The reason is an `AuthError`.
   */
  readonly signal: AbortSignal
  /** Returns `true` if the principal has these scopes and roles. */
  allows (query: AllowsQuery): boolean
}

/**
 * Describes a caller who is not authenticated: on a public route, in a mode that allows it, or before the guard has
 * run.
 */
export interface Anonymous {
  readonly authenticated: false
  readonly scheme: null
  readonly principal: null
  readonly credential: null
  readonly authenticatedAt: null
  readonly expiresAt: null
  /** The refusal of the credential that was sent, in the mode `try`. */
  readonly error: RequestAuthError | null
  readonly all: { readonly [name: string]: undefined }
  readonly signal: null
  /** Returns `false`. */
  allows (query: AllowsQuery): boolean
}

type Known<K extends SchemeName> = K extends SchemeName ? AuthenticatedAs<K> : never

/** Describes the caller: a union over the schemes. A check of `scheme` narrows `principal` and `credential`. */
export type RequestAuth = Known<SchemeName> | Anonymous

/**
 * Returns the name alone. In a constant of the type `RouteAuth`, a name is an intersection, which no scheme has as its
 * key.
 */
type NameAlone<S extends string> = string extends SchemeName ? S : SchemesNamed<SchemeName, S>

type SchemesNamed<K extends SchemeName, S extends string> = K extends SchemeName ? (S extends K ? K : never) : never

/** Returns the names of the acting schemes in a `schemes` expression: for `{ all }`, the first. */
type Acting<S> = S extends string ? NameAlone<S>
  : S extends readonly (infer E)[] ? (E extends string ? E : Acting<E>)
    : S extends { readonly all: readonly [infer First extends string, ...unknown[]] } ? First
      : S extends { readonly all: readonly (infer E extends string)[] } ? E
        : SchemeName

/** Restricts a default to those that the application declares in {@link Defaults}, if it declares any. */
export type DeclaredDefault<All> = [keyof Defaults] extends [never] ? All : All & Defaults[keyof Defaults]

/** Returns the names of the acting schemes that a declaration names itself. */
type NamedSchemes<A> = A extends string | readonly unknown[] ? Acting<A>
  : A extends { readonly schemes: infer S } ? Acting<S>
    : never

type AnyDefault = Defaults[keyof Defaults]

/** The schemes of the declared defaults, or all schemes if they name none. */
type DefaultSchemes = [NamedSchemes<AnyDefault>] extends [never] ? SchemeName : NamedSchemes<AnyDefault>

/** `null` if a default may let anonymous callers in, or none is declared. */
type DefaultAnonymous = [keyof Defaults] extends [never] ? null : AnonymousDefault<AnyDefault>

type AnonymousDefault<D> = D extends { readonly public: string } ? null : AnonymousIn<D>

type SchemesIn<A> = [NamedSchemes<A>] extends [never] ? DefaultSchemes : NamedSchemes<A>

/** Returns `null` for modes that let anonymous callers in, and for a mode whose type is not a literal. */
type AnonymousIn<A> = A extends { readonly mode?: infer M }
  ? ([M] extends ['required' | undefined] ? never : 'mode' extends keyof A ? null : never)
  : never

/** Returns the type of the principal for a form of `config.auth`. */
type PrincipalUnder<A> = A extends false | { readonly public: string }
  ? null
  : PrincipalOf<SchemesIn<A>> | AnonymousIn<A>

/**
 * Returns the type of `request.auth` for a form of `config.auth`. It is not narrowed for a public route, which may have
 * a guard as a hook.
 */
type AuthUnder<A> = A extends false | { readonly public: string }
  ? RequestAuth
  : Known<SchemesIn<A> & SchemeName> | (null extends AnonymousIn<A> ? Anonymous : never)

/**
 * Expands an object type, so that requests of different routes are compared by structure, and all of them are
 * assignable to `FastifyRequest`.
 */
type Simplify<T> = { [K in keyof T]: T[K] }

/**
 * Returns the type of `request.principal` for a route's `config.auth`: the principals of its schemes, with `null` if
 * anonymous callers are let in; for a public route, only `null`. A route without `config.auth` has the principals of
 * the {@link Defaults}. If none are declared, it may be opened by a public path or inherit a default of any mode, so
 * its type is every principal, and `null`. A route that names schemes but no `mode` is typed as required: below a
 * default with another mode, write `mode` on the route too.
 */
export type PrincipalFor<ContextConfig> = Simplify<ContextConfig extends { readonly auth: infer A }
  ? PrincipalUnder<A>
  : PrincipalOf<DefaultSchemes> | DefaultAnonymous>

/** Returns the type of `request.auth`, by the same rules: of the schemes that the route names, or of all. */
export type AuthFor<ContextConfig> = Simplify<ContextConfig extends { readonly auth: infer A }
  ? AuthUnder<A>
  : Known<DefaultSchemes & SchemeName> | (null extends DefaultAnonymous ? Anonymous : never)>
