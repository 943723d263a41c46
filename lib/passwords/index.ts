export {
  hashPassword, passwordProblem, passwords, verifyPassword, type PasswordCheck, type Passwords
} from './passwords.js'
export type { PasswordOptions } from './options.js'
export type { PasswordProblem, Pepper } from './input.js'
export type { Argon2idOptions, BcryptOptions, HashOptions, ScryptOptions } from './recipe.js'
