import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { No, Principal, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import { internalError, misconfigured } from '../../errors.js'
import { principalAtBoot, principalFrom, realmsOf } from '../../kit/principal.js'
import { hasControl, maxPasswordBytes, type UserPass } from '../../kit/read-credential.js'
import { loadLibraries } from '../../passwords/compute.js'
import { passwordSettings } from '../../passwords/options.js'
import { createPasswords } from '../../passwords/passwords.js'
import type { Passwords } from '../../passwords/passwords.js'
import type { Recipe } from '../../passwords/recipe.js'
import { readStored } from '../../passwords/stored.js'
import { passwordWeakness } from '../../secrets/check-secret.js'
import { addressOf } from '../../util/client-address.js'
import { describeValue } from '../../util/describe.js'
import { isMisplacedPromise, isNo, isObject, ownFields, property } from '../../util/objects.js'
import type { VerifiedCache } from './cache.js'

interface User {
  /** The digest of a plain password. */
  readonly digest: Buffer | null
  /** The hash of the password, if the table has one. */
  readonly stored: string | null
  readonly recipe: Recipe | null
  readonly principal: Principal
}

/** The option `users`, parsed. */
export interface Table {
  /** The recipes of the hashes; empty when all passwords are plain. */
  readonly recipes: readonly Recipe[]
  /** The realms of the users. */
  readonly realms: readonly string[]
  /** Returns the user with this name. */
  find (username: string): Pick<User, 'stored' | 'principal'> | undefined
  /**
   * @param check verifies every password that does not match a plain one, also for users without a hash, so that each
   * failure costs the same.
   */
  verifier (check: CheckHash | null): (
    username: string, password: string, request: FastifyRequest
  ) => Principal | null | Promise<Principal | null>
}

/**
 * Parses the option `users`. Plain passwords are kept as digests, salted per process. The password of an unknown user
 * is compared with a random digest, so that it takes as long.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function parseUsers (users: unknown, name: string, path: string): Table {
  if (!isObject(users) || Object.keys(users).length === 0) {
    throw misconfigured(`The option ${path}.users must be an object from user name to { password, scopes, roles } or ` +
      '{ hash, scopes, roles }, with at least one user.')
  }
  const salt = randomBytes(32).toString('latin1')
  const digest = (password: string): Buffer => hash('sha256', salt + password, 'buffer')
  const parse = ([username, user]: [string, unknown]) =>
    [username.normalize('NFC'), parseUser(username, user, { digest, name, path })] as const
  const known = new Map(Object.entries(users).map(parse))
  if (known.size < Object.keys(users).length) {
    throw misconfigured(`The option ${path}.users has two names that are equal in Unicode's normal form (NFC). ` +
      'Remove one of them.')
  }
  const nobody = randomBytes(32)
  return {
    recipes: [...known.values()].flatMap(({ recipe }) => recipe ?? []),
    realms: realmsOf([...known.values()].map(({ principal }) => principal)),
    find: username => known.get(username),
    verifier: check => (username, password, request) => {
      const user = known.get(username)
      const principal = user?.principal ?? null
      if (timingSafeEqual(digest(password), user?.digest ?? nobody)) return principal
      if (check === null) return null
      return check({ username, password }, user?.stored ?? null, request).then(valid => valid ? principal : null)
    }
  }
}

interface TableContext {
  readonly digest: (password: string) => Buffer
  /** The name of the scheme. */
  readonly name: string
  readonly path: string
}

function parseUser (username: string, given: unknown, context: TableContext): User {
  const { digest, name, path } = context
  const which = `The user '${username}' of ${path}`
  const user = isObject(given) ? ownFields(given) : null
  if (username === '' || username.includes(':') || hasControl(username)) {
    // what follows a colon may be the password
    throw misconfigured(`The user '${username.split(':', 1)[0]}' of ${path} has a name that HTTP Basic cannot carry ` +
      '(RFC 7617): it is empty, or has a colon or a control character.')
  }
  if (user !== null && 'id' in user) {
    throw misconfigured(`${which} has an id, which is always the name of the user. Leave it out.`)
  }
  if (user !== null && 'hash' in user) return parseHashed(username, user, context)
  if (typeof user?.password !== 'string') {
    throw misconfigured(`${which} must be { password, scopes, roles }; the password is ` +
      `${user === null ? 'missing' : typeof user.password}.`)
  }
  if (Buffer.byteLength(user.password) > maxPasswordBytes || hasControl(user.password)) {
    throw misconfigured(
      `${which} has a password that is longer than ${maxPasswordBytes} bytes, or has control characters.`
    )
  }
  const { password, ...rest } = user
  const reason = passwordWeakness(password, username)
  if (reason !== null) {
    throw misconfigured(`${which} has a password that ${reason}. Give another one, or in its place the hash that npx ` +
      'fastify-gatehouse hash prints.')
  }
  const principal = principalAtBoot({ ...rest, id: username }, name, `user '${username}' of ${path}`)
  return { digest: digest(password.normalize('NFC')), stored: null, recipe: null, principal }
}

function parseHashed (
  username: string, { hash: stored, ...rest }: Readonly<Record<string, unknown>>, { name, path }: TableContext
): User {
  const which = `The user '${username}' of ${path}`
  if (Object.hasOwn(rest, 'password')) {
    throw misconfigured(`${which} has both a password and a hash. Leave the password out.`)
  }
  if (stored === undefined) {
    throw misconfigured(`${which} has a hash that is undefined. Set it, or the environment variable that it comes ` +
      'from; npx fastify-gatehouse hash makes one.')
  }
  const read = readStored(stored)
  if (typeof read === 'string') {
    throw misconfigured(`${which} has a hash that cannot be used: ${read}. Make one with: npx fastify-gatehouse hash`)
  }
  if (read.keyId !== null) {
    throw misconfigured(`${which} has a hash under a pepper, which a table does not know. Use find, and ` +
      'passwords with the pepper.')
  }
  const principal = principalAtBoot({ ...rest, id: username }, name, `user '${username}' of ${path}`)
  return { digest: null, stored: String(stored), recipe: read.recipe, principal }
}

/** Verifies a password; `stored` is `null` for an unknown user, which must cost as much as a known one. */
type CheckHash = (sent: UserPass, stored: string | null, request: FastifyRequest) => Promise<boolean>

/** Verifies a password against the cache alone. */
type CheckCache = (...sent: Parameters<CheckHash>) => boolean

/** The result of the option `find`: the stored hash of a user, and the principal. */
export interface FoundUser<P extends PrincipalInput = PrincipalInput> {
  /** `null` for a user without a password. */
  readonly hash: string | null
  readonly principal: P
}

/** The option `find`. */
export type Find<P extends PrincipalInput> =
  (username: string, request: FastifyRequest) => FoundUser<P> | No | Promise<FoundUser<P> | No>

export function hashCheck (passwords: Pick<Passwords, 'verify'>, cache: VerifiedCache | null): CheckHash {
  return ({ username, password }, stored, { ip }) => {
    const verify = async (): Promise<boolean> => validOf(await passwords.verify(password, stored))
    if (cache === null || stored === null) return verify()
    return cache.check([username, password, stored, addressOf(ip)], verify)
  }
}

/** @throws {AuthError} `AUTH_FAULT` for a result of another form, which would count as a wrong password. */
function validOf (result: unknown): boolean {
  const valid = isObject(result) ? property(result, 'valid') : undefined
  if (typeof valid === 'boolean') return valid
  throw internalError(`passwords.verify must return { valid: true } or { valid: false }. Got ${describeValue(result)}`)
}

export function cacheCheck (cache: VerifiedCache): CheckCache {
  return ({ username, password }, stored, { ip }) =>
    stored !== null && cache.has([username, password, stored, addressOf(ip)])
}

/**
 * Creates the verifier of hashes by these recipes; verifying an unknown user costs as much as such a hash. Loads the
 * packages that they need, so that a missing one stops the boot.
 */
export async function passwordsFor (recipes: readonly Recipe[] | null, path: string): Promise<Passwords> {
  const usual = passwordSettings({}, path)
  const inUse = recipes ?? usual.inUse
  loadLibraries(inUse)
  return createPasswords({ ...usual, inUse })
}

/** A user that `find` has looked up; with `hash: null` for an unknown one. */
interface Found<P> {
  readonly hash: string | null
  /** Completes the principal. Called only once the password was verified, which it never is without a user. */
  readonly principal: () => P
}

/** Returns the function that looks users up by `find`: on every request, so that a change takes effect at once. */
export function userFinder<P extends PrincipalInput> (
  find: Find<P>, name: string
): (username: string, request: FastifyRequest) => Promise<Found<PrincipalFrom<P>>> {
  return async (username, request) => {
    const answer = await find(username, request)
    const found = isNo(answer) ? null : answer
    const [hash, principal] = isObject(found) ? [property(found, 'hash'), property(found, 'principal')] : [null, null]
    const isPending = [hash, principal].filter(isMisplacedPromise).length > 0
    if ((found !== null && !isObject(found)) || !isHash(hash) || isPending) {
      const hint = isPending ? ', and no promise in it: await it first' : ''
      throw internalError(`schemes.${name}: find must return { hash, principal } or null${hint}`)
    }
    const source = `the principal of the result of schemes.${name}.find`
    return { hash, principal: () => principalFrom(principal as P, name, source) }
  }
}

function isHash (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}
