import type { Authenticated } from './outcome.js'
import type { Principal } from './principal.js'
import type { Roles, Schemes, Scopes } from './registry.js'

/** What {@link Schemes} holds of one scheme. */
export interface SchemeEntry<P = Principal, C = unknown> {
  readonly principal: P
  readonly credential: C
}

/**
 * Asked of `authenticate` alone: a plain scheme in a `const` need not be annotated, and the registry does not come to
 * depend on itself through `FastifyRequest`.
 */
type EntryOfScheme<S> = S extends { authenticate (request: never): infer Answer }
  ? EntryOfOutcome<Extract<Awaited<Answer>, { readonly kind: 'authenticated' }>>
  : never

type EntryOfOutcome<O> = [O] extends [Pick<Authenticated<infer P, infer C>, 'kind' | 'principal' | 'credential'>]
  ? SchemeEntry<P, C>
  : never

type EntryOfMade<M> = M extends { readonly scheme: infer S } ? EntryOfScheme<S> : EntryOfScheme<M>

type EntryOf<S> = S extends (app: never, name: string, context: never) => infer Made
  ? EntryOfMade<Awaited<Made>>
  : EntryOfScheme<S>

/** The members of {@link Schemes} for a record of schemes: from each name to its principal and its credential. */
export type SchemesOf<T extends Readonly<Record<string, object>>> = { readonly [K in keyof T]: EntryOf<T[K]> }

type NameOf<Registry> = keyof Registry extends never ? string : Extract<keyof Registry, string>

/** The name of a scheme: a key of `schemes`. */
export type SchemeName = NameOf<Schemes>

/** Chooses the scheme of a call. */
export interface SchemeChoice {
  /** Needed only where several schemes can do what is called. */
  readonly scheme?: SchemeName
}

/** The name of a scope. */
export type ScopeName = NameOf<Scopes>

/** The name of a role. */
export type RoleName = NameOf<Roles>

/** The principal of one scheme; of several, one of theirs. An unknown name is anybody's. */
export type PrincipalOf<K extends string> = [keyof Schemes] extends [never]
  ? Principal
  : Members<Schemes, K>['principal']

/** What a handler may know of the credential of one scheme. */
export type CredentialOf<K extends string> = [keyof Schemes] extends [never]
  ? unknown
  : Members<Schemes, K>['credential']

/** The members under the names that the registry knows: all of them when it knows none of the names. */
type Members<Registry, K extends string> = Extract<Extract<K, keyof Registry> extends never
  ? Registry[keyof Registry]
  : Registry[Extract<K, keyof Registry>], SchemeEntry<unknown>>

/** The principal of any scheme. */
export type AnyPrincipal = PrincipalOf<SchemeName>
