import { createServer } from 'node:net'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import t, { type Test } from 'tap'
import { decide, login, partnerSecret, serverApp, webSecret } from './app.js'

/** Certified client libraries use every grant over a socket: what they reject, other clients would reject too. */

const loopback = 'http://127.0.0.1/cb'
const webUri = 'https://web.example.com/cb'

/** Starts a server on a free port, whose issuer is its address. */
async function startServer (t: Test) {
  const port = await new Promise<number>(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => { resolve(port) })
    })
  })
  const issuer = `http://127.0.0.1:${port}`
  const app = await serverApp(t, { issuer })
  await app.listen({ port, host: '127.0.0.1' })
  const { cookie } = await login(app)
  /** Acts as the browser of a person who is logged in and allows everything. */
  const allow = async (url: URL): Promise<URL> => {
    const answer = await fetch(url, { headers: { cookie, accept: 'text/html' }, redirect: 'manual' })
    const { location = '' } = answer.status === 303
      ? { location: answer.headers.get('location') ?? '' }
      : await decide(app, await answer.text(), cookie)
    return new URL(location)
  }
  return { issuer, allow }
}

t.test('openid-client walks every grant, revokes, introspects and discovers', async t => {
  const { issuer, allow } = await startServer(t)
  const discover = async (id: string, auth: client.ClientAuth) => await client.discovery(
    new URL(issuer), id, undefined, auth, { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
  )
  const clients = [
    ['web', client.ClientSecretBasic(webSecret), webUri], ['web', client.ClientSecretPost(webSecret), webUri],
    ['native', client.None(), 'http://127.0.0.1:5001/cb']
  ] as const
  const partner = await discover('partner', client.ClientSecretBasic(partnerSecret))
  for (const [id, auth, uri] of clients) {
    const config = await discover(id, auth)
    const verifier = client.randomPKCECodeVerifier()
    const state = client.randomState()
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: uri,
      scope: 'orders:read',
      state,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      resource: issuer
    })
    const back = await allow(url)
    const checks = { pkceCodeVerifier: verifier, expectedState: state }
    const tokens = await client.authorizationCodeGrant(config, back, checks)
    t.match(tokens, { token_type: 'bearer', scope: /^orders:read$/, expires_in: 600 })
    const next = await client.refreshTokenGrant(config, String(tokens.refresh_token), { resource: issuer })
    t.match(await client.tokenIntrospection(partner, next.access_token), { active: true, client_id: id, sub: 'ann' })
    await client.tokenRevocation(config, String(next.refresh_token))
    t.same(await client.tokenIntrospection(partner, next.access_token), { active: false })
    const ended = client.refreshTokenGrant(config, String(next.refresh_token))
    await t.rejects(ended, Object.assign(new Error(), { error: 'invalid_grant' }))
    const denied = client.buildAuthorizationUrl(config, {
      redirect_uri: uri, state, prompt: 'none', response_type: 'token', code_challenge: 'x'
    })
    const refused = client.authorizationCodeGrant(config, await allow(denied), { expectedState: state })
    await t.rejects(refused, Object.assign(new Error(), { error: 'unsupported_response_type' }))
  }
  const own = await client.clientCredentialsGrant(partner, { scope: 'orders:read' })
  t.match(await client.tokenIntrospection(partner, own.access_token), { active: true, sub: 'client:partner' })
  const wrong = await discover('partner', client.ClientSecretBasic('wrong'))
  await t.rejects(client.clientCredentialsGrant(wrong), { code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' })
})

t.test('oauth4webapi walks the code flow and accepts the tokens, as jose does', async t => {
  const { issuer, allow } = await startServer(t)
  const url = new URL(issuer)
  const insecure = { [oauth.allowInsecureRequests]: true } as const
  const as = await oauth.processDiscoveryResponse(
    url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure })
  )
  const me: oauth.Client = { client_id: 'native' }
  const [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()]
  const target = new URL(String(as.authorization_endpoint))
  target.search = new URLSearchParams({
    client_id: 'native',
    redirect_uri: loopback,
    response_type: 'code',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256'
  }).toString()
  const parameters = oauth.validateAuthResponse(as, me, await allow(target), state)
  const redeemed = await oauth.authorizationCodeGrantRequest(
    as, me, oauth.None(), parameters, loopback, verifier, insecure
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, me, redeemed)
  const refreshed = await oauth.processRefreshTokenResponse(
    as, me, await oauth.refreshTokenGrantRequest(as, me, oauth.None(), String(tokens.refresh_token), insecure)
  )
  const request = new Request(`${issuer}/orders`, { headers: { authorization: `Bearer ${refreshed.access_token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, issuer, insecure)
  t.match(claims, { iss: issuer, aud: issuer, sub: 'ann', client_id: 'native', scope: /^orders:read$/ })
  t.equal((await fetch(request)).status, 200)
  const keys = createRemoteJWKSet(new URL(String(as.jwks_uri)))
  const { payload } = await jwtVerify(refreshed.access_token, keys, { issuer, audience: issuer, typ: 'at+jwt' })
  t.equal(payload.sub, 'ann')
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(as, me, oauth.None(), refreshed.access_token, insecure)
  )
  t.equal((await fetch(`${issuer}/orders`, { headers: request.headers })).status, 401)
})
