import { hash } from 'node:crypto'
import type { Principal } from '../../../types/principal.js'
import { principalFrom } from '../../kit/principal.js'
import { jsonObject } from '../../util/json.js'
import { deepFreeze, isPlainObject, ownFields } from '../../util/objects.js'

/** One session, as the cookie carries it. Instants are milliseconds since 1970. */
export interface Session {
  /** Random, new at every login. It travels sealed in the cookie, and nowhere else. */
  readonly secret: string
  /** {@link idOf} the secret: a handle to list and to end it by, of no use without the cookie. */
  readonly id: string
  readonly principal: Principal
  readonly authenticatedAt: number
  /** When it got this id: at the login, or when it was renewed. */
  readonly begunAt: number
  /** When the cookie was last written. */
  readonly seenAt: number
  /** The absolute end. */
  readonly endsAt: number
  /** Begun with `keep`: it outlives the browser. */
  readonly kept: boolean
  readonly data: Readonly<Record<string, unknown>>
}

const version = 1

/** A hash, so that whoever reads the store, and even has the sealing secret, makes no cookie of what is there. */
export function idOf (secret: string): string {
  return hash('sha256', secret, 'base64url').slice(0, 22)
}

/** Whether a text can be what {@link idOf} returned. */
export function isId (text: unknown): text is string {
  return typeof text === 'string' && /^[\w-]{22}$/.test(text)
}

/** What is sealed: short keys, as browsers drop cookies above 4 KiB. Scopes and roles only where nobody loads them. */
export function pack (session: Session, holdsAuthority: boolean): Readonly<Record<string, unknown>> {
  const { realm, id, scopes, roles, ...more } = session.principal
  return {
    v: version,
    s: session.secret,
    r: realm,
    i: id,
    ...(holdsAuthority ? { c: scopes, o: roles } : {}),
    ...filled('m', jsonObject(more, 'principal')),
    ...filled('d', session.data),
    a: session.authenticatedAt,
    ...(session.begunAt === session.authenticatedAt ? {} : { b: session.begunAt }),
    l: session.seenAt,
    e: session.endsAt,
    ...(session.kept ? { k: 1 } : {})
  }
}

function filled (key: string, fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.keys(fields).length === 0 ? {} : { [key]: fields }
}

const nothing: Readonly<Record<string, unknown>> = Object.freeze({})

/** The session of an authentic payload; `null` when another version of this plugin wrote it. Authority is taken from the cookie only where nobody loads it. */
export function unpack (payload: Readonly<Record<string, unknown>>, holdsAuthority: boolean): Session | null {
  const fields = ownFields(payload)
  const { v, s, r, i, a, b = a, l, e, k, m = nothing, d = nothing } = fields
  const scopes = holdsAuthority ? names(fields['c']) : []
  const roles = holdsAuthority ? names(fields['o']) : []
  if (v !== version || typeof s !== 'string' || typeof r !== 'string' || typeof i !== 'string' || i === '') return null
  if (typeof a !== 'number' || typeof b !== 'number' || typeof l !== 'number' || typeof e !== 'number' || !isPlainObject(m) || !isPlainObject(d)) return null
  const principal = principalFrom({ ...deepFreeze(m), realm: r, id: i, scopes, roles }, r)
  return { secret: s, id: idOf(s), principal, authenticatedAt: a, begunAt: b, seenAt: l, endsAt: e, kept: k === 1, data: deepFreeze(d) }
}

function names (value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(name => typeof name === 'string') : []
}
