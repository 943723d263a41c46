import { constants, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject, KeyPairKeyObjectResult } from 'node:crypto'

/** A key pair of one kind; RSA has 2048 bits and EC is P-256 unless said otherwise. */
export function pair (kind: 'rsa' | 'ec' | 'ed25519' | 'ed448', { namedCurve = 'P-256' } = {}): KeyPairKeyObjectResult {
  switch (kind) {
    case 'rsa': return generateKeyPairSync('rsa', { modulusLength: 2048 })
    case 'ec': return generateKeyPairSync('ec', { namedCurve })
    case 'ed25519': return generateKeyPairSync('ed25519')
    case 'ed448': return generateKeyPairSync('ed448')
  }
}

/** A good HMAC secret. */
export function secretOf (bytes = 32): string {
  return randomBytes(bytes).toString('base64url')
}

export interface Signing {
  readonly alg: string
  readonly key: KeyObject | string | Uint8Array
  /** Members beside `alg`, or instead of it. */
  readonly header?: Readonly<Record<string, unknown>>
}

/** A compact JWS of our own making, which may say what no library would write. A payload that is a text stands as it is. */
export function token (payload: unknown, { alg, key, header = {} }: Signing): string {
  const input = [JSON.stringify({ alg, ...header }), typeof payload === 'string' ? payload : JSON.stringify(payload)].map(each => Buffer.from(each).toString('base64url')).join('.')
  return `${input}.${signature(alg, key, input).toString('base64url')}`
}

function signature (alg: string, key: Signing['key'], input: string): Buffer {
  const digest = `sha${alg.slice(2)}`
  if (alg.startsWith('HS')) return createHmac(digest, key).update(input).digest()
  const data = Buffer.from(input)
  const own = key as KeyObject
  if (alg.startsWith('PS')) return sign(digest, data, { key: own, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
  if (alg.startsWith('ES')) return sign(digest, data, { key: own, dsaEncoding: 'ieee-p1363' })
  return sign(alg === 'EdDSA' ? null : digest, data, own)
}

/** The public key that jwt.io shows for ES256, beside its private half. */
export const sampleJwtIoPem = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----
`
