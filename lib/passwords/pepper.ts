import { createHmac } from 'node:crypto'
import { internalError, misconfigured } from '../errors.js'
import { checkSecret } from '../secrets/check-secret.js'
import { object, type Parser } from '../util/options.js'
import { keyIdForm } from './stored.js'

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
