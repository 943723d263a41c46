import { hash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** Random characters: 30 of 62 make 178 bits. */
const randomLength = 30
/** 62^6 is more than 2^32. */
const checksumLength = 6
/** Of the random characters, how many a record shows. What is left is 154 bits. */
const shown = 4

const prefixes = /^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/i
const tails = new RegExp(`^[0-9A-Za-z]{${randomLength + checksumLength}}$`)

export function isPrefix (value: unknown): value is string {
  return typeof value === 'string' && value.length >= 2 && value.length <= 32 && prefixes.test(value)
}

/** What can be said of a key by its form alone: another prefix is *foreign*; a wrong length, character or checksum is *malformed*. */
export type KeyForm = 'ours' | 'foreign' | 'malformed'

/**
 * `<prefix>_<random><checksum>`, as GitHub's tokens are made: the prefix lets scanners find a key, and the checksum (CRC-32 of all before it, in base62) lets them
 * tell one from other text, and refuses a typo without a look-up. It is no secret and proves nothing.
 */
export class KeyFormat {
  readonly prefix: string
  readonly #length: number

  constructor (prefix: string) {
    this.prefix = prefix
    this.#length = prefix.length + 1 + randomLength + checksumLength
  }

  /** A new key. */
  make (): string {
    const body = `${this.prefix}_${randomText(randomLength)}`
    return body + checksum(body)
  }

  formOf (key: string): KeyForm {
    // no part behind the prefix has an underscore, so that `acme` and `acme_live` never take each other's
    if (key.lastIndexOf('_') !== this.prefix.length || !key.startsWith(this.prefix)) return 'foreign'
    if (key.length !== this.#length || !tails.test(key.slice(this.prefix.length + 1))) return 'malformed'
    const body = key.slice(0, -checksumLength)
    return key.endsWith(checksum(body)) ? 'ours' : 'malformed'
  }

  /** The beginning of a key, for people to recognise it by. */
  startOf (key: string): string {
    return key.slice(0, this.prefix.length + 1 + shown)
  }
}

/** What a store knows of a key, and everybody else by the name of `id`. Unsalted: nobody can try out 178 random bits. */
export function digestOf (key: string): string {
  return hash('sha256', key, 'base64url')
}

/** Whether a text can be the id of a key at all. */
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

/** Each character equally likely: bytes from 248 (4 × 62) on are thrown again. */
function randomText (length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && text.length < length) text += alphabet.charAt(byte % 62)
    }
  }
  return text
}
