import { createHmac } from 'node:crypto'
import { internalError, misconfigured } from '../errors.js'
import { checkSecret } from '../secrets/check-secret.js'
import { noteSharedSecret } from '../secrets/secret-uses.js'
import { object, type Parser } from '../util/options.js'
import { keyIdForm } from './stored.js'

/** The reasons why a value cannot be hashed as a password. */
export type PasswordProblem = 'not-text' | 'empty' | 'too-long' | 'nul' | 'ill-formed'

/** The limit of UTF-8 after normalisation, which bounds the work that a client can cause. */
export const maxPasswordBytes = 1024

/** The number of bytes that bcrypt uses; implementations differ in what they do with the rest. */
export const maxBcryptBytes = 72

/**
 * Encodes a password as UTF-8 in Unicode's normal form NFC (RFC 8265, 4.2.2), so that it is the same on every keyboard.
 * Case and spaces stay as they are.
 * @returns the bytes, or the reason why the password is refused.
 */
export function passwordBytes (password: unknown, maxBytes: number): Buffer | PasswordProblem {
  if (typeof password !== 'string') return 'not-text'
  if (password === '') return 'empty'
  // Every character takes at least one byte, so this bounds the work below.
  if (password.length > maxBytes) return 'too-long'
  if (password.includes('\u0000')) return 'nul'
  // UTF-8 would replace every lone surrogate by U+FFFD, which would make different passwords equal.
  if (/\p{Surrogate}/u.test(password)) return 'ill-formed'
  const bytes = Buffer.from(password.normalize('NFC'))
  return bytes.length > maxBytes ? 'too-long' : bytes
}

/** A secret outside of the database, without which passwords cannot be guessed from stolen hashes. */
export interface Pepper {
  /** The name of the pepper in hashes: up to 32 letters, digits, `.`, `_` and `-`. */
  readonly id: string
  /** At least 32 bytes. */
  readonly secret: string | Uint8Array | undefined
}

/** Peppers, by their ids. */
export type Peppers = ReadonlyMap<string, Buffer>

const secret: Parser<Buffer> = (value, path) => checkSecret(value, { minBytes: 32, path })

function parseId (id: unknown, path: string): string {
  if (typeof id === 'string' && keyIdForm.test(id)) return id
  throw misconfigured(`${path} must be 1 to 32 letters, digits, '.', '_' and '-'.`)
}

/** Parses one {@link Pepper}. Messages do not contain its secret. */
export const parsePepper = object({ id: parseId, secret })

/** Returns peppers by their ids. @throws {AuthError} `AUTH_MISCONFIGURED` for two peppers with the same id. */
export function peppersById (peppers: ReadonlyArray<ReturnType<typeof parsePepper>>, path: string): Peppers {
  const byId = new Map<string, Buffer>()
  for (const { id, secret } of peppers) {
    if (byId.has(id)) {
      throw misconfigured(`${path} has two peppers with the id '${id}'. Give each its own id, and never reuse an id.`)
    }
    byId.set(id, secret)
    noteSharedSecret({ purpose: 'peppers', path: `the pepper '${id}' of ${path}` }, secret)
  }
  return byId
}

/**
 * Returns the input of the hash: the password itself, or its HMAC-SHA256 with a pepper, in base64url because some
 * implementations of bcrypt stop at a NUL. Its 43 characters are within the 72 bytes of bcrypt.
 * @throws {AuthError} `AUTH_FAULT` for a pepper that is not configured.
 */
export function inputOf (password: Buffer, keyId: string | null, peppers: Peppers): Buffer {
  if (keyId === null) return password
  const secret = peppers.get(keyId)
  if (secret === undefined) {
    throw internalError(`a stored password hash names the pepper '${keyId}', which is not configured`)
  }
  return Buffer.from(createHmac('sha256', secret).update(password).digest('base64url'))
}
