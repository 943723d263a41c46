import type { FastifyRequest } from 'fastify'
import { publish } from '../events/events.js'
import { readAuthorization } from '../kit/read-credential.js'
import { isSameSecret } from '../util/encoding.js'
import { digestOf, type Client } from './client.js'
import { OAuthError, oauthError } from './errors.js'
import { decodeForm, type Parameters } from './parameters.js'
import { findClient, type Server } from './server.js'

/** The credentials of a client. The secret is `null` for a public client. */
interface Presented {
  readonly id: string
  readonly secret: string | null
}

/**
 * Authenticates the client of a request by HTTP Basic, by the form, or as a public client (RFC 6749, 2.3.1 and 3.2.1).
 * @throws {OAuthError} `invalid_request` for two methods in one request, `invalid_client`.
 */
export async function authenticateClient (
  server: Server, request: FastifyRequest, form: Parameters
): Promise<Client> {
  const presented = readCredentials(request, form)
  const client = presented === null ? null : await findClient(server, presented.id)
  if (isRight(client, presented?.secret ?? null) && client !== null) return client
  publish('client-refused', { client: client?.id ?? null, address: request.ip })
  // A request without a secret is no guess.
  const outcome = presented?.secret == null ? null : await server.guesses.wrongSecret(request)
  throw outcome === null ? refused(request) : limited(outcome.kind, outcome.retryAfter)
}

function readCredentials (request: FastifyRequest, form: Parameters): Presented | null {
  const basic = readAuthorization(request, 'basic')
  const [id, secret] = [form.get('client_id'), form.get('client_secret')]
  if (typeof basic !== 'string') {
    if (basic.kind === 'invalid') return null
    return id === null ? null : { id, secret }
  }
  const presented = decodeBasic(basic)
  if (secret !== null || (presented !== null && id !== null && id !== presented.id)) {
    throw oauthError('invalid_request', 'The request has two client credentials')
  }
  return presented
}

/** Decodes the credential of Basic, in which the id and the secret are form-encoded (RFC 6749, 2.3.1). */
function decodeBasic (encoded: string): Presented | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon === -1) return null
  return { id: decodeForm(text.slice(0, colon)), secret: decodeForm(text.slice(colon + 1)) }
}

const noDigest = digestOf('')

/** Checks a secret. Takes the same time for an unknown client as for a wrong secret. */
function isRight (client: Client | null, secret: string | null): boolean {
  const presented = digestOf(secret ?? '')
  const [first, second] = client?.secrets ?? []
  let isEqual = false
  for (const each of [first, second]) {
    const isLive = each !== undefined && (each.expiresAt === null || each.expiresAt > Date.now())
    const matches = isSameSecret(presented, each?.digest ?? noDigest)
    if (isLive && matches) isEqual = true
  }
  return client !== null && (client.isConfidential ? isEqual : secret === null)
}

/** Returns the refusal, with a challenge if the client has used the Authorization header (RFC 6749, 5.2). */
function refused ({ headers }: FastifyRequest): OAuthError {
  const options = headers.authorization === undefined
    ? {}
    : { status: 401, headers: { 'www-authenticate': 'Basic realm="oauth", charset="UTF-8"' } }
  return oauthError('invalid_client', 'The client could not be authenticated', options)
}

function limited (kind: 'limited' | 'unavailable', retryAfter: number): OAuthError {
  return oauthError('temporarily_unavailable', 'Try again later', {
    status: kind === 'limited' ? 429 : 503, headers: { 'retry-after': String(Math.ceil(retryAfter)) }
  })
}
