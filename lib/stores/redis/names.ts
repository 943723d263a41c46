import type { StoreOwner } from '../../../types/store.js'

/** The names of keys and channels. `id` is text that Redis keeps faithfully, `owner` what {@link Names.owner} gave. */
export interface Names {
  record (kind: string, id: string): string
  /** The index of an owner, in one slot with the records. */
  index (kind: string, owner: string): string
  /** The keys of one record: its own, and that of the index where it has an owner. */
  both (kind: string, id: string, owner: string): readonly string[]
  counter (kind: string, id: string): string
  channel (kind: string): string
  /** An owner as one text; '' for none. */
  owner (owner: StoreOwner | null): string
}

/** What stands in braces decides the slot in a cluster: the records of a kind and its indexes share one, counters are spread. */
export function namesOf (prefix: string): Names {
  const record = (kind: string, id: string): string => `{${prefix}:${kind}}:r:${id}`
  const index = (kind: string, owner: string): string => `{${prefix}:${kind}}:o:${owner}`
  return {
    record,
    index,
    both: (kind, id, owner) => owner === '' ? [record(kind, id)] : [record(kind, id), index(kind, owner)],
    counter: (kind, id) => `${prefix}:${kind}:c:${id}`,
    channel: kind => `${prefix}:${kind}`,
    owner: owner => owner === null ? '' : JSON.stringify([owner.realm, owner.id])
  }
}
