import type { Mode } from './route-auth.js'

/** Names a function of the application that decides per request; `''` if it is anonymous. */
export interface AuditFunction {
  readonly function: string
}

/** Names of scopes or roles by their quantifier. */
export interface AuditRequirements {
  readonly all: readonly string[]
  readonly any: readonly string[]
  readonly none: readonly string[]
}

/** Lists conditions that all must hold; `null` for a condition that is not set. */
export interface AuditConditions {
  readonly scopes: AuditRequirements | AuditFunction | null
  readonly roles: AuditRequirements | AuditFunction | null
  /** The name of the function; `''` if it is anonymous. */
  readonly when: string | null
}

/** One entry of `anyOf`. */
export interface AuditEntry extends AuditConditions {
  /** The names of which the acting scheme must be one; `null` allows all schemes of the policy. */
  readonly schemes: readonly string[] | null
}

/** Lists the conditions of one declaration: the plugin's default, a group's or the route's. */
export interface AuditRule extends AuditConditions {
  readonly anyOf: readonly AuditEntry[] | null
}

/** Lists windows that all hold, the shortest first. */
export interface AuditRateLimit {
  /** The name of the plan; `null` if the declaration lists the windows itself. */
  readonly plan: string | null
  /** Each with a maximum number of requests and its length in seconds. */
  readonly windows: ReadonlyArray<{ readonly max: number, readonly window: number }>
}

/** Names a function that chooses one of all plans for each principal. */
export interface AuditPlanChoice extends AuditFunction {
  readonly plans: readonly AuditRateLimit[]
}

/**
 * Describes the policy of a route as plain JSON, which is identical on every boot and machine, for sources and builds.
 */
export interface AuditPolicy {
  readonly access: 'public' | Mode
  /**
   * Alternatives, one of which must be met. Each lists schemes that must all authenticate the request; the first is the
   * acting scheme. Empty for public routes.
   */
  readonly alternatives: readonly (readonly string[])[]
  /** Rules that all must hold. */
  readonly rules: readonly AuditRule[]
  /** The maximum number of seconds since the person authenticated. */
  readonly maxAge: number | null
  /** The limit of the requests of one principal. */
  readonly rateLimit: AuditRateLimit | AuditPlanChoice | null
  /** `true` if the route has `inherit: false` and no default applies. */
  readonly detached: boolean
}

/** Describes one route in the audit. */
export interface AuditRow {
  readonly method: string
  /** The route's pattern, prefix included. */
  readonly url: string
  /** The constraints of the route, each as text: `{ host: 'admin.example.com' }`; `null` without any. */
  readonly constraints: Readonly<Record<string, string>> | null
  readonly access: 'public' | Mode
  /** The schemes in words: `user or web`, `web and service`; empty for public routes. */
  readonly schemes: string
  /** The rules in words, one string each. */
  readonly rules: readonly string[]
  /** The origin of the policy: the plugin's default, a group's, the route, or a public path. */
  readonly from: string
  /**
   * `true` for a protected route that accepts delegated tokens, with which clients act for people (OAuth 2.0): one that
   * requires a scope, or whose scheme has `delegated: true`.
   */
  readonly delegated: boolean
  /** The hooks in which the guard decides: `preParsing`, `preHandler` or both; `none` for a public route. */
  readonly stage: string
  /** The reason why the route is public, or a note such as `inherit: false`. */
  readonly reason: string | null
  /** The whole policy as data, for comparison by programs. */
  readonly policy: AuditPolicy
  /**
   * The file that declared the route, relative to its package. For the route of a library, it begins with the library's
   * name. `null` if it is unknown. It is the file that runs, so it differs between sources and a build.
   */
  readonly file: string | null
}
