import { createHmac } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'
import type { TokenService } from '../../types/tokens.js'
import { AuthError, internalError } from '../errors.js'
import { isSameSecret } from '../util/encoding.js'
import { escapeHtml, forbidReuse, sendOnwardPage, sendPage } from '../util/endpoints.js'
import { isNative, isRegistered, type Client } from './client.js'
import { codeGrant, issueCode } from './codes.js'
import { oauthError, setHeaders, toOAuthError } from './errors.js'
import { chooseScopes, noScopeLeft, Parameters } from './parameters.js'
import { findClient, type Server } from './server.js'

/** Describes where the answer to an authorization request goes. */
export interface Destination {
  readonly client: Client
  readonly redirectUri: string
  /** As it was sent, percent-encoded. */
  readonly state: string | null
}

/** Describes an authorization request (RFC 6749, 4.1.1) that was checked. */
export interface AuthorizeRequest extends Destination {
  readonly challenge: string
  readonly service: TokenService
  /** The requested scopes that the client may have. */
  readonly scopes: readonly string[]
  readonly prompts: ReadonlySet<string>
  /** Seconds; `null` without a limit. */
  readonly maxAge: number | null
  /** `true` for a public client whose redirect URI other programs can receive, which is always asked for (RFC 8252). */
  readonly isUnverified: boolean
}

/** Describes an authorization request with the person who answers it. */
export interface PersonalRequest extends AuthorizeRequest {
  /** The query of the request, as the form of the consent page carries it. */
  readonly text: string
  readonly person: Principal
  /** The id of the person's session. */
  readonly sessionId: string
  /** The requested scopes that the client and the person have. */
  readonly scopes: readonly string[]
}

/**
 * Answers a request by a function. Its refusals are sent to the client. An error before the destination is known must
 * not be sent anywhere (RFC 6749, 4.1.2.1): it is thrown, and the error handler shows it to the person.
 */
export async function answerRequest (
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

/** Returns the client and where its answer goes. @throws {OAuthError} if the client did not register the URI. */
async function findDestination (server: Server, query: Parameters): Promise<Destination> {
  for (const name of ['client_id', 'redirect_uri']) {
    if (query.isRepeated(name)) throw oauthError('invalid_request', 'The client or its address is named twice')
  }
  const client = await findClient(server, query.get('client_id') ?? '')
  if (client === null) throw oauthError('invalid_request', 'The application is unknown')
  const redirectUri = query.get('redirect_uri')
  if (redirectUri === null || !isRegistered(client.redirectUris, redirectUri)) {
    throw oauthError('invalid_request', 'The address to return to is not one of the application')
  }
  return { client, redirectUri, state: query.isRepeated('state') ? null : query.raw('state') }
}

/** Checks the rest of an authorization request. @throws {OAuthError} for the client. */
export function checkRequest (server: Server, destination: Destination, query: Parameters): AuthorizeRequest {
  const { client, redirectUri } = destination
  query.check()
  checkResponse(query)
  const challenge = challengeOf(query)
  if (query.get('request') !== null) throw oauthError('request_not_supported', 'The parameter request is not supported')
  if (query.get('request_uri') !== null) {
    throw oauthError('request_uri_not_supported', 'The parameter request_uri is not supported')
  }
  const { service, scopes } = chooseScopes(server, client, query)
  const isUnverified = !client.isConfidential && isNative(redirectUri)
  return {
    ...destination, challenge, service, scopes, prompts: promptsOf(query), maxAge: maxAgeOf(query), isUnverified
  }
}

function checkResponse (query: Parameters): void {
  const type = query.get('response_type')
  if (type === null) throw oauthError('invalid_request', 'The parameter response_type is missing')
  if (type !== 'code') throw oauthError('unsupported_response_type', 'The only response type is code')
  if ((query.get('response_mode') ?? 'query') !== 'query') {
    throw oauthError('invalid_request', 'The only response mode is query')
  }
}

/** Returns the challenge of PKCE, which every client must use, by S256 (RFC 9700, 2.1.1). */
function challengeOf (query: Parameters): string {
  const challenge = query.get('code_challenge')
  if (challenge === null || query.get('code_challenge_method') !== 'S256' || !/^[\w-]{43}$/.test(challenge)) {
    throw oauthError('invalid_request', 'PKCE with the method S256 is required')
  }
  return challenge
}

const knownPrompts = ['none', 'login', 'consent', 'select_account']

function promptsOf (query: Parameters): ReadonlySet<string> {
  const prompts = new Set(query.get('prompt')?.split(' '))
  if (![...prompts].every(prompt => knownPrompts.includes(prompt)) || (prompts.has('none') && prompts.size > 1)) {
    throw oauthError('invalid_request', 'The parameter prompt is not understood')
  }
  return prompts
}

function maxAgeOf (query: Parameters): number | null {
  const text = query.get('max_age')
  if (text === null) return null
  if (!/^\d{1,10}$/.test(text)) throw oauthError('invalid_request', 'The parameter max_age must be a number of seconds')
  return Number(text)
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
  { grants, session: { name: realm } }: Server,
  { auth }: FastifyRequest,
  request: AuthorizeRequest & { readonly text: string }
): PersonalRequest {
  const person = auth.principal as Principal
  if (person.realm !== realm || person.id.startsWith('client:')) {
    throw internalError(`a person of the authorization server must have the realm '${realm}', and no id of a client`)
  }
  const scopes = request.scopes.filter(scope => grants(person, 'scopes', scope))
  if (scopes.length === 0 && request.scopes.length > 0) throw noScopeLeft()
  return { ...request, person, scopes, sessionId: (auth.credential as { readonly id: string }).id }
}

/** Sends a code to the client. */
export async function sendCode (server: Server, reply: FastifyReply, personal: PersonalRequest): Promise<FastifyReply> {
  const { client, redirectUri, challenge, scopes, service: { issuer, resource }, person } = personal
  const fields = { client: client.id, redirectUri, challenge, scopes, issuer, resource }
  const grant = codeGrant(person, { ...fields, authenticatedAt: authenticatedAt(reply.request) })
  return sendBack(server, { reply, destination: personal, fields: { code: await issueCode(server.store, grant) } })
}

/** Sends the refusal of the person to the client. */
export function refuseConsent (server: Server, reply: FastifyReply, destination: Destination): FastifyReply {
  return sendRefusal(server, { reply, destination, error: oauthError('access_denied', 'The person refused') })
}

interface Refusal {
  readonly reply: FastifyReply
  readonly destination: Destination
  readonly error: unknown
}

/** Sends a refusal to the client (RFC 6749, 4.1.2.1). */
export function sendRefusal (server: Server, { reply, destination, error }: Refusal): FastifyReply {
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
  return mayFollowForm(reply.request) ? sendOnwardPage(reply, url) : forbidReuse(reply).redirect(url, 303)
}

/**
 * Returns true for a form, and for a request that may follow the form of a login by a redirect. A request of this site
 * in a frame (`prompt=none`) follows no form, because none of our pages is shown in a frame.
 */
function mayFollowForm ({ method, headers }: FastifyRequest): boolean {
  return method === 'POST' || (headers['sec-fetch-site'] === 'same-origin' && headers['sec-fetch-dest'] !== 'iframe')
}

/** Shows an error that cannot be sent to a client. */
export function showError (error: unknown, reply: FastifyReply): FastifyReply {
  // The guard has set the headers of its refusals.
  if (error instanceof AuthError && error.expose) return sendErrorPage(reply, error.statusCode, error.message)
  const refusal = toOAuthError(error, reply.request)
  return sendErrorPage(setHeaders(reply, refusal), refusal.statusCode, refusal.message)
}

/** Sends the page for a request that cannot be sent back to a client (RFC 6749, 4.1.2.1). */
function sendErrorPage (reply: FastifyReply, status: number, description: string): FastifyReply {
  const body = `<p>${escapeHtml(description)}.</p><p>Go back to the application that sent you here, and try again.</p>`
  return sendPage(reply.code(status), { title: 'This request cannot be answered', body })
}

/** The time that a person may take to log in, or to answer a form. */
const lifetimeMs = 3_600_000

/** Computes the MAC of a text for one purpose. */
function mac (key: Uint8Array, purpose: string, text: string): string {
  return createHmac('sha256', key).update(`${purpose}\0${text}`).digest('base64url')
}

/** Returns a stamp with the present time for a text, so that only this server can have written it, for this purpose. */
export function stampOf ({ session }: Server, purpose: string, text: string): string {
  const at = Date.now()
  const [newest] = session.formKeys as readonly [Uint8Array, ...Uint8Array[]]
  return `${at}.${mac(newest, purpose, `${at} ${text}`)}`
}

/** Returns the time at which a text was stamped within the last hour, in milliseconds since 1970, or `null`. */
export function stampedAt (
  { session }: Server, purpose: string, { text, stamp }: { readonly text: string, readonly stamp: string }
): number | null {
  const [, at = '', written] = /^(\d{1,15})\.([\w-]{43})$/.exec(stamp) ?? []
  if (written === undefined || Date.now() - Number(at) > lifetimeMs) return null
  const isOwn = session.formKeys.some(key => isSameSecret(mac(key, purpose, `${at} ${text}`), written))
  return isOwn ? Number(at) : null
}
