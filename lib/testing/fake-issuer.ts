import { randomUUID } from 'node:crypto'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { misconfigured } from '../errors.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isPlainObject } from '../util/objects.js'
import { asGiven, listOf, object, oneOf, optional, text } from '../util/options.js'
import { FakeLogins } from './fake-logins.js'
import {
  badTokens, compactJws, issuerAlgorithms, KeyPairs, publicJwk, type BadTokenName, type IssuerAlgorithm, type PublicJwk,
  type SigningKey
} from './tokens.js'

/** Options of {@link fakeIssuer}. */
export interface FakeIssuerOptions {
  /** The algorithms, each with a `kid` of its own. Those of RSA share a key pair. Default `['RS256']`. */
  readonly algorithms?: readonly IssuerAlgorithm[]
  /** The `aud` of its tokens, unless the claims of a token have another. Default `'https://api.example.com'`. */
  readonly audience?: string
  /**
   * Further claims of its access tokens, such as those that the application makes the principal from. They are in `bad`
   * tokens too, so that each has a single defect. Default: none.
   */
  readonly claims?: Readonly<Record<string, unknown>>
  /** The path of its `issuer`, such as `'/tenants/one'`. Default: none. */
  readonly path?: string
  /**
   * The location of its metadata: `'oauth'` (RFC 8414), `'openid'` (OpenID Connect Discovery) or `'openid-inserted'`
   * (before the path of the issuer). Default `'openid'`.
   */
  readonly metadata?: MetadataForm
  /** `Cache-Control` of its JWK set. Default: none. */
  readonly cacheControl?: string
}

/** Options of {@link FakeIssuer.token}. */
export interface TokenOptions {
  /** The `kid` of the key that signs, which may have been withdrawn. Default: the newest key of `algorithm`. */
  readonly kid?: string
  /** The algorithm, whose newest key signs. Default: the first of `algorithms`. */
  readonly algorithm?: IssuerAlgorithm
  /** Members of the header, which replace `alg`, `kid` and `typ` or add to them. `undefined` removes a member. */
  readonly header?: Readonly<Record<string, unknown>>
}

/** Runs an identity provider in the process of a test. */
export interface FakeIssuer {
  /** The exact `iss` of its tokens: `http://127.0.0.1:<port>`, and the path. */
  readonly issuer: string
  readonly audience: string
  readonly jwksUri: string
  /**
   * Signs a token. `claims` replace the default `iss`, `sub`, `aud`, `iat`, `exp` and `jti` or add to them; `undefined`
   * removes a claim.
   * @throws {AuthError} `AUTH_MISCONFIGURED` for claims that are not an object, for wrong options, and for a key that
   * it does not have.
   */
  token (claims?: Readonly<Record<string, unknown>>, options?: TokenOptions): string
  /**
   * Sets the claims of the ID tokens of people who log in from now on, such as by `oidcLogin`. They replace the default
   * `iss`, `sub`, `aud`, `iat`, `exp`, `auth_time` and `nonce` or add to them. With `null`, people refuse to log in.
   * @throws {AuthError} `AUTH_MISCONFIGURED` for claims that are neither an object nor `null`.
   */
  logIn (claims: Readonly<Record<string, unknown>> | null): void
  /**
   * Generates new keys for all algorithms, publishes them in addition to the others, and signs with them from now on.
   * Returns the new kids.
   */
  rotate (): readonly string[]
  /** Removes a key from the published set. */
  withdraw (kid: string): void
  /** Publishes any JWK in addition to its own keys. */
  publish (jwk: PublicJwk): void
  /** The kids of the published keys. */
  readonly kids: readonly string[]
  /** Makes its metadata and its JWK set, or one of them, fail from now on; `null` ends the failure. */
  fail (failure: IssuerFailure | null, endpoint?: IssuerEndpoint): void
  /** The number of requests to each endpoint. */
  readonly requests: Readonly<Record<IssuerEndpoint, number>>
  /** Tokens that every route must refuse, by their defects. Generated anew on each access. */
  readonly bad: Readonly<Record<BadTokenName, string>>
  close (): Promise<void>
  [Symbol.asyncDispose] (): Promise<void>
}

/**
 * Starts an identity provider on a free port of the loopback interface, with discovery, a JWK set and logins, for
 * tests.
 *
 * @example
 * await using provider = await fakeIssuer({ algorithms: ['ES256'] })
 * const user = jwt({ issuer: provider.issuer, audience: provider.audience })
 * const headers = { authorization: `Bearer ${provider.token({ scope: 'orders:read' })}` }
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong option.
 */
export async function fakeIssuer (options: FakeIssuerOptions = {}): Promise<FakeIssuer> {
  const { algorithms, audience, claims: own, ...served } = parse(options, 'The options of fakeIssuer')
  const keys = new KeySet(algorithms)
  const sign = (claims: Readonly<Record<string, unknown>>, typ: string, tokenOptions: TokenOptions = {}): string => {
    const key = keys.find(tokenOptions)
    return compactJws({ alg: key.algorithm, kid: key.kid, typ, ...tokenOptions.header }, claimsOf(claims), key)
  }
  const logins = new FakeLogins({
    algorithms,
    idToken: claims => sign(claims, 'JWT'),
    accessToken: claims => sign({ ...own, ...claims }, 'at+jwt')
  })
  const server = issuerServer({ ...served, logins, jwks: () => keys.published })
  await new Promise<void>(resolve => { server.http.listen(0, '127.0.0.1', resolve) })
  const origin = `http://127.0.0.1:${(server.http.address() as AddressInfo).port}`
  const issuer = `${origin}${served.path}`

  function claimsOf (claims: Readonly<Record<string, unknown>>) {
    const iat = Math.floor(Date.now() / 1000)
    return { iss: issuer, sub: 'user-1', aud: audience, iat, exp: iat + 300, jti: randomUUID(), ...claims }
  }

  const close = async (): Promise<void> => { await closeServer(server.http) }

  return {
    issuer,
    audience,
    jwksUri: `${origin}/jwks.json`,
    token: (claims = {}, more = {}) =>
      sign({ ...own, ...parseClaims(claims, 'The first argument of token()') }, 'at+jwt', parseTokenOptions(more)),
    logIn: claims => { logins.set(claims === null ? null : parseLogin(claims)) },
    rotate: () => keys.rotate(),
    withdraw: kid => { keys.withdraw(text(kid, 'The argument of withdraw()')) },
    publish: jwk => { keys.publish(parseJwk(jwk)) },
    get kids () { return keys.kids },
    fail: (failure, ...endpoint) => { server.fail(parseFailure(failure), endpoint.map(parseEndpoint)) },
    get requests () { return { ...server.requests } },
    get bad () { return badTokens({ key: keys.find({}), claims: claimsOf(own) }) },
    close,
    [Symbol.asyncDispose]: close
  }
}

const parse = object({
  algorithms: (value = ['RS256'], option) => algorithmsOf(value, option),
  audience: optional(text, 'https://api.example.com'),
  claims: (value = {}, option) => parseClaims(value, option),
  path: optional(parsePath, ''),
  metadata: optional(oneOf('oauth', 'openid', 'openid-inserted'), 'openid' as const),
  cacheControl: optional(text, null)
})

function parsePath (value: unknown, option: string): string {
  if (typeof value === 'string' && /^(?:\/[\w.~-]+)*\/?$/.test(value)) return value
  throw misconfigured(`${option} must be a path, such as '/tenants/one'. Got ${describeValue(value)}.`)
}

function parseClaims (claims: unknown, place: string, more = ''): Readonly<Record<string, unknown>> {
  if (isPlainObject(claims)) return claims
  const expected = `an object of claims, such as { sub: 'ada' }${more}`
  throw misconfigured(`${place} must be ${expected}. Got ${describeValue(claims)}.`)
}

function parseLogin (claims: unknown): Readonly<Record<string, unknown>> {
  return parseClaims(claims, 'The argument of logIn()', ', or null for people who refuse')
}

/** Parses the options of a token, except the members of its header. */
const parseTokenFields = object({
  kid: optional(text, undefined),
  algorithm: optional(oneOf(...issuerAlgorithms), undefined),
  header: asGiven
})

function parseTokenOptions (options: unknown): TokenOptions {
  const { header = {}, kid, algorithm } = parseTokenFields(options, 'The options of token()')
  if (!isPlainObject(header)) {
    throw misconfigured("The option token().header must be an object of members, such as { typ: 'JWT' }. Got " +
      `${describeValue(header)}.`)
  }
  return { header, ...kid === undefined ? {} : { kid }, ...algorithm === undefined ? {} : { algorithm } }
}

function parseJwk (jwk: unknown): PublicJwk {
  if (isPlainObject(jwk)) return jwk
  throw misconfigured(`publish() of the fake issuer needs a JWK. Got ${describeValue(jwk)}.`)
}

const oneFailure = oneOf(null, 'hang', '404', 'html', 'huge', 'slow', 'redirect')
const oneEndpoint = oneOf('metadata', 'keys')

function parseFailure (failure: unknown): IssuerFailure | null {
  return oneFailure(failure, 'The failure of fail()')
}

function parseEndpoint (endpoint: unknown): IssuerEndpoint {
  return oneEndpoint(endpoint, 'The endpoint of fail()')
}

const parseAlgorithms = listOf(oneOf(...issuerAlgorithms))

function algorithmsOf (value: unknown, option: string): readonly [IssuerAlgorithm, ...IssuerAlgorithm[]] {
  const [first, ...others] = parseAlgorithms(value, option)
  if (first !== undefined) return [first, ...others]
  throw misconfigured(`${option} must be a list of one or more of ${joinNames(issuerAlgorithms)}.`)
}

/** Holds the keys of an issuer, both published and withdrawn. */
class KeySet {
  readonly #algorithms: readonly [IssuerAlgorithm, ...IssuerAlgorithm[]]
  readonly #keys = new Map<string, SigningKey>()
  readonly #withdrawn = new Set<string>()
  readonly #others: PublicJwk[] = []
  #generation = 0

  constructor (algorithms: readonly [IssuerAlgorithm, ...IssuerAlgorithm[]]) {
    this.#algorithms = algorithms
    this.rotate()
  }

  get kids (): readonly string[] {
    return [...this.#keys.keys()].filter(kid => !this.#withdrawn.has(kid))
  }

  get published (): { readonly keys: readonly PublicJwk[] } {
    return { keys: [...this.kids.map(kid => publicJwk(this.find({ kid }))), ...this.#others] }
  }

  find ({ kid, algorithm = this.#algorithms[0] }: TokenOptions): SigningKey {
    const found = this.#keys.get(kid ?? `${algorithm}-${this.#generation}`)
    if (found !== undefined) return found
    throw misconfigured(`The fake issuer has no such key. It has ${joinNames([...this.#keys.keys()], 'and')}.`)
  }

  rotate (): readonly string[] {
    this.#generation++
    const pairs = new KeyPairs()
    return this.#algorithms.map(algorithm => {
      const kid = `${algorithm}-${this.#generation}`
      this.#keys.set(kid, { kid, algorithm, ...pairs.of(algorithm) })
      return kid
    })
  }

  withdraw (kid: string): void {
    this.#withdrawn.add(this.find({ kid }).kid)
  }

  publish (jwk: PublicJwk): void {
    this.#others.push(jwk)
  }
}

/**
 * Names a failure of an endpoint: no answer, the status 404, a page that is not JSON, 50 MB, one byte a second, or a
 * redirect to the right document.
 */
export type IssuerFailure = 'hang' | '404' | 'html' | 'huge' | 'slow' | 'redirect'

/** Names an endpoint of an issuer. */
type IssuerEndpoint = 'metadata' | 'keys'

/** Names the location of the metadata: below the issuer, or inserted before its path. */
type MetadataForm = 'oauth' | 'openid' | 'openid-inserted'

/** Options of {@link issuerServer}. */
interface IssuerServerOptions {
  readonly path: string
  readonly metadata: MetadataForm
  readonly cacheControl: string | null
  readonly logins: FakeLogins
  readonly jwks: () => { readonly keys: readonly PublicJwk[] }
}

/** The server of a fake issuer, which is not listening yet. */
interface IssuerServer {
  readonly http: Server
  readonly requests: Record<IssuerEndpoint, number>
  /** Makes these endpoints fail; all, if none is named. */
  fail (failure: IssuerFailure | null, endpoints: readonly IssuerEndpoint[]): void
}

/** Creates the server of a fake issuer. */
function issuerServer ({ path, metadata, cacheControl, logins, jwks }: IssuerServerOptions): IssuerServer {
  const failures: Record<IssuerEndpoint, IssuerFailure | null> = { metadata: null, keys: null }
  const requests = { metadata: 0, keys: 0 }
  const http = createServer((request, response) => {
    // The port is not known before the server listens.
    const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    const documents: Record<string, [IssuerEndpoint, () => object]> = {
      [metadataPath(path, metadata)]: [
        'metadata',
        () => ({ issuer: `${origin}${path}`, jwks_uri: `${origin}/jwks.json`, ...logins.metadata(origin) })
      ],
      '/jwks.json': ['keys', jwks]
    }
    if (logins.answer(request, response, `${origin}${path}`)) return
    const { url = '' } = request
    const redirected = url.startsWith(elsewhere)
    const found = documents[redirected ? url.slice(elsewhere.length) : url]
    if (found === undefined) return fail(response, '404', { url, text: '' })
    const [endpoint, make] = found
    requests[endpoint]++
    const failure = failures[endpoint]
    const text = JSON.stringify(make())
    if (failure !== null && !redirected) return fail(response, failure, { url, text })
    response.writeHead(
      200,
      {
        'content-type': 'application/json',
        ...cacheControl === null || endpoint === 'metadata' ? {} : { 'cache-control': cacheControl }
      }
    )
    response.end(text)
  })
  return {
    http,
    requests,
    fail (failure, endpoints) {
      for (const each of endpoints.length === 0 ? ['metadata', 'keys'] as const : endpoints) failures[each] = failure
    }
  }
}

/** The path below which redirects lead to the right document. */
const elsewhere = '/elsewhere'

async function closeServer (http: Server): Promise<void> {
  const closed = new Promise(resolve => { http.close(resolve) })
  http.closeAllConnections()
  await closed
}

/** Returns the path of the metadata. A slash at the end of the issuer is removed (RFC 8414, 3.1). */
function metadataPath (issuerPath: string, form: MetadataForm): string {
  const path = issuerPath.replace(/\/$/, '')
  switch (form) {
    case 'oauth': return `/.well-known/oauth-authorization-server${path}`
    case 'openid': return `${path}/.well-known/openid-configuration`
    case 'openid-inserted': return `/.well-known/openid-configuration${path}`
  }
}

function fail (
  response: ServerResponse, failure: IssuerFailure, { url, text }: { readonly url: string, readonly text: string }
): void {
  switch (failure) {
    case 'hang': return
    case '404': response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}'); return
    case 'html': response.writeHead(200, { 'content-type': 'text/html' }).end(
      '<!doctype html><title>Please log in</title>'
    ); return
    case 'redirect': response.writeHead(302, { location: `${elsewhere}${url}` }).end(); return
    case 'huge': sendHuge(response); return
    case 'slow': sendSlowly(response, text)
  }
}

/** Sends 50 MB that begin like a JWK set, as fast as the client reads them. */
function sendHuge (response: ServerResponse): void {
  const chunk = Buffer.alloc(1_000_000, ' ')
  let left = 50
  const more = (): void => {
    while (left-- > 0) if (!response.write(chunk)) return
    response.end(']}')
  }
  response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more).write('{"keys":[')
  more()
}

/** Sends one byte a second. */
function sendSlowly (response: ServerResponse, text: string): void {
  let sent = 0
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => { response.write(text.charAt(sent++)) }, 1000)
  response.on('close', () => { clearInterval(timer) })
}
