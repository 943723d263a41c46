import { randomBytes } from 'node:crypto'
import { fault } from '../errors.js'
import { fits, makeCheck, no } from './check.js'
import type { PasswordCheck } from './check.js'
import { derive as compute } from './derive.js'
import type { Derive } from './derive.js'
import { passwordSettings } from './options.js'
import type { PasswordOptions, PasswordSettings } from './options.js'
import { inputOf } from './pepper.js'
import { digestBytes, readStored, saltBytes, writeStored } from './stored.js'
import { passwordBytes } from './text.js'
import type { PasswordProblem } from './text.js'

/** Hashes passwords, and verifies them. */
export interface Passwords {
  /**
   * The text to store: a PHC string, or bcrypt's own form.
   * @throws {AuthError} `AUTH_UNAVAILABLE` (503) when too many hashes wait; `AUTH_FAULT` for a password that has a {@link Passwords.problem}.
   */
  hash (password: string): Promise<string>
  /**
   * Whether it is the password of a stored hash. `null` or `undefined` for an unknown user, or one without a password: never valid, and as costly as a wrong password.
   * @throws {AuthError} `AUTH_UNAVAILABLE` (503) when too many hashes wait; `AUTH_FAULT` for a stored text that is no hash, as that is nobody's wrong password.
   */
  verify (password: string, stored: string | null | undefined): Promise<PasswordCheck>
  /** Why a password cannot be hashed; `null` when it can. Costs next to nothing. Ask before {@link Passwords.hash} what a stranger wrote. */
  problem (password: unknown): PasswordProblem | null
}

/**
 * Passwords with settings of their own.
 *
 * @example
 * const people = passwords({ pepper: { id: '2025', secret: process.env.PASSWORD_PEPPER }, legacy: [{ algorithm: 'bcrypt', cost: 12 }] })
 * const { valid, needsRehash } = await people.verify(password, user?.hash)
 * if (valid && needsRehash) await users.setHash(user.id, await people.hash(password))
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function passwords (options: PasswordOptions = {}): Passwords {
  return makePasswords(passwordSettings(options, 'passwords'))
}

/** @param derive Computes one hash: a test counts them. */
export function makePasswords (settings: PasswordSettings, derive: Derive = compute): Passwords {
  const { current, keyId, peppers, maxLength, gate } = settings
  const check = makeCheck(settings, derive)

  /** What a new hash is made of. */
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
      if (typeof input === 'string') throw fault(`the password cannot be hashed (${input}): ask problem() first`)
      const salt = randomBytes(saltBytes)
      const digest = await gate.run(() => derive({ recipe: current, password: input, salt, length: digestBytes }))
      return writeStored({ recipe: current, salt, digest, keyId })
    },
    async verify (password: string, stored: string | null | undefined) {
      const bytes = passwordBytes(password, maxLength)
      if (typeof bytes === 'string') return no
      const found = stored === null || stored === undefined ? null : readStored(stored)
      if (typeof found === 'string') throw fault(`a stored password hash cannot be read: ${found}`)
      const input = inputOf(bytes, found?.keyId ?? null, peppers)
      return gate.run(() => check(found, input))
    }
  })
}
