import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { OAuthServerOptions } from '../../types/oauth.js'
import type { OpenApiOAuthFlows, OpenApiSecurityScheme } from '../../types/openapi.js'
import type { StoreOwner } from '../../types/store.js'
import type { TokenService } from '../../types/tokens.js'
import { misconfigured } from '../errors.js'
import { redactRoutes } from '../guard/redact.js'
import { leaveToErrorHandler } from '../guard/responder.js'
import { internalsOf, type Internals } from '../plugin/internals.js'
import { refuseSilently } from '../schemes/session/login-redirect.js'
import { allowEveryOrigin, declarePreflight, sendJson } from '../util/endpoints.js'
import { logOptions } from '../util/fastify.js'
import { showError } from './authorize-request.js'
import { answerRefused, authorize } from './authorize.js'
import { grantNames } from './client.js'
import { consent, consentsOf } from './consent.js'
import { sendError, toOAuthError } from './errors.js'
import { acceptForms } from './parameters.js'
import { createServer, findClient, type Server } from './server.js'
import { introspect, revoke, token } from './token-endpoints.js'

export type {
  ConsentPage, ConsentRequest, NewOAuthClient, OAuthClientInput, OAuthClientOptions, OAuthClientRecord, OAuthGrant,
  OAuthServerOptions
} from '../../types/oauth.js'

/** Keeps the routes out of OpenAPI documents: the metadata describes them. */
const schema = { hide: true } as object

const authorizationServer: FastifyPluginAsync<OAuthServerOptions> = async (app, options) => {
  const server = createServer(app, options)
  connect(app, server)
  const log = logOptions(options)
  const below = { ...log, prefix: server.prefix }
  await app.register(async context => { addPages(context, server) }, below)
  await app.register(async context => { addEndpoints(context, server) }, below)
  await app.register(async context => { addIntrospection(context, server) }, below)
  await app.register(async context => { addDocuments(context, server) }, log)
}

/**
 * Adds an OAuth 2.0 authorization server: authorization code with PKCE, client credentials and refresh tokens,
 * revocation (RFC 7009), introspection (RFC 7662) and metadata (RFC 8414). People log in with a session scheme, and the
 * tokens are those of signing schemes.
 *
 * @example
 * await app.register(oauthServer, {
 *   session: 'web',
 *   resources: ['api'],
 *   clients: { spa: { redirectUris: ['https://spa.example.com/cb'], scopes: ['orders:read'] } }
 * })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, naming the option and the fix.
 */
export const oauthServer = fp(
  authorizationServer, { fastify: '5.x', name: 'fastify-gatehouse-oauth', dependencies: ['fastify-gatehouse'] }
)

/**
 * Makes the server known to `app.gatehouse.oauth` and to OpenAPI documents, and its clients to the schemes that accept
 * their tokens.
 */
function connect (app: FastifyInstance, server: Server): void {
  const { stored } = server
  const internals = internalsOf(app, 'oauthServer')
  internals.oauthIssuer = server.issuer
  internals.oauth = Object.freeze({
    clients: Object.freeze({ of: stored.of.bind(stored), ofAnyOwner: stored.ofAnyOwner.bind(stored) }),
    consents: Object.freeze({ of: (owner: StoreOwner) => consentsOf(server, owner) })
  })
  describeResources(server, internals.descriptions)
  const stop = stored.listen()
  app.addHook('onClose', async () => { stop() })
  for (const service of acceptingServices(server, internals)) {
    service.checkClients(id => {
      const client = findClient(server, id)
      return client instanceof Promise ? client.then(found => found !== null) : client !== null
    })
  }
}

/**
 * Returns the schemes that accept the tokens of a server: its resources, and others of its issuer with the audience of
 * one of them.
 */
function acceptingServices ({ issuer, services }: Server, { schemes }: Internals): readonly TokenService[] {
  const resources = services.map(({ resource }) => resource)
  return [...schemes.values()].flatMap(({ features }) => features.tokens?.service ?? [])
    .filter(service => service.issuer === issuer && service.audiences.some(each => resources.includes(each)))
}

/** Adds the routes that people visit. */
function addPages (context: FastifyInstance, server: Server): void {
  const { name } = server.session
  acceptForms(context)
  // by it, a client knows the browser that began the login
  redactRoutes(context, new Set(['state']))
  context.setErrorHandler(async (error, _request, reply) => showError(error, reply))
  const visit = {
    config: { auth: { schemes: name, mode: 'optional', inherit: false } as const },
    schema,
    // A HEAD request must not issue a code.
    exposeHeadRoute: false,
    onRequest: async (request: FastifyRequest) => {
      refuseSilently(request)
      leaveToErrorHandler(request)
    },
    errorHandler: async (error: Error, _request: FastifyRequest, reply: FastifyReply) =>
      await answerRefused(server, error, reply)
  }
  context.get('/authorize', visit, async (request, reply) => await authorize(server, request, reply))
  const answer = { schemes: name, mode: 'required', inherit: false } as const
  context.post('/consent', { config: { auth: answer }, schema },
    async (request, reply) => await consent(server, request, reply))
}

/** Adds the routes that clients call, from every origin. */
function addEndpoints (context: FastifyInstance, server: Server): void {
  prepareProtocol(context)
  context.addHook('onSend', allowEveryOrigin)
  const issuing = { auth: { public: 'OAuth 2.0 clients authenticate themselves, or hold a code (RFC 6749, 3.2)' } }
  context.post('/token', { config: issuing, schema },
    async (request, reply) => sendJson(reply, await token(server, request)))
  const ending = { auth: { public: 'OAuth 2.0 clients authenticate themselves, or hold the token (RFC 7009, 2.1)' } }
  context.post('/revoke', { config: ending, schema }, async (request, reply) => {
    await revoke(server, request)
    return await reply.send()
  })
  for (const path of ['/token', '/revoke']) declarePreflight(context, path)
}

function addIntrospection (context: FastifyInstance, server: Server): void {
  prepareProtocol(context)
  const config = { auth: { public: 'OAuth 2.0 clients authenticate themselves (RFC 7662, 2.1)' } }
  context.post('/introspect', { config, schema },
    async (request, reply) => sendJson(reply, await introspect(server, request)))
}

/** Prepares a context whose routes read forms, and answer as RFC 6749 says. */
function prepareProtocol (context: FastifyInstance): void {
  acceptForms(context)
  context.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('pragma', 'no-cache')
  })
  context.setErrorHandler((error, request, reply) => sendError(reply, toOAuthError(error, request)))
}

/** Adds the documents that clients and resource servers read. */
function addDocuments (context: FastifyInstance, server: Server): void {
  context.addHook('onSend', allowEveryOrigin)
  const documents = [
    [metadataPath(server), metadata(server), 'describes the authorization server to clients (RFC 8414)'],
    [jwksPath, jwks(server), 'has the public keys of access tokens (RFC 7517)']
  ] as const
  for (const [path, document, reason] of documents) {
    checkFree(context, path)
    context.get(path, { config: { auth: { public: reason } }, schema }, async (_request, reply) =>
      sendJson(reply.header('cache-control', 'public, max-age=3600'), document))
    declarePreflight(context, path)
  }
}

const wellKnown = '/.well-known/oauth-authorization-server'

/** The path of the keys. */
const jwksPath = '/.well-known/jwks.json'

/** Returns the path of the metadata, into which that of the issuer is inserted (RFC 8414, 3.1). */
function metadataPath ({ issuer }: Server): string {
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  if (/^[\w\-.~/]*$/.test(path)) return `${wellKnown}${path}`
  throw misconfigured(`The issuer of the authorization server has the path ${path}, which no route can serve. Use ` +
    'only letters, digits and -._~ in it.')
}

/** Returns the metadata (RFC 8414, 2). Members that are left out would have a default, so that all are there. */
function metadata ({ issuer, prefix, scopes, services, hasPublicClients }: Server): object {
  const canRefresh = services.some(service => service.canRefresh)
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
    grant_types_supported: grantNames.filter(name => name !== 'refresh_token' || canRefresh),
    token_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_methods_supported: confidential,
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true
  })
}

/** Returns the public keys of all resources, each once. */
function jwks ({ services }: Server): object {
  const keys = services.flatMap(service => service.jwks().keys)
  const byText = new Map(keys.map(key => [JSON.stringify(key), key]))
  return Object.freeze({ keys: [...byText.values()] })
}

/** Checks that a path is free, so that the message names the server. @throws {AuthError} `AUTH_MISCONFIGURED` */
function checkFree (app: FastifyInstance, path: string): void {
  if (!app.hasRoute({ method: 'GET', url: path })) return
  throw misconfigured(`oauthServer serves GET ${path}, where another route is declared. Remove that route.`)
}

/**
 * Describes the schemes that a server signs for by its flows. Those that are not described as HTTP Bearer stay as they
 * are: their tokens are elsewhere, such as in a cookie, or their option `openapi` describes other flows.
 */
function describeResources (server: Server, descriptions: Map<string, OpenApiSecurityScheme>): void {
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
  // Tools that read the document send no `resource`, and tokens are then for the first one. So the URL of the
  // authorization endpoint names the resource. The token endpoint reads it only from the body.
  const query = new URLSearchParams({ resource }).toString()
  return {
    authorizationCode: { ...authorizationCode, authorizationUrl: `${authorizationCode.authorizationUrl}?${query}` }
  }
}
