import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../types/outcome.js'
import { AuthError, authFailure, defaultRetryAfter, internalError, redactError, refusal } from '../errors.js'
import { reportFault, reportRefusal } from '../events/events.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import { isMisplacedPromise, isThenable } from '../util/objects.js'
import { expectSend, watchSend, type SendWatch } from '../util/response.js'
import { PolicyChallenges, unauthenticated } from './challenge.js'
import { ensureState, noteRefusal, type Undo } from './request-state.js'

/**
 * The form of error bodies: Fastify's, which the application's error handler may change; a standard form; or a function
 * of the application.
 */
export type ErrorForm = 'fastify' | 'problem' | 'oauth' | ErrorFunction

type ErrorFunction = (error: AuthError, request: FastifyRequest, reply: FastifyReply) => unknown

const leftToErrorHandler = new WeakSet<FastifyRequest>()

/**
 * Makes the guard hand the refusal of this request to the error handler of its route, even if the option `errors` sets
 * another form.
 */
export function leaveToErrorHandler (request: FastifyRequest): void {
  leftToErrorHandler.add(request)
}

/** The end of a request: a response that is sent, or about to be, or an error that Fastify has to handle. */
export type Ended =
  /** The error is `null` for a test that is answered in place of its handler. */
  | { readonly isSent: true, readonly error: AuthError | null }
  /** The error may be any value that a function of the application threw, except for falsy ones. */
  | { readonly isSent: false, readonly error: NonNullable<unknown> }

/**
 * Answers requests that the guard does not let through: sends the body and headers of every 401, 403, 429, 500 and 503,
 * and logs the reason. Headers are set on the reply, because a custom error handler loses those of the error.
 */
export class Responder {
  readonly #form: ErrorForm
  readonly #challenges = new WeakMap<Policy, PolicyChallenges>()

  constructor (form: ErrorForm) {
    this.#form = form
  }

  /** Serialises the challenges of a policy at boot, so that no request has to. */
  prepare (policy: Policy): void {
    this.#challengesOf(policy)
  }

  /** Refuses a request: 401 with challenges, 403, 429 or 503. */
  refuse (reply: FastifyReply, policy: Policy, failure: AuthFailure): Ended {
    const { code, scheme, retryAfter, headers = null } = failure
    reportRefusal(reply.request, failure, 'request refused')
    prepareRefusal(reply)
    try {
      if (headers !== null) setHeaders(reply, headers)
      // a login page helps in the same cases as a challenge
      const error = unauthenticated.has(code) ? this.#answerByScheme(reply, policy, failure) : null
      if (error !== null) return { error, isSent: true }
      this.#writeChallenges(reply, policy, failure)
    } catch (cause) {
      const detail = cause instanceof AuthError ? cause.detail : 'a scheme threw in refuse() or challenge()'
      return this.sendInternalError(reply, internalError(detail, cause))
    }
    if (retryAfter !== null) reply.header('retry-after', Math.ceil(retryAfter))
    return this.#send(reply, refusal(failure, headersOf(reply), scheme ?? onlyScheme(policy)))
  }

  /**
   * Ends a request with a 500 without details. The reason and the cause are in the log. A cause that is such an error
   * itself is sent in its place: loggers join the messages of an error and its cause.
   */
  sendInternalError (reply: FastifyReply, error: AuthError): Ended {
    reportFault(reply.request, error, 'authentication fault')
    prepareRefusal(reply)
    const { cause } = error
    return this.#send(reply, cause instanceof AuthError && cause.code === 'AUTH_FAULT' ? cause : error)
  }

  /**
   * Completes the response to an error of this plugin that a handler threw, because most calls of an application
   * (sessions, keys, passwords) have no reply on which to set headers.
   * @param findPolicy returns the policy whose challenges a 401 has.
   */
  complete (reply: FastifyReply, { code, statusCode, detail }: AuthError, findPolicy: () => Policy): void {
    const { log } = reply.request
    // an error with a Retry-After was logged when that header was set
    if (code === 'AUTH_UNAVAILABLE' && !reply.hasHeader('retry-after')) {
      log.warn({ auth: { code, reason: detail } }, 'a handler called an unavailable service')
      reply.header('retry-after', defaultRetryAfter)
    }
    if (statusCode !== 401 || reply.hasHeader('www-authenticate')) return
    try {
      this.#writeChallenges(reply, findPolicy(), authFailure('AUTH_REQUIRED', null, 'a handler threw this error'))
    } catch (cause) {
      log.error({ err: redactError(cause) }, 'a scheme threw while its challenge was written')
    }
  }

  /** Reports an error of `reply.login` or `reply.logout`, whose message does not contain the reason. */
  reportSessionError (reply: FastifyReply, error: AuthError): void {
    const { code, statusCode, scheme, detail } = error
    if (statusCode === 500) return reportFault(reply.request, error, 'session refused')
    const retryAfter = code === 'AUTH_UNAVAILABLE' ? defaultRetryAfter : null
    if (retryAfter !== null) reply.header('retry-after', retryAfter)
    reportRefusal(reply.request, { ...authFailure(code, scheme, detail), retryAfter }, 'session refused')
  }

  /**
   * Lets schemes answer a 401 themselves, such as by a redirect to a login page: any scheme of the policy if no
   * credential was sent, otherwise the scheme that refused it. A scheme may send its response later, but it must send
   * one.
   * @returns the error of the refusal, or `null` if no scheme has answered.
   */
  #answerByScheme (reply: FastifyReply, { schemes, maxAge }: Policy, failure: AuthFailure): AuthError | null {
    const candidates = schemes.filter(({ name, scheme }) =>
      scheme.refuse !== undefined && (failure.scheme === null || name === failure.scheme))
    if (candidates.length === 0) return null
    const watch = watchSend(reply)
    // a first login must fulfil the maxAge of the route too, or the person would have to log in a second time at once
    const name = findAnswer(reply, watch, { candidates, failure: maxAge === null ? failure : { ...failure, maxAge } })
    if (name === null) return null
    if (!watch.isSent()) {
      expectSend(reply, watch, () => {
        const { error, isSent } = this.sendInternalError(
          reply, internalError(`refuse() of the scheme '${name}' returned true, and no response was sent for 10 s`))
        if (!isSent) reply.send(error)
      })
    }
    const error = refusal(failure)
    noteRefusal(reply.request, error)
    return error
  }

  #challengesOf (policy: Policy): PolicyChallenges {
    const known = this.#challenges.get(policy)
    if (known !== undefined) return known
    const challenges = new PolicyChallenges(policy)
    this.#challenges.set(policy, challenges)
    return challenges
  }

  #writeChallenges (reply: FastifyReply, policy: Policy, failure: AuthFailure): void {
    const header = this.#challengesOf(policy).header(failure)
    if (header !== '') reply.header('www-authenticate', header)
  }

  #send (reply: FastifyReply, error: AuthError): Ended {
    const form = this.#form
    const { statusCode: status, message } = error
    // Fastify sets the status of errors that a handler throws, not those of hooks: without this, an error handler that
    // relies on it would send 200
    reply.code(status)
    if (form === 'fastify' || leftToErrorHandler.has(reply.request)) return { error, isSent: false }
    noteRefusal(reply.request, error)
    if (typeof form === 'function') sendByFunction(reply, error, form)
    else if (form === 'oauth') reply.send({ error: oauthCode(error), error_description: message })
    else reply.type('application/problem+json').send(problemOf(error))
    return { error, isSent: true }
  }
}

/** Returns the body of RFC 9457. Without a `type` of its own, the title is the phrase of the status (4.2.1). */
function problemOf ({ statusCode: status, code, message }: AuthError): object {
  return { type: 'about:blank', title: STATUS_CODES[status], status, detail: message, code }
}

/** Returns the scheme whose credential is missing, where the policy has only one. */
function onlyScheme ({ schemes }: Policy): string | null {
  return schemes.length === 1 ? (schemes[0] as BoundScheme).name : null
}

/** Headers for error handlers that write their own response; `Connection` is left to the server. */
const errorHeaders = ['cache-control', 'retry-after', 'www-authenticate'] as const

/** Returns the headers of a refusal that are on the reply. */
function headersOf (reply: FastifyReply): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {}
  for (const name of errorHeaders) {
    const value = reply.getHeader(name)
    if (value !== undefined) headers[name] = String(value)
  }
  return Object.freeze(headers)
}

/** The headers that every refusal may set. */
const refusalHeaders: readonly string[] = ['cache-control', 'connection', 'retry-after', 'www-authenticate']

/** Restores the status and the headers that a reply had before it was refused. */
class RefusalUndo implements Undo {
  readonly #reply: FastifyReply
  readonly #status: number
  readonly #before: ReturnType<FastifyReply['getHeaders']>
  #names = refusalHeaders

  constructor (reply: FastifyReply) {
    this.#reply = reply
    this.#status = reply.statusCode
    this.#before = reply.getHeaders()
  }

  add (names: readonly string[]): void {
    this.#names = [...this.#names, ...names.map(name => name.toLowerCase())]
  }

  run (): void {
    const reply = this.#reply
    reply.code(this.#status)
    for (const name of this.#names) {
      const value = this.#before[name]
      if (value === undefined) reply.removeHeader(name)
      else reply.header(name, value)
    }
  }
}

/**
 * Keeps a refusal out of caches, and closes the connection if a body would have to be drained. Another guard of the
 * same request may still let the caller in, so the earlier headers are kept for `undo`.
 */
function prepareRefusal (reply: FastifyReply): void {
  const state = ensureState(reply.request)
  state.undo ??= new RefusalUndo(reply)
  reply.header('cache-control', 'no-store')
  if (hasUnreadBody(reply.request)) reply.header('connection', 'close')
}

/** Sets the headers that a scheme adds to its refusal. */
function setHeaders (reply: FastifyReply, headers: Readonly<Record<string, string>>): void {
  ensureState(reply.request).undo?.add(Object.keys(headers))
  reply.headers(headers)
}

/** Returns true for an unread body, which an HTTP/1 connection must receive whole before it can be used again. */
function hasUnreadBody ({ raw }: FastifyRequest): boolean {
  if (raw.httpVersionMajor !== 1 || raw.complete) return false
  return raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length']) > 0
}

interface Candidates {
  /** The schemes that may answer. */
  readonly candidates: readonly BoundScheme[]
  readonly failure: AuthFailure
}

/** Returns the name of the scheme that answers a refusal, or `null`. Ends the watch unless it is still needed. */
function findAnswer (reply: FastifyReply, watch: SendWatch, { candidates, failure }: Candidates): string | null {
  const { request } = reply
  for (const { name, scheme } of candidates) {
    try {
      const answer = scheme.refuse?.(request, reply, failure)
      // a scheme that sends a response has answered, whatever it returns
      if (watch.isSent() || isAnswer(answer, name)) return name
    } catch (cause) {
      watch.stop()
      if (!watch.isSent()) throw cause
      request.log.error({ err: redactError(cause) }, 'refuse() of a scheme threw after it had sent a response')
      return name
    }
  }
  watch.stop()
  return null
}

/** @throws {AuthError} `AUTH_FAULT` for a promise, which would answer when the guard has answered already. */
function isAnswer (answer: unknown, scheme: string): boolean {
  if (!isMisplacedPromise(answer)) return answer === true
  throw internalError(`refuse() of the scheme '${scheme}' must return true or false, and no promise of it`)
}

/** Sends the body that the application's function returns. If the function fails, Fastify's form is sent. */
function sendByFunction (reply: FastifyReply, error: AuthError, form: ErrorFunction): void {
  const { request } = reply
  const watch = watchSend(reply)
  let isDone = false
  let cancel = (): void => {}
  const finish = (answer: () => void): void => {
    watch.stop()
    cancel()
    if (!watch.isSent() && !isDone) answer()
  }
  const fail = (cause: unknown): void => {
    request.log.error({ err: redactError(cause) }, 'the errors function failed')
    finish(() => {
      isDone = true
      reply.code(error.statusCode).send(error)
    })
  }
  const send = (body: unknown): void => { finish(() => { reply.send(body) }) }
  try {
    const body: unknown = form(error, request, reply)
    // a returned reply means, as in a handler, that the function sends the response itself; a reply is thenable
    if (isThenable(body)) {
      Promise.resolve(body).then(send).catch(fail)
      cancel = expectSend(reply, watch, () => { fail(internalError('the errors function sent no response for 10 s')) })
    } else {
      send(body)
    }
  } catch (cause) {
    fail(cause)
  }
}

/** Returns the code of OAuth 2.0 (RFC 6749, 5.2, and RFC 6750, 3.1). */
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
