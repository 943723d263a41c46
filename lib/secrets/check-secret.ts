import { misconfigured } from '../errors.js'
import { minSecretBytes } from '../util/describe.js'
import { listOf, type Parser } from '../util/options.js'
import { findKey, innermost, layersOf, textOf } from './disguised-keys.js'
import { isKnown } from './known-secrets.js'
import { countUnpredictable, isPredictable } from './predictable.js'

/** The requirements of {@link checkSecret}. */
interface SecretRule {
  /** The fewest bytes of UTF-8, or of the array. */
  readonly minBytes: number
  /** The path of the option, for the message: `schemes.web.secret`. */
  readonly place: string
}

/** 128 bits, the strength that RFC 8725, 3.5 and NIST SP 800-131A ask of a symmetric key. */
const minBits = 128

const howToFix = "Make one with: node -p \"require('node:crypto').randomBytes(32).toString('base64url')\""

/**
 * Returns the bytes of a secret that is long enough and not guessable ({@link weakness}).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, with a sentence that names `place` and never the secret.
 */
export function checkSecret (secret: unknown, { minBytes, place }: SecretRule): Buffer {
  if (secret === undefined) {
    throw misconfigured(`${place} is undefined. Set it, or the environment variable that it comes from. ${howToFix}`)
  }
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw misconfigured(`${place} must be a string or a Uint8Array. ${howToFix}`)
  }
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < minBytes) {
    throw misconfigured(
      `${place} is too short: it has ${bytes.length} bytes and needs at least ${minBytes}. ${howToFix}`
    )
  }
  const reason = weakness(bytes)
  if (reason !== null) throw misconfigured(`${place} ${reason}. ${howToFix}`)
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

/**
 * Returns why a secret is guessable, whatever its length, as the end of a sentence about it; `null` where it is not. A
 * secret holds 128 bits once it is decoded, it is neither a key nor a published secret, and less than half of it is
 * repetition, sequences, dates and common words.
 */
export function weakness (secret: string | Uint8Array): string | null {
  const layers = layersOf(Buffer.from(secret as Uint8Array))
  if (findKey(layers) !== null) return 'is a public or private key, or JSON, and not a secret'
  const inner = innermost(layers)
  // A published secret in hexadecimal digits may have been decoded as base64 by mistake.
  const misread = Buffer.from(inner.toString('base64'), 'hex')
  if (isKnown(inner) || isKnown(innermost(layersOf(misread)))) return 'is a published secret that attackers try first'
  const bits = Math.min(...layers.map(layer => layer.length * 8), bitsOfPhrase(layers[0]))
  if (bits < minBits) {
    return `is too easy to guess: it holds ${bits} bits once it is decoded, and ${minBits} are needed`
  }
  const texts = layers.map(layer => textOf(layer) ?? layer.toString('latin1'))
  if (!texts.some(isPredictable)) return null
  return 'is too easy to guess: half of it or more is repetition, sequences, dates and common words'
}

/** Two bits a character of a phrase of words (Shannon's estimate for English prose, rounded up). */
function bitsOfPhrase (bytes: Buffer): number {
  const text = textOf(bytes)
  return text !== null && /^[\p{L}\p{P}\s]+$/u.test(text) && /\s/.test(text) ? text.length * 2 : Infinity
}

/**
 * The limit of guesses allows about 500 a day for an account: six unpredictable characters withstand years of that.
 */
const minUnpredictable = 6

/**
 * Returns why a password in an option is guessable, as the end of a sentence about it; `null` if it is not. People
 * choose passwords, and guesses are counted, so the requirements are lower than for a secret: long enough, and neither
 * repetition, nor the user's name, nor a common password.
 *
 * @param name the user's name; `''` if unknown.
 */
export function passwordWeakness (password: string, name: string): string | null {
  const bytes = Buffer.byteLength(password)
  if (bytes < minSecretBytes) return `is too short: it has ${bytes} bytes and needs at least ${minSecretBytes}`
  if (new Set(password).size < 5) return 'repeats few characters'
  if (countUnpredictable(password) < minUnpredictable) {
    return 'is made of what attackers try first: rows of the keyboard, common words'
  }
  const rest = name.length > 2 ? withoutName(password, name) : password
  return countUnpredictable(rest) < minUnpredictable ? "is little more than the user's name" : null
}

function withoutName (password: string, name: string): string {
  return password.toLowerCase().replaceAll(name.toLowerCase(), '')
}
