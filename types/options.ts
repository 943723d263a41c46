import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LimitsOptions } from './limits.js'
import type { RoleName, ScopeName } from './names.js'
import type { RequestAuthError } from './request-auth.js'
import type { GroupAuth } from './route-auth.js'
import type { Load, Scheme, SchemeFactory } from './scheme.js'
import type { Store } from './store.js'

/** A path that is public, why, and for which methods; left out, all. `GET` implies `HEAD`. */
export interface PublicPath {
  /** A route's pattern, or a static prefix with `/*` at its end. */
  readonly path: string
  readonly reason?: string
  readonly method?: string | readonly string[]
}

/** What one role includes: other roles and scopes, expanded once. */
export interface RoleDefinition {
  readonly roles?: readonly RoleName[]
  readonly scopes?: readonly ScopeName[]
  readonly description?: string
}

/**
 * Answers a refusal in the application's own form: what it returns is sent, under the error's status and with the
 * challenges already on the reply.
 */
export type ErrorWriter = {
  bivarianceHack (error: RequestAuthError, request: FastifyRequest, reply: FastifyReply): unknown
}['bivarianceHack']

/** The options of the plugin. */
export interface GatehouseOptions {
  /** Every way of proving identity, under its name. */
  readonly schemes: Readonly<Record<string, Scheme | SchemeFactory>>
  /** What every route says that says nothing; may be left out when there is one scheme. */
  readonly default?: GroupAuth
  /** Routes on which nothing is written and no group default stands, made public. Matched against patterns at boot. */
  readonly publicPaths?: ReadonlyArray<string | PublicPath>
  /** The scopes there are, and what each means: a policy that names another stops the boot. */
  readonly scopes?: { readonly [K in ScopeName]?: string }
  /** The roles there are, and what each includes: a policy that names another stops the boot. */
  readonly roles?: { readonly [K in RoleName]?: RoleDefinition }
  /** Adds what a database knows to every principal; a scheme's own `load` goes before. */
  readonly load?: Load
  /** Where the guard runs: before the body is read (the default), or after validation, all at once. */
  readonly stage?: 'preParsing' | 'preHandler'
  /** The form of refusals: the application's error handler (the default), RFC 9457, RFC 6749, or a function. */
  readonly errors?: 'fastify' | 'problem' | 'oauth' | ErrorWriter
  /**
   * Origins that may send ambient credentials to this application beside its own, as browsers write them: of pages
   * (`https://app.example.com`) and of application shells (`capacitor://localhost`, `tauri://localhost`,
   * `chrome-extension://…`). No wildcards.
   */
  readonly origins?: readonly string[]
  /**
   * Where state rests: sessions, keys, counts of guesses. Left out, in the memory of the process: a restart forgets it,
   * and other instances do not see it. Its `migrate()` is awaited at boot. Whoever made it closes it.
   */
  readonly store?: Store
  /** How many guesses of a password, and how many requests, are too many. */
  readonly limits?: LimitsOptions
  /** Stops the boot where a public route or path does not say why it is public, and names them all. Default `false`. */
  readonly requireReason?: boolean
  /** Registered in a child context: says that the routes outside of it are meant to be outside. */
  readonly outside?: 'allow'

  // The likeliest mistakes. The boot names the right word for these and all others.
  readonly scheme?: never
  readonly publicPath?: never
  readonly origin?: never
}
