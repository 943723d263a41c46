import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Outcome } from '../../../types/outcome.js'
import type { No, Principal, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Guesses, Load, Scheme, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { fixedChallenge } from '../../kit/challenge.js'
import { invalid, unavailableOr, validOutcome } from '../../kit/outcome.js'
import { answeredPrincipal } from '../../kit/principal.js'
import { maxPasswordBytes, parseUserPass, readAuthorization, type UserPass } from '../../kit/read-credential.js'
import { noteSecret } from '../../secrets/secret-uses.js'
import { isThenable, property } from '../../util/objects.js'
import { VerifiedCache } from './cache.js'
import { parseBasicOptions, type BasicOptions, type BasicSettings, type PasswordChoice } from './options.js'
import {
  cacheCheck, hashCheck, passwordsFor, parseUsers, userFinder, type Find, type FoundUser, type Table
} from './users.js'

export type { BasicOptions, BasicUser } from './options.js'
export { parseUserPass, type FoundUser }

/** Returns the complete principal of a user, or `null` when the password is wrong. */
type Verify<P> = (username: string, password: string, request: FastifyRequest) => P | null | PromiseLike<P | null>

/**
 * Looks a password up in the cache. Returns the complete principal of its user, or the function that verifies it for
 * the user who was found.
 */
type Recall<P> = (sent: UserPass, request: FastifyRequest) => MaybePromise<P | VerifyFound<P>>

type VerifyFound<P> = () => ReturnType<Verify<P>>

interface Verifier<P> {
  readonly verify: Verify<P>
  /** Is cheap, and not limited as a guess. `null` without a cache. */
  readonly recall: Recall<P> | null
  /** The realms of the users that are known at boot. */
  readonly realms: readonly string[]
}

/**
 * Creates a scheme for HTTP Basic (RFC 7617) in UTF-8.
 *
 * @example
 * const users = { deploy: { hash: process.env.OPS_HASH, roles: ['ops'] } }
 * const ops = basic({ realm: 'ops', users, cache: { ttl: '1m' } })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot.
 */
export function basic<P extends PrincipalInput> (options: BasicOptions<P>): SchemeFactory<PrincipalFrom<P>, null> {
  return (app, name, context) => {
    const settings = parseBasicOptions(options, name)
    const { realm, load, decorate, emptyPassword } = settings
    const parts = {
      realm,
      load: load as Load<PrincipalFrom<P>> | null,
      guesses: context.guesses,
      decorate,
      emptyPassword
    }
    const verifier = createVerifier<P>(settings, name)
    if (settings.choice.kind === 'users') notePasswords(app, settings.choice.users as object, settings.path)
    return isThenable(verifier) ? verifier.then(ready => createScheme(ready, parts)) : createScheme(verifier, parts)
  }
}

/** Notes the plain passwords of a table for the doctor. */
function notePasswords (app: FastifyInstance, users: object, path: string): void {
  for (const [name, user] of Object.entries(users) as [string, object][]) {
    const password = property(user, 'password')
    if (typeof password !== 'string') continue
    noteSecret(app, { purpose: `passwords of ${path}`, path: `the password of '${name}' in ${path}.users` }, password)
  }
}

interface SchemeParts<P extends PrincipalInput> {
  readonly realm: string
  readonly load: Load<PrincipalFrom<P>> | null
  readonly guesses: Guesses
  readonly decorate: true | string | null
  readonly emptyPassword: boolean
}

function createScheme<P extends PrincipalInput> (
  { verify, recall, realms }: Verifier<PrincipalFrom<P>>,
  { realm, load, guesses, decorate, emptyPassword }: SchemeParts<P>
): Scheme<PrincipalFrom<P>, null> {
  const challenge = Object.freeze({ scheme: 'Basic', params: Object.freeze({ realm, charset: 'UTF-8' }) })
  const judge = (principal: PrincipalFrom<P> | null): Outcome<PrincipalFrom<P>, null> =>
    principal === null
      ? invalid('the user name or the password is wrong')
      : validOutcome(principal, { credential: null, authenticatedAt: new Date() })
  const check = ({ username, password }: UserPass, request: FastifyRequest, found?: VerifyFound<PrincipalFrom<P>>) =>
    guesses.attempt(request, username, async () => found === undefined ? verify(username, password, request) : found())
      .then(guess => guess.kind === 'checked' ? judge(guess.result) : guess, unavailableOr)
  type Recalled = PrincipalFrom<P> | VerifyFound<PrincipalFrom<P>>
  const decide = (sent: UserPass, request: FastifyRequest, recalled: Recalled) =>
    typeof recalled === 'function' ? check(sent, request, recalled) : judge(recalled)
  return {
    openapi: { type: 'http', scheme: 'basic' },
    ambient: true,
    reportsAuthTime: true,
    realms,
    decorate,
    ...load === null ? {} : { load },
    challenge: fixedChallenge(({ code }) => code === 'AUTH_ACCESS_DENIED' ? null : challenge),
    authenticate (request) {
      const encoded = readAuthorization(request, 'basic')
      if (typeof encoded !== 'string') return encoded
      const sent = parseUserPass(encoded)
      if (sent === null || sent.username === '' || (sent.password === '' && !emptyPassword)) {
        return invalid('the credential is not a user name and a password')
      }
      if (Buffer.byteLength(sent.password) > maxPasswordBytes) return invalid('the password is too long')
      if (recall === null) return check(sent, request)
      const recalled = recall(sent, request)
      return recalled instanceof Promise
        ? recalled.then(settled => decide(sent, request, settled), unavailableOr)
        : decide(sent, request, recalled)
    }
  }
}

type MaybePromise<T> = T | Promise<T>

function createVerifier<P extends PrincipalInput> (
  settings: BasicSettings, name: string
): MaybePromise<Verifier<PrincipalFrom<P>>> {
  const { choice, cacheTtl, path } = settings
  const cache = cacheTtl === null ? null : new VerifiedCache(cacheTtl * 1000)
  switch (choice.kind) {
    case 'users': return createTableVerifier<P>(parseUsers(choice.users, name, path), cache, path)
    case 'verify': return { verify: completeAnswer(choice.verify as Verify<P | No>, name), recall: null, realms: [] }
    case 'find': return createHashVerifier<P>(choice, cache, { name, path })
  }
}

async function createHashVerifier<P extends PrincipalInput> (
  { find, passwords }: Extract<PasswordChoice, { readonly kind: 'find' }>,
  cache: VerifiedCache | null,
  { name, path }: { readonly name: string, readonly path: string }
): Promise<Verifier<PrincipalFrom<P>>> {
  const ask = find as Find<P>
  const hashes = passwords ?? await passwordsFor(null, path)
  const verifyHash = hashCheck(hashes, cache)
  const findUser = userFinder(ask, name)
  const isCached = cache === null ? null : cacheCheck(cache)
  return {
    async verify (username, password, request) {
      const { hash, principal } = await findUser(username, request)
      return await verifyHash({ username, password }, hash, request) ? principal() : null
    },
    recall: isCached === null
      ? null
      : async (sent, request) => {
        const { hash, principal } = await findUser(sent.username, request)
        if (isCached(sent, hash, request)) return principal()
        return async () => await verifyHash(sent, hash, request) ? principal() : null
      },
    realms: []
  }
}

function createTableVerifier<P extends PrincipalInput> (
  table: Table, cache: VerifiedCache | null, path: string
): MaybePromise<Verifier<PrincipalFrom<P>>> {
  const { recipes, realms, verifier, find } = table
  // the table has the type of the option users, so its principals are of the type P
  const isCached = cache === null ? null : cacheCheck(cache)
  if (recipes.length > 0) {
    return passwordsFor(recipes, path).then(passwords => {
      const verify = verifier(hashCheck(passwords, cache))
      const recall = isCached === null
        ? null
        : (sent: UserPass, request: FastifyRequest): Principal | VerifyFound<Principal> => {
            const user = find(sent.username)
            if (user !== undefined && isCached(sent, user.stored, request)) return user.principal
            return () => verify(sent.username, sent.password, request)
          }
      return { verify, recall, realms } as Verifier<PrincipalFrom<P>>
    })
  }
  if (cache !== null) {
    throw misconfigured(`The option ${path}.cache has no effect without a user with a hash: a plain password is ` +
      'compared quickly. Leave cache out.')
  }
  return { verify: verifier(null) as Verify<PrincipalFrom<P>>, recall: null, realms }
}

function completeAnswer<P extends PrincipalInput> (verify: Verify<P | No>, name: string): Verify<PrincipalFrom<P>> {
  const complete = (answer: P | No): PrincipalFrom<P> | null => answeredPrincipal(answer, name)
  return (username, password, request) => {
    const found = verify(username, password, request)
    return isThenable(found) ? Promise.resolve(found).then(complete) : complete(found)
  }
}
