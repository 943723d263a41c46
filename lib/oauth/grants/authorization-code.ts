import type { FastifyRequest } from 'fastify'
import type { Principal } from '../../../types/principal.js'
import type { IssuedTokens, TokenService } from '../../../types/token-service.js'
import { publish } from '../../events/events.js'
import { loadedPrincipal, principalFrom } from '../../kit/principal.js'
import { familyId } from '../../schemes/jwt/refresh-token.js'
import { isNo } from '../../util/objects.js'
import type { Client } from '../clients/client.js'
import { findCode, isVerifier, spendCode, type CodeGrant, type FoundCode } from '../codes.js'
import { oauthError, type OAuthError } from '../errors.js'
import type { Parameters } from '../parameters.js'
import { isResource } from '../resources.js'
import type { Server } from '../setup.js'

/** A token request of an authenticated client. */
export interface TokenRequest {
  readonly client: Client
  readonly request: FastifyRequest
  readonly form: Parameters
}

/**
 * Redeems a code (RFC 6749, 4.1.3). The grant begins before the code is spent, so that whoever comes second finds what
 * to end.
 * @throws {OAuthError}
 */
export async function redeemCode (server: Server, { client, request, form }: TokenRequest): Promise<IssuedTokens> {
  const code = form.get('code')
  if (code === null) throw oauthError('invalid_request', 'The parameter code is missing')
  const found = await findCode(server.store, code)
  const service = found === null ? undefined : server.services.find(({ scheme }) => scheme === found.grant.scheme)
  if (found === null || service === undefined || found.grant.client !== client.id) throw badCode()
  if (found.isUsed) throw await endReused(service, found)
  checkBinding(found.grant, service, form)
  const person = await loadPerson(server, request, found.grant)
  if (person === null) throw badCode()
  const begun = await service.begin({
    principal: person,
    client: client.id,
    scopes: person.scopes,
    authenticatedAt: found.grant.authenticatedAt === null ? null : new Date(found.grant.authenticatedAt),
    handle: found.handle,
    refresh: client.grants.includes('refresh_token'),
    roles: client.roles
  })
  if (begun === null || !await spendCode(server.store, found)) throw await endReused(service, found)
  begun.announce()
  return begun.tokens
}

/** Checks what the code is bound to. A code with a wrong binding stays good for its owner. */
function checkBinding (grant: CodeGrant, { resource }: TokenService, form: Parameters): void {
  const redirectUri = form.get('redirect_uri')
  const named = form.get('resource')
  if (redirectUri !== null && redirectUri !== grant.redirectUri) throw badCode()
  if (!isVerifier(form.get('code_verifier') ?? '', grant.challenge)) throw badCode()
  if (named !== null && !isResource(resource, named)) {
    throw oauthError('invalid_target', 'The code is for another resource')
  }
}

/** Looks up the person again, with the scopes that they still have. Returns `null` if `load` refuses them. */
async function loadPerson (
  { load, grants, person: { name: scheme } }: Server, request: FastifyRequest, grant: CodeGrant
): Promise<Principal | null> {
  const { realm, id, scopes, roles } = grant
  const stored = principalFrom({ realm, id, scopes, roles }, realm) as Principal
  if (load === null) return stored
  const loaded = await load(stored, { scheme, request })
  if (isNo(loaded)) return null
  const person = loadedPrincipal(stored, loaded)
  return { ...person, scopes: scopes.filter(scope => grants(person, 'scopes', scope)) }
}

/** Ends the grant of a code that is presented a second time (RFC 6749, 4.1.2). */
async function endReused (service: TokenService, { grant, handle }: FoundCode): Promise<OAuthError> {
  await service.end(handle)
  const { realm, id, client } = grant
  publish('code-reused', { scheme: service.scheme, grant: familyId(handle), realm, id, client })
  return badCode()
}

function badCode (): OAuthError {
  return oauthError('invalid_grant', 'The code is wrong, expired, used, or not for this request')
}
