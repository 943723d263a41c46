import { hash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { ApiKeyCredential } from '../../../types/api-keys.js'
import type { CredentialSource } from '../../../types/credential-source.js'
import type { Features } from '../../../types/features.js'
import type { Outcome } from '../../../types/outcome.js'
import type { Principal, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Load, Scheme, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { bearerChallenge, fixedChallenge, type WriteChallenge } from '../../kit/challenge.js'
import { authenticated, foreign, invalid } from '../../kit/outcome.js'
import { answeredPrincipal, principalAtBoot } from '../../kit/principal.js'
import { markAmbient, reader, traits } from '../../kit/read-credential.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { isThenable } from '../../util/answer.js'
import { describeValue, joinNames } from '../../util/describe.js'
import { isHttpToken } from '../../util/http-token.js'
import { isObject } from '../../util/objects.js'
import { readOptions } from '../../util/options.js'
import { managedKeys, type ManagedPlace } from './managed.js'
import type { ManagedOptions } from './options.js'

interface ApiKeyCommon {
  /** Where the key travels. Default `'header:x-api-key'`. */
  readonly from?: CredentialSource | readonly CredentialSource[]
  /** The realm of the challenge. Default: the scheme's name; beside `challenge`, none. */
  readonly realm?: string
  /** The HTTP authentication scheme of the challenge, such as `'X-API-Key'`. Default `'APIKey'`; where the key travels as Bearer, it is always `Bearer`. */
  readonly challenge?: string
}

interface GivenKeys extends ApiKeyCommon {
  /** What every key of this scheme starts with. A key that starts otherwise is *foreign*: the next scheme is asked. */
  readonly prefix?: string
  readonly load?: Load
  readonly managed?: never
}

/** The options of {@link apiKey}: `keys` or `verify`. */
export type ApiKeyOptions<P extends PrincipalInput = PrincipalInput> = GivenKeys & (
  | {
    /** From key to principal. Each key must hold 128 bits once it is decoded, and not be guessable. The plaintext is not kept. */
    readonly keys: Readonly<Record<string, P>> | ReadonlyMap<string, P>
    readonly verify?: never
  }
  | {
    /** The key's principal, or a no: `null`, `undefined`, `false` or `{ valid: false }`. What it throws is a 500. */
    readonly verify: (key: string, request: FastifyRequest) => P | No | Promise<P | No>
    readonly keys?: never
  })

/** The options of {@link apiKey} for keys that are issued, listed, rotated and revoked at run time. */
export interface ManagedApiKeyOptions<P extends PrincipalInput = PrincipalInput> extends ApiKeyCommon {
  readonly managed: ManagedOptions
  /**
   * The owner of a key: what they may do now, which bounds what their keys may, and whatever else a principal is to have. `null`, or none any more: their keys are invalid.
   * It is given a principal without scopes and roles, and no request. Left out, the plugin's; without either, a key's own scopes and roles stand.
   */
  readonly load?: Load<PrincipalFrom<P>>
  readonly keys?: never
  readonly verify?: never
  readonly prefix?: never
}

type Verify<P> = (key: string, request: FastifyRequest) => P | null | Promise<P | null>

/** The application's own `verify`. */
type Ask<P> = (key: string, request: FastifyRequest) => P | No | Promise<P | No>

type Read = ReturnType<typeof reader>

/** The scheme that a key belongs to. */
interface About {
  readonly name: string
  /** For sentences. */
  readonly place: string
  readonly prefix: string
  readonly places: readonly CredentialSource[]
}

/** RFC 6750, 2.1: what a Bearer credential is made of. */
const b64token = /^[A-Za-z0-9\-._~+/]+=*$/

/** What arrives whole in a header and in a cookie, where commas and semicolons divide. */
const visible = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]+$/

/** Longer is no key of anybody's, and hashing it would be work for nothing. */
const longest = 1024

/**
 * API keys. What a look-up costs does not grow with the number of keys.
 *
 * @example
 * const service = apiKey({ keys: { [process.env.BILLING_KEY]: { id: 'billing', scopes: ['orders:read'] } } })
 * const issued = apiKey({ managed: { prefix: 'acme_live' } })              // see app.gatehouse.apiKeys
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a key that can be guessed, or a wrong option.
 */
export function apiKey<P extends PrincipalInput = PrincipalInput> (options: ManagedApiKeyOptions<P>): SchemeFactory<PrincipalFrom<P>, ApiKeyCredential>
export function apiKey<P extends PrincipalInput> (options: ApiKeyOptions<P>): SchemeFactory<PrincipalFrom<P>, null>
export function apiKey (options: ApiKeyOptions | ManagedApiKeyOptions): SchemeFactory {
  return (app, name, context) => {
    const place = `apiKey() of the scheme '${name}'`
    const said = readOptions(options, ['keys', 'verify', 'managed', 'from', 'prefix', 'realm', 'challenge', 'load'], `The options of ${place}`)
    const { from = 'header:x-api-key', prefix = '', realm, load } = said
    if (typeof prefix !== 'string' || (realm !== undefined && typeof realm !== 'string')) throw misconfigured(`The options prefix and realm of ${place} must be strings.`)
    if (load !== undefined && typeof load !== 'function') throw misconfigured(`The option load of ${place} must be a function.`)
    const read = reader(from, `The option from of ${place}`)
    const places = [from].flat() as CredentialSource[]
    const common = { ...traits(places), challenge: challengeFrom(said.challenge, { name, place, places, realm }) }
    if (!('managed' in said)) {
      const { authenticate } = givenScheme(said, read, { name, place, prefix, places })
      return { ...common, authenticate: markAmbient(places, authenticate), ...load === undefined ? {} : { load: load as Load } }
    }
    const { scheme, features } = managedScheme(said, read, { app, name, place, context, load: load as Load | undefined })
    return { scheme: { ...common, ...scheme, authenticate: markAmbient(places, scheme.authenticate) }, features }
  }
}

function managedScheme (said: Readonly<Record<string, unknown>>, read: Read, about: ManagedPlace): { readonly scheme: Pick<Scheme, 'authenticate' | 'load' | 'ownerUnknown'>, readonly features: Features } {
  const stray = ['keys', 'verify', 'prefix'].find(option => option in said)
  if (stray !== undefined) throw misconfigured(`${about.place} has managed and ${stray}. ${stray === 'prefix' ? 'Write the prefix as managed.prefix' : 'Make a scheme of each'}.`)
  const { outcomeOf, apiKeys, ...more } = managedKeys(said.managed, about)
  const authenticate = (request: FastifyRequest) => {
    const key = read(request)
    return typeof key === 'string' ? outcomeOf(key) : key
  }
  return { scheme: { ...more, authenticate }, features: { apiKeys } }
}

function givenScheme (said: Readonly<Record<string, unknown>>, read: Read, about: About): Pick<Scheme, 'authenticate'> {
  const { prefix, places } = about
  const verify = verifier(said, about)
  const mayMeetJwt = places.includes('bearer') && prefix === ''
  const judge = (principal: Principal | null): Outcome<Principal, null> =>
    principal === null ? invalid('the API key is unknown') : authenticated(principal, { credential: null })
  return {
    authenticate (request) {
      const key = read(request)
      if (typeof key !== 'string') return key
      if (!key.startsWith(prefix) || (mayMeetJwt && looksLikeJwt(key))) return foreign
      if (key.length > longest) return invalid('the API key is too long')
      const found = verify(key, request)
      return isThenable(found) ? Promise.resolve(found).then(judge) : judge(found)
    }
  }
}

/** The principal of a key, complete. */
function verifier<P extends PrincipalInput> (said: Readonly<Record<string, unknown>>, about: About): Verify<PrincipalFrom<P>> {
  const { name, place } = about
  if (('keys' in said) === ('verify' in said)) throw misconfigured(`${place} needs either keys or verify, or managed.`)
  if ('keys' in said) return table<P>(said.keys, about)
  const { verify } = said
  if (typeof verify !== 'function') throw misconfigured(`The option verify of ${place} must be a function (key, request) => principal or null.`)
  const complete = (answer: P | No): PrincipalFrom<P> | null => answeredPrincipal(answer, name)
  return (key, request) => {
    const found = (verify as Ask<P>)(key, request)
    return isThenable(found) ? Promise.resolve(found).then(complete) : complete(found)
  }
}

/**
 * Looks a key up by its digest, under a random prefix of this process: no plaintext is kept, and the time of a look-up tells nothing of the keys,
 * because nobody outside can choose or know a digest.
 */
function table<P extends PrincipalInput> (keys: unknown, { name, place, prefix, places }: About): Verify<PrincipalFrom<P>> {
  if (!(keys instanceof Map) && !isObject(keys)) throw misconfigured(`The option keys of ${place} must be an object or a Map from key to principal.`)
  const entries = keys instanceof Map ? [...keys as ReadonlyMap<unknown, P>] : Object.entries(keys as Readonly<Record<string, P>>)
  if (entries.length === 0) throw misconfigured(`The option keys of ${place} is empty. Add a key, or use verify.`)
  const salt = randomBytes(32).toString('latin1')
  const digest = (key: string): string => hash('sha256', salt + key, 'base64url')
  const principals = new Map<string, PrincipalFrom<P>>()
  const travels = places.includes('bearer') ? b64token : visible
  entries.forEach(([key, principal], i) => {
    const which = `key ${i + 1} of ${place}`
    if (key === 'undefined' || typeof key !== 'string') throw misconfigured(`The ${which} is ${typeof key === 'string' ? "'undefined', so its environment variable is not set" : 'no string'}.`)
    if (key.length > longest || !travels.test(key)) throw misconfigured(`The ${which} cannot travel in ${joinNames(places, 'and')}: use up to ${longest} characters of ${places.includes('bearer') ? 'letters, digits and -._~+/, with = at the end only' : 'visible ASCII without commas and semicolons'}.`)
    if (!key.startsWith(prefix)) throw misconfigured(`The ${which} does not start with the option prefix.`)
    // what every key starts with is no secret
    checkSecret(key.slice(prefix.length), { minBytes: 16, place: `The ${which}` })
    principals.set(digest(key), principalAtBoot(principal, name, which))
  })
  return key => principals.get(digest(key)) ?? null
}

interface ChallengeAbout extends Omit<About, 'prefix'> {
  readonly realm: string | undefined
}

/** Returns the challenge of every failure. Keys that travel as Bearer have the one that RFC 6750, 3, demands. */
function challengeFrom (option: unknown, { name, place, places, realm }: ChallengeAbout): WriteChallenge {
  if (places.includes('bearer')) {
    if (option !== undefined) throw misconfigured(`${place} has the option challenge, and its key travels as Bearer, whose challenge is always Bearer (RFC 6750). Leave challenge out, or 'bearer' out of the option from.`)
    return bearerChallenge(realm ?? name)
  }
  const params = Object.freeze({ realm: option === undefined ? realm ?? name : realm })
  const written = Object.freeze({ scheme: option === undefined ? 'APIKey' : authenticationScheme(option, place), params })
  // no other key helps whoever may not
  return fixedChallenge(({ code }) => code === 'AUTH_ACCESS_DENIED' ? null : written)
}

function authenticationScheme (option: unknown, place: string): string {
  if (typeof option === 'string' && isHttpToken(option)) return option
  const hint = typeof option === 'string' && option.includes('realm') ? ' Write the realm as the option realm.' : ''
  throw misconfigured(`The option challenge of ${place} must be the name of an HTTP authentication scheme, such as 'X-API-Key'; it is ${describeValue(option)}.${hint}`)
}

/** Three segments of base64url, the first of which begins like a JSON object: somebody else's token in our place. */
function looksLikeJwt (key: string): boolean {
  return /^eyJ[\w-]+\.[\w-]*\.[\w-]*$/.test(key)
}
