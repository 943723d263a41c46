import { generateKeyPairSync, hash, type JsonWebKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isObject } from '../util/objects.js'
import { Failure, optionOf, optionsOf, UsageError } from './terminal.js'

const makers: ReadonlyMap<unknown, () => KeyObject> = new Map([
  ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
  ['EdDSA', ed25519],
  ['Ed25519', ed25519]
])

function ed25519 (): KeyObject {
  return generateKeyPairSync('ed25519').privateKey
}

type Jwk = Readonly<Record<string, unknown>>

/**
 * Prints a new key as a private and a public JWK set (RFC 7517, 5), each on one line, for a variable or a file; or the
 * sets that follow those in a file.
 */
export function keys (args: readonly string[]): string {
  const { alg, rotate } = optionsOf(['alg', 'rotate'], args, 'keys takes no arguments except --alg and --rotate.')
  if (alg !== undefined && !makers.has(alg)) throw new UsageError('--alg must be ES256, EdDSA or Ed25519.')
  return print(rotate === undefined ? [newKey(alg ?? 'ES256')] : rotated(readKeys(rotate), alg))
}

/** The members of a public key, also of an RSA key that a file has. Nothing else of a key is published. */
const publicMembers = ['kty', 'crv', 'x', 'y', 'n', 'e', 'kid', 'use', 'alg']

function publicHalf (jwk: Jwk): Jwk {
  return Object.fromEntries(Object.entries(jwk).filter(([member]) => publicMembers.includes(member)))
}

function print (all: readonly Jwk[]): string {
  const published = all.map(publicHalf)
  return `{\n  "private": ${JSON.stringify({ keys: all })},\n  "public": ${JSON.stringify({ keys: published })}\n}`
}

function newKey (alg: string): Jwk {
  const make = makers.get(alg) as () => KeyObject
  const { d, ...numbers } = make().export({ format: 'jwk' })
  return { ...numbers, kid: thumbprint(numbers), use: 'sig', alg, d }
}

/**
 * Returns the keys after a rotation: the key that signs from now on, a new one that is published and signs next, and
 * the public half of the one that signed until now, whose tokens may still be used. If no key was to sign next, the
 * same key signs on. Older keys are left out.
 */
function rotated (all: readonly Jwk[], alg: unknown): readonly Jwk[] {
  const signing = all.filter(({ d }) => typeof d === 'string')
  const current = signing.find(({ next }) => next !== true)
  const following = signing.find(({ next }) => next === true)
  if (current === undefined) throw new Failure('The file has no private key that signs.')
  const algorithm = alg ?? current['alg']
  if (typeof algorithm !== 'string' || !makers.has(algorithm)) {
    throw new Failure('The key that signs is not for ES256, EdDSA or Ed25519. Choose the algorithm of the new key ' +
      'with --alg.')
  }
  const next = { ...newKey(algorithm), next: true }
  if (following === undefined) return [current, next]
  const { next: _, ...first } = following
  return [first, next, publicHalf(current)]
}

/** Reads the keys of a file that this command printed, or of a JWK set. No message quotes the file. */
function readKeys (path: string): readonly Jwk[] {
  const content = parseFile(path)
  const set = isObject(content) && isObject(content['private']) ? content['private'] : content
  const found: unknown = isObject(set) ? set['keys'] : undefined
  if (Array.isArray(found) && found.length > 0 && found.every(isObject)) return found
  throw new Failure('The file has neither a JWK set nor what fastify-gatehouse keys prints.')
}

/** Decodes a text with or without a byte order mark. The `>` of Windows PowerShell writes UTF-16. */
function decode (bytes: Uint8Array): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe
  return new TextDecoder(isUtf16 ? 'utf-16le' : 'utf-8').decode(bytes)
}

function parseFile (path: string): unknown {
  let text
  try {
    text = decode(readFileSync(path))
  } catch {
    throw new Failure('The file of --rotate cannot be read.')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Failure('The file of --rotate is not JSON.')
  }
}

/** Computes the thumbprint of a key (RFC 7638, 3.2; RFC 8037, 2), which serves as its unique `kid`. */
function thumbprint ({ crv, kty, x, y }: JsonWebKey): string {
  return hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url')
}

const minBytes = 32
const maxBytes = 1024

/** Prints random bytes as base64url. 32 bytes are enough for every secret of this plugin; HS512 needs 64. */
export function secret (args: readonly string[]): string {
  const bytes = optionOf('bytes', args, 'secret takes no arguments except --bytes.') ?? String(minBytes)
  const count = /^\d{1,4}$/.test(bytes) ? Number(bytes) : NaN
  if (!(count >= minBytes && count <= maxBytes)) {
    throw new UsageError(`--bytes must be a whole number from ${minBytes} to ${maxBytes}.`)
  }
  return randomBytes(count).toString('base64url')
}
