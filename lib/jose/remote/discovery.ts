import { isObject, ownFields } from '../../util/objects.js'
import { elapsed, type Elapsed, type FetchedJson, type FetchFailure, sourceUrl } from './fetch-json.js'

/** The time for which metadata is used, in milliseconds. */
const metadataFreshness = 3_600_000

/** The URL of an issuer's JWK set, or the reason why it is not known. */
export type Discovered = URL | { readonly url: string, readonly failure: string }

/** Finds the JWK set of an issuer. */
export interface KeyLocation {
  find (signal: AbortSignal): Promise<Discovered>
  /** Drops the cached URL, because the keys could not be fetched from it. */
  forget (): void
}

/** Creates the location of a JWK set whose URL is configured. */
export function fixedLocation (url: URL): KeyLocation {
  return { find: async () => url, forget: () => {} }
}

/** Options of {@link Discovery}. */
export interface DiscoveryOptions {
  readonly fetch: (url: URL, signal: AbortSignal) => Promise<FetchedJson | FetchFailure>
  readonly insecureHosts: readonly string[]
}

/** Finds the JWK set of an issuer by its metadata (RFC 8414; OpenID Connect Discovery 1.0, 4). */
export class Discovery implements KeyLocation {
  readonly #issuer: string
  readonly #options: DiscoveryOptions
  readonly #urls: readonly URL[]
  /** The index of the URL to try first: the one that worked, or the next one after one that did not answer. */
  #first = 0
  #found: { readonly url: URL, readonly age: Elapsed } | null = null

  constructor (issuer: string, options: DiscoveryOptions) {
    this.#issuer = issuer
    this.#options = options
    this.#urls = metadataUrls(new URL(issuer))
  }

  /** Returns the URL of the JWK set, which is cached for an hour. */
  async find (signal: AbortSignal): Promise<Discovered> {
    if (this.#found !== null && this.#found.age() < metadataFreshness) return this.#found.url
    const failures: string[] = []
    for (let tried = 0; tried < this.#urls.length; tried++) {
      const at = (this.#first + tried) % this.#urls.length
      const url = this.#urls[at] as URL
      const fetched = await this.#options.fetch(url, signal)
      const found = 'failure' in fetched ? fetched.failure : this.#jwksUri(fetched.value)
      if (found instanceof URL) {
        this.#first = at
        this.#found = { url: found, age: elapsed() }
        return found
      }
      failures.push(`${url.pathname}: ${found}`)
      // A host that does not answer would not answer at another path either, so the next path is left for the next
      // time.
      if ('failure' in fetched && !fetched.answered) {
        this.#first = at + 1
        break
      }
    }
    return { url: this.#issuer, failure: `no metadata of the issuer: ${failures.join('; ')}` }
  }

  /** Drops the cached URL of the JWK set, so that it is discovered again before the next fetch. */
  forget (): void {
    this.#found = null
  }

  /** Returns the `jwks_uri` of metadata. A document of another issuer must not be used (RFC 8414, 3.3). */
  #jwksUri (document: unknown): URL | string {
    if (!isObject(document)) return 'the answer is not an object'
    const { issuer, jwks_uri: jwksUri } = ownFields(document)
    if (issuer !== this.#issuer) {
      const shown = typeof issuer === 'string' ? `, ${JSON.stringify(issuer).slice(0, 60)}` : ''
      return `the document is of another issuer${shown}`
    }
    if (typeof jwksUri !== 'string') return 'the document has no jwks_uri'
    const url = sourceUrl(jwksUri, this.#options.insecureHosts)
    return url instanceof URL ? url : `jwks_uri ${url}`
  }
}

/**
 * Returns the possible URLs of an issuer's metadata without duplicates: inserted before the path of the issuer (RFC
 * 8414, 3.1), appended to it (OpenID Connect), and OpenID Connect's inserted.
 */
function metadataUrls (issuer: URL): readonly URL[] {
  const path = issuer.pathname.replace(/\/$/, '')
  const paths = [
    `/.well-known/oauth-authorization-server${path}`, `${path}/.well-known/openid-configuration`,
    `/.well-known/openid-configuration${path}`
  ]
  return [...new Set(paths)].map(each => new URL(`${issuer.origin}${each}`))
}
