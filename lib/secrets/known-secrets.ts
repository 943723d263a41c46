import { hash } from 'node:crypto'
import { knownDigests } from './known-digests.js'

/** 48 bits: enough that no random secret is met by chance, and too few to give a secret back. */
const digestBytes = 6

const digests = Buffer.from(knownDigests, 'base64')

/**
 * Returns true for a secret that was published, however it is spelled: as the innermost of its layers, which is what
 * was digested. For public keys, whose private halves were published, as SPKI.
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
