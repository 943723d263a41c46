/** A value that JSON represents without loss. `undefined`, `NaN`, a `Date` or a `Map` is not. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject

/** An object of {@link JsonValue}s. */
export interface JsonObject { readonly [key: string]: JsonValue }

/** The owner of a record: a principal's realm and id. `alice` of one realm is not `alice` of another. */
export interface StoreOwner {
  readonly realm: string
  readonly id: string
}

/**
 * A record to add. It is found by `kind` and `id` together, and by its owner if it has one.
 *
 * A store may rely on these limits: `kind` is a constant in the code that matches `/^[a-z][a-z0-9-]{0,63}$/` and never
 * comes from a request. `id`, and `owner.realm` and `owner.id` together, have 1 to 1,024 bytes of UTF-8 without NUL and
 * lone surrogates; longer values have to be hashed. `value` has at most 65,536 bytes of JSON. The stores of this
 * package reject anything else with `AUTH_FAULT`.
 */
export interface StoreEntry {
  readonly kind: string
  /** A secret is hashed first: stores never receive secrets. */
  readonly id: string
  readonly owner: StoreOwner | null
  readonly value: JsonObject
  /** The instant from which on, by the store's clock, the record does not exist. `null`: it never expires. */
  readonly expiresAt: Date | null
}

/** A record in a store. Do not change it in place: another caller may have the same object. */
export interface StoreRecord extends StoreEntry {
  /** Changes with every write, and is never one that a record of this kind and id had before. */
  readonly version: string
}

/** The state of a counter. */
export interface StoreCount {
  /** `true` if this call was counted, `false` if the ceiling was reached. */
  readonly counted: boolean
  /** The count, including this call if it was counted. */
  readonly count: number
  /** The end of the window, when the count is forgotten. `null` if nothing was counted, or the window has ended. */
  readonly expiresAt: Date | null
}

/** Options of {@link Store.increment}. */
export interface StoreIncrement {
  /** The length of the window in seconds, more than 0. It starts with the first count; later ones do not extend it. */
  readonly window: number
  /** The highest count: a call that would exceed it is not counted. Default: none. `0` only reads the counter. */
  readonly ceiling?: number
}

/**
 * A record that was added, replaced or taken, by this instance or another. `null`: changes may have been missed, so
 * drop everything cached for this kind.
 */
export type StoreChange = { readonly id: string } | null

/** The reason why a store is unavailable. */
export type StoreFailure =
  /**
   * A bounded store is full and nothing in it has expired. It evicts nothing, because an evicted revocation or counter
   * would no longer refuse anything.
   */
  | 'full'
  /** The store timed out, or was not called because it has timed out before. */
  | 'unanswered'
  /** The store or the connection to it failed. */
  | 'failed'
  /** `close` was called. */
  | 'closed'

/**
 * Persistent state: API keys, sessions, revocations, replay guards and counters.
 *
 * **Every method is atomic** among all callers of all processes that share the state. Expiry is exact, by the clock of
 * the store (of the database, if there is one): no method finds an expired record, even if it has not been removed yet.
 * Records and counters have separate namespaces.
 *
 * **Every failure** rejects with an `AuthError` with the code `AUTH_UNAVAILABLE` (in the stores of this package, with
 * `StoreUnavailable`, whose `reason` is a {@link StoreFailure}), which is answered with 503. It is unknown if a write
 * that failed was done. The error contains no secrets.
 */
export interface Store {
  /**
   * Adds a record if there is no other of its kind and id (an expired one does not count).
   * @returns `false` if there is one, or if the new record has already expired, so that a replay guard fails closed.
   */
  add (entry: StoreEntry): Promise<boolean>

  /** Returns the record, or `null`. */
  get (kind: string, id: string): Promise<StoreRecord | null>

  /**
   * Writes `value` and `expiresAt` of a record if its `version` has not changed since it was read (compare and swap).
   * The other fields of a record never change. Of all callers with one version, exactly one gets `true`. An `expiresAt`
   * in the past removes the record.
   * @returns `false` if another caller was first, or the record is gone.
   */
  swap (record: StoreRecord): Promise<boolean>

  /** Removes a record and returns it. Of all parallel callers, exactly one gets it, and the others get `null`. */
  take (kind: string, id: string): Promise<StoreRecord | null>

  /**
   * Returns the records of an owner at one instant, in no particular order. If a record is being replaced (the next one
   * is added, then the previous one is taken), at least one of the two is returned.
   */
  find (kind: string, owner: StoreOwner): Promise<readonly StoreRecord[]>

  /**
   * Removes and returns all records of an owner, except the one with the id `except`, each as {@link Store.take} does.
   * No record that existed before the call is left. A record that is added meanwhile is left only if all earlier ones
   * had been taken by then, so that a record that is being replaced leaves no successor.
   */
  takeAll (kind: string, owner: StoreOwner, except?: string): Promise<readonly StoreRecord[]>

  /**
   * Adds one to a counter, unless that would exceed the ceiling. The window starts with the first count; when it ends,
   * the count is forgotten. However many calls run in parallel, no more than `ceiling` are counted.
   */
  increment (kind: string, id: string, options: StoreIncrement): Promise<StoreCount>

  /**
   * Subtracts one from a counter, but never below 0, if its window is still the one that ends at `expiresAt`, as
   * {@link Store.increment} returned it. So a late call does not change the next window.
   */
  decrement (kind: string, id: string, expiresAt: Date): Promise<void>

  /**
   * Calls a listener at once for every change to the records of a kind by other instances, and possibly by this one;
   * not for expiry, and not for counters. The listener must not throw. A store that cannot publish changes has no such
   * method.
   * @returns a function that ends the subscription.
   */
  subscribe? (kind: string, listener: (change: StoreChange) => void): () => void

  /** Creates what the store needs, such as tables and indexes. Idempotent, and safe in parallel in many processes. */
  migrate (): Promise<void>

  /** Closes connections and timers. Later calls of other methods are refused. Idempotent. */
  close (): Promise<void>
}
