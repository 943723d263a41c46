import type { OpenApiOAuthFlows, OpenApiSecurityScheme } from '../../types/openapi.js'
import type { TokenService } from '../../types/token-service.js'
import { metadataPath } from './metadata.js'
import type { Server } from './setup.js'

/**
 * Describes the schemes that a server signs for by its flows. Those that are not described as HTTP Bearer stay as they
 * are: their tokens are elsewhere, such as in a cookie, or their option `openapi` describes other flows.
 */
export function describeResources (server: Server, descriptions: Map<string, OpenApiSecurityScheme>): void {
  const { issuer, services } = server
  const oauth2MetadataUrl = `${new URL(issuer).origin}${metadataPath(server)}`
  for (const service of services) {
    const described = descriptions.get(service.scheme)
    if (described?.type !== 'http' || described.scheme !== 'bearer') continue
    const { scheme, bearerFormat, ...common } = described
    descriptions.set(service.scheme, { ...common, type: 'oauth2', flows: flowsOf(server, service), oauth2MetadataUrl })
  }
}

/** Returns the flows for one resource, with all scopes that the application declares. */
function flowsOf (server: Server, { resource, canRefresh }: TokenService): OpenApiOAuthFlows {
  const { issuer, prefix, services, scopeDescriptions: scopes } = server
  const endpoints = `${new URL(issuer).origin}${prefix}`
  const tokenUrl = `${endpoints}/token`
  const authorizationCode = {
    authorizationUrl: `${endpoints}/authorize`,
    tokenUrl,
    ...canRefresh ? { refreshUrl: tokenUrl } : {},
    scopes
  }
  if (resource === services[0]?.resource) return { authorizationCode, clientCredentials: { tokenUrl, scopes } }
  // Without a `resource`, which readers of the document do not send, tokens are for the first one. The authorization
  // endpoint takes it from the URL, but the token endpoint from the body alone.
  const query = new URLSearchParams({ resource }).toString()
  return {
    authorizationCode: { ...authorizationCode, authorizationUrl: `${authorizationCode.authorizationUrl}?${query}` }
  }
}
