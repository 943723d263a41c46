import { misconfigured } from '../../errors.js'
import { isSymmetric } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { VerificationKey } from '../../jose/jwk.js'
import { sourceUrl } from '../../jose/remote/fetch-json.js'
import type { RemoteSource } from '../../jose/remote/remote-keys.js'

/** Returns true for keys that have to be fetched from a URL. */
export function isKeysUrl (keys: unknown): keys is string | URL {
  return keys instanceof URL || (typeof keys === 'string' && /^\s*https?:\/\//i.test(keys))
}

/** Describes an issuer whose keys are fetched. */
export interface RemoteIssuer {
  readonly issuer: string | null
  readonly algorithms: readonly Algorithm[] | null
  readonly check: (key: VerificationKey) => void
  readonly insecureHosts: readonly string[]
  /** The path of the options of the issuer, for messages. */
  readonly path: string
}

/** Returns the source of keys at a URL. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceAt (
  keys: string | URL, { issuer, algorithms, check, insecureHosts, path }: RemoteIssuer
): RemoteSource {
  const url = sourceUrl(String(keys).trim(), insecureHosts)
  if (!(url instanceof URL)) throw misconfigured(`The option ${path}.keys ${url}.`)
  return { issuer, url, check, algorithms: published(algorithms, path) }
}

/** Returns the source of keys that the metadata of an issuer names. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceByDiscovery ({ issuer, algorithms, check, insecureHosts, path }: RemoteIssuer): RemoteSource {
  if (issuer === null) {
    throw misconfigured(`The option ${path}.keys is missing, and without an issuer they cannot be discovered. Set ` +
      'keys or issuer.')
  }
  const url = sourceUrl(issuer, insecureHosts)
  const fault = !(url instanceof URL) ? url : /[?#]/.test(issuer) ? 'must not have a query or fragment' : null
  if (fault !== null) {
    throw misconfigured(`The option ${path}.keys is missing, and they cannot be discovered by the issuer: it ${fault}.`)
  }
  return { issuer, url: null, check, algorithms: published(algorithms, path) }
}

function published (algorithms: readonly Algorithm[] | null, path: string): readonly Algorithm[] | null {
  if (algorithms === null || !algorithms.some(isSymmetric)) return algorithms
  throw misconfigured(`The option ${path}.algorithms names HMAC, whose secrets are never published. Name algorithms ` +
    'with public keys, or give the keys in the option keys.')
}
