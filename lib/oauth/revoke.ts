import type { FastifyRequest } from 'fastify'
import { authenticateClient } from './client-auth.js'
import { oauthError } from './errors.js'
import { formOf } from './parameters.js'
import type { Server } from './setup.js'

/** Revokes a token (RFC 7009). An unknown token is no error. @throws {OAuthError} */
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
