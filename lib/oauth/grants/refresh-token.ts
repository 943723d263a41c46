import type { IssuedTokens } from '../../../types/token-service.js'
import { oauthError } from '../errors.js'
import { chooseResource, readScopes, scopesFor } from '../resources.js'
import type { Server } from '../setup.js'
import type { TokenRequest } from './authorization-code.js'

/** Exchanges a refresh token (RFC 6749, 6). @throws {OAuthError} */
export async function refreshTokens (server: Server, { client, request, form }: TokenRequest): Promise<IssuedTokens> {
  const token = form.get('refresh_token')
  if (token === null) throw oauthError('invalid_request', 'The parameter refresh_token is missing')
  // the client may have lost scopes since
  const scopes = scopesFor(client, readScopes(form.get('scope')))
  const named = form.get('resource')
  const services = named === null ? server.services : [chooseResource(server, named)]
  for (const service of services) {
    const outcome = await service.refresh(request, token, { client: client.id, scopes, load: server.load })
    if (!('kind' in outcome)) return outcome
    if (outcome.kind === 'foreign') continue
    request.log.info({ oauth: { reason: outcome.detail } }, 'refresh token refused')
    break
  }
  throw oauthError('invalid_grant', 'The refresh token is wrong, expired, used, or of another client or resource')
}
