/** Why something is no password that could be hashed. */
export type PasswordProblem = 'not-text' | 'empty' | 'too-long' | 'nul' | 'ill-formed'

/** Longer ones are work that a stranger chooses. Bytes of UTF-8, after normalisation. */
export const longestPassword = 1024

/** bcrypt takes no more, and what implementations do with the rest differs. */
export const longestForBcrypt = 72

/**
 * The bytes of a password: UTF-8, in Unicode's normal form NFC (RFC 8265, 4.2.2), so that it is the same password on every keyboard. Nothing else is changed:
 * not case, not spaces. What is refused is refused before anything costly.
 */
export function passwordBytes (password: unknown, longest: number): Buffer | PasswordProblem {
  if (typeof password !== 'string') return 'not-text'
  if (password === '') return 'empty'
  // a character has a byte at least: nothing that is too long is even looked at
  if (password.length > longest) return 'too-long'
  if (password.includes('\u0000')) return 'nul'
  // a lone surrogate would become U+FFFD, as every other does
  if (/\p{Surrogate}/u.test(password)) return 'ill-formed'
  const bytes = Buffer.from(password.normalize('NFC'))
  return bytes.length > longest ? 'too-long' : bytes
}
