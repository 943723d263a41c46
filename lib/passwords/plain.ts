import type { PasswordCheck } from './check.js'
import { passwords } from './passwords.js'
import type { Passwords } from './passwords.js'
import type { HashOptions } from './recipe.js'
import type { PasswordProblem } from './text.js'

let usual: Passwords | undefined

/** Made when first asked for: who imports one name pays for no other. */
function defaults (): Passwords {
  usual ??= passwords()
  return usual
}

/**
 * The text to store for a password: argon2id with OWASP's parameters, or by what `options` say.
 *
 * @example
 * await users.setHash(id, await hashPassword(password))
 * @throws {AuthError} `AUTH_UNAVAILABLE` (503) when too many hashes wait; `AUTH_FAULT` for a password that has a {@link passwordProblem};
 * `AUTH_MISCONFIGURED` for options that are wrong or too weak.
 */
export async function hashPassword (password: string, options?: HashOptions): Promise<string> {
  return (options === undefined ? defaults() : passwords({ hash: options })).hash(password)
}

/**
 * Whether it is the password of a stored hash: argon2, scrypt or bcrypt. `null` or `undefined` for an unknown user: never valid, and as costly as a wrong password.
 *
 * @example
 * const { valid, needsRehash } = await verifyPassword(password, user?.hash)
 * @throws {AuthError} `AUTH_UNAVAILABLE` (503) when too many hashes wait; `AUTH_FAULT` for a stored text that is no hash.
 */
export async function verifyPassword (password: string, stored: string | null | undefined): Promise<PasswordCheck> {
  return defaults().verify(password, stored)
}

/** Why a password cannot be hashed; `null` when it can. Costs next to nothing: ask before {@link hashPassword} what a stranger wrote. */
export function passwordProblem (password: unknown): PasswordProblem | null {
  return defaults().problem(password)
}
