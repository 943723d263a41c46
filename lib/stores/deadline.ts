import type { Duration } from '../../types/duration.js'
import type { Store, StoreOwner, StoreRecord } from '../../types/store.js'
import { AuthError, internalError } from '../errors.js'
import { duration, object, optional } from '../util/options.js'
import { operations, StoreUnavailable, toStoreError } from './errors.js'

/** Options of {@link withDeadline}. */
export interface DeadlineOptions {
  /** How long a call may take. Default 2 seconds. */
  readonly timeout?: Duration
}

/** Longer than 24 days is more than a timer of Node takes. */
const parseOptions = object({ timeout: optional(duration({ positive: true, max: 24 * 86_400 }), 2) })

/** Milliseconds between the calls that ask a silent store whether it is back. */
const probeEvery = 500

/**
 * Wraps a store so that every call ends within the deadline. A call that times out or fails rejects with
 * {@link StoreUnavailable}; whether a write that timed out was done is not known. `migrate` alone has no deadline.
 *
 * A record whose kind, id or owner differs from the call's is `AUTH_FAULT`.
 *
 * After a deadline in which the store answered nothing at all, calls are refused at once, except for one probe every
 * 500 ms. The first answer, late or not, ends that.
 *
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a timeout that is none.
 */
export function withDeadline (store: Store, options: DeadlineOptions = {}): Store {
  const { timeout } = parseOptions(options, 'The options of withDeadline')
  const { run, close } = operations()
  const { call, end } = deadline(Math.ceil(timeout * 1_000))
  const checked = withCheckedAnswers(store)
  const within = <T>(operation: string, work: () => Promise<T>): Promise<T> => run(
    operation, () => call(operation, work)
  )
  return Object.freeze({
    add: entry => within('add', () => checked.add(entry)),
    get: (kind, id) => within('get', () => checked.get(kind, id)),
    swap: record => within('swap', () => checked.swap(record)),
    take: (kind, id) => within('take', () => checked.take(kind, id)),
    find: (kind, owner) => within('find', () => checked.find(kind, owner)),
    takeAll: (kind, owner, except) => within('takeAll', () => checked.takeAll(kind, owner, except)),
    increment: (kind, id, options) => within('increment', () => store.increment(kind, id, options)),
    decrement: (kind, id, expiresAt) => within('decrement', () => store.decrement(kind, id, expiresAt)),
    ...(store.subscribe === undefined ? {} : { subscribe: store.subscribe.bind(store) }),
    migrate: () => run('migrate', () => store.migrate()),
    close: () => close(() => end('close', () => store.close()))
  } satisfies Store)
}

interface Deadline {
  /** Runs a call, unless the store timed out before and the next probe is not due. */
  call<T> (operation: string, work: () => Promise<T>): Promise<T>
  /** Runs a call in any case. */
  end<T> (operation: string, work: () => Promise<T>): Promise<T>
}

function deadline (limit: number): Deadline {
  /**
   * When the store last answered anything, and when the next probe is due, by the monotonic clock.
   */
  let answeredAt = -Infinity
  let probeAt: number | null = null

  const answered = (): void => {
    answeredAt = performance.now()
    probeAt = null
  }

  function end<T> (operation: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const began = performance.now()
      let expiry: NodeJS.Immediate | undefined
      const expire = (): void => {
        if (answeredAt < began) probeAt ??= performance.now() + probeEvery
        reject(new StoreUnavailable('unanswered', `${operation} timed out after ${limit} ms`))
      }
      // A process that was kept from running may have the answer in its sockets: they are read before an immediate
      // runs.
      const timer = setTimeout(() => { expiry = setImmediate(expire) }, limit)
      const settle = (): void => {
        clearTimeout(timer)
        clearImmediate(expiry)
      }
      started(work).then(result => {
        settle()
        answered()
        resolve(result)
      }, error => {
        settle()
        if (saysSomething(error)) answered()
        reject(toStoreError(operation, error))
      })
    })
  }

  function call<T> (operation: string, work: () => Promise<T>): Promise<T> {
    if (probeAt !== null) {
      const now = performance.now()
      if (now < probeAt) {
        throw new StoreUnavailable('unanswered', `${operation} was not tried: the store timed out before`)
      }
      probeAt = now + probeEvery
    }
    return end(operation, work)
  }

  return { call, end }
}

/** Returns true if an error came from a store that works: a full one, or one that refused a wrong argument. */
function saysSomething (error: unknown): boolean {
  return error instanceof StoreUnavailable ? error.reason === 'full' : error instanceof AuthError
}

/** Turns what a store of the application throws into a rejection. */
async function started<T> (work: () => Promise<T>): Promise<T> {
  return await work()
}

/**
 * Makes a store whose answers belong to what it was asked. A record of another kind, id or owner is `AUTH_FAULT`:
 * somebody who is given the record of another acts as the other. An answer is a yes only if it is `true`, and an
 * `undefined` record is an absent one.
 */
function withCheckedAnswers (store: Store): Pick<Store, 'add' | 'get' | 'swap' | 'take' | 'find' | 'takeAll'> {
  return {
    add: async entry => isTrue(await store.add(entry)),
    get: async (kind, id) => recordOf(await store.get(kind, id), { operation: 'get', kind, id }),
    swap: async record => isTrue(await store.swap(record)),
    take: async (kind, id) => recordOf(await store.take(kind, id), { operation: 'take', kind, id }),
    find: async (kind, owner) => recordsOf(await store.find(kind, owner), { operation: 'find', kind, owner }),
    takeAll: async (kind, owner, except) => recordsOf(
      await store.takeAll(kind, owner, except), { operation: 'takeAll', kind, owner, except }
    )
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

function recordsOf (
  records: readonly StoreRecord[], { operation, kind, owner, except }: QuestionByOwner
): readonly StoreRecord[] {
  for (const record of records) {
    const isOwned = record.kind === kind && record.owner?.realm === owner.realm && record.owner.id === owner.id
    if (!isOwned || record.id === except) throw foreign(operation, kind)
  }
  return records
}

/** The detail holds no id: it is for the log. */
function foreign (operation: string, kind: string): Error {
  return internalError(
    `store: ${operation} of the kind '${kind}' was answered with a record of another kind, id or owner: the store, or a proxy before it, mixes up answers`
  )
}
