import type { Mode } from './route-auth.js'

/** A function of the application that has a say, by its name; `''` when it has none of its own. */
export interface AuditFunction {
  readonly function: string
}

/** Names of scopes or roles by their quantifier. */
export interface AuditRequirements {
  readonly all: readonly string[]
  readonly any: readonly string[]
  readonly none: readonly string[]
}

/** Conditions that all must hold; `null` where there is none. */
export interface AuditConditions {
  readonly scopes: AuditRequirements | AuditFunction | null
  readonly roles: AuditRequirements | AuditFunction | null
  /** The name of the function; `''` when it has none of its own. */
  readonly when: string | null
}

/** One entry of `anyOf`. */
export interface AuditEntry extends AuditConditions {
  /** The acting scheme is one of these; `null`: any of the policy's. */
  readonly schemes: readonly string[] | null
}

/** What one declaration (the default, a group's, the route's) asks. */
export interface AuditRule extends AuditConditions {
  readonly anyOf: readonly AuditEntry[] | null
}

/** Who may call a route, as plain JSON: the same bytes on every boot and every machine, compiled or not. */
export interface AuditPolicy {
  readonly access: 'public' | Mode
  /** Any of these; each a list of schemes that must all be met, the first of which acts. Empty on public routes. */
  readonly alternatives: readonly (readonly string[])[]
  /** All must hold. */
  readonly rules: readonly AuditRule[]
  /** Seconds since the person authenticated. */
  readonly maxAge: number | null
  /** Requests of one principal in a window of seconds. */
  readonly rateLimit: { readonly max: number, readonly window: number } | null
  /** The route has `inherit: false`: no default counts. */
  readonly detached: boolean
}

/** One route of the audit. */
export interface AuditRow {
  readonly method: string
  /** The route's pattern, prefix included. */
  readonly url: string
  readonly access: 'public' | Mode
  /** The schemes in words: `user or web`, `web and service`; empty on public routes. */
  readonly schemes: string
  /** The rules in words, one each. */
  readonly rules: readonly string[]
  /** Where the policy comes from: the plugin's default, a group's, the route, a public path. */
  readonly from: string
  readonly stage: string
  /** Why it is public, or what the audit has to say of it. */
  readonly reason: string | null
  /** All of the policy as data: what programs compare. */
  readonly policy: AuditPolicy
  /**
   * The file that declared the route, relative to its package; for the route of a library, with the library's name
   * before it. `null` when it cannot be told. It is the file that runs, so it differs between sources and a build.
   */
  readonly file: string | null
}
