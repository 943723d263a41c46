import type { FastifyRequest } from 'fastify'
import { authenticateClient } from './client-auth.js'
import { oauthError } from './errors.js'
import { formOf } from './parameters.js'
import type { Server } from './setup.js'

const claimNames = ['scope', 'client_id', 'sub', 'aud', 'iss', 'exp', 'iat', 'jti'] as const

/** Returns what is known of an access token (RFC 7662), or only that it is not active. @throws {OAuthError} */
export async function introspect (server: Server, request: FastifyRequest): Promise<object> {
  const form = formOf(request)
  const client = await authenticateClient(server, request, form)
  const token = form.get('token')
  if (client.introspect.length === 0) throw oauthError('unauthorized_client', 'The client may not introspect tokens')
  if (token === null) throw oauthError('invalid_request', 'The parameter token is missing')
  for (const service of server.services.filter(({ scheme }) => client.introspect.includes(scheme))) {
    const claims = await service.introspect(request, token)
    if (claims === null) continue
    const known = claimNames.flatMap(name => claims[name] === undefined ? [] : [[name, claims[name]] as const])
    return { active: true, scope: '', ...Object.fromEntries(known), token_type: 'Bearer' }
  }
  return { active: false }
}
