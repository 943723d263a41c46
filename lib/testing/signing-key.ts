import { constants, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

const specs = {
  RS256: { digest: 'sha256', make: rsa },
  RS384: { digest: 'sha384', make: rsa },
  RS512: { digest: 'sha512', make: rsa },
  PS256: { digest: 'sha256', make: rsa },
  PS384: { digest: 'sha384', make: rsa },
  PS512: { digest: 'sha512', make: rsa },
  ES256: { digest: 'sha256', make: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  ES384: { digest: 'sha384', make: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }) },
  ES512: { digest: 'sha512', make: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }) },
  EdDSA: { digest: null, make: () => generateKeyPairSync('ed25519') }
} as const

/** Names an algorithm with public keys, with which an issuer can sign. */
export type IssuerAlgorithm = keyof typeof specs

/** A published public key (RFC 7517). */
export type PublicJwk = Readonly<Record<string, unknown>>

/** A key pair of the fake issuer. */
export interface SigningKey {
  readonly kid: string
  readonly algorithm: IssuerAlgorithm
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** Returns true for the name of an {@link IssuerAlgorithm}. */
export function isIssuerAlgorithm (name: unknown): name is IssuerAlgorithm {
  return typeof name === 'string' && Object.hasOwn(specs, name)
}

/** Generates a key pair for an algorithm. */
export function signingKey (algorithm: IssuerAlgorithm, kid: string): SigningKey {
  return { kid, algorithm, ...specs[algorithm].make() }
}

/** Returns the JWK of the public key, with `kid`, `alg` and `use`. */
export function publicJwk ({ kid, algorithm, publicKey }: SigningKey): PublicJwk {
  return { ...publicKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }
}

/** Encodes a segment of a token: a string as it is, any other value as JSON. */
export function encoded (part: unknown): string {
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
}

/** Joins a header and a payload to the input of a signature (RFC 7515, 5.1). */
export function signingInput (header: unknown, payload: unknown): string {
  return `${encoded(header)}.${encoded(payload)}`
}

/** Signs with the algorithm of the key, or another algorithm that fits its kind. */
export function signature (input: string, key: SigningKey, algorithm: IssuerAlgorithm = key.algorithm): Buffer {
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {}
  return sign(
    specs[algorithm].digest, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363', ...padding }
  )
}

/** Signs a compact JWS. */
export function compactJws (header: unknown, payload: unknown, key: SigningKey): string {
  const input = signingInput(header, payload)
  return `${input}.${signature(input, key).toString('base64url')}`
}

function rsa (): { publicKey: KeyObject, privateKey: KeyObject } {
  return generateKeyPairSync('rsa', { modulusLength: 2048 })
}
