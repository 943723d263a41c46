import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose'
import type { Test } from 'tap'
import type { Browser } from './app.js'
import { clientId } from './provider.js'

interface Received {
  readonly path: string
  readonly body: string
  readonly headers: IncomingMessage['headers']
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void

export const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const jwk = { ...await exportJWK(publicKey), kid: 'one', alg: 'ES256', use: 'sig' }

/** Returns a handler that responds with JSON. */
export function json (value: unknown, status = 200): Answer {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  }
}

/** Returns a handler that responds with a page, like a proxy whose server is down. */
export function html (status = 200): Answer {
  return (_request, response) => { response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Oops</h1>') }
}

type Claims = Readonly<Record<string, unknown>>

interface TokenOptions {
  readonly key?: CryptoKey
  readonly header?: Readonly<Record<string, unknown>>
}

/**
 * Starts a provider whose responses the test decides. Its authorization endpoint is never visited: tests call the
 * callback themselves.
 */
export async function hostileProvider (t: Test) {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const requests: Received[] = []
  const answers: Record<string, Answer> = {
    '/.well-known/openid-configuration': json({
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      end_session_endpoint: `${issuer}/logout`,
      response_types_supported: ['code'],
      id_token_signing_alg_values_supported: ['ES256']
    }),
    '/jwks': json({ keys: [jwk] })
  }
  server.on('request', (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => { chunks.push(chunk) })
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const path = String(request.url)
      requests.push({ path, body, headers: request.headers })
      const answer = answers[path] ?? json({ error: 'not_found' }, 404)
      answer(request, response, body)
    })
  })
  /** Signs an ID token. A claim that is `undefined` is left out. */
  const idToken = async (claims: Claims, { key = privateKey, header }: TokenOptions = {}) => {
    const now = Math.floor(Date.now() / 1000)
    const all = { iss: issuer, sub: 'ann', aud: clientId, iat: now, exp: now + 300, ...claims }
    return await new SignJWT(all).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(key)
  }
  /** Makes the token endpoint respond with an ID token. */
  const grant = async (claims: Claims, options: TokenOptions = {}) => {
    const token = await idToken(claims, options)
    answers['/token'] = json({ access_token: 'at', token_type: 'Bearer', id_token: token })
    return token
  }
  return { issuer, answers, requests, idToken, grant }
}

/** Starts a login, and returns the parameters that the provider would receive. */
export async function begin (browser: Browser, path = '/login/idp') {
  const page = await browser.send(path)
  const params = new URL(page.location ?? 'http://nowhere').searchParams
  const state = params.get('state') ?? ''
  const nonce = params.get('nonce') ?? ''
  /** Calls the callback, as the provider's redirect would. */
  const back = async (fields: Readonly<Record<string, string>> = {}, callback = '/login/idp/callback') =>
    await browser.send(`${callback}?${new URLSearchParams({ code: 'a-code', state, ...fields })}`)
  return { page, params, state, nonce, back }
}
