import type { Authenticated } from './outcome.js'
import type { Principal } from './principal.js'
import type { Plans, Roles, Schemes, Scopes } from './registry.js'

/** Describes one scheme in {@link Schemes}. */
export interface SchemeEntry<P = Principal, C = unknown> {
  readonly principal: P
  readonly credential: C
}

/**
 * Infers the entry from `authenticate` alone, so that a scheme in a `const` needs no annotation, and the registry does
 * not depend on itself through `FastifyRequest`.
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

/** Maps each name in a record of schemes to its principal and credential, for {@link Schemes}. */
export type SchemesOf<T extends Readonly<Record<string, object>>> = { readonly [K in keyof T]: EntryOf<T[K]> }

type NameOf<Registry> = keyof Registry extends never ? string : Extract<keyof Registry, string>

/** The name of a scheme: a key of `schemes`. */
export type SchemeName = NameOf<Schemes>

/** Chooses the scheme of a call. */
export interface SchemeChoice {
  /** Needed only if several schemes support the call. */
  readonly scheme?: SchemeName
}

/** The name of a scope. */
export type ScopeName = NameOf<Scopes>

/** The name of a role. */
export type RoleName = NameOf<Roles>

/** The name of a plan in `limits.plans`. */
export type PlanName = NameOf<Plans>

/** Returns the principal type of a scheme, or the union for several. An unknown name gives that of all schemes. */
export type PrincipalOf<K extends string> = [keyof Schemes] extends [never]
  ? Principal
  : Members<Schemes, K>['principal']

/** Returns the type of the credential data that a scheme gives to handlers. */
export type CredentialOf<K extends string> = [keyof Schemes] extends [never]
  ? unknown
  : Members<Schemes, K>['credential']

/** Returns the members with these names, or all members if the registry has none of the names. */
type Members<Registry, K extends string> = Extract<Extract<K, keyof Registry> extends never
  ? Registry[keyof Registry]
  : Registry[Extract<K, keyof Registry>], SchemeEntry<unknown>>

/** The principal of any scheme. */
export type AnyPrincipal = PrincipalOf<SchemeName>
