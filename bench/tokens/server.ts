import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import Provider from 'oidc-provider'
import authPlugin, { jwt, session } from '../../lib/index.js'
import { oauthServer } from '../../lib/oauth/index.js'

/** An authorization server that listens, with as many refresh tokens of the client as there are callers. */
export interface Ready {
  readonly port: number
  readonly path: string
  readonly authorization: string
  /** Parameters that the server needs in every request. */
  readonly more: Readonly<Record<string, string>>
  readonly refreshTokens: readonly string[]
}

/** The servers that are compared. Both sign ES256 tokens with the `typ` at+jwt, and keep everything in memory. */
export const contestants = ['fastify-gatehouse', 'oidc-provider'] as const

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const secret = randomBytes(32).toString('base64url')
const authorization = `Basic ${Buffer.from(`machine:${secret}`).toString('base64')}`
const resource = 'https://api.example.com'
const scope = 'orders:read'

async function startOwn (callers: number): Promise<Ready> {
  const app = Fastify()
  await app.register(authPlugin, {
    schemes: {
      web: session({ secret: randomBytes(32).toString('base64url') }),
      api: jwt({
        issuer: resource,
        audience: resource,
        keys: privateKey,
        sign: { realm: 'web', refresh: { secret: randomBytes(32).toString('base64url') } }
      })
    },
    default: 'api',
    scopes: { [scope]: 'Read orders' },
    load: principal => principal
  })
  await app.register(oauthServer, {
    session: 'web',
    resources: ['api'],
    clients: {
      machine: {
        secrets: [secret],
        scopes: [scope],
        redirectUris: ['https://client.example.com/cb'],
        grants: ['client_credentials', 'authorization_code', 'refresh_token']
      }
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const grants = await Promise.all(Array.from({ length: callers }, async (_, i) => await app.gatehouse.tokens.grant(
    { realm: 'web', id: `person-${i}`, scopes: [scope] }, { client: 'machine' }
  )))
  const { port } = app.server.address() as AddressInfo
  return { port, path: '/oauth/token', authorization, more: {}, refreshTokens: grants.map(each => each.refresh_token) }
}

async function startProvider (callers: number): Promise<Ready> {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: 'machine',
      client_secret: secret,
      grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
      redirect_uris: ['https://client.example.com/cb'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256'
    }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'key', use: 'sig', alg: 'ES256' } as never] },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    rotateRefreshToken: true,
    scopes: [scope, 'offline_access'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope, audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } }
        })
      }
    }
  })
  const handle = provider.callback()
  server.on('request', (request, response) => { void handle(request, response) })
  const client = await provider.Client.find('machine')
  if (client === undefined) throw new Error('the client is missing')
  const refreshTokens = await Promise.all(Array.from({ length: callers }, async (_, i) => {
    const accountId = `person-${i}`
    const grant = new provider.Grant({ accountId, clientId: 'machine' })
    grant.addResourceScope(resource, scope)
    const token = new provider.RefreshToken({
      accountId, client, grantId: await grant.save(), gty: 'authorization_code', scope, resource
    } as never)
    return await token.save()
  }))
  return { port, path: '/token', authorization, more: { resource }, refreshTokens }
}

const [, , which, callers] = process.argv
if (which !== undefined) {
  const start = which === 'oidc-provider' ? startProvider : startOwn
  process.send?.(await start(Number(callers)))
  process.on('message', () => { process.send?.(cpuTime()) })
}

/** Returns the CPU time of this process in microseconds. */
function cpuTime (): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
