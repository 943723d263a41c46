import { seconds } from '../duration.js'
import { misconfigured } from '../errors.js'
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

/** The times in the options of a scheme. A mistake stops the boot. */
export function timesOf (given: Readonly<Record<string, unknown>>, loads: boolean, place: string): Times {
  const idle = milliseconds(given['idleTimeout'] ?? '30m', `${place}: idleTimeout`)
  const absolute = milliseconds(given['absoluteTimeout'] ?? '12h', `${place}: absoluteTimeout`)
  if (absolute < idle) throw misconfigured(`${place}: absoluteTimeout is shorter than idleTimeout; it must be at least as long.`)
  checkAuthority(absolute, loads, `${place}: absoluteTimeout`)
  const usual = lifetime(idle, absolute)
  return Object.freeze({ usual, kept: keptOf(given, usual, loads, place), staleness: stalenessOf(given['staleness'] ?? 5, place) })
}

function keptOf (given: Readonly<Record<string, unknown>>, usual: Lifetime, loads: boolean, place: string): Lifetime | null {
  const { keepTimeout, keepIdleTimeout } = given
  if (keepTimeout === undefined && !loads) {
    if (keepIdleTimeout === undefined) return null
    throw misconfigured(`${place}: keepIdleTimeout needs keepTimeout, or load: without either no session is kept.`)
  }
  const absolute = keepTimeout === undefined ? Math.max(30 * day, usual.absolute) : milliseconds(keepTimeout, `${place}: keepTimeout`)
  if (absolute < usual.absolute) throw misconfigured(`${place}: keepTimeout is shorter than absoluteTimeout; a kept session must live at least as long as another.`)
  checkAuthority(absolute, loads, `${place}: keepTimeout`)
  const idle = keepIdleTimeout === undefined ? Math.min(Math.max(14 * day, usual.idle), absolute) : milliseconds(keepIdleTimeout, `${place}: keepIdleTimeout`)
  if (idle < usual.idle || idle > absolute) throw misconfigured(`${place}: keepIdleTimeout must be between idleTimeout and keepTimeout.`)
  return lifetime(idle, absolute)
}

function lifetime (idle: number, absolute: number): Lifetime {
  return Object.freeze({ idle, absolute, slideAfter: Math.min(60_000, idle / 10) })
}

function checkAuthority (length: number, loads: boolean, place: string): void {
  if (length > day && !loads) throw misconfigured(`${place} is above 24 hours, and without load the cookie's scopes and roles stand unasked for all of it; give a load function, or at most 24 hours.`)
}

function milliseconds (value: unknown, place: string): number {
  const length = Math.round(seconds(value, place) * 1000)
  if (length < 1000) throw misconfigured(`${place} must be at least one second.`)
  return length
}

function stalenessOf (value: unknown, place: string): number {
  const length = seconds(value, `${place}: staleness`)
  if (length > 60) throw misconfigured(`${place}: staleness is more than 60 seconds: for so long a session that ended on another instance would be good here.`)
  return length * 1000
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
