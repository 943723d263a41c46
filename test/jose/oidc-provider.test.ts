import { createServer } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'
import type { Configuration, JWK } from 'oidc-provider'
import t from 'tap'
import type { Test } from 'tap'
import { createApp, serve } from './remote-app.js'

const audience = 'https://api.example.com'
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const

interface Running {
  readonly issuer: string
  /** Returns an access token of the client for the resource with this algorithm. */
  token (algorithm: string): Promise<string>
}

async function privateJwk (algorithm: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  return { ...await exportJWK(privateKey), kid: `key-${algorithm}`, use: 'sig', alg: algorithm } as JWK
}

/** Starts `oidc-provider` in this process, with JWT access tokens (RFC 9068) and one resource for each algorithm. */
async function provider (t: Test, path: string): Promise<Running> {
  const server = createServer()
  const origin = `http://${await serve(t, () => {}, server)}`
  const issuer = `${origin}${path}`
  const configuration: Configuration = {
    clients: [
      {
        client_id: 'machine',
        client_secret: 'the secret of the machine',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: []
      }
    ],
    jwks: { keys: await Promise.all(algorithms.map(privateJwk)) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: 'orders:read',
          audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: (new URL(resource).pathname.slice(1)) as 'RS256' } }
        })
      }
    }
  }
  const handle = new Provider(issuer, configuration).callback()
  server.on('request', (request, response) => {
    if (request.url?.startsWith(path) === true) {
      Object.assign(request, { originalUrl: request.url, url: request.url.slice(path.length) })
    }
    handle(request, response).catch((error: unknown) => { t.fail(String(error)) })
  })
  return {
    issuer,
    async token (algorithm) {
      const body = new URLSearchParams({
        grant_type: 'client_credentials', scope: 'orders:read', resource: `https://resource.example.com/${algorithm}`
      })
      const authorization = `Basic ${Buffer.from('machine:the+secret+of+the+machine').toString('base64')}`
      const answer = await fetch(`${issuer}/token`, { method: 'POST', body, headers: { authorization } })
      const { access_token: token, error_description: reason } = await answer.json() as {
        access_token?: string, error_description?: string
      }
      if (token === undefined) throw new Error(reason)
      return token
    }
  }
}

t.test('accepts access tokens of oidc-provider in every algorithm, by discovery', async t => {
  const one = await provider(t, '')
  const two = await provider(t, '/tenants/two')
  const { ask, statuses } = await createApp(
    t, { issuers: [{ issuer: one.issuer, audience }, { issuer: two.issuer, audience }], typ: 'at+jwt' }
  )
  for (const { issuer, token } of [one, two]) {
    for (const algorithm of algorithms) {
      const text = await token(algorithm)
      t.match(
        JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString()), { alg: algorithm, typ: 'at+jwt' }
      )
      t.match(await ask(text), { status: 200, body: { id: 'machine', realm: issuer } }, `${algorithm} of ${issuer}`)
      t.same(await statuses(text, `${text.slice(0, -8)}AAAAAAAA`), [200, 401])
    }
  }
  const other = await createApp(t, { issuer: one.issuer, audience: 'https://other.example.com' })
  t.same(await other.statuses(await one.token('RS256'), await two.token('RS256')), [401, 401])
})
