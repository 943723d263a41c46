import { hash } from 'node:crypto'
import { misconfigured } from '../errors.js'
import { minSecretBytes } from '../util/describe.js'
import { isBytes } from '../util/objects.js'
import { listOf, type Parser } from '../util/options.js'
import { findKey, innermost, layersOf, textOf } from './disguised-keys.js'
import { knownDigests } from './known-digests.js'

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

/** The sentence with which messages about a secret end. */
export const howToFixSecret = 'Make one with: npx fastify-gatehouse secret'

/**
 * Returns the bytes of a secret that is long enough and not guessable ({@link weakness}).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, whose message contains `path` and not the secret.
 */
export function checkSecret (secret: unknown, { minBytes, path, hint }: SecretRule): Buffer {
  const fix = hint === undefined ? howToFixSecret : `${howToFixSecret}. ${hint}`
  if (secret === undefined) {
    throw misconfigured(
      `${path} is undefined. Set it, or the environment variable that it comes from. ${howToFixSecret}`
    )
  }
  if (typeof secret !== 'string' && !isBytes(secret)) {
    throw misconfigured(`${path} must be a string or a Uint8Array. ${howToFixSecret}`)
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

/**
 * The minimum length of a repetition, a sequence or a part of a keyboard row. Shorter ones occur in random keys by
 * chance.
 */
const windowLength = 5

const rows = [
  'qwertyuiop', 'asdfghjkl', 'zxcvbnm', '123456789012345678901', '!@#$%^&*()', '1q2w3e4r5t6y7u8i9o0p',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik'
]
const keyboard = new Set(rows.flatMap(row => [row, [...row].reverse().join('')]).flatMap(windowsOf))

/** Common words of placeholders and passwords. */
const words = `
access admin administrator always api application auth authentication authorization backend before between
bigger change character chars client company complex confidential config cookie correct create database default
deploy develop development django docker donot dummy easily encode encrypt encryption enter environment every
everybody everyone example express fallback fastify forbidden frontend generate generated github google guess
hard here hidden hunter ignore iloveyou insecure insert internet json jsonwebtoken jwt key keyboard laravel
least length letmein local localhost login long master maybe minimum mongo monkey must never nobody node nothing
override pass passphrase passport password permission phrase place placeholder please private prod production
project public python random react really refresh replace root safe sample secret secure security senha sequence
server service session shared should sign signature signing simple some something spring staging start store
string strong super system temporary test testing that thirty this token tokens tomcat topsecret trust
unguessable unique update used user username value very welcome whatever with word world would your`.trim().split(/\s+/)

const dates = /\d{4}-\d\d-\d\d(?:t[\d:.]+z)?/g

const leet: Readonly<Record<string, string>> = { 0: 'o', 1: 'i', 3: 'e', 4: 'a', 5: 's', 7: 't', '@': 'a', $: 's' }

/** The words by their first three letters, because a table of a hundred thousand keys may be checked at boot. */
const byBeginning = new Map<string, readonly string[]>()
for (const word of words) byBeginning.set(word.slice(0, 3), [...byBeginning.get(word.slice(0, 3)) ?? [], word])

/**
 * Counts the characters that are not part of a repetition, a sequence, a keyboard row, a date or a common word (also
 * one spelled like `s3cr3t`).
 */
function countUnpredictable (text: string): number {
  const lower = text.toLowerCase()
  const predictable = new Uint8Array(lower.length)
  markWindows(lower, predictable)
  for (const { 0: date, index } of lower.matchAll(dates)) predictable.fill(1, index, index + date.length)
  markWords(lower.replace(/[013457@$]/g, char => `${leet[char]}`), predictable)
  let count = 0
  for (const mark of predictable) count += 1 - mark
  return count
}

/** Returns true if at least half of a text consists of repetition, sequences, dates and common words. */
function isPredictable (text: string): boolean {
  return countUnpredictable(text) * 2 <= text.length
}

function markWindows (text: string, predictable: Uint8Array): void {
  const seen = new Set<string>()
  for (let at = 0; at + windowLength <= text.length; at++) {
    const window = text.slice(at, at + windowLength)
    if (seen.has(window) || keyboard.has(window) || hasEvenSteps(window)) predictable.fill(1, at, at + windowLength)
    seen.add(window)
  }
}

function markWords (text: string, predictable: Uint8Array): void {
  for (let at = 0; at + 3 <= text.length; at++) {
    for (const word of byBeginning.get(text.slice(at, at + 3)) ?? []) {
      if (text.startsWith(word, at)) predictable.fill(1, at, at + word.length)
    }
  }
}

function windowsOf (text: string): string[] {
  return Array.from({ length: text.length - windowLength + 1 }, (_, at) => text.slice(at, at + windowLength))
}

/** Returns true for `aaaaa`, `12345`, `zyxwv`, `02468`. */
function hasEvenSteps (window: string): boolean {
  const step = window.charCodeAt(1) - window.charCodeAt(0)
  for (let i = 2; i < windowLength; i++) {
    if (window.charCodeAt(i) - window.charCodeAt(i - 1) !== step) return false
  }
  return true
}

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
