import type { JsonObject, StoreEntry, StoreFailure, StoreIncrement, StoreOwner } from '../../types/store.js'
import { AuthError, internalError, isError } from '../errors.js'
import { jsonObject } from '../util/objects.js'

/**
 * The store is unavailable: `AUTH_UNAVAILABLE`, 503. `reason` is for callers that have an alternative; like `detail`,
 * it is not enumerable. There is no stack: a store that is down fails every request, and a stack would not say why.
 */
export class StoreUnavailable extends AuthError {
  declare readonly reason: StoreFailure

  constructor (reason: StoreFailure, detail: string) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super('AUTH_UNAVAILABLE', `store: ${detail}`)
    Error.stackTraceLimit = limit
    Object.defineProperty(this, 'reason', { value: reason })
  }
}

/** Converts an error of a library to {@link StoreUnavailable}. Returns an `AuthError` as it is. */
export function toStoreError (operation: string, error: unknown): AuthError {
  return error instanceof AuthError
    ? error
    : new StoreUnavailable('failed', `${operation} failed: ${describeError(error)}`)
}

/** The beginnings of messages of `pg` and `ioredis` that are constant, and so contain no data. */
const constantMessages = [
  'Connection is closed', 'Connection terminated', 'Connection ended', 'Command timed out', 'Reached the max retries',
  'Query read timeout', 'timeout exceeded', 'Socket timeout'
]

/**
 * Describes an error without secrets: by its code, the first word of a reply from Redis, a message that is known to be
 * constant, or else its class. Other messages and properties of the libraries' errors (the command with its arguments,
 * the connection string) may contain stored data or the password.
 */
export function describeError (error: unknown): string {
  if (!isError(error)) return 'a value that is not an Error was thrown'
  const code: unknown = 'code' in error ? error.code : undefined
  const missing = code === '42P01' || /^no such table/.test(error.message)
    ? ' (a table is missing: was migrate() called?)'
    : ''
  if (typeof code === 'string' && /^\w{2,64}$/.test(code)) return `${code}${missing}`
  // ioredis throws this for a command that it would have to queue.
  if (error.message.startsWith("Stream isn't writeable")) return 'not connected'
  if (error.message.startsWith('ConnectionFailed("Unable to open')) {
    return 'the file cannot be opened (is its folder there, and may this process write in it?)'
  }
  const reply = /^[A-Z]{3,24}(?= )/.exec(error.message)
  if (reply !== null) return reply[0]
  const isConstant = constantMessages.some(each => error.message.startsWith(each))
  return isConstant ? error.message.slice(0, 80) : error.constructor.name
}

/**
 * Runs the operations of one store, converts their errors with {@link toStoreError}, and refuses calls after `close`.
 */
interface Operations {
  run<T> (operation: string, work: () => T | Promise<T>): Promise<T>
  /** Runs `end` at the first call; later calls wait for the same promise. */
  close (end: () => void | Promise<void>): Promise<void>
}

export function createOperations (): Operations {
  let closed: Promise<void> | null = null
  return {
    async run (operation, work) {
      if (closed !== null) throw new StoreUnavailable('closed', `${operation} was called after close`)
      try {
        return await work()
      } catch (error) {
        throw toStoreError(operation, error)
      }
    },
    async close (end) {
      closed ??= Promise.resolve(end())
      try {
        await closed
      } catch (error) {
        throw toStoreError('close', error)
      }
    }
  }
}

const kindForm = /^[a-z][a-z0-9-]{0,63}$/
/** NUL does not exist in PostgreSQL's text, and lone surrogates do not exist in UTF-8. */
const unstorable = /\0|\p{Cs}/u
/** An index entry of PostgreSQL holds at most 2,704 bytes. */
const maxNameBytes = 1_024
const maxValueBytes = 65_536

/**
 * Checks the kind and id of a record or counter. The messages do not contain the id.
 * @throws {AuthError} `AUTH_FAULT`
 */
export function checkName (kind: string, id: string): void {
  checkKind(kind)
  if (id.length === 0) throw internalError(`store: an id of the kind '${kind}' is empty`)
  if (unstorable.test(id)) throw internalError(`store: an id of the kind '${kind}' contains NUL or a lone surrogate`)
  if (isLonger(id, maxNameBytes)) {
    throw internalError(`store: an id of the kind '${kind}' is longer than ${maxNameBytes} bytes: hash it`)
  }
}

/** Checks the owner of a record as {@link checkName} checks an id. */
export function checkOwner (kind: string, { realm, id }: StoreOwner): void {
  checkKind(kind)
  const owner = `an owner of the kind '${kind}'`
  if (realm.length === 0 || id.length === 0) throw internalError(`store: ${owner} has an empty realm or id`)
  if (unstorable.test(realm) || unstorable.test(id)) {
    throw internalError(`store: ${owner} has NUL or a lone surrogate in its realm or id`)
  }
  if (isLonger(realm + id, maxNameBytes)) {
    throw internalError(`store: the realm and id of ${owner} are longer than ${maxNameBytes} bytes`)
  }
}

/** Checks the kind, id, owner and expiry of an entry. {@link valueOf} checks its value. */
export function checkEntry (entry: StoreEntry): void {
  checkName(entry.kind, entry.id)
  if (entry.owner !== null) checkOwner(entry.kind, entry.owner)
  expiryOf(entry.expiresAt, entry.kind)
}

function checkKind (kind: string): void {
  if (!kindForm.test(kind)) throw internalError('store: a kind must match /^[a-z][a-z0-9-]{0,63}$/')
}

function isLonger (text: string, maxBytes: number): boolean {
  // A UTF-16 unit takes at most three bytes of UTF-8, so that most texts need no counting.
  return text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes
}

/** Converts the expiry of a record to milliseconds since 1970. */
export function expiryOf (expiresAt: Date | null, kind: string): number | null {
  if (expiresAt === null) return null
  const at = expiresAt.getTime()
  if (Number.isNaN(at)) throw internalError(`store: expiresAt of a record of the kind '${kind}' is an invalid Date`)
  return at
}

/** The options of an increment, checked and complete. */
export interface CounterLimits {
  /** The length of the window, in whole milliseconds. */
  readonly windowMs: number
  /** Without one, more than is ever counted. */
  readonly ceiling: number
}

/** Checks the options of an increment. @throws {AuthError} `AUTH_FAULT` */
export function limitsOf (
  kind: string, { window, ceiling = Number.MAX_SAFE_INTEGER }: StoreIncrement
): CounterLimits {
  const counter = `a counter of the kind '${kind}'`
  if (!(window > 0 && window <= 1e9)) {
    throw internalError(`store: the window of ${counter} must be more than 0 and at most 1e9 seconds`)
  }
  if (!(Number.isSafeInteger(ceiling) && ceiling >= 0)) {
    throw internalError(`store: the ceiling of ${counter} must be a whole number`)
  }
  return { windowMs: Math.ceil(window * 1_000), ceiling }
}

/** Returns a deep-frozen copy of a value, and its JSON. */
export function valueOf (kind: string, value: JsonObject): { readonly value: JsonObject, readonly json: string } {
  const subject = `store: the value of a record of the kind '${kind}'`
  const copy = jsonObject(value, subject) as JsonObject
  const json = JSON.stringify(copy)
  if (isLonger(json, maxValueBytes)) throw internalError(`${subject} is more than ${maxValueBytes} bytes of JSON`)
  return { value: copy, json }
}
