import type { FastifyReply } from 'fastify'
import type { AuthErrorCode } from '../../types/outcome.js'
import { AuthError, authFailure, defaultRetryAfter, redactError } from '../errors.js'
import { publishRefusal } from '../events/events.js'
import { escapeHtml, sendPage } from '../util/endpoints.js'

/** Texts of the pages by problem. They are constant: nothing comes from the provider or the request. */
const texts = {
  retry: [400, 'AUTH_INVALID_CREDENTIALS', 'The login did not succeed', 'Please begin again.'],
  'no-account': [403, 'AUTH_ACCESS_DENIED', 'No access', 'You are known to the provider, but have no account here.'],
  'too-old': [
    403, 'AUTH_ACCESS_DENIED', 'No access',
    'This page needs a new login, and the provider did not confirm that there was one.'
  ],
  unavailable: [
    503, 'AUTH_UNAVAILABLE', 'The login is not available', 'The provider does not answer. Please try again in a moment.'
  ]
} as const satisfies Record<string, readonly [number, AuthErrorCode, string, string]>

interface LoginErrorOptions {
  /** Seconds. */
  readonly retryAfter?: number
  /** The error behind it, if it was not expected. */
  readonly cause?: unknown
  /** `true` if an operator has to correct a configuration. */
  readonly isMisconfigured?: boolean
}

/** A login that ended without a session, because of the browser or the provider. */
export class LoginError extends Error {
  readonly kind: keyof typeof texts
  /** The reason, for operators. It has no secret, and at most 200 characters of the provider. */
  readonly reason: string
  readonly retryAfter: number | null
  readonly isMisconfigured: boolean

  constructor (kind: keyof typeof texts, reason: string, options: LoginErrorOptions = {}) {
    const { retryAfter = defaultRetryAfter, cause, isMisconfigured = false } = options
    super(texts[kind][2], cause === undefined ? undefined : { cause: redactError(cause) })
    this.kind = kind
    this.reason = reason
    this.retryAfter = texts[kind][0] === 503 ? retryAfter : null
    this.isMisconfigured = isMisconfigured
  }
}

/** The login that failed, for the links of its page. */
export interface FailedLogin {
  readonly session: string
  /** The path at which a login begins, which names the provider. */
  readonly path: string
}

/**
 * Sends the page of a failed login, and logs the reason.
 * @throws any error other than a {@link LoginError}, for the error handler of the application.
 */
export function sendFailure (reply: FastifyReply, thrown: unknown, { session, path }: FailedLogin): FastifyReply {
  const error = toLoginError(thrown)
  const { kind, reason, retryAfter, isMisconfigured, cause } = error
  const [status, code, title, sentence] = texts[kind]
  const { request } = reply
  const level = isMisconfigured ? 'error' : status === 503 ? 'warn' : 'info'
  request.log[level]({ err: cause, login: { at: path, status, reason } }, 'login failed')
  publishRefusal(request, { ...authFailure(code, session, reason), retryAfter })
  if (retryAfter !== null) reply.header('retry-after', retryAfter)
  const link = kind === 'no-account' || kind === 'too-old' ? '' : `<p><a href="${escapeHtml(path)}">Begin again</a></p>`
  return sendPage(reply.code(status), { title, body: `<p>${sentence}</p>${link}` })
}

function toLoginError (thrown: unknown): LoginError {
  if (thrown instanceof LoginError) return thrown
  if (thrown instanceof AuthError && thrown.code === 'AUTH_UNAVAILABLE') {
    return new LoginError('unavailable', thrown.detail)
  }
  throw thrown
}
