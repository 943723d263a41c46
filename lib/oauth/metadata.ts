import type { FastifyInstance } from 'fastify'
import type { OpenApiOAuthFlows, OpenApiSecurityScheme } from '../../types/openapi.js'
import type { TokenService } from '../../types/tokens.js'
import { misconfigured } from '../errors.js'
import { grantNames } from './client.js'
import type { Server } from './server.js'

const wellKnown = '/.well-known/oauth-authorization-server'

/** The path of the keys. */
export const jwksPath = '/.well-known/jwks.json'

/** Returns the path of the metadata, into which that of the issuer is inserted (RFC 8414, 3.1). */
export function metadataPath ({ issuer }: Server): string {
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  if (/^[\w\-.~/]*$/.test(path)) return `${wellKnown}${path}`
  throw misconfigured(`The issuer of the authorization server has the path ${path}, which no route can serve. Use ` +
    'only letters, digits and -._~ in it.')
}

/** Returns the metadata (RFC 8414, 2). Members that are left out would have a default, so that all are there. */
export function metadata ({ issuer, prefix, scopes, hasPublicClients }: Server): object {
  const { origin } = new URL(issuer)
  const url = (path: string): string => `${origin}${path}`
  const confidential = ['client_secret_basic', 'client_secret_post']
  const methods = hasPublicClients ? [...confidential, 'none'] : confidential
  return Object.freeze({
    issuer,
    authorization_endpoint: url(`${prefix}/authorize`),
    token_endpoint: url(`${prefix}/token`),
    revocation_endpoint: url(`${prefix}/revoke`),
    introspection_endpoint: url(`${prefix}/introspect`),
    jwks_uri: url(jwksPath),
    ...scopes === null ? {} : { scopes_supported: [...scopes] },
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: grantNames,
    token_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_methods_supported: confidential,
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true
  })
}

/** Returns the public keys of all resources, each once. */
export function jwks ({ services }: Server): object {
  const keys = services.flatMap(service => service.jwks().keys)
  const byText = new Map(keys.map(key => [JSON.stringify(key), key]))
  return Object.freeze({ keys: [...byText.values()] })
}

/** Checks that a path is free, so that the message names the server. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function checkFree (app: FastifyInstance, path: string): void {
  if (!app.hasRoute({ method: 'GET', url: path })) return
  throw misconfigured(`oauthServer serves GET ${path}, where another route is declared. Remove that route.`)
}

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
