import { createHmac } from 'node:crypto'
import { internalError, misconfigured } from '../errors.js'
import { checkSecret } from '../secrets/check-secret.js'
import { object, type Parser } from '../util/options.js'
import { keyIdForm } from './stored.js'

/** A secret beside the database: hashes alone, stolen without it, cannot be guessed at. */
export interface Pepper {
  /** Stands in every hash made with it: letters, digits, `.`, `_` and `-`, up to 32. */
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

/** Parses one {@link Pepper}. No sentence shows its secret. */
export const parsePepper = object({ id: parseId, secret })

/** @throws {AuthError} `AUTH_MISCONFIGURED` for two with one id. */
export function peppersById (peppers: ReadonlyArray<ReturnType<typeof parsePepper>>, path: string): Peppers {
  const byId = new Map<string, Buffer>()
  for (const { id, secret } of peppers) {
    if (byId.has(id)) {
      throw misconfigured(`${path} has two peppers with the id '${id}'. Give each an id of its own, and never use ` +
        'one again.')
    }
    byId.set(id, secret)
  }
  return byId
}

/**
 * What is hashed: the password itself, or its HMAC-SHA256 under a pepper, as text: some implementations of bcrypt end
 * at a NUL, and 43 characters are within its 72 bytes.
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
