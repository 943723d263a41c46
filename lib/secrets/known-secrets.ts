import { hash } from 'node:crypto'
import { knownDigests } from './known-digests.js'

/** 48 bits: enough that a random secret does not match by chance, and too few to reconstruct a secret. */
const digestBytes = 6

const digests = Buffer.from(knownDigests, 'base64')

/**
 * Returns true for a published secret, given as the innermost of its layers ({@link innermost}), or a public key whose
 * private key was published, given as SPKI.
 */
export function isKnown (bytes: Buffer): boolean {
  const digest = hash('sha256', bytes, 'buffer').readUIntBE(0, digestBytes)
  let low = 0
  let high = digests.length / digestBytes
  while (low < high) {
    const middle = (low + high) >>> 1
    if (digestAt(middle) < digest) low = middle + 1
    else high = middle
  }
  return low * digestBytes < digests.length && digestAt(low) === digest
}

function digestAt (index: number): number {
  return digests.readUIntBE(index * digestBytes, digestBytes)
}
