import type { FastifyRequest } from 'fastify'
import type { Duration } from './duration.js'
import type { AnyPrincipal, RoleName, SchemeName, ScopeName } from './names.js'

/** All of the named schemes at once. The first is the acting principal: the one who must meet the rules. */
export interface AllSchemes {
  readonly all: readonly [SchemeName, ...SchemeName[]] | readonly SchemeName[]
}

/** One alternative of `schemes`. */
export type SchemeExpr = SchemeName | AllSchemes

/** Who may prove who they are: a name, `{ all }`, or a list of these: any of, asked in the written order. */
export type SchemesExpr = SchemeExpr | readonly SchemeExpr[]

/**
 * Whether callers without a credential enter.
 * `required`: no. `optional`: yes, but a bad credential is still 401. `try`: yes, and an invalid credential is
 * anonymous too, with the reason on `request.auth.error`.
 */
export type Mode = 'required' | 'optional' | 'try'

/** At least one of the keys of `T`, the others optional. */
export type AtLeastOne<T> = { [K in keyof T]-?: Required<Pick<T, K>> & Omit<T, K> }[keyof T]

interface Quantified<Name extends string> {
  /** The principal has every one. */
  readonly all?: readonly Name[]
  /** The principal has at least one. */
  readonly any?: readonly Name[]
  /** The principal has not one. */
  readonly none?: readonly Name[]
}

interface QuantifierMisses {
  readonly allOf?: never
  readonly anyOf?: never
  readonly noneOf?: never
}

/**
 * What is asked of a principal's scopes, or of its roles: one name, or names with their quantifier, in non-empty lists.
 * Never a bare list, whose quantifier nobody can see.
 */
export type Clause<Name extends string> = Name | (AtLeastOne<Quantified<Name>> & QuantifierMisses)

/**
 * A clause that a request decides: synchronous, asked after validation, in `preHandler`. What it throws goes to the
 * error handler unchanged.
 */
export type ClauseFunction<Name extends string> = {
  bivarianceHack (request: FastifyRequest): Clause<Name>
}['bivarianceHack']

/** Which scopes the principal needs. */
export type ScopesRule = Clause<ScopeName> | ClauseFunction<ScopeName>

/** Which roles the principal needs. */
export type RolesRule = Clause<RoleName> | ClauseFunction<RoleName>

interface EntryFields {
  /** Only principals of these schemes pass by this entry: any of them, all among the policy's. */
  readonly schemes?: SchemeName | readonly SchemeName[]
  readonly scopes?: ScopesRule
  readonly roles?: RolesRule
  /** Passes on exactly `true`. Asked in `preHandler`, after validation. */
  when? (principal: AnyPrincipal, request: FastifyRequest): boolean | Promise<boolean>
}

/** The likeliest mistakes, which are type errors. The boot names the right word for these and all others. */
interface FieldMisses {
  readonly scheme?: never
  readonly scope?: never
  readonly role?: never
}

/** One way of `anyOf`: all of its lines must hold. */
export type AnyOfEntry = AtLeastOne<EntryFields> & FieldMisses & {
  readonly mode?: never
  readonly anyOf?: never
  readonly maxAge?: never
  readonly rateLimit?: never
  readonly public?: never
  readonly inherit?: never
}

/** How often one principal may call one route. */
export interface RouteRateLimit {
  /** Requests within the window. */
  readonly max: number
  readonly window: Duration
}

interface GuardedFields {
  /** Who may prove who they are. Replaces the default's. */
  readonly schemes?: SchemesExpr
  /** Replaces the default's. */
  readonly mode?: Mode
  /** Adds to the default's rules: all must hold. */
  readonly scopes?: ScopesRule
  /** Adds to the default's rules: all must hold. */
  readonly roles?: RolesRule
  /**
   * Passes on exactly `true`; adds to the default's rules. Asked in `preHandler`, after validation; what it throws goes
   * to the error handler unchanged.
   */
  when? (principal: AnyPrincipal, request: FastifyRequest): boolean | Promise<boolean>
  /** Ways in, one of which must hold, and all of it beside the other rules. */
  readonly anyOf?: readonly AnyOfEntry[]
  /** The longest time since the person authenticated; older gives the step-up challenge (RFC 9470). */
  readonly maxAge?: Duration
  /** A limit for the principal on this route. Replaces the default's. */
  readonly rateLimit?: RouteRateLimit
}

/** No caller is asked anything, and why. */
export interface PublicAuth extends FieldMisses, Readonly<Partial<Record<keyof GuardedFields | 'inherit', never>>> {
  /** The reason, in words: the audit shows it. */
  readonly public: string
}

/** Callers are asked: at least one field. */
export type GuardedAuth = AtLeastOne<GuardedFields> & FieldMisses & {
  readonly public?: never, readonly inherit?: never
}

/** Callers are asked, and no default counts. The audit reports it. */
export type DetachedAuth = Omit<GuardedFields, 'schemes'> & FieldMisses & {
  readonly public?: never
  readonly inherit: false
  readonly schemes: SchemesExpr
}

/**
 * What a group of routes says for all of them, in the plugin's `default` or `app.gatehouse.default(...)`.
 * What is public, and what starts from nothing, is said on a route.
 */
export type GroupAuth = SchemeName | readonly SchemeExpr[] | GuardedAuth

/** What a guard as a hook is given: everything but public, which would guard nothing. */
export type GuardAuth = true | GroupAuth | DetachedAuth

/**
 * The grammar of `config.auth`. Nothing, or `true`: the default. `false`: public. A name or a list: `{ schemes }`. An
 * object: its fields.
 */
export type RouteAuth = false | GuardAuth | PublicAuth
