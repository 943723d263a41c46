import { types } from 'node:util'
import type { AuthErrorCode, AuthFailure } from '../types/outcome.js'

/** The status and public message of every code. Messages are constant and reveal no more than the code. */
const table = {
  AUTH_REQUIRED: [401, 'Authentication required'],
  AUTH_INVALID_CREDENTIALS: [401, 'Invalid credentials'],
  AUTH_TOKEN_EXPIRED: [401, 'Credentials expired'],
  AUTH_STEP_UP_REQUIRED: [401, 'A more recent authentication is required'],
  AUTH_ACCESS_DENIED: [403, 'Access denied'],
  AUTH_CROSS_SITE: [403, 'Cross-site request refused'],
  AUTH_RATE_LIMITED: [429, 'Too many requests'],
  AUTH_UNAVAILABLE: [503, 'Authentication is temporarily unavailable'],
  AUTH_FAULT: [500, 'Internal Server Error'],
  AUTH_MISCONFIGURED: [500, 'Authentication is misconfigured']
} as const satisfies Record<AuthErrorCode, readonly [number, string]>

/** The `Retry-After` of a 429 or 503 in seconds, if no better estimate is known. */
export const defaultRetryAfter = 5

/** Options of {@link AuthError}. */
export interface AuthErrorOptions extends ErrorOptions {
  readonly scheme?: string | null
  readonly headers?: Readonly<Record<string, string>>
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

/**
 * Describes everything that this plugin throws on purpose. Only `name`, `code` and `statusCode` are own properties, so
 * that an error handler that spreads the error sends nothing else.
 */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code: AuthErrorCode
  readonly statusCode: number
  readonly #detail: string
  readonly #scheme: string | null
  readonly #headers: Readonly<Record<string, string>>

  constructor (code: AuthErrorCode, detail: string, message: string = table[code][1], options: AuthErrorOptions = {}) {
    const { cause, scheme = null, headers = noHeaders } = options
    super(message, cause === undefined ? undefined : { cause: redactError(cause) })
    this.code = code
    this.statusCode = table[code][0]
    this.#detail = detail
    this.#scheme = scheme
    this.#headers = headers
  }

  /** The reason, for operators. Never sent to the client. */
  get detail (): string {
    return this.#detail
  }

  /** The scheme that refused the credential, or failed; if none was sent, the only scheme of the route, or `null`. */
  get scheme (): string | null {
    return this.#scheme
  }

  /** The headers of the refusal. They are on the reply already. */
  get headers (): Readonly<Record<string, string>> {
    return this.#headers
  }

  /** Returns `statusCode`, for error handlers that were written for `http-errors`. */
  get status (): number {
    return this.statusCode
  }

  /** Returns true if clients may see `message`: for a status below 500, as `http-errors` does. */
  get expose (): boolean {
    return this.statusCode < 500
  }
}

/** Returns true for an error of any JavaScript realm: in Jest, those of Node itself are of another one. */
export function isError (value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value)
}

/**
 * Matches file, line and column in a line of a stack. The function name before them is left out, because it may be a
 * key of a table.
 */
const position = /^ +at (?:async )?(?:.* \()?(.+:\d+:\d+)\)?$/gm

/**
 * Returns an error for logs that has only the name, the code and the stack positions of another error. Messages and
 * further properties of libraries' errors may contain a credential: ioredis keeps the arguments of the command that
 * failed. An error of this plugin contains none, and is returned as it is. Never throws, because it is called where an
 * error is handled: an error with a throwing accessor must not end the process.
 */
export function redactError (error: unknown): Error {
  try {
    return error instanceof AuthError ? error : redacted(error)
  } catch {
    return new Error('an error that cannot be read')
  }
}

function redacted (error: unknown): Error {
  const copy = new Error(isError(error) ? nameAndCode(error) : `a thrown ${typeof error}`)
  const positions = isError(error) ? Array.from(String(error.stack).matchAll(position), match => match[1]) : []
  copy.stack = [copy.message, ...positions.map(each => `    at ${each}`)].join('\n')
  return copy
}

/** Returns the class of an error, and its code if it has one: `Error`, `SystemError ECONNREFUSED`. */
function nameAndCode (error: Error & { readonly code?: unknown }): string {
  const { constructor: { name }, code } = error
  const isCode = typeof code === 'number' || (typeof code === 'string' && /^\w{1,64}$/.test(code))
  return isCode ? `${name} ${code}` : name
}

/** Returns the error for a refusal, without a stack. */
export function refusal (failure: AuthFailure, headers = noHeaders, scheme = failure.scheme): AuthError {
  const { code, detail } = failure
  return withoutStack(() => new AuthError(code, detail, undefined, { scheme, headers }))
}

/**
 * Creates an error without a stack: refusals are frequent, the stack of what refuses is not informative, and capturing
 * it would cost more than the rest of the refusal.
 */
export function withoutStack<E extends Error> (create: () => E): E {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return create()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/**
 * Matches characters that a terminal interprets or hides: control and format characters (such as the direction of
 * text), line separators and lone surrogates.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/**
 * Escapes characters that a terminal would not show, so that a name in a message can neither begin a new line nor
 * change the colour.
 */
function printable (text: string): string {
  return text.replace(unprintable, character => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

/**
 * Returns the error for a mistake in options or declarations, which stops the boot.
 * @param message what is wrong, where, and how to fix it.
 * @param mistakes further lines, one for each of several mistakes.
 */
export function misconfigured (message: string, mistakes: readonly string[] = []): AuthError {
  const text = [message, ...mistakes.map(mistake => `- ${mistake}`)].map(printable).join('\n')
  return new AuthError('AUTH_MISCONFIGURED', text, text)
}

/**
 * Returns the error for a fault of this plugin or of a function of the application: a 500 without details for the
 * client. `detail`, `cause` and `scheme` are for the log.
 * @param scheme the scheme that failed, unless the detail names it.
 */
export function internalError (detail: string, cause?: unknown, scheme: string | null = null): AuthError {
  return explain(new AuthError('AUTH_FAULT', printable(detail), undefined, { cause, scheme }))
}

/**
 * Writes the reason of an error into its stack, after the message. Only the guard and `reply` log `detail`, but logs
 * and consoles show the stack of any error. Clients never see it.
 */
export function explain<E extends AuthError> (error: E): E {
  error.stack = String(error.stack).replace(error.message, message => `${message} (${printable(error.detail)})`)
  return error
}

/**
 * Calls a function of the application. An error that it throws must not give the response its status.
 * @param name of the function, for the log.
 * @throws {AuthError} `AUTH_FAULT`, with the error as its cause; an {@link AuthError} as it is.
 */
export async function callFunction<T> (name: string, call: () => T): Promise<Awaited<T>> {
  try {
    return await call()
  } catch (cause) {
    throw functionError(name, cause)
  }
}

/** Returns the error of {@link callFunction} for a function of the application that threw. */
export function functionError (name: string, cause: unknown): AuthError {
  return cause instanceof AuthError ? cause : internalError(`${name} threw`, cause)
}

const noScopes: readonly string[] = Object.freeze([])

/** Returns a failure without scopes, `maxAge` and `retryAfter`, which a caller that has them adds. */
export function authFailure (code: AuthErrorCode, scheme: string | null, detail: string): AuthFailure {
  return { code, scheme, detail, scopes: noScopes, maxAge: null, retryAfter: null }
}
