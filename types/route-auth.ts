import type { FastifyRequest } from 'fastify'
import type { RouteRateLimit } from './limits.js'
import type { AnyPrincipal, RoleName, SchemeName, ScopeName } from './names.js'
import type { Duration } from './options.js'

/**
 * Requires all of the named schemes at once. The first one provides the acting principal, which must meet the rules.
 */
export interface AllSchemes {
  readonly all: readonly [SchemeName, ...SchemeName[]] | readonly SchemeName[]
}

/** Names one alternative of `schemes`. */
export type SchemeExpr = SchemeName | AllSchemes

/** Names the schemes that authenticate a request: a name, `{ all }`, or a list of alternatives, tried in order. */
export type SchemesExpr = SchemeExpr | readonly SchemeExpr[]

/**
 * Decides about callers without a valid credential. `required` refuses them. `optional` lets callers without a
 * credential in, and refuses an invalid one with 401. `try` lets both in as anonymous, with the reason for an invalid
 * credential in `request.auth.error`.
 */
export type Mode = 'required' | 'optional' | 'try'

/** Requires at least one of the keys of `T`. */
export type AtLeastOne<T> = { [K in keyof T]-?: Required<Pick<T, K>> & Omit<T, K> }[keyof T]

interface Quantified<Name extends string> {
  /** The principal must have all of these. */
  readonly all?: readonly Name[]
  /** The principal must have at least one of these. */
  readonly any?: readonly Name[]
  /** The principal must have none of these. */
  readonly none?: readonly Name[]
}

/** The type that a misspelled name must have, so that the error of the compiler shows the right name. */
export interface DidYouMean<Name extends string> {
  readonly 'Did you mean': Name
}

interface QuantifierMisses {
  readonly allOf?: DidYouMean<'all'>
  readonly anyOf?: DidYouMean<'any'>
  readonly noneOf?: DidYouMean<'none'>
}

/** Rules out the fields of a clause, as {@link NoFields} does those of a policy. */
type NoQuantifiers = Readonly<Partial<Record<keyof Quantified<string> | keyof QuantifierMisses, undefined>>>

/**
 * Requires scopes or roles of a principal: one name, or non-empty lists of names with their quantifier. A bare list is
 * rejected, because it does not show the quantifier.
 */
export type Clause<Name extends string> = (Name & NoQuantifiers) | (AtLeastOne<Quantified<Name>> & QuantifierMisses)

/**
 * Returns the clause for a request. It is called in `preHandler`, after validation, and must be synchronous. An error
 * that it throws goes to the error handler unchanged.
 */
export type ClauseFunction<Name extends string> = NoQuantifiers & {
  bivarianceHack (request: FastifyRequest): Clause<Name>
}['bivarianceHack']

/** Requires scopes of the principal. */
export type ScopesRule = Clause<ScopeName> | ClauseFunction<ScopeName>

/** Requires roles of the principal. */
export type RolesRule = Clause<RoleName> | ClauseFunction<RoleName>

interface EntryFields {
  /** The acting scheme must be one of these, which must be schemes of the policy. */
  readonly schemes?: SchemeName | readonly SchemeName[]
  readonly scopes?: ScopesRule
  readonly roles?: RolesRule
  /** Lets the caller in if it returns exactly `true`. Called in `preHandler`, after validation. */
  when? (principal: AnyPrincipal, request: FastifyRequest): boolean | Promise<boolean>
}

/** Rejects likely misspellings as type errors. The boot suggests the right name for these and all others. */
interface FieldMisses {
  readonly scheme?: DidYouMean<'schemes'>
  readonly scope?: DidYouMean<'scopes'>
  readonly role?: DidYouMean<'roles'>
}

/** Describes one entry of `anyOf`, whose conditions must all hold. */
export type AnyOfEntry = AtLeastOne<EntryFields> & FieldMisses & {
  readonly mode?: never
  readonly anyOf?: never
  readonly maxAge?: never
  readonly rateLimit?: never
  readonly public?: never
  readonly inherit?: never
}

interface GuardedFields {
  /** The schemes that authenticate the caller. Replaces the default's. */
  readonly schemes?: SchemesExpr
  /** Decides about callers without a valid credential. Replaces the default's. */
  readonly mode?: Mode
  /** The scopes that the principal must have, in addition to the default's rules. */
  readonly scopes?: ScopesRule
  /** The roles that the principal must have, in addition to the default's rules. */
  readonly roles?: RolesRule
  /**
   * Lets the caller in if it returns exactly `true`, in addition to the default's rules. It is called in `preHandler`,
   * after validation, and an error that it throws goes to the error handler unchanged.
   */
  when? (principal: AnyPrincipal, request: FastifyRequest): boolean | Promise<boolean>
  /** Alternatives, at least one of which must hold completely, in addition to the other rules. */
  readonly anyOf?: readonly AnyOfEntry[]
  /** The maximum time since the person authenticated. An older login gets the step-up challenge (RFC 9470). */
  readonly maxAge?: Duration
  /** The limit of each principal's requests to this route. Replaces the default's. */
  readonly rateLimit?: RouteRateLimit
}

/** Makes a route public. */
export interface PublicAuth extends FieldMisses, Readonly<Partial<Record<keyof GuardedFields | 'inherit', never>>> {
  /** The reason in words, which the audit shows. */
  readonly public: string
}

/** Protects a route by at least one of these fields. */
export type GuardedAuth = AtLeastOne<GuardedFields> & FieldMisses & {
  readonly public?: never, readonly inherit?: never
}

/** Protects a route without any of the defaults. The audit reports it. */
export type DetachedAuth = Omit<GuardedFields, 'schemes'> & FieldMisses & {
  readonly public?: never
  readonly inherit: false
  readonly schemes: SchemesExpr
}

/**
 * Rules out the fields of an object. Fastify intersects the type of `config` with that of the object that was written;
 * a name or `false` that could have fields would take part in errors about them.
 */
interface NoFields extends Readonly<Partial<Record<keyof GuardedFields | 'inherit' | 'public', undefined>>> {
  readonly scheme?: undefined
  readonly scope?: undefined
  readonly role?: undefined
}

/**
 * Protects a group of routes, in the plugin's `default` or `app.gatehouse.default(...)`. It has neither `public` nor
 * `inherit`.
 */
export type GroupAuth = (SchemeName & NoFields) | (readonly SchemeExpr[] & NoFields) | GuardedAuth

/** Parameters of a guard as a hook: everything except `public`, which would guard nothing. */
export type GuardAuth = (true & NoFields) | GroupAuth | DetachedAuth

/**
 * Declares the policy of a route in `config.auth`. If it is left out or `true`, the default applies; `false` makes the
 * route public; a name or a list is short for `{ schemes }`.
 */
export type RouteAuth = (false & NoFields) | GuardAuth | PublicAuth
