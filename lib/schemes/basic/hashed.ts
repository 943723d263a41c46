import type { FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import { addressOf } from '../../address.js'
import { isNo } from '../../answer.js'
import { fault, misconfigured } from '../../errors.js'
import { load } from '../../passwords/derive.js'
import { passwordSettings } from '../../passwords/options.js'
import { makePasswords } from '../../passwords/passwords.js'
import type { Passwords } from '../../passwords/passwords.js'
import type { Recipe } from '../../passwords/recipe.js'
import { property } from '../../property.js'
import { isObject } from '../../shape.js'
import { principalFrom } from '../principal.js'
import type { VerifiedCache } from './cache.js'

/** Whether it is the user's password; `stored` is `null` for an unknown user, who costs as much as a known one. */
export type CheckHash = (username: string, password: string, stored: string | null, request: FastifyRequest) => Promise<boolean>

/** What the option `find` gives: a user's stored hash, and the principal. */
export interface FoundUser<P extends PrincipalInput = PrincipalInput> {
  /** `null` for somebody without a password. */
  readonly hash: string | null
  readonly principal: P
}

type Find<P extends PrincipalInput> = (username: string, request: FastifyRequest) => FoundUser<P> | No | Promise<FoundUser<P> | No>

export function hashCheck (passwords: Pick<Passwords, 'verify'>, cache: VerifiedCache | null): CheckHash {
  return (username, password, stored, { ip }) => {
    const verify = async (): Promise<boolean> => (await passwords.verify(password, stored)).valid
    return cache === null || stored === null ? verify() : cache.check([username, password, stored, addressOf(ip)], verify)
  }
}

/** Passwords whose unknown users cost what hashes by these recipes cost. What they need is loaded, so that a package that is missing stops the boot. */
export async function passwordsFor (recipes: readonly Recipe[] | null, place: string): Promise<Passwords> {
  const usual = passwordSettings({}, place)
  const inUse = recipes ?? usual.inUse
  await load(inUse)
  return makePasswords({ ...usual, inUse })
}

/**
 * The passwords that were given, or those by default.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export async function givenPasswords (given: unknown, place: string): Promise<Pick<Passwords, 'verify'>> {
  if (given === undefined) return passwordsFor(null, place)
  if (!isObject(given) || typeof given.verify !== 'function') throw misconfigured(`The option passwords of ${place} must be what passwords() of fastify-gatehouse/passwords returns.`)
  return given as unknown as Passwords
}

/** Users whose hash and principal are looked up at every request: a change of either counts at once. */
export function foundVerifier<P extends PrincipalInput> (find: Find<P>, check: CheckHash, name: string) {
  return async (username: string, password: string, request: FastifyRequest): Promise<PrincipalFrom<P> | null> => {
    const answer = await find(username, request)
    const found = isNo(answer) ? null : answer
    const hash = isObject(found) ? property(found, 'hash') : null
    if ((found !== null && !isObject(found)) || !isHash(hash)) {
      throw fault(`the find function of the scheme '${name}' returned neither { hash, principal } nor a no, such as null`)
    }
    const valid = await check(username, password, hash, request)
    return found !== null && valid ? principalFrom(property(found, 'principal') as P, name) : null
  }
}

function isHash (value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}
