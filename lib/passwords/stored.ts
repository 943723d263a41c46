import { recipeProblem } from './recipe.js'
import type { Argon2Recipe, Recipe } from './recipe.js'

/** A parsed password hash. */
export interface Stored {
  readonly recipe: Recipe
  readonly salt: Buffer
  readonly digest: Buffer
  /** The id of the pepper that was applied to the password; `null` if there was none. */
  readonly keyId: string | null
}

/** The form of a pepper's id, which is part of every hash. */
export const keyIdForm = /^[A-Za-z0-9._-]{1,32}$/

/** The length of new salts, as RFC 9106, 3.1 recommends; bcrypt's are always this long. */
export const saltBytes = 16
export const digestBytes = 32

/** The shortest accepted lengths in bytes: a shorter digest could be matched by chance. */
const minDigestBytes = 16
const minSaltBytes = 8

/**
 * The longest accepted salt or digest in bytes. No implementation writes longer ones, and verifying would compute them
 * whole.
 */
const maxBytes = 128

const wrapper = /^\$hmac-sha256\$keyid=([A-Za-z0-9._-]{1,32})(\$.*)$/s
const argon2 =
  /^\$(argon2(?:id|i|d))(?:\$v=(16|19))?\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
const scrypt = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,10}),p=(\d{1,10})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
const bcrypt = /^\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/**
 * Parses a stored hash: PHC strings of argon2 and scrypt, modular crypt strings of bcrypt ($2a$, $2b$, $2y$), each
 * optionally wrapped for a pepper.
 * @returns the hash, or what is wrong with it, as the end of a sentence that does not contain it.
 */
export function readStored (text: unknown): Stored | string {
  if (typeof text !== 'string') return `it is not a string but ${text === null ? 'null' : typeof text}`
  const [, keyId = null, inner = text] = wrapper.exec(text) ?? []
  const read = readArgon2(inner, keyId) ?? readScrypt(inner, keyId) ?? readBcrypt(inner, keyId)
  if (read === null) return unknown(inner)
  if (read.digest.length < minDigestBytes || read.salt.length < minSaltBytes) {
    return `it has a salt shorter than ${minSaltBytes} bytes or a hash shorter than ${minDigestBytes}`
  }
  if (Math.max(read.digest.length, read.salt.length) > maxBytes) {
    return `it has a salt or a hash longer than ${maxBytes} bytes`
  }
  return recipeProblem(read.recipe) ?? read
}

/** Says why a text is not a hash of a known algorithm. The algorithm's identifier is not secret, so it may be shown. */
function unknown (text: string): string {
  const id = /^\$([a-z0-9-]{1,32})\$/.exec(text)?.[1]
  if (text === '') return 'it is empty'
  if (id === undefined) return 'it is not a PHC string: it does not begin with $argon2id$, $scrypt$, $2a$, $2b$ or $2y$'
  return /^(?:argon2(?:id|i|d)|scrypt|2[aby])$/.test(id)
    ? `it begins like a hash of ${id}, but the rest is malformed: it may have been cut off`
    : `its algorithm '${id}' is not supported`
}

function readArgon2 (text: string, keyId: string | null): Stored | null {
  const match = argon2.exec(text)
  const both = bytes(match?.[6], match?.[7])
  if (match === null || both === null) return null
  const recipe: Argon2Recipe = {
    algorithm: match[1] as Argon2Recipe['algorithm'],
    // Without v=, the hash is of version 1.0 (16).
    version: match[2] === '19' ? 19 : 16,
    memorySize: Number(match[3]),
    passes: Number(match[4]),
    parallelism: Number(match[5])
  }
  return { recipe, ...both, keyId }
}

function readScrypt (text: string, keyId: string | null): Stored | null {
  const match = scrypt.exec(text)
  const both = bytes(match?.[4], match?.[5])
  if (match === null || both === null) return null
  const recipe = {
    algorithm: 'scrypt', cost: 2 ** Number(match[1]), blockSize: Number(match[2]), parallelization: Number(match[3])
  } as const
  return { recipe, ...both, keyId }
}

/** Decodes salt and digest. Returns `null` if they are not canonical base64, most often because the end is missing. */
function bytes (salt = '', digest = ''): Pick<Stored, 'salt' | 'digest'> | null {
  const both = { salt: Buffer.from(salt, 'base64'), digest: Buffer.from(digest, 'base64') }
  return base64(both.salt) === salt && base64(both.digest) === digest ? both : null
}

function readBcrypt (text: string, keyId: string | null): Stored | null {
  const [, cost, salt = '', digest = ''] = bcrypt.exec(text) ?? []
  if (cost === undefined) return null
  return {
    recipe: { algorithm: 'bcrypt', cost: Number(cost) }, salt: fromBcrypt64(salt), digest: fromBcrypt64(digest), keyId
  }
}

/** Writes a hash in the form that {@link readStored} parses; bcrypt hashes as `$2b$`. */
export function writeStored ({ recipe, salt, digest, keyId }: Stored): string {
  const prefix = keyId === null ? '' : `$hmac-sha256$keyid=${keyId}`
  return prefix + writeInner(recipe, salt, digest)
}

function writeInner (recipe: Recipe, salt: Buffer, digest: Buffer): string {
  const both = `${base64(salt)}$${base64(digest)}`
  switch (recipe.algorithm) {
    case 'bcrypt': return `$2b$${String(recipe.cost).padStart(2, '0')}$${toBcrypt64(salt)}${toBcrypt64(digest)}`
    case 'scrypt': {
      const { cost, blockSize, parallelization } = recipe
      return `$scrypt$ln=${Math.log2(cost)},r=${blockSize},p=${parallelization}$${both}`
    }
    default: {
      const { algorithm, version, memorySize, passes, parallelism } = recipe
      return `$${algorithm}$v=${version}$m=${memorySize},t=${passes},p=${parallelism}$${both}`
    }
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const bcryptAlphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Decodes base64 in bcrypt's alphabet. Ignores surplus bits in the last character, which some implementations set. */
export function fromBcrypt64 (text: string): Buffer {
  return Buffer.from(text.replace(/./g, char => alphabet.charAt(bcryptAlphabet.indexOf(char))), 'base64')
}

function toBcrypt64 (value: Buffer): string {
  return base64(value).replace(/./g, char => bcryptAlphabet.charAt(alphabet.indexOf(char)))
}

/** Encodes as base64 without padding, as PHC strings have it. */
function base64 (value: Buffer): string {
  return value.toString('base64').replace(/=+$/, '')
}
