import type { Store, StoreOwner, StoreRecord } from '../../types/store.js'
import { fault } from '../errors.js'

/**
 * Makes a store whose answers belong to what it was asked. A record of another kind, id or owner is `AUTH_FAULT`: somebody who is given the record of another acts as the
 * other. An answer is a yes only if it is `true`, and an `undefined` record is an absent one.
 */
export function withCheckedAnswers (store: Store): Pick<Store, 'add' | 'get' | 'swap' | 'take' | 'find' | 'takeAll'> {
  return {
    add: async entry => isTrue(await store.add(entry)),
    get: async (kind, id) => recordOf(await store.get(kind, id), { operation: 'get', kind, id }),
    swap: async record => isTrue(await store.swap(record)),
    take: async (kind, id) => recordOf(await store.take(kind, id), { operation: 'take', kind, id }),
    find: async (kind, owner) => recordsOf(await store.find(kind, owner), { operation: 'find', kind, owner }),
    takeAll: async (kind, owner, except) => recordsOf(await store.takeAll(kind, owner, except), { operation: 'takeAll', kind, owner, except })
  }
}

interface Question {
  readonly operation: string
  readonly kind: string
}

interface QuestionById extends Question {
  readonly id: string
}

interface QuestionByOwner extends Question {
  readonly owner: StoreOwner
  readonly except?: string | undefined
}

function isTrue (answer: unknown): boolean {
  return answer === true
}

function recordOf (record: StoreRecord | null | undefined, { operation, kind, id }: QuestionById): StoreRecord | null {
  if (record === null || record === undefined) return null
  if (record.kind !== kind || record.id !== id) throw foreign(operation, kind)
  return record
}

function recordsOf (records: readonly StoreRecord[], { operation, kind, owner, except }: QuestionByOwner): readonly StoreRecord[] {
  for (const record of records) {
    const isOwned = record.kind === kind && record.owner?.realm === owner.realm && record.owner.id === owner.id
    if (!isOwned || record.id === except) throw foreign(operation, kind)
  }
  return records
}

/** The detail holds no id: it is for the log. */
function foreign (operation: string, kind: string): Error {
  return fault(`store: ${operation} of the kind '${kind}' was answered with a record of another kind, id or owner: the store, or a proxy before it, mixes up answers`)
}
