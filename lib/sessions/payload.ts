import type { Principal } from '../../types/principal.js'
import { principalFrom } from '../schemes/principal.js'
import { deepFreeze, isPlain, jsonObject } from './json.js'

/** One session, as the cookie carries it. Instants are milliseconds since 1970. */
export interface Session {
  /** Random, new at every login; a handle to revoke it by, of no use without the cookie. */
  readonly id: string
  readonly principal: Principal
  readonly authenticatedAt: number
  /** When the cookie was last written. */
  readonly seenAt: number
  /** The absolute end. */
  readonly endsAt: number
  readonly data: Readonly<Record<string, unknown>>
}

const version = 1

/** What is sealed: short keys, as browsers drop cookies above 4 KiB. Scopes and roles only where nobody loads them. */
export function pack (session: Session, holdsAuthority: boolean): Readonly<Record<string, unknown>> {
  const { realm, id, scopes, roles, ...more } = session.principal
  return {
    v: version,
    s: session.id,
    r: realm,
    i: id,
    ...(holdsAuthority ? { c: scopes, o: roles } : {}),
    ...filled('m', jsonObject(more, 'principal')),
    ...filled('d', session.data),
    a: session.authenticatedAt,
    l: session.seenAt,
    e: session.endsAt
  }
}

function filled (key: string, fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.keys(fields).length === 0 ? {} : { [key]: fields }
}

const nothing: Readonly<Record<string, unknown>> = Object.freeze({})

/** The session of an authentic payload; `null` when another version of this plugin wrote it. Authority is taken from the cookie only where nobody loads it. */
export function unpack (payload: Readonly<Record<string, unknown>>, holdsAuthority: boolean): Session | null {
  const { v, s, r, i, a, l, e, m = nothing, d = nothing } = payload
  const scopes = holdsAuthority ? names(payload['c']) : []
  const roles = holdsAuthority ? names(payload['o']) : []
  if (v !== version || typeof s !== 'string' || typeof r !== 'string' || typeof i !== 'string' || i === '') return null
  if (typeof a !== 'number' || typeof l !== 'number' || typeof e !== 'number' || !isPlain(m) || !isPlain(d)) return null
  const principal = principalFrom({ ...deepFreeze(m), realm: r, id: i, scopes, roles }, r)
  return { id: s, principal, authenticatedAt: a, seenAt: l, endsAt: e, data: deepFreeze(d) }
}

function names (value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(name => typeof name === 'string') : []
}
