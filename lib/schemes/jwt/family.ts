import type { StoreEntry, StoreOwner, StoreRecord } from '../../../types/store.js'
import type { RefreshSettings } from './refresh-options.js'

/** The kind of the records of families. */
export const familyKind = 'refresh-family'

/** One grant: all refresh tokens that came from one login, of which one is current. It holds no secret. */
export interface Family {
  readonly issuer: string
  readonly client: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  /** The audience of its access tokens. */
  readonly resource: string
  /** Of the token that is current. */
  readonly generation: number
  /** The name of the secret that the current token is written with. */
  readonly secret: string
  /** Milliseconds since 1970, as are the others: when the current token replaced its predecessor. */
  readonly rotatedAt: number
  readonly createdAt: number
  readonly authenticatedAt: number
  /** When the grant ends, however often it is used. */
  readonly absolute: number
}

/** Returns the record of a new family. */
export function familyEntry (id: string, owner: StoreOwner, family: Family, { idle }: RefreshSettings): StoreEntry {
  return { kind: familyKind, id, owner, value: { ...family }, expiresAt: endOf(family, idle) }
}

/** Reads what {@link familyEntry} wrote. */
export function familyOf ({ value }: StoreRecord): Family {
  return value as unknown as Family
}

/** Returns the record as it is after the current token was exchanged. */
export function rotate (record: StoreRecord, secret: string, { idle }: RefreshSettings): StoreRecord {
  const family = familyOf(record)
  const next: Family = { ...family, generation: family.generation + 1, secret, rotatedAt: Date.now() }
  return { ...record, value: { ...next }, expiresAt: endOf(next, idle) }
}

function endOf ({ rotatedAt, absolute }: Family, idle: number): Date {
  return new Date(Math.min(rotatedAt + idle * 1000, absolute))
}

/**
 * What a token of a family is: *current*, or *just before*, which the same client may present again for a short while,
 * after an answer that was lost or beside another tab. Anything older is *used again*; a later one is *unknown*, which
 * a store leaves behind that lost its latest writes.
 */
export type Standing = 'current' | 'just before' | 'used again' | 'unknown'

/** Returns what the token of a generation is. */
export function standingOf (
  { generation, rotatedAt }: Family, presented: number, { reuseGrace }: RefreshSettings
): Standing {
  if (presented === generation) return 'current'
  if (presented > generation) return 'unknown'
  const isRecent = reuseGrace > 0 && Date.now() - rotatedAt <= reuseGrace * 1000
  return presented === generation - 1 && isRecent ? 'just before' : 'used again'
}
