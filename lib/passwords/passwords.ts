import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { internalError } from '../errors.js'
import { derive as compute, type Derive } from './compute.js'
import { passwordSettings, type PasswordOptions, type PasswordSettings, type Peppers } from './options.js'
import { isWeaker, workOf, type HashOptions, type Recipe } from './recipe.js'
import { digestBytes, readStored, saltBytes, writeStored, type Stored } from './stored.js'

/** The reasons why a value cannot be hashed as a password. */
export type PasswordProblem = 'not-text' | 'empty' | 'too-long' | 'nul' | 'ill-formed'

/** The result of comparing a password with a stored hash. */
export interface PasswordCheck {
  readonly valid: boolean
  /**
   * The password is valid, but its hash uses another algorithm, weaker parameters or another pepper than new hashes do.
   * Hash it again now, while the password is known.
   */
  readonly needsRehash: boolean
}

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
  return createPasswords(passwordSettings(options, 'passwords'))
}

/**
 * Creates a hasher from parsed options.
 * @param derive computes one hash; tests replace it to count the computations.
 */
export function createPasswords (settings: PasswordSettings, derive: Derive = compute): Passwords {
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

/**
 * Encodes a password as UTF-8 in Unicode's normal form NFC (RFC 8265, 4.2.2), so that it is the same on every keyboard.
 * Case and spaces stay as they are.
 * @returns the bytes, or the reason why the password is refused.
 */
function passwordBytes (password: unknown, maxBytes: number): Buffer | PasswordProblem {
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

/**
 * Returns the input of the hash: the password itself, or its HMAC-SHA256 with a pepper, in base64url because some
 * implementations of bcrypt stop at a NUL. Its 43 characters are within the 72 bytes of bcrypt.
 * @throws {AuthError} `AUTH_FAULT` for a pepper that is not configured.
 */
function inputOf (password: Buffer, keyId: string | null, peppers: Peppers): Buffer {
  if (keyId === null) return password
  const secret = peppers.get(keyId)
  if (secret === undefined) {
    throw internalError(`a stored password hash names the pepper '${keyId}', which is not configured`)
  }
  return Buffer.from(createHmac('sha256', secret).update(password).digest('base64url'))
}

type CheckSettings = Pick<PasswordSettings, 'current' | 'keyId' | 'inUse'>
type PasswordVerifier = (found: Stored | null, input: Buffer) => Promise<PasswordCheck>

const noMatch: PasswordCheck = Object.freeze({ valid: false, needsRehash: false })

/**
 * Creates the function that compares a password with a stored hash, `null` standing for an unknown user.
 * Every failure takes at least as long as the slowest hash in use, so that it does not reveal whether the user exists.
 */
function createPasswordCheck ({ current, keyId, inUse }: CheckSettings, derive: Derive): PasswordVerifier {
  let slowest = inUse.reduce(slower)
  const dummy = {
    password: Buffer.from(randomBytes(32).toString('base64url')), salt: randomBytes(saltBytes), length: digestBytes
  }

  function isOld ({ recipe, salt, keyId: id }: Stored): boolean {
    return id !== keyId || salt.length < saltBytes || isWeaker(recipe, current)
  }

  return async (found, input) => {
    if (found !== null) slowest = slower(slowest, found.recipe)
    const evaluable = found !== null && fits(input, found.recipe) ? found : null
    if (evaluable !== null && await matches(evaluable, input, derive)) {
      return { valid: true, needsRehash: isOld(evaluable) }
    }
    if (evaluable === null || workOf(evaluable.recipe) < workOf(slowest)) await derive({ recipe: slowest, ...dummy })
    return noMatch
  }
}

function slower (a: Recipe, b: Recipe): Recipe {
  return workOf(b) > workOf(a) ? b : a
}

async function matches ({ recipe, salt, digest }: Stored, password: Buffer, derive: Derive): Promise<boolean> {
  return timingSafeEqual(await derive({ recipe, password, salt, length: digest.length }), digest)
}

/** The number of bytes that bcrypt uses; implementations differ in what they do with the rest. */
const maxBcryptBytes = 72

/** Returns true if an algorithm uses every byte of the input: bcrypt ignores all but the first 72. */
function fits (input: Buffer, recipe: Recipe): boolean {
  return recipe.algorithm !== 'bcrypt' || input.length <= maxBcryptBytes
}
