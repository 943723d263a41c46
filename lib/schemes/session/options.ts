import type { Duration } from '../../../types/duration.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { decorateOption } from '../../kit/request-decorator.js'
import { secrets } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { isHttpToken } from '../../util/http-token.js'
import { duration, functionOf, object, oneOf, optional, type Parser } from '../../util/options.js'
import { timesOf, type Times } from './expiry.js'
import { isLocalPath } from './login-redirect.js'

/** What `session({...})` takes. */
export interface SessionOptions<P extends PrincipalInput = PrincipalInput> {
  /** What the cookie is sealed with, at least 32 bytes; a list rotates: the newest seals, all of them open. `undefined` (an unset variable) stops the boot. */
  readonly secret: string | readonly (string | undefined)[] | undefined
  /** The cookie's name without its `__Host-` prefix. Default: the scheme's name. */
  readonly cookieName?: string
  /** Default `true`. `false` is for development over plain HTTP: neither `Secure` nor the `__Host-` prefix, and a warning at boot. */
  readonly secure?: boolean
  /**
   * Default `'lax'`. `'strict'` withholds the cookie also when a person follows a link from another site. `'none'` is for applications that live in a
   * frame of another site: the cookie is `Partitioned`, and `secure` must be true.
   */
  readonly sameSite?: 'lax' | 'strict' | 'none'
  /** How long a session lives without a request. Default 30 minutes. */
  readonly idleTimeout?: Duration
  /** How long a session lives at all. Default 12 hours; at least `idleTimeout`; above 24 hours only with `load`. */
  readonly absoluteTimeout?: Duration
  /** How long a session lives at all that was begun with `reply.login(principal, { keep: true })`. Default 30 days with `load`; without it there are none, unless this says at most 24 hours. */
  readonly keepTimeout?: Duration
  /** How long such a session lives without a request. Default 14 days, or `keepTimeout` if that is less. */
  readonly keepIdleTimeout?: Duration
  /**
   * With a store: how long this process believes what the store said of a session: one that ended on another instance is good here for no longer.
   * At most 60 seconds; 0 asks every time. Default 5 seconds.
   */
  readonly staleness?: Duration
  /** Where browsers that ask for a page are sent to log in: a path of this application, without a query. Left out, everybody gets 401. */
  readonly loginPath?: string
  /** Adds what a database knows. Given, the cookie holds no scopes and no roles. */
  readonly load?: Load<PrincipalFrom<P>>
  /** Adds a property to every request: the principal of this scheme, or `null`. `true` for the scheme's own name. */
  readonly decorate?: true | string
}

/** {@link SessionOptions}, checked and complete. */
export interface SessionSettings {
  /** Newest first; never empty. */
  readonly secrets: readonly Uint8Array[]
  /** As it travels, prefix included. */
  readonly cookieName: string
  readonly secure: boolean
  readonly sameSite: 'Lax' | 'Strict' | 'None'
  readonly times: Times
  readonly loginPath: string | null
  readonly load: Load | null
  readonly decorate: true | string | null
}

const timeout = duration({ min: 1 })
const staleness = duration({
  max: 60,
  reason: 'For so long a session that ended on another instance would be good here.'
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

/** As the cookie says it. */
const sameSites = { lax: 'Lax', strict: 'Strict', none: 'None' } as const

/** Returns the settings of the scheme `name`. A mistake stops the boot. */
export function sessionSettings (options: unknown, name: string): SessionSettings {
  const place = `schemes.${name}`
  const { secret, cookieName, secure, sameSite, loginPath, load, decorate, ...times } = parse(options, `The options of ${place}`)
  if (sameSite === 'none' && !secure) {
    throw misconfigured(`The option ${place}.sameSite cannot be 'none' where secure is false: browsers drop such a ` +
      'cookie. Leave secure out; on http://localhost browsers accept the cookie as it is.')
  }
  return Object.freeze({
    secrets: secret,
    cookieName: (secure ? '__Host-' : '') + (cookieName ?? parseCookieName(name, `The option ${place}.cookieName`)),
    secure,
    sameSite: sameSites[sameSite],
    times: timesOf(times, load !== null, `The option ${place}`),
    loginPath,
    load,
    decorate
  })
}

function parseCookieName (name: unknown, place: string): string {
  if (typeof name !== 'string' || !isHttpToken(name)) {
    throw misconfigured(`${place} cannot be ${describeValue(name)}; give a name of letters, digits, '-' and '_'.`)
  }
  if (/^__(?:host|secure|http)-/i.test(name)) {
    throw misconfigured(`${place} is written without a prefix; __Host- is put before it unless secure is false.`)
  }
  return name
}

function parseLoginPath (path: unknown, place: string): string {
  if (typeof path === 'string' && isLocalPath(path) && !/[?#]/.test(path)) return path
  throw misconfigured(`${place} must be a path of this application such as '/login', without a query. Got ` +
    `${describeValue(path)}.`)
}
