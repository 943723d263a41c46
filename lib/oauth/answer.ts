import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'
import { AuthError, internalError } from '../errors.js'
import { escapeHtml, forbidReuse, sendOnwardPage, sendPage } from '../util/page.js'
import { findDestination, type AuthorizeRequest, type Destination } from './authorize-request.js'
import { codeGrant, issueCode } from './codes.js'
import { oauthError, toOAuthError } from './errors.js'
import { Parameters } from './parameters.js'
import { nothingLeft } from './resources.js'
import type { Server } from './setup.js'

/** An authorization request with the person who answers it. */
export interface PersonalRequest extends AuthorizeRequest {
  /** The query of the request, as the form of the consent page carries it. */
  readonly text: string
  readonly person: Principal
  /** The id of the person's session. */
  readonly session: string
  /** The requested scopes that the client and the person have. */
  readonly scopes: readonly string[]
}

/** Runs the answer to a request, and sends its refusals to the client, or shows them if there is no address. */
export async function answerTo (
  server: Server, { reply, text }: { readonly reply: FastifyReply, readonly text: string },
  answer: (destination: Destination, query: Parameters) => Promise<FastifyReply>
): Promise<FastifyReply> {
  const query = new Parameters(text)
  const destination = await findDestination(server, query)
  try {
    return await answer(destination, query)
  } catch (error) {
    return sendRefusal(server, { reply, destination, error })
  }
}

interface Refusal {
  readonly reply: FastifyReply
  readonly destination: Destination
  readonly error: unknown
}

/** Sends a refusal to the client (RFC 6749, 4.1.2.1). */
function sendRefusal (server: Server, { reply, destination, error }: Refusal): FastifyReply {
  const { code, message } = toOAuthError(error, reply.request)
  reply.request.log.info({ oauth: { error: code, reason: message } }, 'authorization refused')
  return sendBack(server, { reply, destination, fields: { error: code, error_description: message } })
}

interface Answer {
  readonly reply: FastifyReply
  readonly destination: Destination
  readonly fields: Readonly<Record<string, string>>
}

/** Sends the person back to the client, with the issuer (RFC 9207). */
function sendBack ({ issuer }: Server, { reply, destination, fields }: Answer): FastifyReply {
  const { redirectUri, state } = destination
  const parts = [new URLSearchParams({ ...fields, iss: issuer }).toString()]
  if (state !== null) parts.push(`state=${state}`)
  const url = `${redirectUri}${redirectUri.includes('?') ? '&' : '?'}${parts.join('&')}`
  const { method, headers } = reply.request
  if (method === 'POST' || headers['sec-fetch-site'] === 'same-origin') return sendOnwardPage(reply, url)
  return forbidReuse(reply).redirect(url, 303)
}

/** Shows an error that cannot be sent to a client. */
export function showError (error: unknown, reply: FastifyReply): FastifyReply {
  // the guard has set the headers of its refusals
  if (error instanceof AuthError && error.expose) return sendErrorPage(reply, error.statusCode, error.message)
  const { statusCode, message, headers } = toOAuthError(error, reply.request)
  return sendErrorPage(reply.headers(headers), statusCode, message)
}

/** Sends the page for a request that cannot be sent back to a client (RFC 6749, 4.1.2.1). */
function sendErrorPage (reply: FastifyReply, status: number, description: string): FastifyReply {
  const body = `<p>${escapeHtml(description)}.</p><p>Go back to the application that sent you here, and try again.</p>`
  return sendPage(reply.code(status), { title: 'This request cannot be answered', body })
}

/** Sends a code to the client. */
export async function sendCode (server: Server, reply: FastifyReply, personal: PersonalRequest): Promise<FastifyReply> {
  const { client, redirectUri, challenge, scopes, service: { scheme }, person } = personal
  const fields = { client: client.id, redirectUri, challenge, scopes, scheme }
  const grant = codeGrant(person, { ...fields, authenticatedAt: authenticatedAt(reply.request) })
  return sendBack(server, { reply, destination: personal, fields: { code: await issueCode(server.store, grant) } })
}

/**
 * Returns the time at which the person of a request proved who they are, in milliseconds since 1970; `null` if it is
 * unknown.
 */
export function authenticatedAt ({ auth }: FastifyRequest): number | null {
  return auth.authenticatedAt === null ? null : Date.parse(auth.authenticatedAt)
}

/** Adds the person to a request. @throws {OAuthError} `invalid_scope` if they have none of the scopes. */
export function withPerson (
  { grants, person: { name: realm } }: Server,
  { auth }: FastifyRequest,
  request: AuthorizeRequest & { readonly text: string }
): PersonalRequest {
  const person = auth.principal as Principal
  if (person.realm !== realm || person.id.startsWith('client:')) {
    throw internalError(`a person of the authorization server must have the realm '${realm}', and no id of a client`)
  }
  const scopes = request.scopes.filter(scope => grants(person, 'scopes', scope))
  if (scopes.length === 0 && request.scopes.length > 0) throw nothingLeft()
  return { ...request, person, scopes, session: (auth.credential as { readonly id: string }).id }
}

/** Sends the answer that the person refused. */
export function refuseConsent (server: Server, reply: FastifyReply, destination: Destination): FastifyReply {
  return sendRefusal(server, { reply, destination, error: oauthError('access_denied', 'The person refused') })
}
