import type { Duration } from '../../../types/options.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { decorateOption } from '../../kit/principal.js'
import { secrets } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { duration, functionOf, isHttpToken, object, oneOf, optional, type Parser } from '../../util/options.js'
import { isLocalPath } from './login-redirect.js'
import { createExpiry, type Expiry } from './session.js'

/** The options of `session`. */
export interface SessionOptions<P extends PrincipalInput = PrincipalInput> {
  /**
   * The secret that encrypts the cookie, at least 32 bytes. A list rotates secrets, the newest first: it encrypts, all
   * of them decrypt. `undefined` (an unset environment variable) stops the boot.
   */
  readonly secret: string | readonly (string | undefined)[] | undefined
  /** The name of the cookie without its `__Host-` prefix. Default: the name of the scheme. */
  readonly cookieName?: string
  /**
   * Default `true`. `false` is for development over plain HTTP: the cookie has neither `Secure` nor the `__Host-`
   * prefix. In production, the boot stops; otherwise a warning is logged.
   */
  readonly secure?: boolean
  /**
   * Default `'lax'`. With `'strict'`, browsers do not send the cookie when a person follows a link from another site.
   * `'none'` is for applications in a frame of another site: the cookie is `Partitioned`, and `secure` must be true.
   */
  readonly sameSite?: 'lax' | 'strict' | 'none'
  /** The time after the last request at which a session ends. Default 30 minutes. */
  readonly idleTimeout?: Duration
  /**
   * The time after the login at which a session ends. Default 12 hours. At least `idleTimeout`; above 24 hours only
   * with `load`.
   */
  readonly absoluteTimeout?: Duration
  /**
   * The `absoluteTimeout` of sessions that were begun with `reply.login(principal, { keep: true })`. Default 30 days
   * with `load`. Without `load` there are no such sessions, unless this is set, to at most 24 hours.
   */
  readonly keepTimeout?: Duration
  /** The `idleTimeout` of these sessions. Default 14 days, or `keepTimeout` if that is less. */
  readonly keepIdleTimeout?: Duration
  /**
   * With a store: how long this process caches that a session is alive. A session that was ended by another instance
   * stays valid here for up to this time. At most 60 seconds; 0 disables the cache. Default 5 seconds.
   */
  readonly staleness?: Duration
  /**
   * The path of the login page, to which browsers that request a page are redirected: a path of this application,
   * without a query. Default: none; the response is a 401.
   */
  readonly loginPath?: string
  /** Loads the principal from a database on every request. With it, the cookie has no scopes and roles. */
  readonly load?: Load<PrincipalFrom<P>>
  /** Adds a property to every request: the principal of this scheme, or `null`. `true` for the scheme's own name. */
  readonly decorate?: true | string
}

/** {@link SessionOptions}, parsed and complete. */
export interface SessionSettings {
  /** The newest first; never empty. */
  readonly secrets: readonly Uint8Array[]
  /** With the prefix `__Host-`, if it has one. */
  readonly cookieName: string
  readonly secure: boolean
  readonly sameSite: 'Lax' | 'Strict' | 'None'
  readonly expiry: Expiry
  readonly loginPath: string | null
  readonly load: Load | null
  readonly decorate: true | string | null
}

const timeout = duration({ min: 1 })
const staleness = duration({
  max: 60,
  reason: 'A session that another instance ended stays valid here for this time.'
})

const parse = object({
  secret: secrets({ minBytes: 32 }),
  cookieName: optional(parseCookieName, null),
  secure: optional(oneOf(true, false), true),
  sameSite: optional(oneOf('lax', 'strict', 'none'), 'lax' as const),
  idleTimeout: optional(timeout, 30 * 60),
  absoluteTimeout: optional(timeout, 12 * 3_600),
  keepTimeout: optional(timeout, null),
  keepIdleTimeout: optional(timeout, null),
  staleness: optional(staleness, 5),
  loginPath: optional(parseLoginPath, null),
  load: optional(functionOf<Load>('(principal, { scheme, request }) that returns a principal or null'), null),
  decorate: optional(decorateOption, null)
} satisfies Record<keyof SessionOptions, Parser<unknown>>)

const sameSites = { lax: 'Lax', strict: 'Strict', none: 'None' } as const

/** Parses the options of the scheme `name`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function parseSessionOptions (options: unknown, name: string): SessionSettings {
  const path = `schemes.${name}`
  const {
    secret, cookieName, secure, sameSite, loginPath, load, decorate, ...timeouts
  } = parse(options, `The options of ${path}`)
  if (sameSite === 'none' && !secure) {
    throw misconfigured(`The option ${path}.sameSite cannot be 'none' where secure is false: browsers drop such a ` +
      'cookie. Leave secure out: on http://localhost, Chrome, Edge and Firefox accept the cookie without TLS.')
  }
  return Object.freeze({
    secrets: secret,
    cookieName: (secure ? '__Host-' : '') + (cookieName ?? parseCookieName(name, `The option ${path}.cookieName`)),
    secure,
    sameSite: sameSites[sameSite],
    expiry: createExpiry(timeouts, load !== null, `The option ${path}`),
    loginPath,
    load,
    decorate
  })
}

function parseCookieName (name: unknown, option: string): string {
  if (typeof name !== 'string' || !isHttpToken(name)) {
    throw misconfigured(`${option} cannot be ${describeValue(name)}; give a name of letters, digits, '-' and '_'.`)
  }
  if (/^__(?:host|secure|http)-/i.test(name)) {
    throw misconfigured(`${option} must not have a prefix: __Host- is added unless secure is false. Got ` +
      `${describeValue(name)}.`)
  }
  return name
}

function parseLoginPath (path: unknown, option: string): string {
  if (typeof path === 'string' && isLocalPath(path) && !/[?#]/.test(path)) return path
  throw misconfigured(`${option} must be a path of this application such as '/login', without a query. Got ` +
    `${describeValue(path)}.`)
}
