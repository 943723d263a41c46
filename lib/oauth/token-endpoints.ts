import type { FastifyRequest } from 'fastify'
import type { OAuthGrant } from '../../types/oauth.js'
import type { Principal } from '../../types/principal.js'
import type { IssuedTokens, TokenService } from '../../types/tokens.js'
import { publish } from '../events/events.js'
import { loadPrincipal, principalFrom } from '../kit/principal.js'
import { readAuthorization } from '../kit/read-credential.js'
import { familyId } from '../schemes/jwt/refresh-token.js'
import { isSameSecret } from '../util/encoding.js'
import { digestOf, grantNames, type Client } from './client.js'
import { findCode, isVerifier, spendCode, type CodeGrant, type FoundCode } from './codes.js'
import { oauthError, type OAuthError, tryAgainLater } from './errors.js'
import {
  chooseResource, chooseScopes, decodeForm, formOf, isResource, noScopeLeft, type Parameters, readScopes, scopesFor
} from './parameters.js'
import { findClient, type Server } from './server.js'

type Grant = (server: Server, request: TokenRequest) => Promise<IssuedTokens>

const grants: Readonly<Record<OAuthGrant, Grant>> = {
  authorization_code: redeemCode,
  refresh_token: refreshTokens,
  client_credentials: clientCredentials
}

/** Answers a token request (RFC 6749, 3.2). @throws {OAuthError} */
export async function token (server: Server, request: FastifyRequest): Promise<IssuedTokens> {
  const form = formOf(request)
  const client = await authenticateClient(server, request, form)
  const type = form.get('grant_type')
  if (type === null) throw oauthError('invalid_request', 'The parameter grant_type is missing')
  const name = grantNames.find(each => each === type)
  if (name === undefined) throw oauthError('unsupported_grant_type', 'The grant type is not supported')
  if (!client.grants.includes(name)) throw oauthError('unauthorized_client', 'The client may not use this grant type')
  return await grants[name](server, { client, request, form })
}

/** A token request of an authenticated client. */
interface TokenRequest {
  readonly client: Client
  readonly request: FastifyRequest
  readonly form: Parameters
}

/**
 * Redeems a code (RFC 6749, 4.1.3). Begins the grant before it spends the code, so that a second redemption finds the
 * grant that it has to end.
 * @throws {OAuthError}
 */
async function redeemCode (server: Server, { client, request, form }: TokenRequest): Promise<IssuedTokens> {
  const code = form.get('code')
  if (code === null) throw oauthError('invalid_request', 'The parameter code is missing')
  const found = await findCode(server.store, code)
  const service = found === null ? undefined : serviceOf(server, found.grant)
  if (found === null || service === undefined) throw badCode('the code is unknown, or has expired')
  if (found.grant.client !== client.id) throw badCode(`the code is for another client than '${client.id}'`)
  if (found.isUsed) throw await endReused(service, found)
  checkBinding(found.grant, service, form)
  const person = await loadPerson(server, request, found.grant)
  if (person === null) throw badCode('load knows no such person, or it is disabled')
  const begun = await service.begin({
    principal: person,
    client: client.id,
    // the client may have lost scopes after the person gave consent
    scopes: person.scopes.filter(scope => client.scopes.includes(scope)),
    authenticatedAt: found.grant.authenticatedAt === null ? null : new Date(found.grant.authenticatedAt),
    handle: found.handle,
    refresh: client.grants.includes('refresh_token'),
    roles: client.roles
  })
  if (begun === null || !await spendCode(server.store, found)) throw await endReused(service, found)
  begun.announce()
  return begun.tokens
}

/** Returns the service of the resource that a code is for; `undefined` for a code of another issuer. */
function serviceOf ({ services }: Server, grant: CodeGrant): TokenService | undefined {
  return services.find(({ issuer, resource }) => issuer === grant.issuer && resource === grant.resource)
}

/**
 * Checks that the request has the verifier, the redirect URI and the resource of the code. A wrong request does not
 * spend the code, so that its owner can still use it.
 */
function checkBinding (grant: CodeGrant, { resource }: TokenService, form: Parameters): void {
  const redirectUri = form.get('redirect_uri')
  const named = form.get('resource')
  if (redirectUri !== null && redirectUri !== grant.redirectUri) {
    throw badCode('redirect_uri is another one than in the authorization request')
  }
  if (!isVerifier(form.get('code_verifier') ?? '', grant.challenge)) {
    throw badCode('code_verifier does not belong to the code_challenge of the authorization request')
  }
  if (named !== null && !isResource(resource, named)) {
    throw oauthError('invalid_target', 'The code is for another resource')
  }
}

/** Looks up the person again, with the scopes that they still have. Returns `null` if `load` refuses them. */
async function loadPerson (
  { load, grants, session: { name: scheme } }: Server, request: FastifyRequest, grant: CodeGrant
): Promise<Principal | null> {
  const { realm, id, scopes, roles } = grant
  const stored = principalFrom({ realm, id, scopes, roles }, realm) as Principal
  if (load === null) return stored
  const person = await loadPrincipal(load, stored, { scheme, request })
  return person === null ? null : { ...person, scopes: scopes.filter(scope => grants(person, 'scopes', scope)) }
}

/** Ends the grant of a code that is presented a second time (RFC 6749, 4.1.2). */
async function endReused (service: TokenService, { grant, handle }: FoundCode): Promise<OAuthError> {
  await service.end(handle)
  const { realm, id, client } = grant
  publish('code-reused', { scheme: service.scheme, grant: familyId(handle), realm, id, client })
  return badCode('the code was used before, so its grant has ended')
}

function badCode (detail: string): OAuthError {
  return oauthError('invalid_grant', 'The code is wrong, expired, used, or not for this request', { detail })
}

/** Exchanges a refresh token (RFC 6749, 6). @throws {OAuthError} */
async function refreshTokens (server: Server, { client, request, form }: TokenRequest): Promise<IssuedTokens> {
  const token = form.get('refresh_token')
  if (token === null) throw oauthError('invalid_request', 'The parameter refresh_token is missing')
  // The client may have lost scopes since the grant began.
  const requested = readScopes(form.get('scope'))
  const options = {
    client: client.id, scopes: scopesFor(client, requested), needsScope: requested !== null, load: server.load
  }
  const named = form.get('resource')
  const services = named === null ? server.services : [chooseResource(server, named)]
  let detail = 'it is malformed, or was issued to another client or with another refresh.secret'
  for (const service of services) {
    const outcome = await service.refresh(request, token, options)
    if (!('kind' in outcome)) return outcome
    if (outcome.kind === 'foreign') continue
    if (outcome.reason === 'invalid_scope') throw noScopeLeft()
    detail = outcome.detail
    break
  }
  for (const other of server.services) {
    if (services.includes(other) || !await other.holds(token, client.id)) continue
    throw oauthError('invalid_target', 'The refresh token is for another resource')
  }
  throw oauthError('invalid_grant', 'The refresh token is wrong, expired, used, or of another client', {
    detail: `refresh token: ${detail}`
  })
}

/** Issues a token that a client gets for itself (RFC 6749, 4.4). @throws {OAuthError} */
async function clientCredentials (server: Server, { client, form }: TokenRequest): Promise<IssuedTokens> {
  const { service, scopes } = chooseScopes(server, client, form)
  return await service.clientToken(client.id, scopes)
}

const claimNames = ['scope', 'client_id', 'sub', 'aud', 'iss', 'exp', 'iat', 'jti'] as const

/**
 * Returns the claims of an access token that is active, or only that it is not active (RFC 7662, 2.2).
 * @throws {OAuthError}
 */
export async function introspect (server: Server, request: FastifyRequest): Promise<object> {
  const form = formOf(request)
  const client = await authenticateClient(server, request, form)
  const token = form.get('token')
  if (client.introspect.length === 0) throw oauthError('unauthorized_client', 'The client may not introspect tokens')
  if (token === null) throw oauthError('invalid_request', 'The parameter token is missing')
  for (const service of server.services.filter(({ scheme }) => client.introspect.includes(scheme))) {
    const claims = await service.introspect(request, token)
    if (claims === null || !await isClientNow(server, service, String(claims['client_id']))) continue
    const known = claimNames.flatMap(name => claims[name] === undefined ? [] : [[name, claims[name]] as const])
    return { active: true, scope: '', ...Object.fromEntries(known), token_type: 'Bearer' }
  }
  return { active: false }
}

/** Returns true if the client of a token exists. Another instance may have removed it since it was cached. */
async function isClientNow (
  { table, stored }: Server, { firstParty }: TokenService, id: string
): Promise<boolean> {
  return id === firstParty || table.has(id) || await stored.findNow(id) !== null
}

/** Revokes a token (RFC 7009). An unknown token is not an error. @throws {OAuthError} */
export async function revoke (server: Server, request: FastifyRequest): Promise<void> {
  const form = formOf(request)
  const client = await authenticateClient(server, request, form)
  const token = form.get('token')
  if (token === null) throw oauthError('invalid_request', 'The parameter token is missing')
  for (const service of server.services) {
    const outcome = await service.revoke(token, client.id)
    if (outcome === 'revoked') return
    if (outcome === 'foreign client') throw oauthError('invalid_grant', 'The token is of another client')
    if (outcome === 'unsupported') {
      throw oauthError('unsupported_token_type', 'Access tokens cannot be revoked: they expire')
    }
  }
}

/** The credentials of a client. The secret is `null` for a public client. */
interface Presented {
  readonly id: string
  readonly secret: string | null
}

/**
 * Authenticates the client of a request by HTTP Basic, by the form, or as a public client (RFC 6749, 2.3.1 and 3.2.1).
 * @throws {OAuthError} `invalid_request` for two methods in one request, `invalid_client`.
 */
async function authenticateClient (
  server: Server, request: FastifyRequest, form: Parameters
): Promise<Client> {
  const presented = readCredentials(request, form)
  const client = presented === null ? null : await findClient(server, presented.id)
  if (isRight(client, presented?.secret ?? null) && client !== null) return client
  publish('client-refused', { client: client?.id ?? null, address: request.ip })
  // A request without a secret is not a guess.
  const outcome = presented?.secret == null ? null : await server.guesses.wrongSecret(request)
  if (outcome === null) throw invalidClient(request, refusalOf(client, presented))
  throw tryAgainLater(outcome.kind === 'limited' ? 429 : 503, Math.ceil(outcome.retryAfter))
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

/** Says for the log why the credentials of a client are refused. Names only clients that exist. */
function refusalOf (client: Client | null, presented: Presented | null): string {
  if (presented === null) return 'no client ID was sent, or the Authorization header is malformed'
  if (client === null) return 'there is no client with this ID'
  const which = `the client '${client.id}'`
  if (!client.isConfidential) return `${which} is public, so it must not send a secret`
  if (presented.secret === null) return `${which} has to send its secret`
  const digest = digestOf(presented.secret)
  const isOver = client.secrets.some(each => isSameSecret(digest, each.digest))
  return isOver ? `the secret of ${which} has expired` : `the secret of ${which} is wrong`
}

/** Returns the refusal, with a challenge if the client has used the Authorization header (RFC 6749, 5.2). */
function invalidClient ({ headers }: FastifyRequest, detail: string): OAuthError {
  const options = headers.authorization === undefined
    ? {}
    : { status: 401, headers: { 'www-authenticate': 'Basic realm="oauth", charset="UTF-8"' } }
  return oauthError('invalid_client', 'The client could not be authenticated', { ...options, detail })
}
