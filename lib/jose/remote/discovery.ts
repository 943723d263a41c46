import { isObject, ownFields } from '../../util/objects.js'
import { elapsed } from './elapsed.js'
import type { Elapsed } from './elapsed.js'
import type { FetchedJson, FetchFailure } from './fetch-json.js'
import { sourceUrl } from './source-url.js'

/** Milliseconds after which the metadata is read anew before the next fetch of keys. */
const metadataFreshness = 3_600_000

/** Where an issuer has its keys, or why that is not known. */
export type Discovered = URL | { readonly url: string, readonly failure: string }

/** Finds the JWK set of an issuer. */
export interface KeyLocation {
  find (signal: AbortSignal): Promise<Discovered>
  /** Tells that the keys could not be had there. */
  forget (): void
}

/** Makes the location of a JWK set whose URL is configured. */
export function fixedLocation (url: URL): KeyLocation {
  return { find: async () => url, forget: () => {} }
}

/** How metadata is fetched, and which hosts may be asked without TLS. */
export interface DiscoveryOptions {
  readonly fetch: (url: URL, signal: AbortSignal) => Promise<FetchedJson | FetchFailure>
  readonly insecureHosts: readonly string[]
}

/** Finds the JWK set of an issuer by its metadata (RFC 8414; OpenID Connect Discovery 1.0, 4). */
export class Discovery implements KeyLocation {
  readonly #issuer: string
  readonly #options: DiscoveryOptions
  readonly #forms: readonly URL[]
  /** The form to begin with: the one that worked, or the one after the one that did not answer. */
  #first = 0
  #found: { readonly url: URL, readonly age: Elapsed } | null = null

  constructor (issuer: string, options: DiscoveryOptions) {
    this.#issuer = issuer
    this.#options = options
    this.#forms = metadataUrls(new URL(issuer))
  }

  /** Returns the URL of the JWK set, which is remembered for an hour. */
  async find (signal: AbortSignal): Promise<Discovered> {
    if (this.#found !== null && this.#found.age() < metadataFreshness) return this.#found.url
    const failures: string[] = []
    for (let tried = 0; tried < this.#forms.length; tried++) {
      const at = (this.#first + tried) % this.#forms.length
      const url = this.#forms[at] as URL
      const fetched = await this.#options.fetch(url, signal)
      const found = 'failure' in fetched ? fetched.failure : this.#jwksUri(fetched.value)
      if (found instanceof URL) {
        this.#first = at
        this.#found = { url: found, age: elapsed() }
        return found
      }
      failures.push(`${url.pathname}: ${found}`)
      // a host that does not answer would not answer at its other paths either: asking there is for the next time
      if ('failure' in fetched && !fetched.answered) {
        this.#first = at + 1
        break
      }
    }
    return { url: this.#issuer, failure: `no metadata of the issuer: ${failures.join('; ')}` }
  }

  /** Forgets the URL of the JWK set: it is looked for anew before the next fetch. */
  forget (): void {
    this.#found = null
  }

  /** RFC 8414, 3.3: a document of another issuer must not be used, for anything. */
  #jwksUri (document: unknown): URL | string {
    if (!isObject(document)) return 'the answer is not an object'
    const { issuer, jwks_uri: jwksUri } = ownFields(document)
    if (issuer !== this.#issuer) {
      return `the document is of another issuer${typeof issuer === 'string' ? `, ${JSON.stringify(issuer).slice(0, 60)}` : ''}`
    }
    if (typeof jwksUri !== 'string') return 'the document has no jwks_uri'
    const url = sourceUrl(jwksUri, this.#options.insecureHosts)
    return url instanceof URL ? url : `jwks_uri ${url}`
  }
}

/**
 * The three places, each once: inserted before the path of the issuer (RFC 8414, 3.1), appended to it (OpenID), and
 * OpenID's inserted.
 */
function metadataUrls (issuer: URL): readonly URL[] {
  const path = issuer.pathname.replace(/\/$/, '')
  const paths = [
    `/.well-known/oauth-authorization-server${path}`, `${path}/.well-known/openid-configuration`,
    `/.well-known/openid-configuration${path}`
  ]
  return [...new Set(paths)].map(each => new URL(`${issuer.origin}${each}`))
}
