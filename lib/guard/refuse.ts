import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Challenge } from '../../types/challenge.js'
import type { AuthErrorCode, AuthFailure } from '../../types/error.js'
import type { OpenApiSecurityScheme } from '../../types/scheme.js'
import { AuthError, authFailure, internalError, redactError, refusal } from '../errors.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { isThenable } from '../util/answer.js'
import { describeValue } from '../util/describe.js'
import { isHttpToken } from '../util/http-token.js'
import { watchSend } from '../util/response.js'
import { openState } from './request-state.js'

/** How refusals are written: by the application's own error handler, in a standard form, or by a function of the application. */
export type ErrorForm = 'fastify' | 'problem' | 'oauth' | ErrorFunction

type ErrorFunction = (error: AuthError, request: FastifyRequest, reply: FastifyReply) => unknown

/**
 * Prepares the end of a refused request: log, challenges, headers. Headers are set on the reply, because a custom error handler loses those of the error.
 * @returns the error to hand to Fastify, or `null` when the reply has been sent.
 */
export function refuse (request: FastifyRequest, reply: FastifyReply, policy: Policy, failure: AuthFailure, form: ErrorForm): AuthError | null {
  request.log.info({ auth: { code: failure.code, scheme: failure.scheme, reason: failure.detail } }, 'request refused')
  close(request, reply)
  try {
    // a login page helps wherever a challenge does
    if (unauthenticated.has(failure.code) && answeredByScheme(request, reply, policy, failure)) return null
    const challenges = challengesOf(policy, failure)
    if (challenges.length > 0) reply.header('www-authenticate', writeChallenges(challenges))
  } catch (cause) {
    return sendInternalError(request, reply, internalError('a scheme threw while it refused', cause), form)
  }
  if (failure.retryAfter !== null) reply.header('retry-after', Math.ceil(failure.retryAfter))
  return finish(request, reply, refusal(failure), form)
}

/** The end of a request for a fault of ours or of the application's functions: a 5xx that says nothing, and everything in the log. */
export function sendInternalError (
  request: FastifyRequest, reply: FastifyReply, error: AuthError, form: ErrorForm
): AuthError | null {
  request.log.error({ err: error.cause, auth: { code: error.code, reason: error.detail } }, 'authentication fault')
  close(request, reply)
  return finish(request, reply, error, form)
}

/** Writes the challenges of a 401 that no guard wrote: what a handler threw, or a function that it called. */
export function challenge (request: FastifyRequest, reply: FastifyReply, policy: Policy): void {
  try {
    reply.header('www-authenticate', writeChallenges(challengesOf(policy, authFailure('AUTH_REQUIRED', null, 'a handler threw it'))))
  } catch (cause) {
    request.log.error({ err: redactError(cause) }, 'a scheme threw while its challenge was written')
  }
}

/** Everything that a refusal may write on a reply. */
const written = ['cache-control', 'connection', 'retry-after', 'www-authenticate'] as const

/** What every refusal says, also one that a scheme answers itself. Another guard of the same request may still let the caller in, so what was there before is kept. */
function close (request: FastifyRequest, reply: FastifyReply): void {
  const state = openState(request)
  if (state.undo === null) {
    const { statusCode } = reply
    const before = written.map(name => [name, reply.getHeader(name)] as const)
    state.undo = () => {
      reply.code(statusCode)
      for (const [name, value] of before) {
        if (value === undefined) reply.removeHeader(name)
        else reply.header(name, value)
      }
    }
  }
  reply.header('cache-control', 'no-store')
  if (leavesBody(request)) reply.header('connection', 'close')
}

function finish (request: FastifyRequest, reply: FastifyReply, error: AuthError, form: ErrorForm): AuthError | null {
  // Fastify sets the status of what a handler throws, not of what a hook does: an error handler that relies on it would answer 200.
  reply.code(error.statusCode)
  if (form === 'fastify') return error
  openState(request).replied = true
  if (typeof form === 'function') sendOwn(request, reply, error, form)
  else if (form === 'problem') reply.type('application/problem+json').send({ type: 'about:blank', title: error.message, status: error.statusCode, code: error.code })
  else reply.send({ error: oauthCode(error), error_description: error.message })
  return null
}

/** The application's own form. When it fails, the refusal stands, in Fastify's. */
function sendOwn (request: FastifyRequest, reply: FastifyReply, error: AuthError, form: ErrorFunction): void {
  const watch = watchSend(reply)
  const failed = (cause: unknown): void => {
    watch.stop()
    request.log.error({ err: redactError(cause) }, 'the errors function failed')
    if (!watch.isSent()) reply.code(error.statusCode).send(error)
  }
  const send = (body: unknown): void => {
    watch.stop()
    if (!watch.isSent()) reply.send(body)
  }
  try {
    const body: unknown = form(error, request, reply)
    // A reply that is returned says, as in a handler, that the function sends by itself; it can be waited for until then.
    if (isThenable(body)) Promise.resolve(body).then(send).catch(failed)
    else send(body)
  } catch (cause) {
    failed(cause)
  }
}

/** RFC 6749, 5.2, and RFC 6750, 3.1. */
function oauthCode ({ code, statusCode }: AuthError): string {
  switch (code) {
    case 'AUTH_REQUIRED': return 'invalid_request'
    case 'AUTH_INVALID_CREDENTIALS':
    case 'AUTH_TOKEN_EXPIRED': return 'invalid_token'
    case 'AUTH_STEP_UP_REQUIRED': return 'insufficient_user_authentication'
    case 'AUTH_ACCESS_DENIED': return 'insufficient_scope'
    case 'AUTH_CROSS_SITE': return 'access_denied'
    default: return statusCode === 500 ? 'server_error' : 'temporarily_unavailable'
  }
}

/** A login page helps a caller who sent nothing, or whose own credential of that scheme is no longer good; never one whose token of another scheme is bad. */
function answeredByScheme (request: FastifyRequest, reply: FastifyReply, policy: Policy, failure: AuthFailure): boolean {
  const able = policy.schemes.filter(({ name, scheme }) => scheme.refuse !== undefined && (failure.scheme === null || name === failure.scheme))
  if (able.length === 0) return false
  const watch = watchSend(reply)
  try {
    // a scheme that has sent has answered, whatever it returns
    const answered = able.some(({ scheme }) => scheme.refuse?.(request, reply, failure) === true || watch.isSent())
    if (answered) openState(request).replied = true
    return answered
  } catch (cause) {
    if (!watch.isSent()) throw cause
    openState(request).replied = true
    request.log.error({ err: redactError(cause) }, 'a scheme threw after it had answered a refusal')
    return true
  } finally {
    watch.stop()
  }
}

/** A body that nobody will read: an HTTP/1 connection kept alive would have to drain it first. */
function leavesBody (request: FastifyRequest): boolean {
  const { raw } = request
  if (raw.httpVersionMajor !== 1 || raw.complete) return false
  return raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0
}

/** The codes of every refusal whose status is 401. */
const unauthenticated: ReadonlySet<AuthErrorCode> =
  new Set(['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'])

/**
 * Returns the challenges of a refusal: those of every scheme of the policy where nothing was sent, else that of the scheme that saw the credential.
 * A 401 has at least one (RFC 9110, 15.5.2): where these schemes write none, each has the one that its description in OpenAPI implies.
 */
function challengesOf (policy: Policy, failure: AuthFailure): readonly Challenge[] {
  const asked = challengers(policy, failure)
  const written = asked.flatMap(bound => bound.scheme.challenge?.(failure) ?? [])
  return written.length > 0 || !unauthenticated.has(failure.code) ? written : asked.map(bound => impliedChallenge(bound, failure))
}

/** Returns no scheme where another credential would not help. */
function challengers (policy: Policy, { code, scheme }: AuthFailure): readonly BoundScheme[] {
  if (code === 'AUTH_REQUIRED') return policy.schemes
  return code === 'AUTH_ACCESS_DENIED' || unauthenticated.has(code) ? policy.schemes.filter(bound => bound.name === scheme) : []
}

/** Returns the challenge of a scheme that writes none. A step-up, which alone has a `maxAge`, says how recent the login must be, as RFC 9470, 3, does for Bearer. */
function impliedChallenge ({ name, scheme }: BoundScheme, { maxAge }: AuthFailure): Challenge {
  const stepUp = maxAge === null ? {} : { error: 'insufficient_user_authentication', max_age: maxAge }
  return { scheme: authenticationScheme(scheme.openapi), params: { realm: name, ...stepUp } }
}

/** Names the HTTP authentication scheme. HTTP has registered none for cookies, for keys in places of their own and for client certificates. */
function authenticationScheme (openapi: OpenApiSecurityScheme): string {
  switch (openapi.type) {
    case 'http': return openapi.scheme
    case 'apiKey': return openapi.in === 'cookie' ? 'Cookie' : 'APIKey'
    case 'mutualTLS': return 'ClientCertificate'
    default: return 'Bearer'
  }
}

/**
 * Writes the value of `WWW-Authenticate` (RFC 9110, 11.6.1): one writer for every scheme. Equal challenges are written once, and Basic comes first,
 * because browsers prompt for the first scheme that they know and some read no further.
 */
export function writeChallenges (challenges: readonly Challenge[]): string {
  const ordered = [...challenges].sort((a, b) => Number(isBasic(b)) - Number(isBasic(a)))
  return [...new Set(ordered.map(write))].join(', ')
}

function isBasic (challenge: Challenge): boolean {
  return challenge.scheme.toLowerCase() === 'basic'
}

/** @throws {AuthError} `AUTH_FAULT` for a name that is no token: it would end the header, or begin another. */
function write ({ scheme, params }: Challenge): string {
  const said = Object.entries(params).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])
  const stranger = [scheme, ...said.map(([name]) => name)].find(name => !isHttpToken(name))
  if (stranger !== undefined) throw internalError(`a challenge has the name ${describeValue(stranger)}, which is no token of RFC 9110`)
  const written = said.map(([name, value]) => `${name}=${typeof value === 'number' ? value : quote(value)}`)
  return written.length === 0 ? scheme : `${scheme} ${written.join(', ')}`
}

/** RFC 9110, 5.6.4: `quoted-string`. Control characters cannot be in a header at all; what is beyond Latin-1 cannot be in ours. */
function quote (value: string): string {
  return `"${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
