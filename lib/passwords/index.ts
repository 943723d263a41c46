export {
  hashPassword, passwordProblem, passwords, verifyPassword, type PasswordCheck, type PasswordProblem, type Passwords
} from './passwords.js'
export type { PasswordOptions, Pepper } from './options.js'
export type { HashOptions } from './recipe.js'
