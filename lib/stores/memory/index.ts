import { randomUUID } from 'node:crypto'
import type { Store, StoreChange, StoreCount, StoreEntry, StoreOwner, StoreRecord } from '../../../types/store.js'
import { ownerKey } from '../../util/encoding.js'
import { deepFreeze, getOrCreate } from '../../util/objects.js'
import { object, optional, wholeNumber } from '../../util/options.js'
import { withBacking } from '../../util/reports.js'
import {
  checkEntry, checkName, checkOwner, type CounterLimits, createOperations, expiryOf, limitsOf, StoreUnavailable, valueOf
} from '../operations.js'

/** The options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * The maximum number of records of each kind. A full kind refuses new ones with 503; live ones are never evicted.
   * Default 100,000.
   */
  readonly maxRecords?: number
  /** The maximum number of counters of each kind. A full kind refuses new ones. Default 20,000. */
  readonly maxCounters?: number
}

const parseOptions = object({
  maxRecords: optional(wholeNumber(), 100_000),
  maxCounters: optional(wholeNumber(), 20_000)
})

/** The state that the operations of one store share. */
interface Memory {
  records (kind: string): RecordMap
  counters (kind: string): Counters
  notify (kind: string, id: string): void
  subscribe (kind: string, listener: (change: StoreChange) => void): () => void
}

/**
 * Creates a store in the memory of this process. A restart empties it, and other instances do not see it. Each kind of
 * record has its own limit, so that a flood of one kind (such as codes) does not leave no room for another (sessions).
 *
 * @example
 * const store = memoryStore({ maxRecords: 20_000 })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for an unknown option, or a value that is not a positive whole number.
 */
export function memoryStore (options: MemoryStoreOptions = {}): Store {
  const memory = createMemory(options)
  const { run, close } = createOperations()
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
      if (except !== undefined) checkName(kind, except)
      const found = find(memory, kind, owner).filter(record => record.id !== except)
      for (const record of found) remove(memory, record)
      return found
    }),
    increment: (kind, id, options) => run('increment', () => {
      checkName(kind, id)
      return memory.counters(kind).increment(id, limitsOf(kind, options), Date.now())
    }),
    decrement: (kind, id, expiresAt) => run('decrement', () => {
      checkName(kind, id)
      memory.counters(kind).decrement(id, expiresAt.getTime(), Date.now())
    }),
    subscribe: memory.subscribe,
    migrate: () => run('migrate', () => {}),
    close: () => close(() => {})
  }
  return withBacking(Object.freeze(store), { kind: 'memory' })
}

function createMemory (options: MemoryStoreOptions): Memory {
  const { maxRecords, maxCounters } = parseOptions(options, 'The options of memoryStore')
  const recordMaps = new Map<string, RecordMap>()
  const counterMaps = new Map<string, Counters>()
  const listeners = new Map<string, Set<(change: StoreChange) => void>>()
  return {
    records: kind => getOrCreate(recordMaps, kind, () => createRecordMap(kind, maxRecords)),
    counters: kind => getOrCreate(counterMaps, kind, () => createCounters(kind, maxCounters)),
    notify: (kind, id) => { listeners.get(kind)?.forEach(listener => { listener({ id }) }) },
    subscribe (kind, listener) {
      // A new function for each call, because the same listener may subscribe twice.
      const own = (change: StoreChange): void => { listener(change) }
      const set = getOrCreate(listeners, kind, () => new Set<(change: StoreChange) => void>()).add(own)
      return () => { set.delete(own) }
    }
  }
}

function add (memory: Memory, entry: StoreEntry): boolean {
  checkEntry(entry)
  const { kind, id, expiresAt } = entry
  const { value } = valueOf(kind, entry.value)
  const [now, at, records] = [Date.now(), expiryOf(expiresAt, kind), memory.records(kind)]
  if ((at !== null && at <= now) || records.get(id, now) !== undefined) return false
  records.put(recordOf(entry, value, at), now)
  memory.notify(kind, id)
  return true
}

function look (memory: Memory, kind: string, id: string): StoreRecord | null {
  checkName(kind, id)
  return memory.records(kind).get(id, Date.now()) ?? null
}

function swap (memory: Memory, record: StoreRecord): boolean {
  checkEntry(record)
  const { kind, id } = record
  const { value } = valueOf(kind, record.value)
  const found = look(memory, kind, id)
  if (found === null || found.version !== record.version) return false
  memory.records(kind).put(recordOf(found, value, expiryOf(record.expiresAt, kind)), Date.now())
  memory.notify(kind, id)
  return true
}

function find (memory: Memory, kind: string, owner: StoreOwner): readonly StoreRecord[] {
  checkOwner(kind, owner)
  return memory.records(kind).of(owner, Date.now())
}

function remove (memory: Memory, record: StoreRecord): void {
  memory.records(record.kind).remove(record)
  memory.notify(record.kind, record.id)
}

/** Returns the record of an entry, with a new value and expiry. */
function recordOf (
  { kind, id, owner }: StoreEntry, value: StoreRecord['value'], at: number | null
): StoreRecord {
  const ownOwner = owner === null ? null : { realm: owner.realm, id: owner.id }
  return deepFreeze({
    kind, id, owner: ownOwner, value, expiresAt: at === null ? null : new Date(at), version: randomUUID()
  })
}

/** The counters of one kind. */
interface Counters {
  /** @throws {StoreUnavailable} with the reason `full`: live counters are never evicted. */
  increment (id: string, limits: CounterLimits, now: number): StoreCount
  decrement (id: string, end: number, now: number): void
}

const none: StoreCount = Object.freeze({ counted: false, count: 0, expiresAt: null })

function createCounters (kind: string, maxCounters: number): Counters {
  // Plain numbers: one object for each counter would make a full kind a third larger.
  const counts = new ExpiringMap<number>()

  function begin (id: string, end: number, now: number): StoreCount {
    if (counts.sizeAt(now) >= maxCounters) {
      throw new StoreUnavailable('full', `memory holds ${maxCounters} counters of the kind '${kind}'`)
    }
    counts.set(id, 1, end)
    return { counted: true, count: 1, expiresAt: new Date(end) }
  }

  return {
    increment (id, { windowMs, ceiling }, now) {
      const counter = counts.find(id, now)
      if (counter === undefined) return ceiling < 1 ? none : begin(id, now + windowMs, now)
      const counted = counter.value < ceiling
      if (counted) counter.value++
      return { counted, count: counter.value, expiresAt: new Date(counter.at) }
    },
    decrement (id, end, now) {
      const counter = counts.find(id, now)
      if (counter !== undefined && counter.at === end && counter.value > 0) counter.value--
    }
  }
}

/** The records of one kind, indexed by id and by owner. */
interface RecordMap {
  get (id: string, now: number): StoreRecord | undefined
  /** @throws {StoreUnavailable} with the reason `full`: live records are never evicted. */
  put (record: StoreRecord, now: number): void
  remove (record: StoreRecord): void
  of (owner: StoreOwner, now: number): readonly StoreRecord[]
}

function createRecordMap (kind: string, maxRecords: number): RecordMap {
  const owners = new Map<string, Set<string>>()
  const records = new ExpiringMap<StoreRecord>(unlist)

  function unlist ({ owner, id }: StoreRecord): void {
    if (owner === null) return
    const ids = owners.get(ownerKey(owner))
    ids?.delete(id)
    if (ids?.size === 0) owners.delete(ownerKey(owner))
  }

  function list ({ owner, id }: StoreRecord): void {
    if (owner === null) return
    getOrCreate(owners, ownerKey(owner), () => new Set<string>()).add(id)
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
      const ids = owners.get(ownerKey(owner)) ?? []
      return [...ids].flatMap(id => records.get(id, now) ?? [])
    }
  }
}

/** The value of a key and its end. */
interface ExpiringEntry<V> {
  value: V
  /** The instant at which the entry expires. */
  readonly at: number
}

interface KeyedEntry<V> extends ExpiringEntry<V> {
  readonly key: string
  at: number
}

/** The number of dead entries, beyond the number of live ones, at which the heap is rebuilt. */
const maxDead = 1_024

/**
 * A map whose entries expire at an instant in milliseconds since 1970 (`Infinity`: never), without a timer.
 *
 * Reading, extending and deleting an entry take constant time: an extended entry keeps its place in the heap until its
 * first end comes, and a deleted one until its turn, or until more entries are dead than live. An entry is dead when
 * its key is gone or has another entry.
 */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, KeyedEntry<V>>()
  readonly #heap = new ExpiryHeap<KeyedEntry<V>>()
  readonly #onExpired: (value: V) => void

  /** @param onExpired is called with the value of each entry that expired. */
  constructor (onExpired: (value: V) => void = () => {}) {
    this.#onExpired = onExpired
  }

  get (key: string, now: number): V | undefined {
    return this.find(key, now)?.value
  }

  /** Returns the entry itself, whose value may be changed in place. */
  find (key: string, now: number): ExpiringEntry<V> | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.at > now ? entry : undefined
  }

  /** Adds or replaces an entry. The caller checks the size before. */
  set (key: string, value: V, at: number): void {
    const known = this.#entries.get(key)
    if (known !== undefined && at >= known.at) {
      known.value = value
      known.at = at
      return
    }
    const entry = { key, value, at }
    this.#entries.set(key, entry)
    if (at !== Infinity) this.#heap.push(entry, at)
    this.#clean()
  }

  delete (key: string): void {
    if (this.#entries.delete(key)) this.#clean()
  }

  /** Removes what has expired, and returns the number of entries that are left. */
  sizeAt (now: number): number {
    for (let first = this.#heap.take(now); first !== undefined; first = this.#heap.take(now)) {
      if (this.#isLive(first)) this.#settle(first, now)
    }
    return this.#entries.size
  }

  #settle (entry: KeyedEntry<V>, now: number): void {
    if (entry.at <= now) {
      this.#entries.delete(entry.key)
      this.#onExpired(entry.value)
    } else if (entry.at !== Infinity) this.#heap.push(entry, entry.at)
  }

  #clean (): void {
    if (this.#heap.size > 2 * this.#entries.size + maxDead) this.#heap.keep(entry => this.#isLive(entry))
  }

  #isLive (entry: KeyedEntry<V>): boolean {
    return this.#entries.get(entry.key) === entry
  }
}

/**
 * A binary heap ordered by instant. The instants have an array of their own, because a number field would cost an
 * object each.
 */
class ExpiryHeap<T> {
  #items: T[] = []
  #dues: number[] = []

  get size (): number {
    return this.#items.length
  }

  push (item: T, due: number): void {
    let at = this.#items.length
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.#due(above) <= due) break
      this.#move(above, at)
      at = above
    }
    this.#items[at] = item
    this.#dues[at] = due
  }

  /** Removes and returns the earliest item, if it is due by `now`. */
  take (now: number): T | undefined {
    const [first] = this.#items
    if (first === undefined || this.#due(0) > now) return undefined
    const item = this.#items.pop() as T
    const due = this.#dues.pop() as number
    if (this.#items.length > 0) this.#sink(item, due)
    return first
  }

  /** Rebuilds the heap with the items that are still wanted. */
  keep (isWanted: (item: T) => boolean): void {
    const [items, dues] = [this.#items, this.#dues]
    this.#items = []
    this.#dues = []
    for (const [i, item] of items.entries()) if (isWanted(item)) this.push(item, dues[i] as number)
  }

  #sink (item: T, due: number): void {
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const below = this.#due(left + 1) < this.#due(left) ? left + 1 : left
      if (this.#due(below) >= due) break
      this.#move(below, at)
      at = below
    }
    this.#items[at] = item
    this.#dues[at] = due
  }

  #move (from: number, to: number): void {
    this.#items[to] = this.#items[from] as T
    this.#dues[to] = this.#due(from)
  }

  /** Returns the instant at a position; `Infinity` beyond the end. */
  #due (at: number): number {
    return at < this.#dues.length ? this.#dues[at] as number : Infinity
  }
}
