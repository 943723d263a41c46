import { misconfigured } from '../../errors.js'
import { isSymmetric } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { RemoteSource } from '../../jose/remote/remote-keys.js'
import { sourceUrl } from '../../jose/remote/source-url.js'

/** Returns true for keys that are to be fetched from a URL. */
export function isKeysUrl (keys: unknown): keys is string | URL {
  return keys instanceof URL || (typeof keys === 'string' && /^\s*https?:\/\//i.test(keys))
}

/** What is known of an issuer before its keys are fetched. */
export interface RemoteIssuer {
  readonly issuer: string | null
  readonly algorithms: readonly Algorithm[] | null
  readonly check: (key: VerificationKey) => void
  readonly insecureHosts: readonly string[]
  /** The path of the options of the issuer, for messages. */
  readonly path: string
}

/** The source of keys at a URL. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceAt (
  keys: string | URL, { issuer, algorithms, check, insecureHosts, path }: RemoteIssuer
): RemoteSource {
  const url = sourceUrl(String(keys).trim(), insecureHosts)
  if (!(url instanceof URL)) throw misconfigured(`The option ${path}.keys ${url}.`)
  return { issuer, url, check, algorithms: published(algorithms, path) }
}

/** The source of keys where the metadata of the issuer says. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceByDiscovery ({ issuer, algorithms, check, insecureHosts, path }: RemoteIssuer): RemoteSource {
  if (issuer === null) {
    throw misconfigured(`The option ${path}.keys is missing: without an issuer nobody can be asked for them.`)
  }
  const url = sourceUrl(issuer, insecureHosts)
  const fault = !(url instanceof URL) ? url : /[?#]/.test(issuer) ? 'must not have a query or fragment' : null
  if (fault !== null) {
    throw misconfigured(`The option ${path}.keys is missing, and the issuer cannot be asked for them: it ${fault}.`)
  }
  return { issuer, url: null, check, algorithms: published(algorithms, path) }
}

function published (algorithms: readonly Algorithm[] | null, path: string): readonly Algorithm[] | null {
  if (algorithms === null || !algorithms.some(isSymmetric)) return algorithms
  throw misconfigured(`The option ${path}.algorithms names HMAC, whose secrets nobody publishes. Name the algorithms of ` +
    'public keys, or give keys.')
}
