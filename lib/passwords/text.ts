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
