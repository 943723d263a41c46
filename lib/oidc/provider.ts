import type {
  ClientAuth, Configuration, CustomFetch, ServerMetadata, TokenEndpointResponse, TokenEndpointResponseHelpers
} from 'openid-client'
import type { OidcTokens } from '../../types/oidc.js'
import { isError } from '../errors.js'
import { Backoff, elapsed, type Elapsed, type JsonRequest, requestJson, sourceUrl } from '../jose/remote/fetch-json.js'
import { loadPeer } from '../util/load-peer.js'
import { isObject, ownFields } from '../util/objects.js'
import { LoginError } from './errors.js'
import type { ProviderSettings } from './options.js'
import type { PendingLogin } from './pending-logins.js'

/** The time after which metadata is fetched again in the background. */
const metadataFreshnessMs = 3_600_000

/** The pauses after failed discoveries, in milliseconds. */
const pauses = { first: 1_000, longest: 30_000 }

/** Characters of the URL of a logout. Without the ID token, it is far below. */
const maxLogoutUrl = 4_000

/** The configuration of `openid-client`, whose endpoints were checked, and the time since it was fetched. */
interface Discovered {
  readonly configuration: Configuration
  readonly age: Elapsed
}

export type Claims = Readonly<Record<string, unknown>>

/** The tokens of a person and the claims in them, as the provider returned them. */
export interface Redeemed {
  readonly tokens: OidcTokens
  /** The claims of the ID token; none for a provider without OpenID. */
  readonly claims: Claims
}

/**
 * Talks to one provider by `openid-client`. Its metadata is fetched at the first login, and again after an hour while
 * logins use the metadata they have. After a failed discovery, further logins fail at once until the next one is due.
 */
export class Provider {
  readonly #settings: ProviderSettings
  readonly #client: typeof import('openid-client')
  readonly #fetch: ReturnType<typeof createFetch>
  readonly #running = new Set<AbortController>()
  #known: Discovered | null = null
  #discovering: Promise<Configuration> | null = null
  readonly #backoff = new Backoff()

  /** @throws {AuthError} `AUTH_MISCONFIGURED` if `openid-client` is not installed. */
  constructor (settings: ProviderSettings) {
    this.#settings = settings
    this.#client = loadPeer('openid-client', 'oidcLogin') as typeof import('openid-client')
    this.#fetch = createFetch(settings, this.#running)
    const { endpoints } = settings
    if (endpoints !== null) this.#known = { configuration: this.#configure(endpoints), age: () => 0 }
  }

  /** Aborts all requests. */
  close (): void {
    for (const abort of this.#running) abort.abort()
  }

  /**
   * Returns the URL of the authorization request of a login.
   * @throws {LoginError} if the provider is unavailable.
   */
  async authorizationUrl ({ state, nonce, verifier, maxAge }: PendingLogin): Promise<string> {
    const { scope, parameters, redirectUri, endpoints } = this.#settings
    const configuration = await this.#configuration()
    return this.#client.buildAuthorizationUrl(configuration, {
      ...parameters,
      response_type: 'code',
      redirect_uri: redirectUri,
      state,
      code_challenge: await this.#client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...scope === null ? {} : { scope },
      ...endpoints === null ? { nonce } : {},
      ...maxAge === null ? {} : { max_age: String(maxAge) }
    }).href
  }

  /**
   * Checks the answer of the provider (state, issuer), redeems the code, and verifies the ID token.
   * @param query the query of the callback.
   * @throws {LoginError}
   */
  async redeem (query: URLSearchParams, { state, nonce, verifier }: PendingLogin): Promise<Redeemed> {
    const { redirectUri, endpoints, clientSecret } = this.#settings
    const configuration = await this.#configuration()
    // The issuer of a provider without OpenID is unknown, but no other provider has its redirect URI.
    if (endpoints !== null) query.delete('iss')
    const checks = {
      expectedState: state,
      pkceCodeVerifier: verifier,
      ...endpoints === null ? { expectedNonce: nonce, idTokenExpected: true } : {}
    }
    try {
      const answer = await this.#client.authorizationCodeGrant(
        configuration, new URL(`?${query.toString()}`, redirectUri), checks
      )
      return { tokens: tokensOf(answer), claims: Object.freeze({ ...answer.claims() }) }
    } catch (error) {
      const secrets = [query.get('code'), state, nonce, verifier, clientSecret].flatMap(each => each || [])
      throw this.#refused(error, secrets)
    }
  }

  /** Returns the URL that ends the session at the provider; `null` if it has none, or does not answer. */
  async logoutUrl (idToken: string | null, backTo: string): Promise<string | null> {
    const configuration = await this.#configuration()
    const { end_session_endpoint: endpoint } = configuration.serverMetadata()
    if (endpoint === undefined || !(sourceUrl(endpoint, this.#settings.insecureHosts) instanceof URL)) return null
    const build = (hint: object): string => this.#client.buildEndSessionUrl(configuration, {
      ...hint, post_logout_redirect_uri: backTo
    }).href
    const url = build(idToken === null ? {} : { id_token_hint: idToken })
    return url.length <= maxLogoutUrl ? url : build({})
  }

  /** Returns the configuration. The first call discovers it, and later calls refresh it in the background. */
  async #configuration (): Promise<Configuration> {
    const known = this.#known
    if (known === null) return await this.#discover()
    if (known.age() >= metadataFreshnessMs && this.#backoff.remaining(pauses) === 0) this.#discover().catch(() => {})
    return known.configuration
  }

  async #discover (): Promise<Configuration> {
    const pause = this.#backoff.remaining(pauses)
    if (pause > 0) {
      const retryAfter = Math.ceil(pause / 1000)
      throw new LoginError('unavailable', 'the metadata of the provider could not be fetched a moment ago', {
        retryAfter
      })
    }
    this.#discovering ??= this.#fetchMetadata().finally(() => { this.#discovering = null })
    return await this.#discovering
  }

  /** Runs the discovery. Signatures of ID tokens are verified too, which the library leaves to TLS otherwise. */
  async #fetchMetadata (): Promise<Configuration> {
    const { server, clientId } = this.#settings
    const { discovery, customFetch, allowInsecureRequests, enableNonRepudiationChecks } = this.#client
    try {
      const configuration = await discovery(server, clientId, {}, this.#clientAuth(), {
        // The fetch allows plain http for some hosts only.
        [customFetch]: this.#fetch, execute: [allowInsecureRequests, enableNonRepudiationChecks]
      })
      this.#checkMetadata(configuration.serverMetadata())
      this.#known = { configuration, age: elapsed() }
      this.#backoff.noteSuccess()
      return configuration
    } catch (error) {
      this.#backoff.noteFailure()
      throw new LoginError('unavailable', `the metadata of the provider: ${describe(error)}`, {
        retryAfter: Math.ceil(this.#backoff.remaining(pauses) / 1000)
      })
    }
  }

  /** Checks the URLs that a login needs, as the library accepts plain http to every host. */
  #checkMetadata (metadata: ServerMetadata): void {
    for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const) {
      const url = metadata[name]
      const problem = url === undefined ? 'is missing' : sourceUrl(url, this.#settings.insecureHosts)
      if (typeof problem === 'string') throw new ProviderUnavailable(`${name} ${problem}`)
    }
  }

  #configure (endpoints: NonNullable<ProviderSettings['endpoints']>): Configuration {
    const metadata = {
      issuer: this.#settings.server.origin,
      authorization_endpoint: endpoints.authorize,
      token_endpoint: endpoints.token
    }
    const configuration = new this.#client.Configuration(metadata, this.#settings.clientId, {}, this.#clientAuth())
    configuration[this.#client.customFetch] = this.#fetch
    this.#client.allowInsecureRequests(configuration)
    return configuration
  }

  /** Returns the way in which the client authenticates, which the metadata may decide. */
  #clientAuth (): ClientAuth {
    const { clientSecret, clientAuthentication, endpoints } = this.#settings
    if (clientSecret === null) return this.#client.None()
    const basic = this.#client.ClientSecretBasic(clientSecret)
    const post = this.#client.ClientSecretPost(clientSecret)
    return (server, ...request) => {
      const listed = server.token_endpoint_auth_methods_supported ?? (endpoints === null ? [] : ['client_secret_post'])
      const postOnly = listed.includes('client_secret_post') && !listed.includes('client_secret_basic')
      const chosen = clientAuthentication ?? (postOnly ? 'post' : 'basic')
      return (chosen === 'post' ? post : basic)(server, ...request)
    }
  }

  /** Converts an error of the library. Texts of the provider are quoted without secrets. */
  #refused (error: unknown, secrets: readonly string[]): LoginError {
    const { AuthorizationResponseError, ResponseBodyError } = this.#client
    const cause = unavailableOf(error)
    if (cause !== null) return new LoginError('unavailable', cause.message)
    if (error instanceof AuthorizationResponseError) {
      const kind = unavailableErrors.has(error.error) ? 'unavailable' : 'retry'
      return new LoginError(kind, `the provider answered ${quote(error, secrets)}`)
    }
    if (error instanceof ResponseBodyError) {
      const reason = `the token endpoint answered ${quote(error, secrets)}`
      if (badCodes.has(error.error)) return new LoginError('retry', reason)
      if (unavailableErrors.has(error.error)) return new LoginError('unavailable', reason)
      return new LoginError('unavailable', `${reason}. ${hint}`, { isMisconfigured: true })
    }
    return new LoginError('retry', `the answer was refused: ${describe(error)}`)
  }
}

/** Errors of a provider that cannot answer now (RFC 6749, 4.1.2.1). */
const unavailableErrors: ReadonlySet<string> = new Set(['server_error', 'temporarily_unavailable'])

/** Errors of a code that is wrong, used or expired: RFC 6749's, and GitHub's. */
const badCodes: ReadonlySet<string> = new Set(['invalid_grant', 'bad_verification_code'])

const hint = 'Check clientId, clientSecret, clientAuthentication and redirectUri'

/** Quotes an error of the provider, in at most 200 characters. */
function quote (
  { error, error_description: description = '' }: { readonly error: string, readonly error_description?: string },
  secrets: readonly string[]
): string {
  const whole = description === '' ? error : `${error}: ${description}`
  return secrets.reduce((text, secret) => text.replaceAll(secret, '…'), whole).slice(0, 200)
}

/** Describes an error of the library with its cause, whose messages are constant. */
function describe (error: unknown): string {
  const messages = causesOf(error).map(({ message }) => message)
  return unavailableOf(error)?.message ?? [...new Set(messages.slice(0, 2))].join(': ').slice(0, 200)
}

/** Returns the {@link ProviderUnavailable} in an error's chain of causes, or `null`. */
function unavailableOf (error: unknown): ProviderUnavailable | null {
  return causesOf(error).find(each => each instanceof ProviderUnavailable) ?? null
}

/** Returns an error and its causes. */
function causesOf (error: unknown): readonly Error[] {
  return isError(error) ? [error, ...causesOf(error.cause)] : []
}

function tokensOf (answer: TokenEndpointResponse & TokenEndpointResponseHelpers): OidcTokens {
  return Object.freeze({ ...answer })
}

/** The time for one request to a provider. */
const timeoutMs = 5_000
const maxBytes = 262_144

/** The provider does not answer, or its answer is not of the protocol. */
class ProviderUnavailable extends Error {}

/**
 * Returns the `fetch` that `openid-client` uses: JSON only, with limits of time and size, and without redirects.
 * @param running all running requests, which are aborted when the application closes.
 */
function createFetch (
  { agent }: Pick<ProviderSettings, 'agent'>, running: Set<AbortController>
): CustomFetch {
  return async (text, options) => {
    const url = new URL(text)
    const request = requestOf(options)
    const abort = new AbortController()
    running.add(abort)
    const fetched = await requestJson(url, request, { timeout: timeoutMs, maxBytes, agent, signal: abort.signal })
    running.delete(abort)
    const target = `${url.host}${url.pathname}`.slice(0, 200)
    if ('failure' in fetched) throw new ProviderUnavailable(`${target}: ${fetched.failure}`)
    const { value, status } = fetched
    // Some providers answer errors with the status 200.
    const isError = isObject(value) && typeof ownFields(value)['error'] === 'string'
    if (status !== 200 && !isError) throw new ProviderUnavailable(`${target}: the answer has status ${status}`)
    return Response.json(value, { status: isError && request.method === 'POST' ? 400 : status })
  }
}

type FetchOptions = Parameters<CustomFetch>[1]

/**
 * Converts a request of the library. It reads documents by GET, and posts forms to the token endpoint, whose errors are
 * documents too, with a status from 400 on.
 */
function requestOf ({ method, headers, body }: FetchOptions): JsonRequest {
  if (method !== 'POST') return { method: 'GET', headers, body: null, accepts: status => status === 200 }
  const accepts = (status: number): boolean => status === 200 || (status >= 400 && status < 500 && status !== 429)
  return { method, headers, body: String(body), accepts }
}
