import type { StoreFailure } from '../../types/store.js'
import { AuthError, isError } from '../errors.js'

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
const constants = [
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
  const isConstant = constants.some(each => error.message.startsWith(each))
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
