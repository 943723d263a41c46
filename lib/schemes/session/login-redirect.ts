import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthErrorCode, AuthFailure } from '../../../types/error.js'
import { createReader } from '../../kit/read-credential.js'
import type { SessionCookie } from './cookie.js'
import type { Seal } from './seal.js'

/** What logging in mends. */
const mended: ReadonlySet<AuthErrorCode> = new Set(['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'])

/** The parts of a scheme that {@link LoginRedirect} uses. */
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

  /** Sends a person to the login page and says `true`; `false` for clients that are no browsers, and where logging in mends nothing. */
  refuse (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure): boolean {
    if (!mended.has(failure.code) || !wantsPage(request)) return false
    // another scheme's bad credential was not sent by a person
    if (failure.scheme !== null && failure.scheme !== this.#scheme) return false
    // kept, a forged cookie would be refused for ever
    if (failure.code === 'AUTH_INVALID_CREDENTIALS') this.#cookie.write(reply, this.#cookie.removal)
    const back = sealReturnPath(this.#seal, request)
    reply.header('cache-control', 'no-store')
    // 303, so that a form is not sent again to the login page (RFC 9110, 15.4.4)
    reply.redirect(back === null ? this.#path : `${this.#path}?returnTo=${back}`, request.method === 'POST' ? 303 : 302)
    return true
  }
}

/** What an HTML form can send (HTML, 4.10.21.6). */
const form = /^(?:application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\s*(?:;|$)/i

/**
 * Whether a person waits for a page: a browser that follows a link or sends a form. A script's request is not one, nor is a client that accepts
 * anything: a redirect would hide the 401 from it behind the login page's 200.
 */
function wantsPage (request: FastifyRequest): boolean {
  const { headers, method } = request
  if (method !== 'GET' && method !== 'HEAD' && !(method === 'POST' && form.test(headers['content-type'] ?? ''))) return false
  if (!/(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(headers.accept ?? '')) return false
  const mode = headers['sec-fetch-mode']
  if (mode !== undefined && mode !== 'navigate') return false
  return !asksForFragment(headers)
}

/** What libraries send with the requests of theirs whose answer becomes a part of the page that is open: htmx, Turbo, Unpoly, Inertia, Alpine, Datastar, PJAX. */
const fragmentHeaders = ['hx-request', 'turbo-frame', 'x-up-version', 'x-inertia', 'x-alpine-request', 'datastar-request', 'x-pjax'] as const

/** The name of an application on Android, which its web views send with every page. */
const androidPackage = /^[a-z]\w*(?:\.[a-z]\w*)+$/i

/** Returns true for a script's request for a part of a page: a login page would stand inside the page. Over plain HTTP, browsers do not say so themselves. */
function asksForFragment (headers: FastifyRequest['headers']): boolean {
  const by = headers['x-requested-with']
  return fragmentHeaders.some(name => headers[name] !== undefined) || (by !== undefined && !androidPackage.test(String(by)))
}

/** Milliseconds in which a person must have logged in to be sent on. */
const lifetime = 3_600_000

/** Longer ones are not worth a Location header of several kilobytes. */
const longest = 2_000

/**
 * Whether a text leads nowhere but to this application: one slash, no second one and no backslash (browsers read `/\` as `//`),
 * and printable ASCII only, as browsers drop tabs and line ends before they parse.
 */
export function isLocalPath (path: string): boolean {
  return path.length <= longest && /^\/(?!\/)[!-[\]-~]*$/.test(path)
}

/** The path of a GET request, sealed for the login page; `null` where there is none to come back to. */
function sealReturnPath (seal: Seal, request: FastifyRequest): string | null {
  if (request.method !== 'GET') return null
  const path = request.originalUrl
  return isLocalPath(path) ? seal.seal({ p: path, t: Date.now() }) : null
}

const readReturnTo = createReader('query:returnTo', 'returnTo')

/** The path in `?returnTo=`, if this scheme sealed it within the hour; else `fallback`. */
export function openReturnPath (seal: Seal, request: FastifyRequest, fallback: string): string {
  const sealed = readReturnTo(request)
  const opened = typeof sealed === 'string' ? seal.open(sealed) : null
  if (opened === null) return fallback
  const { p: path, t: sealedAt } = opened.payload
  const fresh = typeof sealedAt === 'number' && Date.now() - sealedAt < lifetime
  return fresh && typeof path === 'string' && isLocalPath(path) ? path : fallback
}
