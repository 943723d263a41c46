import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 30 characters of 62 have 178 bits. */
const randomLength = 30
/** Enough for a CRC-32: 62^6 is more than 2^32. */
const checksumLength = 6
/** The random characters that a record shows. The hidden ones have 154 bits. */
const shownLength = 4

const prefixPattern = /^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/i
const tailPattern = new RegExp(`^[0-9A-Za-z]{${randomLength + checksumLength}}$`)

export function isPrefix (value: unknown): value is string {
  return typeof value === 'string' && value.length >= 2 && value.length <= 32 && prefixPattern.test(value)
}

/**
 * The result of a check of a key's form: a key with another prefix is *foreign*; one with a wrong length, character or
 * checksum is *malformed*.
 */
export type KeyForm = 'ours' | 'foreign' | 'malformed'

/**
 * Generates and checks keys of the form `<prefix>_<random><checksum>`, like GitHub's tokens. The prefix lets scanners
 * find a key. The checksum (CRC-32 of everything before it, in base62) lets them tell a key from other text, and
 * refuses a typo without a look-up. It is not a secret and proves nothing.
 */
export class KeyFormat {
  readonly prefix: string
  readonly #length: number

  constructor (prefix: string) {
    this.prefix = prefix
    this.#length = prefix.length + 1 + randomLength + checksumLength
  }

  /** Generates a key. */
  generate (): string {
    const body = `${this.prefix}_${randomText(randomLength)}`
    return body + checksum(body)
  }

  /** Returns true for a text of the length and with the prefix of a key. Nothing else of it is checked. */
  fits (key: string): boolean {
    return key.length === this.#length && key.startsWith(this.prefix)
  }

  formOf (key: string): KeyForm {
    // nothing after the prefix has an underscore, so that `acme` and `acme_live` never accept each other's keys
    if (key.lastIndexOf('_') !== this.prefix.length || !key.startsWith(this.prefix)) return 'foreign'
    if (!tailPattern.test(key.slice(this.prefix.length + 1))) return 'malformed'
    const body = key.slice(0, -checksumLength)
    return key.endsWith(checksum(body)) ? 'ours' : 'malformed'
  }

  /** Returns the public beginning of a key, by which people recognise it. */
  startOf (key: string): string {
    return key.slice(0, this.prefix.length + 1 + shownLength)
  }
}

/** Returns the digest of a key, which is stored in its place and is its public `id`. 178 random bits need no salt. */
export function digestOf (key: string): string {
  return hash('sha256', key, 'base64url')
}

/** Returns true for a text of the form of {@link digestOf}. */
export function isKeyId (id: unknown): id is string {
  return typeof id === 'string' && /^[\w-]{43}$/.test(id)
}

function checksum (body: string): string {
  let rest = crc32(body)
  let text = ''
  for (let i = 0; i < checksumLength; i++) {
    text = alphabet.charAt(rest % 62) + text
    rest = Math.floor(rest / 62)
  }
  return text
}

/**
 * Returns uniformly distributed characters: bytes from 248 (4 × 62) on are discarded, as a remainder would be biased.
 */
function randomText (length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && text.length < length) text += alphabet.charAt(byte % 62)
    }
  }
  return text
}
