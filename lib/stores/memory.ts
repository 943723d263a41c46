import { randomUUID } from 'node:crypto'
import type { Store, StoreChange, StoreEntry, StoreOwner, StoreRecord } from '../../types/store.js'
import { misconfigured } from '../errors.js'
import { fields, frozen } from '../shape.js'
import { checkEntry, checkName, checkOwner, milliseconds, valueOf, windowOf } from './limits.js'
import { counters, type Counters } from './memory/counters.js'
import { shelf, type Shelf } from './memory/shelf.js'
import { operations } from './unavailable.js'

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /** Records of each kind, at most. A full kind refuses new ones with 503: none that is alive is given up. Default 100,000. */
  readonly maxRecords?: number
  /** Counters of each kind, at most. A full kind refuses new ones. Default 20,000. */
  readonly maxCounters?: number
}

/** What is shared by the operations of one store. */
interface Memory {
  shelf (kind: string): Shelf
  counters (kind: string): Counters
  tell (kind: string, id: string): void
  listen (kind: string, listener: (change: StoreChange) => void): () => void
}

/**
 * A store in the memory of this process, which a restart forgets and other instances do not see.
 * Each kind has room of its own, so that a flood of one kind (codes, say) does not keep another (sessions) out.
 *
 * @example
 * const store = memoryStore({ maxRecords: 20_000 })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for an option that is not known or no positive whole number.
 */
export function memoryStore (options: MemoryStoreOptions = {}): Store {
  const memory = memoryOf(options)
  const { run, close } = operations()
  const store: Store = {
    add: entry => run('add', () => add(memory, entry)),
    get: (kind, id) => run('get', () => look(memory, kind, id)),
    swap: record => run('swap', () => swap(memory, record)),
    take: (kind, id) => run('take', () => {
      const found = look(memory, kind, id)
      if (found !== null) remove(memory, found)
      return found
    }),
    find: (kind, owner) => run('find', () => find(memory, kind, owner)),
    takeAll: (kind, owner, except) => run('takeAll', () => {
      const found = find(memory, kind, owner).filter(record => record.id !== except)
      for (const record of found) remove(memory, record)
      return found
    }),
    increment: (kind, id, options) => run('increment', () => {
      checkName(kind, id)
      return memory.counters(kind).increment(id, windowOf(kind, options), options.ceiling ?? Infinity, Date.now())
    }),
    decrement: (kind, id, expiresAt) => run('decrement', () => {
      checkName(kind, id)
      memory.counters(kind).decrement(id, expiresAt.getTime(), Date.now())
    }),
    subscribe: memory.listen,
    migrate: () => run('migrate', () => {}),
    close: () => close(() => {})
  }
  return Object.freeze(store)
}

function memoryOf (options: MemoryStoreOptions): Memory {
  const { maxRecords = 100_000, maxCounters = 20_000 } = fields(options, ['maxRecords', 'maxCounters'], 'memoryStore')
  const [records, counts] = [atMost(maxRecords, 'maxRecords'), atMost(maxCounters, 'maxCounters')]
  const shelves = new Map<string, Shelf>()
  const tables = new Map<string, Counters>()
  const listeners = new Map<string, Set<(change: StoreChange) => void>>()
  return {
    shelf: kind => kept(shelves, kind, () => shelf(kind, records)),
    counters: kind => kept(tables, kind, () => counters(kind, counts)),
    tell: (kind, id) => { listeners.get(kind)?.forEach(listener => { listener({ id }) }) },
    listen (kind, listener) {
      // one of its own for each call: the same function may listen twice
      const own = (change: StoreChange): void => { listener(change) }
      const set = kept(listeners, kind, () => new Set<(change: StoreChange) => void>()).add(own)
      return () => { set.delete(own) }
    }
  }
}

function kept<T> (map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

function atMost (value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  throw misconfigured(`The option ${name} of memoryStore must be a whole number above 0.`)
}

function add (memory: Memory, entry: StoreEntry): boolean {
  checkEntry(entry)
  const { kind, id, owner, expiresAt } = entry
  const { value } = valueOf(kind, entry.value)
  const [now, at, own] = [Date.now(), milliseconds(expiresAt, kind), memory.shelf(kind)]
  if ((at !== null && at <= now) || own.get(id, now) !== undefined) return false
  own.put(recordOf(kind, id, owner, value, at), now)
  memory.tell(kind, id)
  return true
}

function look (memory: Memory, kind: string, id: string): StoreRecord | null {
  checkName(kind, id)
  return memory.shelf(kind).get(id, Date.now()) ?? null
}

function swap (memory: Memory, record: StoreRecord): boolean {
  checkEntry(record)
  const { kind, id } = record
  const { value } = valueOf(kind, record.value)
  const found = look(memory, kind, id)
  if (found === null || found.version !== record.version) return false
  memory.shelf(kind).put(recordOf(kind, id, found.owner, value, milliseconds(record.expiresAt, kind)), Date.now())
  memory.tell(kind, id)
  return true
}

function find (memory: Memory, kind: string, owner: StoreOwner): readonly StoreRecord[] {
  checkOwner(kind, owner)
  return memory.shelf(kind).of(owner, Date.now())
}

function remove (memory: Memory, record: StoreRecord): void {
  memory.shelf(record.kind).remove(record)
  memory.tell(record.kind, record.id)
}

function recordOf (kind: string, id: string, owner: StoreOwner | null, value: StoreRecord['value'], at: number | null): StoreRecord {
  return frozen({ kind, id, owner: owner === null ? null : { realm: owner.realm, id: owner.id }, value, expiresAt: at === null ? null : new Date(at), version: randomUUID() })
}
