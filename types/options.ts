import type { FastifyReply, FastifyRequest } from 'fastify'
import type { DoctorOptions } from './doctor.js'
import type { LimitsOptions } from './limits.js'
import type { RoleName, ScopeName } from './names.js'
import type { DeclaredDefault, RequestAuthError } from './request-auth.js'
import type { DidYouMean, GroupAuth } from './route-auth.js'
import type { Load, Scheme, SchemeFactory } from './scheme.js'
import type { Store } from './store.js'

/** Makes a path public, for some or all methods. */
export interface PublicPath {
  /** The pattern of a route, or a static prefix with `/*` at its end. */
  readonly path: string
  /** The reason why the path is public. The audit shows it. */
  readonly reason?: string
  /** Default: all methods. `GET` includes `HEAD`. */
  readonly method?: string | readonly string[]
}

/** Defines a role by the roles and scopes that it includes. Included roles are expanded at boot. */
export interface RoleDefinition {
  /** Roles that this one includes, with everything that they include. */
  readonly roles?: readonly RoleName[]
  /** Scopes that this role includes. */
  readonly scopes?: readonly ScopeName[]
}

/**
 * Returns the body of a refusal in the application's own form. It is sent with the status of the error. The challenges
 * are on the reply already.
 */
export type ErrorWriter = {
  bivarianceHack (error: RequestAuthError, request: FastifyRequest, reply: FastifyReply): unknown
}['bivarianceHack']

/** The options of the plugin. */
export interface GatehouseOptions {
  /** The schemes that authenticate requests, by name. */
  readonly schemes: Readonly<Record<string, Scheme | SchemeFactory>>
  /** The default of `config.auth` for all routes. May be left out if there is only one scheme. */
  readonly default?: DeclaredDefault<GroupAuth>
  /**
   * Makes routes public that have neither a `config.auth` nor a group default. The paths are compared with the patterns
   * of routes, at boot.
   */
  readonly publicPaths?: ReadonlyArray<string | PublicPath>
  /** All scopes with their descriptions. A policy with any other scope stops the boot. */
  readonly scopes?: { readonly [K in ScopeName]?: string }
  /** All roles with their definitions. A policy with any other role stops the boot. */
  readonly roles?: { readonly [K in RoleName]?: RoleDefinition }
  /** Adds fields from a database to every principal. A scheme with a `load` of its own uses that one instead. */
  readonly load?: Load
  /** The hook in which the guard runs: before the body is read (the default), or after validation. */
  readonly stage?: 'preParsing' | 'preHandler'
  /**
   * The body of refusals: `'fastify'` (the default) leaves it to the application's error handler, `'problem'` follows
   * RFC 9457, `'oauth'` follows RFC 6749, and a function returns it.
   */
  readonly errors?: 'fastify' | 'problem' | 'oauth' | ErrorWriter
  /**
   * Further origins from which browsers may send ambient credentials to this application: of pages
   * (`https://app.example.com`) and of application shells (`capacitor://localhost`, `tauri://localhost`,
   * `chrome-extension://…`). Written as in the header `Origin`, without wildcards.
   */
  readonly origins?: readonly string[]
  /**
   * Stores sessions, keys and counts of guesses. Default: the memory of the process, which is lost on a restart and not
   * shared with other instances. The plugin awaits `migrate()` at boot. The application that created the store closes
   * it.
   */
  readonly store?: Store
  /** Limits guesses of passwords, and requests. */
  readonly limits?: LimitsOptions
  /** Stops the boot if public routes or paths have no reason, and lists them all. Default `false`. */
  readonly requireReason?: boolean
  /** Accepts findings of the doctor, each with a reason. */
  readonly doctor?: DoctorOptions
  /** Allows unprotected routes outside of the child context in which the plugin is registered. */
  readonly outside?: 'allow'

  // Likely misspellings, as type errors. The boot suggests the right name for these and all others.
  readonly scheme?: DidYouMean<'schemes'>
  readonly publicPath?: DidYouMean<'publicPaths'>
  readonly origin?: DidYouMean<'origins'>
}

/** A duration: a number of seconds, or a number with a unit (`'30s'`, `'15m'`, `'12h'`, `'7d'`). */
export type Duration = number | `${number}${'s' | 'm' | 'h' | 'd'}`
