import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, defaultRetryAfter, redactError, withoutStack } from '../errors.js'
import { sendJson } from '../util/endpoints.js'

/** The error codes of RFC 6749, 4.1.2.1 and 5.2, RFC 7009, RFC 8707, and OpenID Connect Core, 3.1.2.6. */
export type OAuthErrorCode =
  | 'invalid_request' | 'invalid_client' | 'invalid_grant' | 'unauthorized_client' | 'unsupported_grant_type'
  | 'invalid_scope' | 'invalid_target' | 'access_denied' | 'unsupported_response_type' | 'unsupported_token_type'
  | 'request_not_supported' | 'request_uri_not_supported' | 'login_required' | 'consent_required'
  | 'server_error' | 'temporarily_unavailable'

interface OAuthErrorOptions {
  /** Default 400. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** The reason for the log, which is never sent. Default: the description. */
  readonly detail?: string
}

/**
 * Describes a refusal of the authorization server. Its message is constant text, which is sent to the client as the
 * `error_description`.
 */
export class OAuthError extends Error {
  override readonly name = 'OAuthError'
  readonly code: OAuthErrorCode
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly detail: string

  constructor (
    code: OAuthErrorCode, description: string, { status = 400, headers = {}, detail }: OAuthErrorOptions = {}
  ) {
    super(description)
    this.code = code
    this.statusCode = status
    this.headers = headers
    this.detail = detail ?? description
  }
}

/** Returns the error for a refusal, without a stack. */
export function oauthError (code: OAuthErrorCode, description: string, options: OAuthErrorOptions = {}): OAuthError {
  return withoutStack(() => new OAuthError(code, description, options))
}

/**
 * Converts any error of a handler or of Fastify to a refusal. An error that is not meant for clients becomes
 * `server_error`, and the log has the reason.
 */
export function toOAuthError (error: unknown, { log }: Pick<FastifyRequest, 'log'>): OAuthError {
  if (error instanceof OAuthError) return error
  if (error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE') {
    log.warn({ auth: { code: error.code, reason: error.detail } }, 'the authorization server is unavailable')
    return tryAgainLater(503)
  }
  const status = statusOf(error)
  if (status === 429 || status === 503) {
    log.warn({ err: redactError(error) }, 'the application cannot answer now')
    return tryAgainLater(status)
  }
  if (status === 413) return oauthError('invalid_request', 'The request is too large', { status })
  if (status === 415) return oauthError('invalid_request', 'The request must be form-encoded', { status })
  if (status >= 400 && status < 500) {
    return oauthError('invalid_request', 'The request is malformed', { status })
  }
  const reason = error instanceof AuthError ? error.detail : undefined
  const err = error instanceof AuthError ? error.cause ?? error : redactError(error)
  log.error({ err, auth: { code: 'server_error', reason } }, 'authorization server fault')
  return oauthError('server_error', 'The request cannot be answered', { status: 500 })
}

/** Returns the refusal of a request that may succeed later. @param retryAfter seconds */
export function tryAgainLater (status: 429 | 503, retryAfter = defaultRetryAfter): OAuthError {
  const headers = { 'retry-after': String(retryAfter) }
  return oauthError('temporarily_unavailable', 'Try again later', { status, headers })
}

/** Returns the status of an error of Fastify or another plugin, or 500. */
function statusOf (error: unknown): number {
  const { statusCode } = Object(error) as Partial<FastifyError>
  return typeof statusCode === 'number' ? statusCode : 500
}

/** Sends the refusal in the form of RFC 6749, 5.2. */
export function sendError (reply: FastifyReply, error: OAuthError): FastifyReply {
  const { code, statusCode, message, detail } = error
  reply.request.log.info({ oauth: { error: code, reason: detail } }, 'request refused')
  setHeaders(reply, error).code(statusCode).header('cache-control', 'no-store')
  return sendJson(reply, { error: code, error_description: message })
}

/** Sets the headers of a refusal. A plugin that made the application refuse may have set a better `Retry-After`. */
export function setHeaders (reply: FastifyReply, { headers }: OAuthError): FastifyReply {
  for (const [name, value] of Object.entries(headers)) {
    if (!reply.hasHeader(name)) reply.header(name, value)
  }
  return reply
}
