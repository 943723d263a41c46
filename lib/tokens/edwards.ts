import type { JsonWebKey } from 'node:crypto'

interface Curve {
  readonly prime: bigint
  /** The `y` of every point of small order (RFC 7748, 7; "Taming the many EdDSAs", table 6). */
  readonly small: readonly bigint[]
}

const p25519 = 2n ** 255n - 19n
const p448 = 2n ** 448n - 2n ** 224n - 1n

/** The `y` of two points of order 8; their negatives have the other sign. */
const order8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n

const ed25519: Curve = { prime: p25519, small: [0n, 1n, p25519 - 1n, order8, p25519 - order8] }
const ed448: Curve = { prime: p448, small: [0n, 1n, p448 - 1n] }

/**
 * Returns true for a public key under which anybody can sign, because its point has small order, and for encodings that
 * are not canonical: a `y` that is not below the prime (RFC 8032, 5.1.3 and 5.2.3).
 */
export function isUnsafePoint ({ crv, x }: JsonWebKey): boolean {
  const curve = crv === 'Ed448' ? ed448 : ed25519
  const bytes = Buffer.from(`${x}`, 'base64url').reverse()
  // the highest bit is the sign of the other coordinate
  bytes.writeUInt8(bytes.readUInt8() & 0x7f)
  const y = BigInt(`0x${bytes.toString('hex')}`)
  return y >= curve.prime || curve.small.includes(y)
}
