import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { Principal, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import { internalError, misconfigured } from '../../errors.js'
import { principalAtBoot, principalFrom } from '../../kit/principal.js'
import { load } from '../../passwords/derive.js'
import { passwordSettings } from '../../passwords/options.js'
import { makePasswords } from '../../passwords/passwords.js'
import type { Passwords } from '../../passwords/passwords.js'
import type { Recipe } from '../../passwords/recipe.js'
import { readStored } from '../../passwords/stored.js'
import { passwordWeakness } from '../../secrets/check-secret.js'
import { isNo } from '../../util/answer.js'
import { addressOf } from '../../util/client-address.js'
import { isObject, ownFields, property } from '../../util/objects.js'
import type { VerifiedCache } from './cache.js'
import { hasControl, longestPassword } from './user-pass.js'

/** A user of the table. */
interface User {
  /** Of the password, where the table has it. */
  readonly digest: Buffer | null
  /** The hash of the password, where the table has that. */
  readonly stored: string | null
  readonly recipe: Recipe | null
  readonly principal: Principal
}

/** The users of one table, read. */
export interface Table {
  /** How their hashes were made; none where all passwords are given themselves. */
  readonly recipes: readonly Recipe[]
  /** Who has this name, and the hash, where the table has one. */
  find (username: string): Pick<User, 'stored' | 'principal'> | undefined
  /** @param check Asked about every password that is none of those that were given themselves, also of users who have no hash: a failure has one price. */
  verifier (check: CheckHash | null): (username: string, password: string, request: FastifyRequest) => Principal | null | Promise<Principal | null>
}

/**
 * Passwords as digests under a random prefix of this process. An unknown user is compared too, with a digest that nothing has.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function readTable (users: unknown, name: string, path: string): Table {
  if (!isObject(users) || Object.keys(users).length === 0) throw misconfigured(`The option ${path}.users must be an object from user name to { password, scopes, roles } or { hash, scopes, roles }, with at least one user.`)
  const salt = randomBytes(32).toString('latin1')
  const digest = (password: string): Buffer => hash('sha256', salt + password, 'buffer')
  const known = new Map(Object.entries(users).map(([username, user]) => [username.normalize('NFC'), parseUser(username, user, digest, name, path)]))
  if (known.size < Object.keys(users).length) throw misconfigured(`The option ${path}.users has two names that are one in Unicode's normal form (NFC). Remove one of them.`)
  const nobody = randomBytes(32)
  return {
    recipes: [...known.values()].flatMap(({ recipe }) => recipe ?? []),
    find: username => known.get(username),
    verifier: check => (username, password, request) => {
      const user = known.get(username)
      const principal = user?.principal ?? null
      if (timingSafeEqual(digest(password), user?.digest ?? nobody)) return principal
      if (check === null) return null
      return check(username, password, user?.stored ?? null, request).then(valid => valid ? principal : null)
    }
  }
}

function parseUser (username: string, given: unknown, digest: (password: string) => Buffer, name: string, path: string): User {
  const which = `The user '${username}' of ${path}`
  const user = isObject(given) ? ownFields(given) : null
  // behind a colon there may be the password
  if (username === '' || username.includes(':') || hasControl(username)) throw misconfigured(`The user '${username.split(':', 1)[0]}' of ${path} has a name that RFC 7617 cannot carry: it is empty, or has a colon or a control character.`)
  if (user !== null && 'hash' in user) return parseHashed(username, user, name, path)
  if (typeof user?.password !== 'string') throw misconfigured(`${which} must be { password, scopes, roles }; the password is ${user === null ? 'missing' : typeof user.password}.`)
  if (Buffer.byteLength(user.password) > longestPassword || hasControl(user.password)) throw misconfigured(`${which} has a password that is longer than ${longestPassword} bytes, or has control characters.`)
  const { password, ...rest } = user
  const reason = passwordWeakness(password, username)
  if (reason !== null) throw misconfigured(`${which} has a password that ${reason}. Give another one, or in its place the hash that npx fastify-gatehouse hash prints.`)
  return { digest: digest(password.normalize('NFC')), stored: null, recipe: null, principal: principalAtBoot({ ...rest, id: username }, name, `user '${username}' of ${path}`) }
}

function parseHashed (username: string, { hash: stored, ...rest }: Readonly<Record<string, unknown>>, name: string, path: string): User {
  const which = `The user '${username}' of ${path}`
  if (Object.hasOwn(rest, 'password')) throw misconfigured(`${which} has both a password and a hash. Leave the password out.`)
  if (stored === undefined) throw misconfigured(`${which} has a hash that is undefined. Set it, or the environment variable that it comes from; npx fastify-gatehouse hash makes one.`)
  const read = readStored(stored)
  if (typeof read === 'string') throw misconfigured(`${which} has a hash that cannot be used: ${read}. Make one with: npx fastify-gatehouse hash`)
  if (read.keyId !== null) throw misconfigured(`${which} has a hash under a pepper, which a table does not know. Use find, and passwords with the pepper.`)
  return { digest: null, stored: String(stored), recipe: read.recipe, principal: principalAtBoot({ ...rest, id: username }, name, `user '${username}' of ${path}`) }
}

/** Whether it is the user's password; `stored` is `null` for an unknown user, who costs as much as a known one. */
type CheckHash = (username: string, password: string, stored: string | null, request: FastifyRequest) => Promise<boolean>

/** What the option `find` gives: a user's stored hash, and the principal. */
export interface FoundUser<P extends PrincipalInput = PrincipalInput> {
  /** `null` for somebody without a password. */
  readonly hash: string | null
  readonly principal: P
}

export type Find<P extends PrincipalInput> = (username: string, request: FastifyRequest) => FoundUser<P> | No | Promise<FoundUser<P> | No>

export function hashCheck (passwords: Pick<Passwords, 'verify'>, cache: VerifiedCache | null): CheckHash {
  return (username, password, stored, { ip }) => {
    const verify = async (): Promise<boolean> => (await passwords.verify(password, stored)).valid
    return cache === null || stored === null ? verify() : cache.check([username, password, stored, addressOf(ip)], verify)
  }
}

/** Passwords whose unknown users cost what hashes by these recipes cost. What they need is loaded, so that a package that is missing stops the boot. */
export async function passwordsFor (recipes: readonly Recipe[] | null, path: string): Promise<Passwords> {
  const usual = passwordSettings({}, path)
  const inUse = recipes ?? usual.inUse
  await load(inUse)
  return makePasswords({ ...usual, inUse })
}

/** Users whose hash and principal are looked up at every request: a change of either counts at once. */
export function foundVerifier<P extends PrincipalInput> (find: Find<P>, check: CheckHash, name: string) {
  return async (username: string, password: string, request: FastifyRequest): Promise<PrincipalFrom<P> | null> => {
    const answer = await find(username, request)
    const found = isNo(answer) ? null : answer
    const hash = isObject(found) ? property(found, 'hash') : null
    if ((found !== null && !isObject(found)) || !isHash(hash)) {
      throw internalError(`the find function of the scheme '${name}' returned neither { hash, principal } nor a no, such as null`)
    }
    const valid = await check(username, password, hash, request)
    return found !== null && valid ? principalFrom(property(found, 'principal') as P, name) : null
  }
}

function isHash (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}
