import { misconfigured } from '../errors.js'
import { minSecretBytes } from '../util/describe.js'
import { isBytes } from '../util/objects.js'
import { listOf, type Parser } from '../util/options.js'
import { findKey, innermost, layersOf, textOf } from './disguised-keys.js'
import { isKnown } from './known-secrets.js'
import { countUnpredictable, isPredictable } from './predictable.js'

/** The requirements of {@link checkSecret}. */
interface SecretRule {
  /** The minimum length in bytes, of the UTF-8 encoding or of the array. */
  readonly minBytes: number
  /** The path of the option, for the message: `schemes.web.secret`. */
  readonly path: string
  /** A further sentence for the message about a weak secret. */
  readonly hint?: string
}

/** The minimum strength of a symmetric key (RFC 8725, 3.5; NIST SP 800-131A). */
const minBits = 128

const howToFix = "Make one with: node -p \"require('node:crypto').randomBytes(32).toString('base64url')\""

/**
 * Returns the bytes of a secret that is long enough and not guessable ({@link weakness}).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, whose message contains `path` and not the secret.
 */
export function checkSecret (secret: unknown, { minBytes, path, hint }: SecretRule): Buffer {
  const fix = hint === undefined ? howToFix : `${howToFix}. ${hint}`
  if (secret === undefined) {
    throw misconfigured(`${path} is undefined. Set it, or the environment variable that it comes from. ${howToFix}`)
  }
  if (typeof secret !== 'string' && !isBytes(secret)) {
    throw misconfigured(`${path} must be a string or a Uint8Array. ${howToFix}`)
  }
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < minBytes) {
    throw misconfigured(
      `${path} is too short: it has ${bytes.length} bytes and needs at least ${minBytes}. ${fix}`
    )
  }
  const reason = weakness(bytes)
  if (reason !== null) throw misconfigured(`${path} ${reason}. ${fix}`)
  return bytes
}

/**
 * Returns the parser of a secret, or of a non-empty list of secrets, the newest first. No message contains a secret.
 */
export function secrets ({ minBytes }: { readonly minBytes: number }): Parser<readonly Buffer[]> {
  const all = listOf((secret, path) => checkSecret(secret, { minBytes, path }))
  return (value, path) => {
    if (!Array.isArray(value)) return Object.freeze([checkSecret(value, { minBytes, path })])
    if (value.length === 0) {
      throw misconfigured(`${path} is an empty list; it must hold at least one secret, the newest first.`)
    }
    return all(value, path)
  }
}

/**
 * Returns the reason why a secret is guessable, as the end of a sentence about it, or `null`. A good secret has 128
 * bits once it is decoded, is neither a key nor a published secret, and less than half of it consists of repetition,
 * sequences, dates and common words.
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

/** Returns two bits for each character of a phrase (Shannon's estimate for English prose, rounded up). */
function bitsOfPhrase (bytes: Buffer): number {
  const text = textOf(bytes)
  return text !== null && /^[\p{L}\p{P}\s]+$/u.test(text) && /\s/.test(text) ? text.length * 2 : Infinity
}

/** About 500 guesses a day are allowed for an account: six unpredictable characters withstand years of that. */
const minUnpredictable = 6

/**
 * Returns the reason why a password in an option is guessable, as the end of a sentence about it, or `null`. People
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
