import { generateKeyPairSync, hash } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'
import { optionOf, UsageError } from './terminal.js'

const makers = new Map<string, () => KeyObject>([
  ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
  ['EdDSA', () => generateKeyPairSync('ed25519').privateKey]
])

/** Prints a new key as a private and a public JWK set (RFC 7517, 5), each on one line, for a variable or a file. */
export function keys (args: readonly string[]): string {
  const alg = optionOf('alg', args, 'keys takes no arguments except --alg.') ?? 'ES256'
  const make = makers.get(alg)
  if (make === undefined) throw new UsageError('--alg must be ES256 or EdDSA.')
  const { d, ...numbers } = make().export({ format: 'jwk' })
  const known = { ...numbers, kid: thumbprint(numbers), use: 'sig', alg }
  return `{\n  "private": ${set({ ...known, d })},\n  "public": ${set(known)}\n}`
}

function set (jwk: object): string {
  return JSON.stringify({ keys: [jwk] })
}

/** Computes the thumbprint of a key (RFC 7638, 3.2; RFC 8037, 2), which serves as its unique `kid`. */
function thumbprint ({ crv, kty, x, y }: JsonWebKey): string {
  return hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url')
}
