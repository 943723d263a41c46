import { passwords } from './passwords.js'
import type { Passwords } from './passwords.js'
import type { HashOptions } from './recipe.js'
import type { PasswordProblem } from './text.js'
import type { PasswordCheck } from './verify.js'

let usual: Passwords | undefined

/** Creates the default hasher on first use, so that importing this module computes nothing. */
function defaults (): Passwords {
  usual ??= passwords()
  return usual
}

/**
 * Hashes a password with argon2id and OWASP's parameters, or with `options`. Returns the text to store.
 *
 * @example
 * await users.setHash(id, await hashPassword(password))
 * @throws {AuthError} `AUTH_UNAVAILABLE` (503) if too many hashes are waiting; `AUTH_FAULT` for a password that has a
 * {@link passwordProblem}; `AUTH_MISCONFIGURED` for options that are wrong or too weak.
 */
export async function hashPassword (password: string, options?: HashOptions): Promise<string> {
  return (options === undefined ? defaults() : passwords({ hash: options })).hash(password)
}

/**
 * Compares a password with a stored argon2, scrypt or bcrypt hash. Pass `null` or `undefined` for an unknown user: the
 * result is never valid, and takes as long as a wrong password.
 *
 * @example
 * const { valid, needsRehash } = await verifyPassword(password, user?.hash)
 * @throws {AuthError} `AUTH_UNAVAILABLE` (503) if too many hashes are waiting; `AUTH_FAULT` if the stored text is not
 * a hash.
 */
export async function verifyPassword (password: string, stored: string | null | undefined): Promise<PasswordCheck> {
  return defaults().verify(password, stored)
}

/**
 * Returns the reason why a password cannot be hashed, or `null` if it can. Computes no hash, so call it on untrusted
 * input before {@link hashPassword}.
 *
 * @example
 * const problem = passwordProblem(request.body.password)
 * if (problem !== null) return reply.code(400).send({ error: 'Choose another password' })
 */
export function passwordProblem (password: unknown): PasswordProblem | null {
  return defaults().problem(password)
}
