import type { Duration } from '../../types/duration.js'
import type { PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import type { Load } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { checkSecret } from '../schemes/secrets.js'
import { fields, isObject, list, shown } from '../shape.js'
import { isLocalPath } from './return-path.js'
import { timesOf, type Times } from './times.js'

/** What `session({...})` takes. */
export interface SessionOptions<P extends PrincipalInput = PrincipalInput> {
  /** What the cookie is sealed with, at least 32 bytes; a list rotates: the newest seals, all of them open. `undefined` (an unset variable) stops the boot. */
  readonly secret: string | readonly (string | undefined)[] | undefined
  /** The cookie's name without its `__Host-` prefix. Default: the scheme's name. */
  readonly cookieName?: string
  /** Default `true`. `false` is for development over plain HTTP: neither `Secure` nor the `__Host-` prefix, and a warning at boot. */
  readonly secure?: boolean
  /** Default `'lax'`. `'strict'` withholds the cookie also when a person follows a link from another site. */
  readonly sameSite?: 'lax' | 'strict'
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
}

/** {@link SessionOptions}, checked and complete. */
export interface SessionSettings {
  /** Newest first; never empty. */
  readonly secrets: readonly Uint8Array[]
  /** As it travels, prefix included. */
  readonly cookieName: string
  readonly secure: boolean
  readonly sameSite: 'Lax' | 'Strict'
  readonly times: Times
  readonly loginPath: string | null
  readonly load: Load | null
}

const known = ['secret', 'cookieName', 'secure', 'sameSite', 'idleTimeout', 'absoluteTimeout', 'keepTimeout', 'keepIdleTimeout', 'staleness', 'loginPath', 'load'] as const satisfies ReadonlyArray<keyof SessionOptions>

/** The settings of the scheme `name`. A mistake stops the boot. */
export function sessionSettings (options: unknown, name: string): SessionSettings {
  const place = `schemes.${name}: session`
  if (!isObject(options)) throw misconfigured(`${place} needs an object of options with a secret: session({ secret: process.env.SESSION_SECRET }).`)
  // with the way to make one, which the sentence about any other key that is undefined does not tell
  const secrets = secretsOf(options['secret'], place)
  const given = fields(options, known, place)
  const secure = oneOf(given['secure'] ?? true, [true, false], `${place}: secure`)
  const load = loadOf(given['load'], place)
  return Object.freeze({
    secrets,
    cookieName: (secure ? '__Host-' : '') + cookieNameOf(given['cookieName'] ?? name, place),
    secure,
    sameSite: oneOf(given['sameSite'] ?? 'lax', ['lax', 'strict'], `${place}: sameSite`) === 'lax' ? 'Lax' : 'Strict',
    times: timesOf(given, load !== null, place),
    loginPath: loginPathOf(given['loginPath'], place),
    load
  })
}

function oneOf<const T> (value: unknown, allowed: readonly T[], place: string): T {
  const found = allowed.find(each => each === value)
  if (found === undefined) throw misconfigured(`${place} must be ${list(allowed.map(shown))}; it is ${shown(value)}.`)
  return found
}

function secretsOf (given: unknown, place: string): readonly Uint8Array[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given]
  if (list.length === 0) throw misconfigured(`${place}: secret is an empty list; it must hold at least one secret, the newest first.`)
  return Object.freeze(list.map((secret, index) => {
    const where = Array.isArray(given) ? `${place}: secret[${index}]` : `${place}: secret`
    return checkSecret(secret, { minBytes: 32, place: where })
  }))
}

/** RFC 6265, 4.1.1: a token. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

function cookieNameOf (name: unknown, place: string): string {
  if (typeof name !== 'string' || !token.test(name)) throw misconfigured(`${place}: ${shown(name)} cannot be the name of a cookie; give a cookieName of letters, digits, '-' and '_'.`)
  if (/^__(?:host|secure|http)-/i.test(name)) throw misconfigured(`${place}: cookieName is written without a prefix; __Host- is put before it unless secure is false.`)
  return name
}

function loginPathOf (path: unknown, place: string): string | null {
  if (path === undefined) return null
  if (typeof path === 'string' && isLocalPath(path) && !/[?#]/.test(path)) return path
  throw misconfigured(`${place}: loginPath must be a path of this application such as '/login', without a query; it is ${shown(path)}.`)
}

function loadOf (load: unknown, place: string): Load | null {
  if (load === undefined) return null
  if (typeof load !== 'function') throw misconfigured(`${place}: load must be a function (principal, { scheme, request }) that returns a principal or null.`)
  return load as Load
}
