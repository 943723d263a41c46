import type { Duration } from '../../types/options.js'
import type { Store, StoreCount, StoreOwner, StoreRecord } from '../../types/store.js'
import { AuthError, internalError, misconfigured } from '../errors.js'
import { publish } from '../events/events.js'
import { describeValue } from '../util/describe.js'
import { isSameOwner } from '../util/encoding.js'
import { isMisplacedPromise, isObject, isValidDate } from '../util/objects.js'
import { duration, object, optional } from '../util/options.js'
import { backingOf, withBacking } from '../util/reports.js'
import { createOperations, StoreUnavailable, toStoreError } from './operations.js'

/** Options of {@link withDeadline}. */
export interface DeadlineOptions {
  /** The time limit of each call. Default 2 seconds. */
  readonly timeout?: Duration
}

/** The maximum is 24 days, because a timer of Node takes no longer delay. */
const parseOptions = object({ timeout: optional(duration({ positive: true, max: 24 * 86_400 }), 2) })

/** The stores whose calls have a deadline. */
const bounded = new WeakSet<Store>()

/** The time between two probes of a store that timed out. */
const probeIntervalMs = 500

/**
 * Wraps a store so that every call ends within the deadline. A call that times out or fails rejects with
 * {@link StoreUnavailable}; it is unknown if a write that timed out was done. Only `migrate` has no deadline.
 *
 * A record whose kind, id or owner differs from the call's is `AUTH_FAULT`.
 *
 * If a call times out and the store answered nothing else in the meantime, further calls are refused at once, except
 * for one probe every 500 ms. The first answer, even a late one, ends this.
 *
 * @throws {AuthError} `AUTH_MISCONFIGURED` for an invalid timeout.
 */
export function withDeadline (store: Store, options: DeadlineOptions = {}): Store {
  const wrapped = wrap(parseStore(store, 'The store of withDeadline'), options)
  bounded.add(wrapped)
  return wrapped
}

const storeMethods = [
  'add', 'get', 'swap', 'take', 'find', 'takeAll', 'increment', 'decrement', 'migrate', 'close'
] as const satisfies ReadonlyArray<keyof Store>

/** Checks that a value has the methods of a store. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseStore (value: unknown, option: string): Store {
  const missing = isObject(value) ? storeMethods.find(method => typeof value[method] !== 'function') : 'add'
  if (missing === undefined) return value as unknown as Store
  throw misconfigured(`${option} must be the result of memoryStore(), sqlStore() or redisStore(), or a store of ` +
    `your own. It has no ${missing}().`)
}

/** Returns a store whose calls have a deadline: the one that the application chose, or the default. */
export function ensureDeadline (store: Store): Store {
  return bounded.has(store) ? store : withDeadline(store)
}

function wrap (store: Store, options: DeadlineOptions): Store {
  const { timeout } = parseOptions(options, 'The options of withDeadline')
  const { run, close } = createOperations()
  const deadline = new Deadline(Math.ceil(timeout * 1_000))
  const checked = withCheckedAnswers(store)
  const within = <T>(operation: string, work: () => Promise<T>): Promise<T> => run(
    operation, () => deadline.call(operation, work)
  )
  const wrapped = Object.freeze({
    add: entry => within('add', () => checked.add(entry)),
    get: (kind, id) => within('get', () => checked.get(kind, id)),
    swap: record => within('swap', () => checked.swap(record)),
    take: (kind, id) => within('take', () => checked.take(kind, id)),
    find: (kind, owner) => within('find', () => checked.find(kind, owner)),
    takeAll: (kind, owner, except) => within('takeAll', () => checked.takeAll(kind, owner, except)),
    increment: (kind, id, options) => within('increment', () => checked.increment(kind, id, options)),
    decrement: (kind, id, expiresAt) => within('decrement', () => store.decrement(kind, id, expiresAt)),
    ...(store.subscribe === undefined ? {} : { subscribe: checkedSubscribe(store) }),
    migrate: () => run('migrate', () => store.migrate()),
    close: () => close(() => deadline.end('close', () => store.close()))
  } satisfies Store)
  return withBacking(wrapped, backingOf(store))
}

/** Ends the calls of one store within a time limit. */
class Deadline {
  /** Milliseconds. */
  readonly #limit: number
  readonly #state = new StoreState()
  /** The time of the last answer, by the monotonic clock. */
  #answeredAt = -Infinity
  /** The time of the next probe; `null` while the store answers. */
  #probeAt: number | null = null

  constructor (limit: number) {
    this.#limit = limit
  }

  /** Runs a call, or refuses it if the store has timed out and the next probe is not due. */
  call<T> (operation: string, work: () => Promise<T>): Promise<T> {
    if (this.#probeAt !== null) {
      const now = performance.now()
      if (now < this.#probeAt) {
        throw new StoreUnavailable('unanswered', `${operation} was not tried: the store timed out before`)
      }
      this.#probeAt = now + probeIntervalMs
    }
    return this.end(operation, work)
  }

  /** Runs a call even if the store has timed out. */
  end<T> (operation: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const began = performance.now()
      let expiry: NodeJS.Immediate | undefined
      const expire = (): void => { reject(this.#expired(operation, began)) }
      // If the event loop was blocked, the answer may already be in the socket, which is read before an immediate runs.
      const timer = setTimeout(() => { expiry = setImmediate(expire) }, this.#limit)
      const settle = (): void => {
        clearTimeout(timer)
        clearImmediate(expiry)
      }
      start(work).then(result => {
        settle()
        this.#answered()
        resolve(result)
      }, error => {
        settle()
        reject(this.#failed(operation, error))
      })
    })
  }

  #answered (): void {
    this.#answeredAt = performance.now()
    this.#probeAt = null
    this.#state.noteSuccess()
  }

  #expired (operation: string, began: number): AuthError {
    if (this.#answeredAt < began) this.#probeAt ??= performance.now() + probeIntervalMs
    const error = new StoreUnavailable('unanswered', `${operation} timed out after ${this.#limit} ms`)
    this.#state.noteFailure(error)
    return error
  }

  #failed (operation: string, error: unknown): AuthError {
    const reason = toStoreError(operation, error)
    if (isReply(error)) this.#answered()
    else this.#state.noteFailure(reason)
    return reason
  }
}

/** Publishes that the store fails, and that it works again: once for each time. */
class StoreState {
  /** The time of the first failure; `null` if the last call that ended succeeded. */
  #downSince: number | null = null

  noteSuccess (): void {
    if (this.#downSince === null) return
    publish('store-up', { downFor: Math.round(performance.now() - this.#downSince) })
    this.#downSince = null
  }

  noteFailure ({ detail }: AuthError): void {
    if (this.#downSince !== null) return
    this.#downSince = performance.now()
    publish('store-down', { reason: detail })
  }
}

/** Returns true if an error came from a store that works: a full one, or one that refused a wrong argument. */
function isReply (error: unknown): boolean {
  return error instanceof StoreUnavailable ? error.reason === 'full' : error instanceof AuthError
}

/** Runs a call so that a synchronous error of an application's store becomes a rejection. */
async function start<T> (work: () => Promise<T>): Promise<T> {
  return await work()
}

type Checked = Pick<Store, 'add' | 'get' | 'swap' | 'take' | 'find' | 'takeAll' | 'increment'>

/**
 * Wraps the methods of a store so that their results are checked. A record of another kind, id or owner is
 * `AUTH_FAULT`, because whoever receives the record of another user acts as that user. So is a result of another form,
 * such as an `expiresAt` that JSON has made a text. Any result but `true` counts as `false`, and an `undefined` record
 * as `null`.
 */
function withCheckedAnswers (store: Store): Checked {
  return {
    add: async entry => isTrue(await store.add(entry)),
    get: async (kind, id) => checkedRecord(await store.get(kind, id), { operation: 'get', kind, id }),
    swap: async record => isTrue(await store.swap(record)),
    take: async (kind, id) => checkedRecord(await store.take(kind, id), { operation: 'take', kind, id }),
    find: async (kind, owner) => checkedRecords(await store.find(kind, owner), { operation: 'find', kind, owner }),
    takeAll: async (kind, owner, except) => checkedRecords(
      await store.takeAll(kind, owner, except), { operation: 'takeAll', kind, owner, except }
    ),
    increment: async (kind, id, options) => checkedCount(await store.increment(kind, id, options), kind)
  }
}

/**
 * Returns the `subscribe` of a store, which calls listeners with changes only: anything else counts as `null`, after
 * which nothing that was cached is believed.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a store that returns no function. It is called at boot.
 */
function checkedSubscribe (store: Store): NonNullable<Store['subscribe']> {
  return (kind, listener) => {
    const end: unknown = store.subscribe?.(kind, change => { listener(isChange(change) ? change : null) })
    if (typeof end === 'function') return end as () => void
    isMisplacedPromise(end)
    throw misconfigured('The option store has a subscribe() that must return a function that ends the subscription, ' +
      `and no promise of it. Got ${describeValue(end)}.`)
  }
}

function isChange (change: unknown): boolean {
  return isObject(change) && typeof change['id'] === 'string'
}

interface Call {
  readonly operation: string
  readonly kind: string
}

interface CallById extends Call {
  readonly id: string
}

interface CallByOwner extends Call {
  readonly owner: StoreOwner
  readonly except?: string | undefined
}

function isTrue (answer: unknown): boolean {
  return answer === true
}

function checkedRecord (record: StoreRecord | null | undefined, { operation, kind, id }: CallById): StoreRecord | null {
  if (record === null || record === undefined) return null
  checkForm(record, { operation, kind })
  if (record.kind !== kind || record.id !== id) throw mixedUp(operation, kind)
  return record
}

function checkedRecords (
  records: readonly StoreRecord[], { operation, kind, owner, except }: CallByOwner
): readonly StoreRecord[] {
  if (!Array.isArray(records)) throw wrongForm({ operation, kind }, 'a list of records', records)
  for (const record of records) {
    checkForm(record, { operation, kind })
    const isOwned = record.kind === kind && isSameOwner(record.owner, owner)
    if (!isOwned || record.id === except) throw mixedUp(operation, kind)
  }
  return records
}

/** Checks the fields of a record that every kind has. What its value holds is checked by those who read it. */
function checkForm (record: unknown, call: Call): void {
  if (!isObject(record)) throw wrongForm(call, 'a record', record)
  const { version, expiresAt } = record
  if (typeof version !== 'string') throw wrongForm(call, 'a record whose version is a text', version)
  if (!isInstant(expiresAt)) throw wrongForm(call, 'a record whose expiresAt is a Date or null', expiresAt)
}

function checkedCount (answer: unknown, kind: string): StoreCount {
  const { counted, count, expiresAt } = isObject(answer) ? answer : {}
  if (typeof counted === 'boolean' && Number.isSafeInteger(count) && isInstant(expiresAt)) return answer as StoreCount
  throw wrongForm({ operation: 'increment', kind }, '{ counted, count, expiresAt }: a boolean, a whole number, and a ' +
    'Date or null', answer)
}

function isInstant (value: unknown): boolean {
  return value === null || isValidDate(value)
}

/** Creates the error for a result of another form. It shows no value that may be stored data. */
function wrongForm ({ operation, kind }: Call, expected: string, got: unknown): AuthError {
  const type = got === null ? 'null' : Array.isArray(got) ? 'a list' : `a value of the type ${typeof got}`
  return internalError(`store: ${operation} of the kind '${kind}' must return ${expected}. Got ${type}`)
}

/** Creates the error for a record that does not belong to the call. It contains no id, because it is logged. */
function mixedUp (operation: string, kind: string): Error {
  return internalError(
    `store: ${operation} of the kind '${kind}' was answered with a record of another kind, id or owner: ` +
      'the store, or a proxy before it, mixes up answers'
  )
}
