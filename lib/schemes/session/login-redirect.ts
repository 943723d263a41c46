import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthErrorCode, AuthFailure } from '../../../types/outcome.js'
import type { LoginRequest } from '../../../types/sessions.js'
import { createReader } from '../../kit/read-credential.js'
import type { Seal, SessionCookie } from './cookie.js'

/** The failures that a login resolves. */
const resolvedByLogin: ReadonlySet<AuthErrorCode> = new Set([
  'AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'
])

const silent = new WeakSet<FastifyRequest>()

/** Makes the refusal of a request an error in place of the login page, such as that of a hidden frame. */
export function refuseSilently (request: FastifyRequest): void {
  silent.add(request)
}

interface LoginRedirectOptions {
  readonly scheme: string
  readonly cookie: SessionCookie
  readonly seal: Seal
}

/** Redirects people whom one scheme refuses to its login page. */
export class LoginRedirect {
  readonly #path: string
  readonly #scheme: string
  readonly #cookie: SessionCookie
  readonly #seal: Seal

  constructor (path: string, { scheme, cookie, seal }: LoginRedirectOptions) {
    this.#path = path
    this.#scheme = scheme
    this.#cookie = cookie
    this.#seal = seal
  }

  /**
   * Redirects a person to the login page. Returns `false`, and sends nothing, when the client does not expect a page or
   * when a login does not resolve the failure.
   */
  refuse (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure): boolean {
    if (!resolvedByLogin.has(failure.code) || silent.has(request) || !wantsPage(request)) return false
    // an invalid credential of another scheme comes from a program
    if (failure.scheme !== null && failure.scheme !== this.#scheme) return false
    // otherwise a forged cookie would be refused again after the login
    if (failure.code === 'AUTH_INVALID_CREDENTIALS') this.#cookie.write(reply, this.#cookie.removal)
    const path = request.method === 'GET' ? request.originalUrl : null
    return this.redirect(request, reply, { path, maxAge: failure.maxAge })
  }

  /**
   * Redirects a browser to the login page, which leads back to the path. Returns `false`, and sends nothing, when the
   * client does not expect a page.
   */
  redirect (request: FastifyRequest, reply: FastifyReply, { path, maxAge }: LoginRequest): boolean {
    if (!wantsPage(request)) return false
    const fields = {
      ...path !== null && isLocalPath(path) ? { p: path } : {}, ...maxAge === null ? {} : { m: maxAge }
    }
    const back = Object.keys(fields).length === 0 ? null : this.#seal.seal({ ...fields, t: Date.now() })
    reply.header('cache-control', 'no-store')
    // 303, so that the browser does not send the form to the login page (RFC 9110, 15.4.4)
    reply.redirect(back === null ? this.#path : `${this.#path}?returnTo=${back}`, request.method === 'POST' ? 303 : 302)
    return true
  }
}

/** The content types that an HTML form can send (HTML, 4.10.21.6). */
const formType = /^(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\s*(?:;|$)/i

/**
 * Returns true for a browser that follows a link or submits a form. For a script, or a client that accepts any type, a
 * redirect would hide the 401 behind the 200 of the login page.
 */
function wantsPage (request: FastifyRequest): boolean {
  const { headers, method } = request
  const isForm = method === 'POST' && formType.test(headers['content-type'] ?? '')
  if (method !== 'GET' && method !== 'HEAD' && !isForm) return false
  if (!/(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(headers.accept ?? '')) return false
  const mode = headers['sec-fetch-mode']
  if (mode !== undefined && mode !== 'navigate') return false
  return !asksForFragment(headers)
}

/** Headers of requests for a part of a page, as htmx, Turbo, Unpoly, Inertia, Alpine, Datastar and PJAX send them. */
const fragmentHeaders = [
  'hx-request', 'turbo-frame', 'x-up-version', 'x-inertia', 'x-alpine-request', 'datastar-request', 'x-pjax'
] as const

/** The package name of an Android application, which web views send as `X-Requested-With` with every page. */
const androidPackage = /^[a-z]\w*(?:\.[a-z]\w*)+$/i

/**
 * Returns true for a script that requests a part of a page, into which it would insert the login page. Over plain HTTP
 * there is no `Sec-Fetch-Mode` that would tell.
 */
function asksForFragment (headers: FastifyRequest['headers']): boolean {
  const requestedWith = headers['x-requested-with']
  return fragmentHeaders.some(name => headers[name] !== undefined) ||
    (requestedWith !== undefined && !androidPackage.test(String(requestedWith)))
}

/** The time for which a sealed return path is accepted. */
const returnPathLifetimeMs = 3_600_000

/** Characters of a return path, which limits the size of the `Location` header. */
export const maxPathLength = 4_000

/**
 * Returns true for a path of this application: it starts with one slash and not with two, has no backslash (browsers
 * read `/\` as `//`), and only printable ASCII, because browsers drop tabs and line breaks before they parse.
 */
export function isLocalPath (path: string): boolean {
  return path.length <= maxPathLength && /^\/(?!\/)[!-[\]-~]*$/.test(path)
}

const readReturnTo = createReader('query:returnTo', 'returnTo')

const noLoginRequest: LoginRequest = Object.freeze({ path: null, maxAge: null })

/** Returns the login request in `?returnTo=`, if this scheme sealed it within the last hour. */
export function openLoginRequest (seal: Seal, request: FastifyRequest): LoginRequest {
  const sealed = readReturnTo(request)
  const opened = typeof sealed === 'string' ? seal.open(sealed) : null
  if (opened === null) return noLoginRequest
  const { p: path, m: maxAge, t: sealedAt } = opened.payload
  if (typeof sealedAt !== 'number' || Date.now() - sealedAt >= returnPathLifetimeMs) return noLoginRequest
  return {
    path: typeof path === 'string' && isLocalPath(path) ? path : null,
    maxAge: typeof maxAge === 'number' ? maxAge : null
  }
}
