import { base64, fromBcrypt64, toBcrypt64 } from './base64.js'
import { recipeFault } from './recipe.js'
import type { Argon2Recipe, Recipe } from './recipe.js'

/** A hash as it is stored, read. */
export interface Stored {
  readonly recipe: Recipe
  readonly salt: Buffer
  readonly digest: Buffer
  /** Of the pepper that went over the password first; `null` for none. */
  readonly keyId: string | null
}

/** What a pepper's id is made of: it stands in every hash. */
export const keyIdForm = /^[A-Za-z0-9._-]{1,32}$/

/** RFC 9106, 3.1 recommends it; bcrypt has no other. */
export const saltBytes = 16
export const digestBytes = 32

/** A shorter one is met by chance too soon. */
const leastDigest = 16
const leastSalt = 8

/** Bytes of either. Longer ones nobody makes, and all of it would be computed. */
const longest = 128

const wrapper = /^\$hmac-sha256\$keyid=([A-Za-z0-9._-]{1,32})(\$.*)$/s
const argon2 = /^\$(argon2(?:id|i|d))(?:\$v=(16|19))?\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
const scrypt = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,10}),p=(\d{1,10})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
const bcrypt = /^\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/**
 * Reads a stored hash: PHC strings of argon2 and scrypt, modular crypt strings of bcrypt ($2a$, $2b$, $2y$), each also under a pepper.
 * @returns what is wrong with it, as the end of a sentence that does not show it.
 */
export function readStored (text: unknown): Stored | string {
  if (typeof text !== 'string') return `it is not a string but ${text === null ? 'null' : typeof text}`
  const [, keyId = null, inner = text] = wrapper.exec(text) ?? []
  const read = readArgon2(inner, keyId) ?? readScrypt(inner, keyId) ?? readBcrypt(inner, keyId)
  if (read === null) return unknown(inner)
  if (read.digest.length < leastDigest || read.salt.length < leastSalt) return `it has a salt shorter than ${leastSalt} bytes or a hash shorter than ${leastDigest}`
  if (Math.max(read.digest.length, read.salt.length) > longest) return `it has a salt or a hash longer than ${longest} bytes`
  return recipeFault(read.recipe) ?? read
}

/** An identifier is no secret, and tells what was stored there. */
function unknown (text: string): string {
  const id = /^\$([a-z0-9-]{1,32})\$/.exec(text)?.[1]
  if (id === undefined) return text === '' ? 'it is empty' : 'it is no PHC string: it does not begin with $argon2id$, $scrypt$, $2a$, $2b$ or $2y$'
  return /^(?:argon2(?:id|i|d)|scrypt|2[aby])$/.test(id) ? `it begins as ${id} and does not go on as such: it may have been cut off` : `its algorithm '${id}' is not supported`
}

function readArgon2 (text: string, keyId: string | null): Stored | null {
  const match = argon2.exec(text)
  const both = bytes(match?.[6], match?.[7])
  if (match === null || both === null) return null
  const recipe: Argon2Recipe = {
    algorithm: match[1] as Argon2Recipe['algorithm'],
    // without v= it is of the time before there were versions
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
  const recipe = { algorithm: 'scrypt', cost: 2 ** Number(match[1]), blockSize: Number(match[2]), parallelization: Number(match[3]) } as const
  return { recipe, ...both, keyId }
}

/** `null` for what no encoder writes: most often, the end is missing. */
function bytes (salt = '', digest = ''): Pick<Stored, 'salt' | 'digest'> | null {
  const both = { salt: Buffer.from(salt, 'base64'), digest: Buffer.from(digest, 'base64') }
  return base64(both.salt) === salt && base64(both.digest) === digest ? both : null
}

function readBcrypt (text: string, keyId: string | null): Stored | null {
  const [, cost, salt = '', digest = ''] = bcrypt.exec(text) ?? []
  if (cost === undefined) return null
  return { recipe: { algorithm: 'bcrypt', cost: Number(cost) }, salt: fromBcrypt64(salt), digest: fromBcrypt64(digest), keyId }
}

/** The text of a hash, in the form that {@link readStored} reads. bcrypt as $2b$. */
export function writeStored ({ recipe, salt, digest, keyId }: Stored): string {
  const prefix = keyId === null ? '' : `$hmac-sha256$keyid=${keyId}`
  return prefix + writeInner(recipe, salt, digest)
}

function writeInner (recipe: Recipe, salt: Buffer, digest: Buffer): string {
  const both = `${base64(salt)}$${base64(digest)}`
  switch (recipe.algorithm) {
    case 'bcrypt': return `$2b$${String(recipe.cost).padStart(2, '0')}$${toBcrypt64(salt)}${toBcrypt64(digest)}`
    case 'scrypt': return `$scrypt$ln=${Math.log2(recipe.cost)},r=${recipe.blockSize},p=${recipe.parallelization}$${both}`
    default: return `$${recipe.algorithm}$v=${recipe.version}$m=${recipe.memorySize},t=${recipe.passes},p=${recipe.parallelism}$${both}`
  }
}
