import { createHash, randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'

/** Claims of a token; `undefined` removes one. */
type Claims = Readonly<Record<string, unknown>>

interface Login {
  readonly query: URLSearchParams
  readonly claims: Claims
}

interface FakeLoginsOptions {
  readonly algorithms: readonly string[]
  /** Signs an ID token. */
  idToken (claims: Claims): string
  /** Signs an access token. */
  accessToken (claims: Claims): string
}

/**
 * The part of a fake issuer that logs people in, by the authorization code flow with PKCE: somebody who comes to the
 * authorization endpoint is logged in at once, without a page.
 */
export class FakeLogins {
  readonly #options: FakeLoginsOptions
  readonly #codes = new Map<string, Login>()
  #claims: Claims | null = {}

  constructor (options: FakeLoginsOptions) {
    this.#options = options
  }

  /** Sets the claims of the people who log in from now on; with `null`, they refuse. */
  set (claims: Claims | null): void {
    this.#claims = claims
  }

  /** Returns the metadata of both endpoints. */
  metadata (origin: string): object {
    return {
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      id_token_signing_alg_values_supported: this.#options.algorithms,
      authorization_response_iss_parameter_supported: true
    }
  }

  /** Answers a request to one of the endpoints. Returns `false` for any other. */
  answer (request: IncomingMessage, response: ServerResponse, issuer: string): boolean {
    const [path, search = ''] = String(request.url).split('?')
    if (path === '/authorize') this.#authorize(new URLSearchParams(search), response, issuer)
    else if (path === '/token') this.#exchange(request, response).catch(() => { response.destroy() })
    else return false
    return true
  }

  #authorize (query: URLSearchParams, response: ServerResponse, issuer: string): void {
    const redirectUri = query.get('redirect_uri') ?? ''
    if (!URL.canParse(redirectUri)) return send(response, 400, { error: 'invalid_request' })
    const location = new URL(redirectUri)
    if (this.#claims === null) {
      location.searchParams.set('error', 'access_denied')
    } else {
      const code = randomUUID()
      this.#codes.set(code, { query, claims: this.#claims })
      location.searchParams.set('code', code)
    }
    location.searchParams.set('iss', issuer)
    const state = query.get('state')
    if (state !== null) location.searchParams.set('state', state)
    response.writeHead(302, { location: location.href }).end()
  }

  async #exchange (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams(await text(request))
    const code = form.get('code') ?? ''
    const login = this.#codes.get(code)
    // a code is good for one use
    this.#codes.delete(code)
    if (login === undefined || !isOf(login, form)) return send(response, 400, { error: 'invalid_grant' })
    const { query, claims } = login
    const nonce = query.get('nonce')
    send(response, 200, {
      access_token: this.#options.accessToken('sub' in claims ? { sub: claims['sub'] } : {}),
      token_type: 'Bearer',
      expires_in: 300,
      id_token: this.#options.idToken({
        aud: query.get('client_id'),
        auth_time: Math.floor(Date.now() / 1000),
        ...nonce === null ? {} : { nonce },
        ...claims
      })
    })
  }
}

/** Returns true if the form has the redirect URI and the verifier of the login (RFC 7636, 4.6). */
function isOf ({ query }: Login, form: URLSearchParams): boolean {
  const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url')
  return form.get('redirect_uri') === query.get('redirect_uri') && query.get('code_challenge') === challenge
}

function send (response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
