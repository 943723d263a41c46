import type { FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { Duration } from '../../../types/duration.js'
import type { Outcome } from '../../../types/outcome.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Guesses, Load, Scheme, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { fixedChallenge } from '../../kit/challenge.js'
import { authenticated, invalid, unavailableOr } from '../../kit/outcome.js'
import { answeredPrincipal } from '../../kit/principal.js'
import { readAuthorization } from '../../kit/read-credential.js'
import type { Passwords } from '../../passwords/passwords.js'
import { isThenable } from '../../util/answer.js'
import { addressOf } from '../../util/client-address.js'
import { readOptions } from '../../util/options.js'
import { cacheFrom, type VerifiedCache } from './cache.js'
import { longestPassword, parseUserPass, type UserPass } from './user-pass.js'
import { type FoundUser, foundVerifier, givenPasswords, hashCheck, passwordsFor, readTable } from './users.js'

export { parseUserPass, type FoundUser }

/** A user of the table that {@link basic} takes: the principal, its name being the `id`, and the password or its hash. */
export type BasicUser = Omit<PrincipalInput, 'id'> & (
  | { readonly password: string | undefined, readonly hash?: never }
  | {
    /** What `npx fastify-gatehouse hash` prints: argon2, scrypt or bcrypt. */
    readonly hash: string | undefined
    readonly password?: never
  })

interface BasicCommon {
  /** What the browser's prompt names. Default: the scheme's name. */
  readonly realm?: string
  readonly load?: Load
}

interface BasicCached {
  /**
   * Takes a password that was right for a user and their stored hash to be right for `ttl`, at most 5 minutes, from the same address, so that a slow hash is not computed for every request.
   * A changed hash counts at once; a wrong password is never remembered. Left out, every request is verified.
   */
  readonly cache?: { readonly ttl: Duration }
}

/** The options of {@link basic}: `verify`, `users` or `find`. */
export type BasicOptions<P extends PrincipalInput = PrincipalInput> = BasicCommon & (
  | {
    /** The user's principal, or a no: `null`, `undefined`, `false` or `{ valid: false }`. Take as long for an unknown user as for a known one. What it throws is a 500. */
    readonly verify: (username: string, password: string, request: FastifyRequest) => P | No | Promise<P | No>
    readonly users?: never
    readonly find?: never
    /** Only with hashes that the scheme can see. */
    readonly cache?: never
    readonly passwords?: never
  }
  | BasicCached & {
    /** From user name to password, or its hash, and principal. Passwords are not kept. */
    readonly users: Readonly<Record<string, BasicUser>>
    readonly verify?: never
    readonly find?: never
    readonly passwords?: never
  }
  | BasicCached & {
    /** The user's stored hash and principal, or a no, asked at every request. The password is verified here. What it throws is a 500. */
    readonly find: (username: string, request: FastifyRequest) => FoundUser<P> | No | Promise<FoundUser<P> | No>
    /** What verifies the hashes: `passwords({...})` of `fastify-gatehouse/passwords`, for those under a pepper. Default: `passwords()`. */
    readonly passwords?: Pick<Passwords, 'verify'>
    readonly verify?: never
    readonly users?: never
  })

/** Completes what is found, so that nothing is left to do when it is remembered. */
type Verify<P> = (username: string, password: string, request: FastifyRequest) => P | null | PromiseLike<P | null>

/** The ways to tell whose a password is. */
interface Verifier<P> {
  readonly verify: Verify<P>
  /** Whose it was a moment ago at the same address, or `null`: it costs nothing, so that no limit of guesses stands before it. `null` where nothing is remembered. */
  readonly recall: Verify<P> | null
}

type Said = Readonly<Record<string, unknown>>

/**
 * HTTP Basic, RFC 7617, in UTF-8.
 *
 * @example
 * const ops = basic({ realm: 'ops', users: { deploy: { hash: process.env.OPS_HASH, roles: ['ops'] } }, cache: { ttl: '1m' } })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot.
 */
export function basic<P extends PrincipalInput> (options: BasicOptions<P>): SchemeFactory<PrincipalFrom<P>, null> {
  return (_app, name, context) => {
    const place = `basic() of the scheme '${name}'`
    const said = readOptions(options, ['verify', 'users', 'find', 'realm', 'load', 'cache', 'passwords'], `The options of ${place}`)
    const { realm = name, load } = said
    if (typeof realm !== 'string') throw misconfigured(`The option realm of ${place} must be a string.`)
    if (load !== undefined && typeof load !== 'function') throw misconfigured(`The option load of ${place} must be a function.`)
    const about = { realm, load: load as Load<PrincipalFrom<P>> | undefined, guesses: context?.guesses ?? null }
    const verify = verifier<P>(said, name, place)
    return isThenable(verify) ? verify.then(ready => schemeOf(ready, about)) : schemeOf(verify, about)
  }
}

interface About<P extends PrincipalInput> {
  readonly realm: string
  readonly load: Load<PrincipalFrom<P>> | undefined
  readonly guesses: Guesses | null
}

function schemeOf<P extends PrincipalInput> ({ verify, recall }: Verifier<PrincipalFrom<P>>, { realm, load, guesses }: About<P>): Scheme<PrincipalFrom<P>, null> {
  const challenge = Object.freeze({ scheme: 'Basic', params: Object.freeze({ realm, charset: 'UTF-8' }) })
  const judge = (principal: PrincipalFrom<P> | null): Outcome<PrincipalFrom<P>, null> =>
    principal === null
      ? invalid('the user name or the password is wrong')
      : authenticated(principal, { credential: null, authenticatedAt: new Date() })
  const check = ({ username, password }: UserPass, request: FastifyRequest) => {
    if (guesses !== null) return guesses.attempt(request, username, async () => verify(username, password, request)).then(guess => guess.kind === 'checked' ? judge(guess.result) : guess, busy)
    const found = verify(username, password, request)
    return isThenable(found) ? Promise.resolve(found).then(judge, busy) : judge(found)
  }
  return {
    openapi: { type: 'http', scheme: 'basic' },
    ambient: true,
    dated: true,
    ...load === undefined ? {} : { load },
    challenge: fixedChallenge(({ code }) => code === 'AUTH_ACCESS_DENIED' ? null : challenge),
    authenticate (request) {
      const encoded = readAuthorization(request, 'basic')
      if (typeof encoded !== 'string') return encoded
      const sent = parseUserPass(encoded)
      if (sent === null || sent.username === '' || sent.password === '') return invalid('the credential is no user name and password')
      if (Buffer.byteLength(sent.password) > longestPassword) return invalid('the password is too long')
      const known = recall?.(sent.username, sent.password, request) ?? null
      if (isThenable(known)) return Promise.resolve(known).then(principal => principal === null ? check(sent, request) : judge(principal), busy)
      return known === null ? check(sent, request) : judge(known)
    }
  }
}

/** Too many hashes wait already: nobody can tell now, which is no fault. Everything else that was thrown is one. */
function busy (cause: unknown): Outcome<never, null> {
  return unavailableOr(cause)
}

function verifier<P extends PrincipalInput> (said: Said, name: string, place: string): Verifier<PrincipalFrom<P>> | Promise<Verifier<PrincipalFrom<P>>> {
  const ways = ['verify', 'users', 'find'].filter(way => way in said)
  if (ways.length !== 1) throw misconfigured(`${place} needs either verify or users, or find.`)
  if ('passwords' in said && !('find' in said)) throw misconfigured(`${place} has the option passwords, which only find uses.`)
  const cache = said.cache === undefined ? null : cacheFrom(said.cache, place)
  if ('users' in said) return tableVerifier<P>(said.users, cache, name, place)
  const given = said[ways[0] as string]
  if (typeof given !== 'function') throw misconfigured(`The option ${ways[0]} of ${place} must be a function ${ways[0] === 'find' ? '(username, request) => { hash, principal } or null' : '(username, password, request) => principal or null'}.`)
  if ('find' in said) {
    const find = given as Parameters<typeof foundVerifier<P>>[0]
    const recall = cache === null ? null : foundVerifier(find, async (...asked) => recalls(cache, ...asked), name)
    return givenPasswords(said.passwords, place).then(passwords => ({ verify: foundVerifier(find, hashCheck(passwords, cache), name), recall }))
  }
  if (cache !== null) throw misconfigured(`${place} has a cache, which has to see the stored hash, so that a changed password counts at once. Use find instead of verify, or leave cache out.`)
  return { verify: ownVerifier(given as Verify<P | No>, name), recall: null }
}

function recalls (cache: VerifiedCache, username: string, password: string, stored: string | null, { ip }: FastifyRequest): boolean {
  return stored !== null && cache.remembers([username, password, stored, addressOf(ip)])
}

function tableVerifier<P extends PrincipalInput> (users: unknown, cache: VerifiedCache | null, name: string, place: string): Verifier<PrincipalFrom<P>> | Promise<Verifier<PrincipalFrom<P>>> {
  const { recipes, verifier, find } = readTable(users, name, place)
  // what a table says of a principal beside realm, id, scopes and roles is what its type says
  const recall = cache === null
    ? null
    : (username: string, password: string, request: FastifyRequest) => {
        const user = find(username)
        return user !== undefined && recalls(cache, username, password, user.stored, request) ? user.principal : null
      }
  if (recipes.length > 0) return passwordsFor(recipes, place).then(passwords => ({ verify: verifier(hashCheck(passwords, cache)), recall }) as Verifier<PrincipalFrom<P>>)
  if (cache !== null) throw misconfigured(`${place} has a cache, and no user with a hash: comparing a password that is given itself costs nothing. Leave cache out.`)
  return { verify: verifier(null) as Verify<PrincipalFrom<P>>, recall: null }
}

function ownVerifier<P extends PrincipalInput> (verify: Verify<P | No>, name: string): Verify<PrincipalFrom<P>> {
  const complete = (answer: P | No): PrincipalFrom<P> | null => answeredPrincipal(answer, name)
  return (username, password, request) => {
    const found = verify(username, password, request)
    return isThenable(found) ? Promise.resolve(found).then(complete) : complete(found)
  }
}
