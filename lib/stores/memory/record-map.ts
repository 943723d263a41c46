import type { StoreOwner, StoreRecord } from '../../../types/store.js'
import { StoreUnavailable } from '../errors.js'
import { createExpiringMap } from './expiry.js'

/** The records of one kind, indexed by id and by owner. */
export interface RecordMap {
  get (id: string, now: number): StoreRecord | undefined
  /** @throws {StoreUnavailable} with the reason `full`: live records are never evicted. */
  put (record: StoreRecord, now: number): void
  remove (record: StoreRecord): void
  of (owner: StoreOwner, now: number): readonly StoreRecord[]
}

export function createRecordMap (kind: string, maxRecords: number): RecordMap {
  const owners = new Map<string, Set<string>>()
  const records = createExpiringMap<StoreRecord>(unlist)

  function unlist ({ owner, id }: StoreRecord): void {
    if (owner === null) return
    const ids = owners.get(keyOf(owner))
    ids?.delete(id)
    if (ids?.size === 0) owners.delete(keyOf(owner))
  }

  function list ({ owner, id }: StoreRecord): void {
    if (owner === null) return
    const ids = owners.get(keyOf(owner))
    if (ids === undefined) owners.set(keyOf(owner), new Set([id]))
    else ids.add(id)
  }

  return {
    get: (id, now) => records.get(id, now),
    put (record, now) {
      const size = records.sizeAt(now)
      if (size >= maxRecords && records.get(record.id, now) === undefined) {
        throw new StoreUnavailable('full', `memory holds ${maxRecords} records of the kind '${kind}'`)
      }
      records.set(record.id, record, record.expiresAt?.getTime() ?? Infinity)
      list(record)
    },
    remove (record) {
      records.delete(record.id)
      unlist(record)
    },
    of (owner, now) {
      const ids = owners.get(keyOf(owner)) ?? []
      return [...ids].flatMap(id => records.get(id, now) ?? [])
    }
  }
}

function keyOf ({ realm, id }: StoreOwner): string {
  return JSON.stringify([realm, id])
}
