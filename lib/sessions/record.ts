import type { SessionRecord } from '../../types/sessions.js'
import type { StoreEntry, StoreOwner, StoreRecord } from '../../types/store.js'
import type { Session } from './payload.js'
import type { Sighting } from './registry.js'
import { endOf, type Times } from './times.js'

export const kind = 'session'

/** Milliseconds between two notes of when a session was last seen. */
const noteEvery = 60_000
/** Characters, which nobody needs more of to know their devices. */
const longest = { address: 64, userAgent: 256 }

/** Under which names the sessions of one scheme stand in the store, so that two schemes share nothing there. */
export interface Names {
  id (id: string): string
  owner (owner: StoreOwner): StoreOwner
  /** The name of a scheme has no space: what follows the first is the rest. */
  rest (name: string): string
}

export function namesOf (scheme: string): Names {
  return {
    id: id => `${scheme} ${id}`,
    owner: ({ realm, id }) => ({ realm: `${scheme} ${realm}`, id }),
    rest: name => name.slice(scheme.length + 1)
  }
}

/** What is kept of a new session: nothing that opens it. */
export function entryOf (names: Names, { id, principal, authenticatedAt, seenAt, endsAt, kept }: Session, { address, userAgent }: Sighting): StoreEntry {
  return {
    kind,
    id: names.id(id),
    owner: names.owner(principal),
    value: { created: authenticatedAt, seen: seenAt, kept, address: address.slice(0, longest.address), userAgent: userAgent.slice(0, longest.userAgent) },
    expiresAt: new Date(endsAt)
  }
}

/** The record as it is after its session was seen now; `null` when that was noted a moment ago. */
export function seenAgain (record: StoreRecord, now: number): StoreRecord | null {
  return now - Number(record.value['seen']) >= noteEvery ? { ...record, value: { ...record.value, seen: now } } : null
}

/** What people are shown of it; `null` when it has been idle for so long that no cookie opens it any more. */
export function recordOf (names: Names, times: Times, { id, owner, value, expiresAt }: StoreRecord, now: number): SessionRecord | null {
  const created = Number(value['created'])
  const seen = Number(value['seen'])
  const sealed = Number(expiresAt)
  const kept = value['kept'] === true
  // it may have been seen later than was noted
  if (owner === null || endOf(times, { seenAt: seen + noteEvery, endsAt: sealed, authenticatedAt: created, kept }) <= now) return null
  return Object.freeze({
    id: names.rest(id),
    owner: Object.freeze({ realm: names.rest(owner.realm), id: owner.id }),
    createdAt: new Date(created).toISOString(),
    lastSeenAt: new Date(seen).toISOString(),
    expiresAt: new Date(endOf(times, { seenAt: Infinity, endsAt: sealed, authenticatedAt: created, kept })).toISOString(),
    address: String(value['address']),
    userAgent: String(value['userAgent'])
  })
}
