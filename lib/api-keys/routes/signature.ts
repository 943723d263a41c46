import { createPublicKey, verify, type KeyObject } from 'node:crypto'

/** A public key of the curve P-256 in PEM; `null` for anything else, a private key among it. */
export function publicKeyFrom (pem: unknown): KeyObject | null {
  if (typeof pem !== 'string' || !/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) return null
  try {
    const key = createPublicKey(pem)
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : null
  } catch {
    return null
  }
}

/** ECDSA over SHA-256, the signature in ASN.1 (DER) and base64, as GitHub's secret scanning signs. */
export function isSignedBy (key: KeyObject, body: Buffer, signature: string): boolean {
  // a signature over P-256 has at most 72 bytes
  return signature.length <= 100 && /^[A-Za-z0-9+/]+={0,2}$/.test(signature) && verify('sha256', body, key, Buffer.from(signature, 'base64'))
}
