import { createHmac, timingSafeEqual } from 'node:crypto'
import type { TokenService } from '../../types/tokens.js'
import { isNative, isRegistered, type Client } from './client.js'
import { oauthError } from './errors.js'
import { Parameters } from './parameters.js'
import { chooseResource, readScopes, scopesFor } from './resources.js'
import { findClient, type Server } from './setup.js'

/** Describes where the answer to an authorization request goes. */
export interface Destination {
  readonly client: Client
  readonly redirectUri: string
  /** As it was sent, percent-encoded. */
  readonly state: string | null
}

/** An authorization request (RFC 6749, 4.1.1), checked. */
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

/**
 * Finds out where the answer goes. An error before that must not be sent to the URI (RFC 6749, 4.1.2.1).
 * @throws {OAuthError}
 */
export async function findDestination (server: Server, query: Parameters): Promise<Destination> {
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
  const scopes = scopesFor(client, readScopes(query.get('scope')))
  const service = chooseResource(server, query.get('resource'))
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

/** Milliseconds for which a person may take to log in, or to answer a form. */
const lifetime = 3_600_000

/** Computes the MAC of a text for one purpose. */
function mac (key: Uint8Array, purpose: string, text: string): string {
  return createHmac('sha256', key).update(`${purpose}\0${text}`).digest('base64url')
}

/** Seals a text with the present time, so that only this server can have written it, for this purpose. */
export function seal ({ person }: Server, purpose: string, text: string): string {
  const at = Date.now()
  const [newest] = person.formKeys as readonly [Uint8Array, ...Uint8Array[]]
  return `${at}.${mac(newest, purpose, `${at} ${text}`)}`
}

/** Returns the time at which a text was sealed within the last hour, in milliseconds since 1970, or `null`. */
export function sealedAt (
  { person }: Server, purpose: string, { text, sealed }: { readonly text: string, readonly sealed: string }
): number | null {
  const [, at = '', written] = /^(\d{1,15})\.([\w-]{43})$/.exec(sealed) ?? []
  if (written === undefined || Date.now() - Number(at) > lifetime) return null
  const isOwn = person.formKeys.some(
    key => timingSafeEqual(Buffer.from(mac(key, purpose, `${at} ${text}`)), Buffer.from(written))
  )
  return isOwn ? Number(at) : null
}
