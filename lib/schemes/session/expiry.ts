import { misconfigured } from '../../errors.js'
import type { Session } from './payload.js'

/** How long a session lives. Milliseconds. */
export interface Lifetime {
  /** Without a request. */
  readonly idle: number
  /** At all. */
  readonly absolute: number
  /** A cookie last written longer ago is written again. */
  readonly slideAfter: number
}

/** The lifetimes of one scheme's sessions. */
export interface Times {
  readonly usual: Lifetime
  /** Of sessions begun with `keep`; `null` where there are none. */
  readonly kept: Lifetime | null
  /** Milliseconds for which an answer of the store is believed. */
  readonly staleness: number
}

const day = 86_400_000

/** What the options of a scheme say of times, in seconds. */
export interface TimeOptions {
  readonly idleTimeout: number
  readonly absoluteTimeout: number
  readonly keepTimeout: number | null
  readonly keepIdleTimeout: number | null
  readonly staleness: number
}

/**
 * Returns the lifetimes that these options make together. A mistake stops the boot.
 * @param place what the options' names are put behind, with a dot.
 */
export function timesOf (options: TimeOptions, loads: boolean, place: string): Times {
  const idle = milliseconds(options.idleTimeout)
  const absolute = milliseconds(options.absoluteTimeout)
  if (absolute < idle) {
    throw misconfigured(`${place}.absoluteTimeout is shorter than idleTimeout; it must be at least as long.`)
  }
  checkAuthority(absolute, loads, `${place}.absoluteTimeout`)
  const usual = lifetime(idle, absolute)
  const kept = options.keepTimeout === null && !loads ? neverKept(options, place) : keptOf(options, usual, place)
  if (kept !== null) checkAuthority(kept.absolute, loads, `${place}.keepTimeout`)
  return Object.freeze({ usual, kept, staleness: options.staleness * 1000 })
}

function neverKept ({ keepIdleTimeout }: TimeOptions, place: string): null {
  if (keepIdleTimeout === null) return null
  throw misconfigured(`${place}.keepIdleTimeout needs keepTimeout, or load: without either no session is kept.`)
}

function keptOf ({ keepTimeout, keepIdleTimeout }: TimeOptions, usual: Lifetime, place: string): Lifetime {
  const absolute = keepTimeout === null ? Math.max(30 * day, usual.absolute) : milliseconds(keepTimeout)
  if (absolute < usual.absolute) {
    throw misconfigured(`${place}.keepTimeout is shorter than absoluteTimeout; a kept session must live at least as ` +
      'long as another.')
  }
  const usualIdle = Math.min(Math.max(14 * day, usual.idle), absolute)
  const idle = keepIdleTimeout === null ? usualIdle : milliseconds(keepIdleTimeout)
  if (idle < usual.idle || idle > absolute) {
    throw misconfigured(`${place}.keepIdleTimeout must be between idleTimeout and keepTimeout.`)
  }
  return lifetime(idle, absolute)
}

function lifetime (idle: number, absolute: number): Lifetime {
  return Object.freeze({ idle, absolute, slideAfter: Math.min(60_000, idle / 10) })
}

function checkAuthority (length: number, loads: boolean, place: string): void {
  if (length > day && !loads) throw misconfigured(`${place} is above 24 hours, and without load the cookie's scopes and roles stand unasked for all of it; give a load function, or at most 24 hours.`)
}

function milliseconds (seconds: number): number {
  return Math.round(seconds * 1000)
}

/** How long a session lives that was begun with `keep`, or without. */
export function lifetimeOf ({ usual, kept }: Times, isKept: boolean): Lifetime {
  return isKept ? kept ?? usual : usual
}

/** When a session ends: at its sealed end, or earlier when the timeouts were shortened since. */
export function endOf (times: Times, { seenAt, endsAt, authenticatedAt, kept }: Pick<Session, 'seenAt' | 'endsAt' | 'authenticatedAt' | 'kept'>): number {
  const { idle, absolute } = lifetimeOf(times, kept)
  return Math.min(seenAt + idle, endsAt, authenticatedAt + absolute)
}

/** The longest that any session of the scheme lives. */
export function longestOf ({ usual, kept }: Times): number {
  return Math.max(usual.absolute, kept?.absolute ?? 0)
}
