import type { PublicJwkSet } from '../../types/features.js'
import type { PublicJwk } from '../../types/token-service.js'
import { misconfigured } from '../errors.js'
import { isSymmetric } from './algorithms.js'
import type { VerificationKey } from './jwk.js'

/** The public members of each kind of key (RFC 7518, 6; RFC 8037, 2). Nothing else of a key is published. */
const publicMembers: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['EC', ['crv', 'x', 'y']],
  ['OKP', ['crv', 'x']],
  ['RSA', ['n', 'e']]
])

/** The parts of a key that are needed to publish it. */
export type PublishedKey = Pick<VerificationKey, 'kid' | 'algorithm' | 'key'>

/**
 * Returns the public JWK set of keys.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a secret, and for an RSA-PSS key, which has no JWK.
 */
export function publicJwkSet (keys: readonly PublishedKey[], path: string): PublicJwkSet {
  return Object.freeze({ keys: Object.freeze(keys.map(key => publicJwk(key, path))) })
}

function publicJwk ({ kid, algorithm, key }: PublishedKey, path: string): PublicJwk {
  if (isSymmetric(algorithm)) {
    throw misconfigured(`The keys of ${path} cannot be published, because they are secrets: whoever has them can ` +
      'sign tokens. Sign with a key pair, such as from npx fastify-gatehouse keys.')
  }
  if (key.asymmetricKeyType === 'rsa-pss') {
    throw misconfigured(`The keys of ${path} cannot be published, because one is an RSA-PSS key, which has no JWK. ` +
      "Give it as an RSA key with the algorithm 'PS256'.")
  }
  const jwk = key.export({ format: 'jwk' })
  const members = publicMembers.get(jwk.kty) as readonly string[]
  return Object.freeze({
    kty: String(jwk.kty),
    ...Object.fromEntries(members.map(member => [member, String(jwk[member])])),
    use: 'sig',
    alg: algorithm,
    ...kid === null ? {} : { kid }
  })
}
