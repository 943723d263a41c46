import type { StoreEntry, StoreOwner, StoreRecord } from '../../../types/store.js'
import type { RefreshSettings } from './refresh-options.js'

/** The kind of the store's records of families. */
export const familyKind = 'refresh-family'

/**
 * Describes one grant: all tokens of one login or of one consent. At most one of its refresh tokens is current. It
 * contains no secret.
 */
export interface Family {
  readonly issuer: string
  readonly client: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  /** `true` if a client acts for the person: its tokens carry no roles, and are refused where no scope is required. */
  readonly delegated: boolean
  /** The audience of its access tokens. */
  readonly resource: string
  /** The generation of the current token. */
  readonly generation: number
  /** The name of the secret that authenticates the current token; `null` if the grant has no refresh token. */
  readonly secret: string | null
  /** The time at which the current token replaced its predecessor. All times are in milliseconds since 1970. */
  readonly rotatedAt: number
  readonly createdAt: number
  /** `null` if unknown. */
  readonly authenticatedAt: number | null
  /** The time at which the grant ends, even if it is used until then. */
  readonly absolute: number
}

/** Returns the record of a new family. @param idle seconds */
export function familyEntry (id: string, owner: StoreOwner, family: Family, idle: number): StoreEntry {
  return { kind: familyKind, id, owner, value: { ...family }, expiresAt: endOf(family, idle) }
}

/** Returns the family in a record that {@link familyEntry} created. */
export function familyOf ({ value }: Pick<StoreRecord, 'value'>): Family {
  return value as unknown as Family
}

/** Returns the record after an exchange of the current token. */
export function rotate (record: StoreRecord, secret: string, { idle }: RefreshSettings): StoreRecord {
  const family = familyOf(record)
  const next: Family = { ...family, generation: family.generation + 1, secret, rotatedAt: Date.now() }
  return { ...record, value: { ...next }, expiresAt: endOf(next, idle) }
}

function endOf ({ rotatedAt, absolute }: Family, idle: number): Date {
  return new Date(Math.min(rotatedAt + idle * 1000, absolute))
}

/**
 * Classifies a token of a family: *current*, or *just before*, the predecessor of the current token, which the client
 * may present again for a short time after it lost a response or in another tab. Any older token is *used again*. A
 * later token is *unknown*, which happens if the store lost its latest writes.
 */
export type Standing = 'current' | 'just before' | 'used again' | 'unknown'

/** Returns the standing of the token with a generation. */
export function standingOf (
  { generation, rotatedAt }: Family, presented: number, { reuseGrace }: RefreshSettings
): Standing {
  if (presented === generation) return 'current'
  if (presented > generation) return 'unknown'
  const isRecent = reuseGrace > 0 && Date.now() - rotatedAt <= reuseGrace * 1000
  return presented === generation - 1 && isRecent ? 'just before' : 'used again'
}
