import type { AuthErrorCode } from './error.js'
import type { AnyPrincipal, CredentialOf, PrincipalOf, RoleName, SchemeName, ScopeName } from './names.js'
import type { AtLeastOne, Clause } from './route-auth.js'

/** Why a credential was not accepted, as `request.auth.error` shows it. */
export interface RequestAuthError extends Error {
  readonly code: AuthErrorCode
  readonly statusCode: number
  /** The same as `statusCode`, for error handlers that were written for `http-errors`. */
  readonly status: number
  /** `true` where clients may see `message`: below 500. */
  readonly expose: boolean
  /** The scheme that refused the credential or, where none was sent, the only scheme of the route; else `null`. */
  readonly scheme: string | null
  /** The headers of the refusal, which are on the reply already. */
  readonly headers: Readonly<Record<string, string>>
  /** The reason, for the operator's log; never for the client. */
  readonly detail: string
}

/** What `request.auth.allows` is asked: scopes, roles, or both, all of which must hold. */
export type AllowsQuery = AtLeastOne<{ readonly scopes?: Clause<ScopeName>, readonly roles?: Clause<RoleName> }> & {
  readonly scope?: never
  readonly role?: never
}

/** One scheme's part of an `{ all }`. */
export interface AuthEntry<P = AnyPrincipal, C = unknown> {
  readonly principal: P
  readonly credential: C
  /** When the person proved who they are, as an ISO 8601 string; `null` where the scheme cannot say. */
  readonly authenticatedAt: string | null
  /** When the credential ends, as an ISO 8601 string; `null` where it does not. */
  readonly expiresAt: string | null
}

/** Every scheme that a request satisfied, by name: several only where the route says `{ all }`. */
export type AllEntries = { readonly [K in SchemeName]?: AuthEntry<PrincipalOf<K>, CredentialOf<K>> }

/** A caller whom one scheme knows. */
export interface AuthenticatedAs<K extends SchemeName> extends AuthEntry<PrincipalOf<K>, CredentialOf<K>> {
  readonly authenticated: true
  readonly scheme: K
  readonly error: null
  readonly all: AllEntries
  /**
   * Aborted when the credential expires or is revoked: for WebSockets and event streams, which outlive their request.
   * Its reason is an `AuthError`.
   */
  readonly signal: AbortSignal
  /** Whether the principal has these scopes and roles. */
  allows (query: AllowsQuery): boolean
}

/** A caller whom nobody knows: a public route, a mode that lets them in, or the guard has not run yet. */
export interface Anonymous {
  readonly authenticated: false
  readonly scheme: null
  readonly principal: null
  readonly credential: null
  readonly authenticatedAt: null
  readonly expiresAt: null
  /** Mode `try`: why the credential that was sent is not accepted. */
  readonly error: RequestAuthError | null
  readonly all: { readonly [name: string]: undefined }
  readonly signal: null
  /** Always `false`. */
  allows (query: AllowsQuery): boolean
}

type Known<K extends SchemeName> = K extends SchemeName ? AuthenticatedAs<K> : never

/** Who is calling: a union over the schemes. Asking for `scheme` narrows `principal` and `credential`. */
export type RequestAuth = Known<SchemeName> | Anonymous

/** The names in a `schemes` expression whose principal acts: of `{ all }`, the first. */
type Acting<S> = S extends string ? S
  : S extends readonly (infer E)[] ? (E extends string ? E : Acting<E>)
    : S extends { readonly all: readonly [infer First extends string, ...unknown[]] } ? First
      : S extends { readonly all: readonly (infer E extends string)[] } ? E
        : SchemeName

type SchemesIn<A> = A extends string | readonly unknown[] ? Acting<A>
  : A extends { readonly schemes: infer S } ? Acting<S>
    : SchemeName

/** Anonymous callers enter under every mode but `required`; a mode that only runtime knows may be any of them. */
type AnonymousIn<A> = A extends { readonly mode?: infer M }
  ? ([M] extends ['required' | undefined] ? never : 'mode' extends keyof A ? null : never)
  : never

/** What one form of `config.auth` makes of the principal; of a union of forms, one of theirs. */
type PrincipalUnder<A> = A extends false | { readonly public: string }
  ? null
  : PrincipalOf<SchemesIn<A>> | AnonymousIn<A>

/**
 * What one form of `config.auth` makes of `request.auth`. A public route may have a guard of its own in a hook, so
 * there it stays open.
 */
type AuthUnder<A> = A extends false | { readonly public: string }
  ? RequestAuth
  : Known<SchemesIn<A> & SchemeName> | (null extends AnonymousIn<A> ? Anonymous : never)

/**
 * Writes an object type out, so that requests of two routes are compared by what they hold and any of them passes where
 * a `FastifyRequest` is asked for.
 */
type Simplify<T> = { [K in keyof T]: T[K] }

/**
 * The type of `request.principal`, by what the route says in `config.auth`: the principals of its schemes, with `null`
 * where anonymous callers enter, and `null` alone where the route is public. A route that says nothing may be opened by
 * a public path or stand under a default of any mode: every principal, and `null`. A route that names its schemes and
 * no `mode` counts as required: below a default of another mode, write `mode` on the route too.
 */
export type PrincipalFor<ContextConfig> = Simplify<ContextConfig extends { readonly auth: infer A }
  ? PrincipalUnder<A>
  : AnyPrincipal | null>

/** The type of `request.auth`, by the same rules: of the schemes that the route names, or of all. */
export type AuthFor<ContextConfig> = Simplify<ContextConfig extends { readonly auth: infer A }
  ? AuthUnder<A>
  : RequestAuth>
