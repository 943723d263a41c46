import { createHmac } from 'node:crypto'
import { fault, misconfigured } from '../errors.js'
import { checkSecret } from '../schemes/secrets.js'
import { fields } from '../shape.js'
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

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place` and never a secret. */
export function readPeppers (given: readonly unknown[], place: string): Peppers {
  const peppers = new Map<string, Buffer>()
  for (const pepper of given) {
    const { id, secret } = fields(pepper, ['id', 'secret'], `A pepper of ${place}`)
    if (typeof id !== 'string' || !keyIdForm.test(id)) throw misconfigured(`The id of a pepper of ${place} must be 1 to 32 letters, digits, '.', '_' and '-'.`)
    if (peppers.has(id)) throw misconfigured(`${place} has two peppers with the id '${id}'. Give each an id of its own, and never use one again.`)
    peppers.set(id, checkSecret(secret, { minBytes: 32, place: `The secret of the pepper '${id}' of ${place}` }))
  }
  return peppers
}

/**
 * What is hashed: the password itself, or its HMAC-SHA256 under a pepper, as text: some implementations of bcrypt end at a NUL, and 43 characters are within its 72 bytes.
 * @throws {AuthError} `AUTH_FAULT` for a pepper that is not configured.
 */
export function inputOf (password: Buffer, keyId: string | null, peppers: Peppers): Buffer {
  if (keyId === null) return password
  const secret = peppers.get(keyId)
  if (secret === undefined) throw fault(`a stored password hash names the pepper '${keyId}', which is not configured`)
  return Buffer.from(createHmac('sha256', secret).update(password).digest('base64url'))
}
