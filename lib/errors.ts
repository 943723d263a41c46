import type { AuthErrorCode, AuthFailure } from '../types/error.js'

/** Status and public message of every code. The message is constant: it never says more than the code does. */
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

/** What an {@link AuthError} has beside its code and its reason. */
export interface AuthErrorOptions extends ErrorOptions {
  readonly scheme?: string | null
  readonly headers?: Readonly<Record<string, string>>
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

/**
 * Everything that this plugin throws on purpose. An error handler that spreads the error sends `name`, `code` and
 * `statusCode`; the other fields are not enumerable.
 */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code: AuthErrorCode
  readonly statusCode: number
  /** The reason, for operators, never for the client. */
  declare readonly detail: string
  /** The scheme that refused the credential or, where none was sent, the only scheme of the route; else `null`. */
  declare readonly scheme: string | null
  /** The headers of the refusal. They are on the reply already. */
  declare readonly headers: Readonly<Record<string, string>>

  constructor (code: AuthErrorCode, detail: string, message: string = table[code][1], options: AuthErrorOptions = {}) {
    const { cause, scheme = null, headers = noHeaders } = options
    super(message, cause === undefined ? undefined : { cause: redactError(cause) })
    this.code = code
    this.statusCode = table[code][0]
    Object.defineProperties(this, { detail: { value: detail }, scheme: { value: scheme }, headers: { value: headers } })
  }

  /** `statusCode` under the name that error handlers written for `http-errors` read. */
  get status (): number {
    return this.statusCode
  }

  /** Whether clients may see `message`, as `http-errors` has it: true below 500. */
  get expose (): boolean {
    return this.statusCode < 500
  }
}

/**
 * Where a line of a stack is: its file, line and column. The name of the function before it may be a key of a table.
 */
const position = /^ +at (?:async )?(?:.* \()?(.+:\d+:\d+)\)?$/gm

/**
 * Returns an error that says of another only its name, its code and where it was thrown, for logs. The messages of
 * libraries, and what they hang on their errors beside them, may quote a credential: ioredis keeps the arguments of the
 * command that failed. An error of this plugin quotes none, and is returned itself.
 */
export function redactError (error: unknown): Error {
  if (error instanceof AuthError) return error
  const redacted = new Error(error instanceof Error ? nameAndCode(error) : `a thrown ${typeof error}`)
  const positions = error instanceof Error ? Array.from(String(error.stack).matchAll(position), match => match[1]) : []
  redacted.stack = [redacted.message, ...positions.map(each => `    at ${each}`)].join('\n')
  return redacted
}

/** `Error`, or `SystemError ECONNREFUSED`. */
function nameAndCode (error: Error & { readonly code?: unknown }): string {
  const { constructor: { name }, code } = error
  const isCode = typeof code === 'number' || (typeof code === 'string' && /^\w{1,64}$/.test(code))
  return isCode ? `${name} ${code}` : name
}

/**
 * The error for a refusal. It has no stack: a refused caller is an everyday event and the stack of the guard tells
 * nobody anything, while taking it costs more than the rest of the refusal.
 */
export function refusal ({ code, detail, scheme }: AuthFailure, headers = noHeaders): AuthError {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const error = new AuthError(code, detail, undefined, { scheme, headers })
  Error.stackTraceLimit = limit
  return error
}

/**
 * Characters that a terminal obeys or hides instead of showing them: controls, formats (such as the direction of
 * text), line separators and lone surrogates.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/**
 * Escapes what a terminal would not show as it is, so that a name inside a sentence can neither begin a line of its
 * own nor change its colour.
 */
function printable (sentence: string): string {
  return sentence.replace(unprintable, character => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

/**
 * Returns the error for a mistake in options or declarations: it stops the boot. The sentence says what is wrong,
 * where, and how to fix it.
 * @param mistakes one line each, where there are several.
 */
export function misconfigured (sentence: string, mistakes: readonly string[] = []): AuthError {
  const text = [sentence, ...mistakes.map(mistake => `- ${mistake}`)].map(printable).join('\n')
  return new AuthError('AUTH_MISCONFIGURED', text, text)
}

/**
 * A fault of ours, or of the application's own functions: a 500 that says nothing to the client; `detail` and `cause`
 * are for the log.
 */
export function internalError (detail: string, cause?: unknown): AuthError {
  const shown = printable(detail)
  const error = new AuthError('AUTH_FAULT', shown, undefined, { cause })
  // Outside of a request nobody logs `detail`. The stack is for logs and consoles alone, and both show it.
  error.stack = String(error.stack).replace(error.message, message => `${message} (${shown})`)
  return error
}

/** A failure with only the fields that matter; the others say "none". */
export function authFailure (
  code: AuthErrorCode,
  scheme: string | null,
  detail: string,
  more: Partial<Pick<AuthFailure, 'scopes' | 'maxAge' | 'retryAfter'>> = {}
): AuthFailure {
  const { scopes = [], maxAge = null, retryAfter = null } = more
  return { code, scheme, detail, scopes, maxAge, retryAfter }
}
