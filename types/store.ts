/** What JSON carries faithfully. Fields that are `undefined`, Dates, Maps and NaN are not. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject

/** An object of what JSON carries. */
export interface JsonObject { readonly [key: string]: JsonValue }

/** To whom a record belongs: a principal's realm and id. `alice` of one realm is not `alice` of another. */
export interface StoreOwner {
  readonly realm: string
  readonly id: string
}

/**
 * What is kept, before it is kept. It is found by `kind` and `id` together, and by its owner where it has one.
 *
 * Limits that a store may rely on, and what a store refuses: `kind` is a constant of the code that matches
 * `/^[a-z][a-z0-9-]{0,63}$/` and never comes from a request. `id`, and `owner.realm` and `owner.id` together, are 1 to
 * 1,024 bytes of UTF-8 without NUL and lone surrogates; hash what may be longer. `value` is at most 65,536 bytes of
 * JSON. The stores of this package reject anything else with `AUTH_FAULT`.
 */
export interface StoreEntry {
  readonly kind: string
  /** Already hashed when it is a secret: a store never sees one. */
  readonly id: string
  readonly owner: StoreOwner | null
  readonly value: JsonObject
  /** From this instant on, by the store's clock, the record is not there. `null`: it stays until it is taken. */
  readonly expiresAt: Date | null
}

/** What was kept. It is not to be changed in place: another caller may hold the same object. */
export interface StoreRecord extends StoreEntry {
  /** Another one after every write, and never one that a record of this kind and id had before. */
  readonly version: string
}

/** What a counter says. */
export interface StoreCount {
  /** Whether this call was counted; `false` when the ceiling was reached. */
  readonly counted: boolean
  /** The count, this call included if it was counted. */
  readonly count: number
  /**
   * The end of the window, when the count is forgotten. `null` when there is no window: nothing was ever counted, or it
   * ended.
   */
  readonly expiresAt: Date | null
}

/** How {@link Store.increment} counts. */
export interface StoreIncrement {
  /** Seconds from the first count until the count is forgotten: more than 0. Later counts do not move the end. */
  readonly window: number
  /**
   * The highest count that is reached: a call that would exceed it is not counted. Left out, there is none; `0` only
   * reads.
   */
  readonly ceiling?: number
}

/**
 * A record that was added, replaced or taken, here or on another instance. `null`: some may have been missed; believe
 * nothing that was remembered of this kind.
 */
export type StoreChange = { readonly id: string } | null

/** Why a store cannot tell. */
export type StoreFailure =
  /**
   * A bounded store holds as much as it may, and nothing of it has expired: it never makes room at the cost of what
   * denies somebody something.
   */
  | 'full'
  /** No answer within the deadline, or none expected because the store has been silent. */
  | 'unanswered'
  /** The store, or the way to it, answered with an error. */
  | 'failed'
  /** `close` was called. */
  | 'closed'

/**
 * Where state rests: API keys, session index, refresh-token families, authorization codes, revocations, replay guards,
 * failure counts.
 *
 * **Every method is atomic**, among all callers of all processes that share the state. Expiry is exact and judged by
 * the store's clock (of the database, where there is one): an expired record is nowhere to be found, whether or not it
 * has been removed yet. Records and counters do not share names: each is a space of its own.
 *
 * **Every failure** rejects with an `AuthError` of code `AUTH_UNAVAILABLE` (the stores of this package:
 * `StoreUnavailable`, whose `reason` is a {@link StoreFailure}), which callers answer with 503. It may come after the
 * deed: of a write that failed it is not known whether it happened. No secret is in it.
 */
export interface Store {
  /**
   * Adds a record if none of its kind and id is there (an expired one is not there).
   * @returns `false` when there is one, and also when the new one would already have expired: what cannot be held was
   * not added, so that a replay guard fails closed.
   */
  add (entry: StoreEntry): Promise<boolean>

  /** The record, or `null`. */
  get (kind: string, id: string): Promise<StoreRecord | null>

  /**
   * Compare and swap: writes `value` and `expiresAt` of a record that was read, if its `version` is still the one that
   * was read. Everything else of a record stays for its life. Of any number of callers with one version exactly one is
   * told `true`. An `expiresAt` that has passed ends the record.
   * @returns `false` when somebody was first, or the record is gone.
   */
  swap (record: StoreRecord): Promise<boolean>

  /** Removes the record and returns it: of any number of callers exactly one gets it, the others `null`. */
  take (kind: string, id: string): Promise<StoreRecord | null>

  /**
   * The records of an owner at one instant, in no particular order: of a record that is replaced at that moment (the
   * next one added, then the last one taken) one is found.
   */
  find (kind: string, owner: StoreOwner): Promise<readonly StoreRecord[]>

  /**
   * Removes all records of an owner, but the one with the id `except`, and returns them: each as {@link Store.take}
   * does. None that was there when it was called stays. What is added while it runs stays only where everything that
   * was there before had been taken by then: a record that is replaced at that moment leaves no successor.
   */
  takeAll (kind: string, owner: StoreOwner, except?: string): Promise<readonly StoreRecord[]>

  /**
   * Counts one, unless that would exceed the ceiling. The window starts with the first count; when it ends, the count
   * is forgotten. This reserves a slot: under any number of parallel calls no more than `ceiling` are counted.
   */
  increment (kind: string, id: string, options: StoreIncrement): Promise<StoreCount>

  /**
   * Gives one back to the window from which it was taken: `expiresAt` as {@link Store.increment} gave it. Where that
   * window has ended nothing happens, so that a slow success takes nothing from the next window. Never below 0.
   */
  decrement (kind: string, id: string, expiresAt: Date): Promise<void>

  /**
   * Hears of every change to the records of a kind, at once, those of other instances and possibly one's own; not of
   * expiry and not of counters. A store that cannot tell leaves the method out. A listener does not throw.
   * @returns a function that ends it.
   */
  subscribe? (kind: string, listener: (change: StoreChange) => void): () => void

  /** Makes ready what the store needs: tables, indexes. Idempotent, and safe from any number of processes at once. */
  migrate (): Promise<void>

  /** Ends connections and timers. What is called afterwards is refused. Idempotent. */
  close (): Promise<void>
}
