import { hash } from 'node:crypto'
import type { Principal } from '../../../types/principal.js'
import type { ProviderLogin } from '../../../types/sessions.js'
import { internalError } from '../../errors.js'
import { principalFrom } from '../../kit/principal.js'
import { jsonObject } from '../../util/encoding.js'
import { deepFreeze, isPlainObject, ownFields } from '../../util/objects.js'

/** The content of a session cookie. Instants are in milliseconds since 1970. */
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

const version = 1

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
 * Returns the payload of a session's cookie, with short keys, as browsers drop cookies above 4 KiB.
 * @param holdsAuthority adds scopes and roles: there is no `load`.
 */
export function pack (session: Session, holdsAuthority: boolean): Readonly<Record<string, unknown>> {
  const { realm, id, scopes, roles, ...more } = session.principal
  return {
    v: version,
    s: session.secret,
    r: realm,
    i: id,
    ...(holdsAuthority ? { c: scopes, o: roles } : {}),
    ...unlessEmpty('m', jsonObject(more, 'principal')),
    ...unlessEmpty('d', session.data),
    a: session.authenticatedAt,
    ...(session.createdAt === session.authenticatedAt ? {} : { t: session.createdAt }),
    ...(session.begunAt === session.createdAt ? {} : { b: session.begunAt }),
    l: session.seenAt,
    e: session.endsAt,
    ...(session.kept ? { k: 1 } : {}),
    ...(session.provider === null ? {} : { p: session.provider })
  }
}

function unlessEmpty (key: string, fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.keys(fields).length === 0 ? {} : { [key]: fields }
}

const empty: Readonly<Record<string, unknown>> = Object.freeze({})

/**
 * Parses an authentic payload. Returns `null` when another version of this plugin wrote it.
 * @param holdsAuthority takes scopes and roles from the cookie: there is no `load`.
 */
export function unpack (payload: Readonly<Record<string, unknown>>, holdsAuthority: boolean): Session | null {
  const fields = ownFields(payload)
  const { v, s, r, i, a, t = a, b = t, l, e, k, m = empty, d = empty, p = null } = fields
  const scopes = holdsAuthority ? names(fields['c']) : []
  const roles = holdsAuthority ? names(fields['o']) : []
  if (v !== version || typeof s !== 'string' || typeof r !== 'string' || typeof i !== 'string' || i === '') return null
  if ((typeof a !== 'number' && a !== null) || typeof t !== 'number' || typeof b !== 'number') return null
  if (typeof l !== 'number' || typeof e !== 'number') return null
  if (!isPlainObject(m) || !isPlainObject(d)) return null
  const principal = principalFrom({ ...deepFreeze(m), realm: r, id: i, scopes, roles }, r)
  const times = { authenticatedAt: a, createdAt: t, begunAt: b, seenAt: l, endsAt: e }
  const provider = p as ProviderLogin | null
  return { secret: s, id: idOf(s), principal, ...times, kept: k === 1, data: deepFreeze(d), provider }
}

function names (value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(name => typeof name === 'string') : []
}

/**
 * Returns a deep-frozen copy of the data that an application keeps in a session.
 * @throws {AuthError} `AUTH_FAULT` as {@link jsonObject} does.
 */
export function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlainObject(data)) throw internalError('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}
