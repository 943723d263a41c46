import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { OAuthServerOptions } from '../../types/oauth.js'
import type { StoreOwner } from '../../types/store.js'
import { internalsOf } from '../plugin/internals.js'
import { allowEveryOrigin, declarePreflight } from '../util/cors.js'
import { authorize } from './authorize.js'
import { showError } from './authorize-request.js'
import { consent, consentsOf } from './consent.js'
import { sendError, toOAuthError } from './errors.js'
import { checkFree, describeResources, jwks, jwksPath, metadata, metadataPath } from './metadata.js'
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
  const { prefix } = server
  await app.register(async context => { addPages(context, server) }, { prefix })
  await app.register(async context => { addEndpoints(context, server) }, { prefix })
  await app.register(async context => { addIntrospection(context, server) }, { prefix })
  await app.register(async context => { addDocuments(context, server) })
}

/**
 * Adds an OAuth 2.0 authorization server: authorization code with PKCE, client credentials and refresh tokens,
 * revocation (RFC 7009), introspection (RFC 7662) and metadata (RFC 8414). People log in with a session scheme, and the
 * tokens are those of signing schemes.
 *
 * @example
 * await app.register(oauthServer, {
 *   person: 'web',
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
  const { stored, services } = server
  const internals = internalsOf(app, 'oauthServer')
  internals.oauthIssuer = server.issuer
  internals.oauth = Object.freeze({
    clients: Object.freeze({ of: stored.of.bind(stored), ofAnyOwner: stored.ofAnyOwner.bind(stored) }),
    consents: Object.freeze({ of: (owner: StoreOwner) => consentsOf(server, owner) })
  })
  describeResources(server, internals.descriptions)
  const stop = stored.listen()
  app.addHook('onClose', async () => { stop() })
  for (const service of services) {
    service.checkClients(id => {
      const client = findClient(server, id)
      return client instanceof Promise ? client.then(found => found !== null) : client !== null
    })
  }
}

/** Adds the routes that people visit. */
function addPages (context: FastifyInstance, server: Server): void {
  const { name } = server.person
  acceptForms(context)
  context.setErrorHandler((error, _request, reply) => showError(error, reply))
  const visit = { schemes: name, mode: 'optional', inherit: false } as const
  // A HEAD request must not issue a code.
  context.get('/authorize', { config: { auth: visit }, schema, exposeHeadRoute: false },
    async (request, reply) => await authorize(server, request, reply))
  const answer = { schemes: name, mode: 'required', inherit: false } as const
  context.post('/consent', { config: { auth: answer }, schema },
    async (request, reply) => await consent(server, request, reply))
}

/** Adds the routes that clients call, from every origin. */
function addEndpoints (context: FastifyInstance, server: Server): void {
  prepareProtocol(context)
  context.addHook('onSend', allowEveryOrigin)
  const issuing = { auth: { public: 'OAuth 2.0 clients authenticate themselves, or hold a code (RFC 6749, 3.2)' } }
  context.post('/token', { config: issuing, schema }, async request => await token(server, request))
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
  context.post('/introspect', { config, schema }, async request => await introspect(server, request))
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
    context.get(path, { config: { auth: { public: reason } }, schema }, async (_request, reply) => {
      reply.header('cache-control', 'public, max-age=3600')
      return document
    })
    declarePreflight(context, path)
  }
}
