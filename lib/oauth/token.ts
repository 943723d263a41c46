import type { FastifyRequest } from 'fastify'
import type { OAuthGrant } from '../../types/oauth.js'
import type { IssuedTokens } from '../../types/token-service.js'
import { grantNames } from './clients/client.js'
import { authenticateClient } from './client-auth.js'
import { oauthError } from './errors.js'
import { redeemCode, type TokenRequest } from './grants/authorization-code.js'
import { clientCredentials } from './grants/client-credentials.js'
import { refreshTokens } from './grants/refresh-token.js'
import { formOf } from './parameters.js'
import type { Server } from './setup.js'

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
