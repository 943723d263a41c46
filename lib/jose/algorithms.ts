import { constants, createHmac, timingSafeEqual, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

interface Digested { readonly digest: 'sha256' | 'sha384' | 'sha512' }
type Spec =
  | Digested & { readonly family: 'hmac', readonly bytes: number }
  | Digested & { readonly family: 'rsa' | 'rsa-pss' }
  | Digested & { readonly family: 'ec', readonly curve: string, readonly bytes: number }
  | { readonly family: 'ed', readonly curves: readonly ('ed25519' | 'ed448')[] }

/**
 * The supported algorithms (RFC 7518, 3.1; RFC 8037, 3.1; RFC 9864, 2.2). `bytes` is the length of the signature, and
 * for HMAC also the minimum length of the key (RFC 7518, 3.2).
 */
const specs = {
  HS256: { family: 'hmac', digest: 'sha256', bytes: 32 },
  HS384: { family: 'hmac', digest: 'sha384', bytes: 48 },
  HS512: { family: 'hmac', digest: 'sha512', bytes: 64 },
  RS256: { family: 'rsa', digest: 'sha256' },
  RS384: { family: 'rsa', digest: 'sha384' },
  RS512: { family: 'rsa', digest: 'sha512' },
  PS256: { family: 'rsa-pss', digest: 'sha256' },
  PS384: { family: 'rsa-pss', digest: 'sha384' },
  PS512: { family: 'rsa-pss', digest: 'sha512' },
  ES256: { family: 'ec', digest: 'sha256', curve: 'prime256v1', bytes: 64 },
  ES384: { family: 'ec', digest: 'sha384', curve: 'secp384r1', bytes: 96 },
  ES512: { family: 'ec', digest: 'sha512', curve: 'secp521r1', bytes: 132 },
  EdDSA: { family: 'ed', curves: ['ed25519', 'ed448'] },
  Ed25519: { family: 'ed', curves: ['ed25519'] },
  Ed448: { family: 'ed', curves: ['ed448'] }
} as const satisfies Record<string, Spec>

/** A JWS algorithm that this plugin supports. `none` is not one of them. */
export type Algorithm = keyof typeof specs

/**
 * All algorithms. A key that does not name one gets the first that fits: SHA-256 before longer digests, PKCS #1 v1.5
 * before PSS, and EdDSA before the names of its curves.
 */
export const algorithmNames = Object.freeze(Object.keys(specs)) as readonly Algorithm[]

/** Returns true for one of {@link algorithmNames}, compared exactly. */
export function isAlgorithm (name: unknown): name is Algorithm {
  return typeof name === 'string' && Object.hasOwn(specs, name)
}

/** Returns true if an algorithm uses a shared secret. */
export function isSymmetric (algorithm: Algorithm): boolean {
  return specs[algorithm].family === 'hmac'
}

/** Returns the minimum length of an HMAC key in bytes (RFC 7518, 3.2), and 0 for every other algorithm. */
export function minSecretBytes (algorithm: Algorithm): number {
  const spec = specs[algorithm]
  return spec.family === 'hmac' ? spec.bytes : 0
}

/** Returns true if a public or secret key has the type and, for ECDSA, the curve of an algorithm. */
export function fits (algorithm: Algorithm, key: KeyObject): boolean {
  const spec: Spec = specs[algorithm]
  switch (spec.family) {
    case 'hmac': return key.type === 'secret'
    case 'rsa': return key.asymmetricKeyType === 'rsa'
    case 'rsa-pss': return key.asymmetricKeyType === 'rsa' || (
      key.asymmetricKeyType === 'rsa-pss' && fitsPss(spec.digest, key)
    )
    case 'ec': return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === spec.curve
    case 'ed': return spec.curves.some(curve => key.asymmetricKeyType === curve)
  }
}

/** Returns true unless an `rsa-pss` key is limited to another digest (RFC 4055, 1.2). */
function fitsPss (digest: string, key: KeyObject): boolean {
  const details = key.asymmetricKeyDetails
  return [details?.hashAlgorithm, details?.mgf1HashAlgorithm].every(named => named === undefined || named === digest)
}

/** Checks one signature over ASCII text. May throw errors of `node:crypto`. */
export type SignatureCheck = (input: string, signature: Buffer) => boolean

/** Creates the check for one key and one algorithm, and prepares everything that does not depend on the token. */
export function createSignatureCheck (algorithm: Algorithm, key: KeyObject): SignatureCheck {
  const spec: Spec = specs[algorithm]
  switch (spec.family) {
    case 'hmac': return (input, signature) => signature.length === spec.bytes && timingSafeEqual(
      createHmac(spec.digest, key).update(input).digest(), signature
    )
    case 'rsa': return asymmetric(spec.digest, { key, padding: constants.RSA_PKCS1_PADDING }, modulusBytes(key))
    // RFC 7518, 3.5: the salt is as long as the digest.
    case 'rsa-pss': return asymmetric(
      spec.digest,
      { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
      modulusBytes(key)
    )
    // RFC 7518, 3.4: r and s are concatenated, each as long as the curve's order.
    case 'ec': return asymmetric(spec.digest, { key, dsaEncoding: 'ieee-p1363' }, spec.bytes)
    case 'ed': return asymmetric(null, { key }, key.asymmetricKeyType === 'ed25519' ? 64 : 114)
  }
}

function asymmetric (digest: string | null, key: Parameters<typeof verify>[2], bytes: number): SignatureCheck {
  return (input, signature) => signature.length === bytes && verify(
    digest, Buffer.from(input, 'latin1'), key, signature
  )
}

function modulusBytes (key: KeyObject): number {
  return Math.ceil(Number(key.asymmetricKeyDetails?.modulusLength) / 8)
}
