import type { IssuedTokens } from '../../../types/token-service.js'
import { chooseResource, readScopes, scopesFor } from '../resources.js'
import type { Server } from '../setup.js'
import type { TokenRequest } from './authorization-code.js'

/** Issues a token that a client gets for itself (RFC 6749, 4.4). @throws {OAuthError} */
export async function clientCredentials (server: Server, { client, form }: TokenRequest): Promise<IssuedTokens> {
  const scopes = scopesFor(client, readScopes(form.get('scope')))
  return await chooseResource(server, form.get('resource')).clientToken(client.id, scopes)
}
