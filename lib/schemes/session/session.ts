import { hash } from 'node:crypto'
import type { Absent } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { ProviderLogin, SessionFeature } from '../../../types/sessions.js'
import { internalError, misconfigured } from '../../errors.js'
import { invalid } from '../../kit/outcome.js'
import { isPlainObject, jsonObject } from '../../util/objects.js'

function over (detail: string): Absent {
  return Object.freeze({ kind: 'absent', detail })
}

/** The outcomes of cookies that do not open a session, with the reason for the log. */
export const gone = {
  forged: Object.freeze(invalid('the session cookie was changed, or sealed with a secret that is not known here')),
  ended: over('the session was ended'),
  over: over('the session has expired'),
  outdated: over('the session cookie was written by another version of the plugin')
}

/** The content of a session cookie. Times are in milliseconds since 1970. */
export interface Session {
  /** Random, new at every login. It is only in the encrypted cookie. */
  readonly secret: string
  /** {@link idOf} the secret, by which a session is listed and ended. */
  readonly id: string
  readonly principal: Principal
  /** The time at which the person proved who they are; `null` if it is unknown. */
  readonly authenticatedAt: number | null
  /** The time of the login. */
  readonly createdAt: number
  /** The time of the login, or of the last renewal. */
  readonly begunAt: number
  /** The time at which the cookie was last written. */
  readonly seenAt: number
  /** The absolute end. */
  readonly endsAt: number
  /** True if the session was begun with `keep`: its cookie survives the closing of the browser. */
  readonly kept: boolean
  readonly data: Readonly<Record<string, unknown>>
  /** The provider at which the person has to be logged out too, or `null`. */
  readonly provider: ProviderLogin | null
}

/**
 * Returns the id of a session: a hash, so that nobody can forge its cookie from the store, even with the sealing
 * secret.
 */
export function idOf (secret: string): string {
  return hash('sha256', secret, 'base64url').slice(0, 22)
}

/** Returns true for a text of the form of {@link idOf}. */
export function isId (text: unknown): text is string {
  return typeof text === 'string' && /^[\w-]{22}$/.test(text)
}

/**
 * Returns a deep-frozen copy of the data that an application keeps in a session.
 * @throws {AuthError} `AUTH_FAULT` as {@link jsonObject} does.
 */
export function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlainObject(data)) throw internalError('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}

/** The timeouts of a session, in milliseconds. */
export interface Lifetime {
  /** From the last request. */
  readonly idle: number
  /** From the login. */
  readonly absolute: number
  /** Age at which a cookie is rewritten to extend the idle timeout. */
  readonly slideAfter: number
}

/** The timeouts of one scheme. */
export interface Expiry {
  readonly usual: Lifetime
  /** For sessions that were begun with `keep`; `null` where that is not allowed. */
  readonly kept: Lifetime | null
  /** The time for which a result of the store is cached. */
  readonly stalenessMs: number
}

const dayMs = 86_400_000

/** The timeouts in the options of a scheme, in seconds. */
export interface ExpiryOptions {
  readonly idleTimeout: number
  readonly absoluteTimeout: number
  readonly keepTimeout: number | null
  readonly keepIdleTimeout: number | null
  readonly staleness: number
}

/**
 * Checks the timeouts against each other and completes them.
 * @param hasLoad `false` where scopes and roles are in the cookie, which limits a session to 24 hours.
 * @param scheme how messages name the options: `The option schemes.web`.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function createExpiry (options: ExpiryOptions, hasLoad: boolean, scheme: string): Expiry {
  const idle = milliseconds(options.idleTimeout)
  const absolute = milliseconds(options.absoluteTimeout)
  if (absolute < idle) {
    throw misconfigured(`${scheme}.absoluteTimeout is shorter than idleTimeout; it must be at least as long.`)
  }
  checkUnloaded(absolute, hasLoad, `${scheme}.absoluteTimeout`)
  const usual = lifetime(idle, absolute)
  const kept = options.keepTimeout === null && !hasLoad
    ? refuseKept(options, scheme)
    : createKept(options, usual, scheme)
  if (kept !== null) checkUnloaded(kept.absolute, hasLoad, `${scheme}.keepTimeout`)
  return Object.freeze({ usual, kept, stalenessMs: options.staleness * 1000 })
}

function refuseKept ({ keepIdleTimeout }: ExpiryOptions, scheme: string): null {
  if (keepIdleTimeout === null) return null
  throw misconfigured(`${scheme}.keepIdleTimeout needs keepTimeout, or load: without either, no session is kept.`)
}

function createKept ({ keepTimeout, keepIdleTimeout }: ExpiryOptions, usual: Lifetime, scheme: string): Lifetime {
  const absolute = keepTimeout === null ? Math.max(30 * dayMs, usual.absolute) : milliseconds(keepTimeout)
  if (absolute < usual.absolute) {
    throw misconfigured(`${scheme}.keepTimeout is shorter than absoluteTimeout; a kept session must live at least as ` +
      'long as another.')
  }
  const usualIdle = Math.min(Math.max(14 * dayMs, usual.idle), absolute)
  const idle = keepIdleTimeout === null ? usualIdle : milliseconds(keepIdleTimeout)
  if (idle < usual.idle || idle > absolute) {
    throw misconfigured(`${scheme}.keepIdleTimeout must be between idleTimeout and keepTimeout.`)
  }
  return lifetime(idle, absolute)
}

function lifetime (idle: number, absolute: number): Lifetime {
  return Object.freeze({ idle, absolute, slideAfter: Math.min(60_000, idle / 10) })
}

/** Refuses a timeout above 24 hours without `load`. */
function checkUnloaded (length: number, hasLoad: boolean, option: string): void {
  if (length <= dayMs || hasLoad) return
  throw misconfigured(`${option} is above 24 hours, and without load the scopes and roles in the cookie stay valid ` +
    'for all of it; give a load function, or at most 24 hours.')
}

function milliseconds (seconds: number): number {
  return Math.round(seconds * 1000)
}

/** Returns the timeouts of a session; those for `keep` if the session was begun with it and they are set. */
export function lifetimeOf ({ usual, kept }: Expiry, isKept: boolean): Lifetime {
  return isKept ? kept ?? usual : usual
}

type SessionTimes = Pick<Session, 'seenAt' | 'endsAt' | 'createdAt' | 'kept'>

/**
 * Returns the instant at which a session ends, in milliseconds since 1970: its sealed end, or earlier if the timeouts
 * were shortened since.
 */
export function endOf (expiry: Expiry, { seenAt, endsAt, createdAt, kept }: SessionTimes): number {
  const { idle, absolute } = lifetimeOf(expiry, kept)
  return Math.min(seenAt + idle, endsAt, createdAt + absolute)
}

/** Returns the longest absolute timeout of a scheme, in milliseconds. */
export function maxLifetime ({ usual, kept }: Expiry): number {
  return Math.max(usual.absolute, kept?.absolute ?? 0)
}

/** Describes the request that begins a session, for lists of sessions. */
export interface LoginContext {
  readonly address: string
  readonly userAgent: string
}

/**
 * Knows which sessions are alive. Returns a value, or a promise that rejects with `AUTH_UNAVAILABLE` when the store is
 * unavailable.
 */
export interface Liveness extends Pick<SessionFeature, 'of' | 'ofAnyOwner'> {
  /**
   * Returns the start of a new session of this principal, in milliseconds since 1970: now, or later than the last
   * `revokeAll` of theirs.
   */
  beginning (principal: Principal): number
  /** Records a new session, before its cookie is sent. */
  begin (session: Session, context: LoginContext): void | Promise<void>
  /** Ends a session. Returns whether it was alive until now. */
  end (session: Session): boolean | Promise<boolean>
  isAlive (session: Session): boolean | Promise<boolean>
  /** Returns the same as `isAlive`, and records that the session was used. */
  see (session: Session): boolean | Promise<boolean>
  /** Calls `ended` once when the session ends, in this process or another. Returns a function that stops watching. */
  watch (session: Session, ended: () => void): () => void
  close (): void
}
