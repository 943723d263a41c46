import { randomBytes } from 'node:crypto'
import { internalError } from '../errors.js'
import { type Derive, derive as compute } from './derive.js'
import { inputOf, passwordBytes, type PasswordProblem } from './input.js'
import { type PasswordOptions, passwordSettings, type PasswordSettings } from './options.js'
import type { HashOptions } from './recipe.js'
import { digestBytes, readStored, saltBytes, writeStored } from './stored.js'
import { createPasswordCheck, fits, noMatch, type PasswordCheck } from './verify.js'

/** Hashes and verifies passwords under one set of options. */
export interface Passwords {
  /**
   * Hashes a password. Returns the text to store: a PHC string, or bcrypt's own form.
   * @throws {AuthError} `AUTH_UNAVAILABLE` (503) if too many hashes are waiting; `AUTH_FAULT` for a password that has
   * a {@link Passwords.problem}.
   */
  hash (password: string): Promise<string>
  /**
   * Compares a password with a stored hash. Pass `null` or `undefined` for an unknown user, or one without a password:
   * the result is never valid, and takes as long as a wrong password.
   * @throws {AuthError} `AUTH_UNAVAILABLE` (503) if too many hashes are waiting; `AUTH_FAULT` if the stored text is not
   * a hash, because that is not the user's mistake.
   */
  verify (password: string, stored: string | null | undefined): Promise<PasswordCheck>
  /**
   * Returns the reason why a password cannot be hashed, or `null` if it can. Computes no hash, so call it on untrusted
   * input before {@link Passwords.hash}.
   */
  problem (password: unknown): PasswordProblem | null
}

/**
 * Creates a password hasher with its own options: algorithm and parameters, a pepper, and the hashes still accepted.
 *
 * @example
 * const people = passwords({
 *   pepper: { id: '2025', secret: process.env.PASSWORD_PEPPER },
 *   legacy: [{ algorithm: 'bcrypt', cost: 12 }]
 * })
 * const { valid, needsRehash } = await people.verify(password, user?.hash)
 * if (valid && needsRehash) await users.setHash(user.id, await people.hash(password))
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function passwords (options: PasswordOptions = {}): Passwords {
  return makePasswords(passwordSettings(options, 'passwords'))
}

/**
 * Creates a hasher from parsed options.
 * @param derive computes one hash; tests replace it to count the computations.
 */
export function makePasswords (settings: PasswordSettings, derive: Derive = compute): Passwords {
  const { current, keyId, peppers, maxLength, hashQueue } = settings
  const check = createPasswordCheck(settings, derive)

  /** Returns the bytes from which a new hash is computed, or the reason why the password cannot be hashed. */
  function newInput (password: unknown): Buffer | PasswordProblem {
    const bytes = passwordBytes(password, maxLength)
    if (typeof bytes === 'string') return bytes
    const input = inputOf(bytes, keyId, peppers)
    return fits(input, current) ? input : 'too-long'
  }

  return Object.freeze({
    problem (password: unknown) {
      const input = newInput(password)
      return typeof input === 'string' ? input : null
    },
    async hash (password: string) {
      const input = newInput(password)
      if (typeof input === 'string') {
        throw internalError(`the password cannot be hashed (${input}). Call problem() first`)
      }
      const salt = randomBytes(saltBytes)
      const digest = await hashQueue.run(() => derive({ recipe: current, password: input, salt, length: digestBytes }))
      return writeStored({ recipe: current, salt, digest, keyId })
    },
    async verify (password: string, stored: string | null | undefined) {
      const bytes = passwordBytes(password, maxLength)
      if (typeof bytes === 'string') return noMatch
      const found = stored === null || stored === undefined ? null : readStored(stored)
      if (typeof found === 'string') throw internalError(`a stored password hash cannot be read: ${found}`)
      const input = inputOf(bytes, found?.keyId ?? null, peppers)
      return hashQueue.run(() => check(found, input))
    }
  })
}

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
