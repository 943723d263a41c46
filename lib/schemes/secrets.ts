import { isUtf8 } from 'node:buffer'
import { misconfigured } from '../errors.js'
import { listOf, type Parser } from '../parsers.js'
import { estimateBits } from './secrets/estimate.js'
import { findKey } from './secrets/key-material.js'
import { isKnown } from './secrets/known.js'

/** What {@link checkSecret} asks of a secret. */
export interface SecretRule {
  /** The fewest bytes of UTF-8, or of the array. */
  readonly minBytes: number
  /** The option in words, for the sentence that stops the boot: `the secret of the session scheme 'web'`. */
  readonly place: string
}

/** 128 bits, the strength that RFC 8725, 3.5 and NIST SP 800-131A ask of a symmetric key. */
const leastBits = 128

const mend = "Make one with: node -p \"require('node:crypto').randomBytes(32).toString('base64url')\""

/**
 * The bytes of a secret that is long enough and does not look guessable: low estimated entropy, words, rows of the keyboard, published secrets, and each of these
 * behind whitespace, base64 or hex.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, with a sentence that names `place` and never the secret.
 */
export function checkSecret (secret: unknown, { minBytes, place }: SecretRule): Buffer {
  if (secret === undefined) throw misconfigured(`${place} is undefined. Set it, or the environment variable that it comes from. ${mend}`)
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) throw misconfigured(`${place} must be a string or a Uint8Array. ${mend}`)
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < minBytes) throw misconfigured(`${place} is too short: it has ${bytes.length} bytes and needs at least ${minBytes}. ${mend}`)
  const reason = weakness(bytes)
  if (reason !== null) throw misconfigured(`${place} ${reason}. ${mend}`)
  return bytes
}

/** Returns the parser of a secret, or of a non-empty list of them, the newest first. A sentence never shows one. */
export function secrets ({ minBytes }: { readonly minBytes: number }): Parser<readonly Buffer[]> {
  const all = listOf((secret, place) => checkSecret(secret, { minBytes, place }))
  return (value, place) => {
    if (!Array.isArray(value)) return Object.freeze([checkSecret(value, { minBytes, place })])
    if (value.length === 0) {
      throw misconfigured(`${place} is an empty list; it must hold at least one secret, the newest first.`)
    }
    return all(value, place)
  }
}

/** Why a secret is guessable, whatever its length, as the end of a sentence about it; `null` when nothing tells. */
export function weakness (secret: string | Uint8Array): string | null {
  const bytes = Buffer.from(secret as Uint8Array)
  if (findKey(bytes) !== null) return 'is a public or private key, or JSON, and not a secret'
  const text = textOf(bytes)
  const decoded = text === null ? [] : decodings(text.trim())
  if (spellings([bytes, ...decoded]).some(isKnown)) return 'is a published secret that attackers try first'
  const own = text === null ? Math.min(estimateBits(bytes.toString('latin1'), 256), estimateBits(bytes.toString('base64'))) : estimateBits(text.trim())
  const inner = decoded.map(textOf).map(each => each === null ? own : estimateBits(each))
  const bits = Math.min(own, ...inner)
  return bits < leastBits ? `is too easy to guess: an estimate gives it ${Math.floor(bits)} bits, and ${leastBits} are needed` : null
}

/** The texts under which a published list may hold the secret: as it reads, and encoded, should it have been decoded before it came here. */
function spellings (forms: readonly Buffer[]): string[] {
  const found = new Set<string>()
  for (const bytes of forms) {
    const base64 = bytes.toString('base64')
    const hex = bytes.toString('hex')
    const text = textOf(bytes)?.trim()
    if (text !== undefined) found.add(text)
    for (const each of [base64, base64.replace(/=+$/, ''), bytes.toString('base64url'), hex, hex.toUpperCase()]) found.add(each)
  }
  return [...found]
}

/** What a text is the base64 or hex of, and what that is in turn. */
function decodings (text: string, depth = 2): Buffer[] {
  if (depth === 0) return []
  const decoded: Buffer[] = []
  if (/^(?:[0-9a-f]{2})+$/i.test(text)) decoded.push(Buffer.from(text, 'hex'))
  if (/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) decoded.push(Buffer.from(text, 'base64'))
  return decoded.flatMap(each => [each, ...decodings(textOf(each)?.trim() ?? '', depth - 1)])
}

/** The bytes as text when they are text: valid UTF-8 without control characters other than whitespace. */
function textOf (bytes: Buffer): string | null {
  if (!isUtf8(bytes)) return null
  const text = bytes.toString()
  return /[\u0000-\u0008\u000e-\u001f\u007f-\u009f]/.test(text) ? null : text
}
