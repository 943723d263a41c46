import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../errors.js'
import { maxPathLength } from '../schemes/session/login-redirect.js'
import { queryText } from '../util/encoding.js'
import {
  answerRequest, authenticatedAt, type AuthorizeRequest, checkRequest, sendCode, showError, stampedAt, stampOf,
  withPerson
} from './authorize-request.js'
import { askForConsent, isAllowed } from './consent.js'
import { oauthError } from './errors.js'
import { Parameters } from './parameters.js'
import type { Server } from './server.js'

/** Answers an authorization request (RFC 6749, 4.1). */
export async function authorize (server: Server, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { text, loginAskedAt } = splitQuery(server, request)
  return await answerRequest(server, { reply, text }, async (destination, query) => {
    if (text.length > maxQueryLength) throw oauthError('invalid_request', 'The request is too long')
    const checked = checkRequest(server, destination, query)
    const { prompts } = checked
    if (mustLogIn(request, checked, loginAskedAt)) {
      // after a login that this server requested, a second request for one could go on for ever
      if (prompts.has('none') || loginAskedAt !== null) throw oauthError('login_required', 'Nobody is logged in')
      return redirectToLogin(server, reply, { ...checked, text })
    }
    const personal = withPerson(server, request, { ...checked, text })
    if (!prompts.has('consent') && await isAllowed(server, personal)) return await sendCode(server, reply, personal)
    if (prompts.has('none')) throw oauthError('consent_required', 'The person has to be asked')
    return await askForConsent(server, reply, { request: personal, submitted: null })
  })
}

/**
 * Answers a request that failed before its handler. If the guard has refused the session, nobody is logged in. The
 * client must know of any other error of a request that must show the person nothing (OpenID Connect Core, 3.1.2.1:
 * `prompt=none`); in any other case the person sees it. The error handler of the pages shows what is thrown here.
 */
export async function answerRefused (server: Server, error: unknown, reply: FastifyReply): Promise<FastifyReply> {
  const { request } = reply
  const isRefused = error instanceof AuthError && error.statusCode === 401
  const { text } = splitQuery(server, request)
  if (!isRefused && new Parameters(text).get('prompt') !== 'none') return showError(error, reply)
  // undo what the guard has set for its refusal
  reply.code(200).removeHeader('www-authenticate').removeHeader('retry-after')
  if (isRefused) return await authorize(server, request, reply)
  return await answerRequest(server, { reply, text }, async () => { throw error })
}

/** Characters of a query. With our own parameter, it must fit the path that a login leads back to. */
const maxQueryLength = maxPathLength - 200

const loginParameter = 'gatehouse_login'

/** Returns the query without our own parameter, and the time of its stamp, or `null`. */
function splitQuery (server: Server, { raw }: FastifyRequest) {
  const all = normalize(queryText(raw.url))
  const [, text = all, stamp = ''] = new RegExp(`^(.*)&${loginParameter}=([\\w.-]*)$`).exec(all) ?? []
  return { text, loginAskedAt: stampedAt(server, 'login', { text, stamp }) }
}

/** Encodes what browsers encode when they are redirected, so that the text is the same after a login. */
function normalize (query: string): string {
  return query.replace(/[^\w\-.~!$()*+,;:@/?%=&]/g, character =>
    `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

/** Returns true if nobody is logged in, or the client asks for a more recent login. */
function mustLogIn (request: FastifyRequest, { prompts, maxAge }: AuthorizeRequest, askedAt: number | null): boolean {
  if (request.principal === null) return true
  const at = authenticatedAt(request) ?? 0
  if (askedAt !== null && isSince(at, askedAt)) return false
  return asksAgain(prompts) || (maxAge !== null && Date.now() - at > maxAge * 1000)
}

/**
 * Returns true if the person logged in after the request for a login. A time without milliseconds may come from a
 * provider, which reports whole seconds (`auth_time`), so it is compared by its second.
 */
function isSince (at: number, askedAt: number): boolean {
  return at > askedAt || (at % 1000 === 0 && at >= askedAt - askedAt % 1000)
}

function asksAgain (prompts: AuthorizeRequest['prompts']): boolean {
  return prompts.has('login') || prompts.has('select_account')
}

/** Redirects the person to the login page, which leads back to this request with the time of now. */
function redirectToLogin (
  server: Server, reply: FastifyReply, { text, prompts, maxAge }: AuthorizeRequest & { readonly text: string }
): FastifyReply {
  const path = `${server.prefix}/authorize?${text}&${loginParameter}=${stampOf(server, 'login', text)}`
  const login = { path, maxAge: asksAgain(prompts) ? 0 : maxAge }
  return server.session.redirectToLogin(reply.request, reply, login) ? reply : reply.challenge()
}
