import { isDeepStrictEqual } from 'node:util'
import type { FastifyInstance } from 'fastify'
import type { Foreign, Invalid, Unavailable } from '../../../types/outcome.js'
import { AuthError, misconfigured } from '../../errors.js'
import { isSymmetric, minSecretBytes, type Algorithm } from '../../jose/algorithms.js'
import type { ClaimRules } from '../../jose/claims.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { JoseHeader } from '../../jose/jws.js'
import { createKeyFinder, isUnavailable, parseKeyring, type KeyResolver, type Keyring } from '../../jose/keyring.js'
import { isKeysUrl, issuerUrlProblem, sourceUrl } from '../../jose/remote/fetch-json.js'
import { RemoteKeys, type FoundKey, type RemoteOptions, type RemoteSource } from '../../jose/remote/remote-keys.js'
import { foreign, invalid, unavailableOr } from '../../kit/outcome.js'
import { checkSecret, isKnown } from '../../secrets/check-secret.js'
import { TtlCache } from '../../util/cache.js'
import { joinNames } from '../../util/describe.js'
import { getOrCreate, isNo, isThenable } from '../../util/objects.js'
import { atRunTime } from '../../util/options.js'
import { parseIssuerAnswer, type IssuerSettings, type JwtSettings } from './options.js'
import type { SignSettings } from './sign-options.js'

/** One issuer: the rules for its claims, and its keys. */
export interface Trust {
  readonly rules: ClaimRules
  /** The option `keys`, not parsed. */
  readonly given: unknown
  /** The keys that are known at boot; `null` if a function returns them or they are fetched. */
  readonly ring: Keyring | null
  readonly algorithms: readonly Algorithm[] | null
  readonly find: (header: JoseHeader) => FoundKey | Promise<FoundKey>
  /**
   * Finds another key after a key that the token does not name did not verify it; `null` if the keys cannot have
   * changed.
   */
  readonly findAnother: (header: JoseHeader, failed: VerificationKey) => FoundKey | Promise<FoundKey>
  /** `true` if the keys are fetched. */
  readonly isRemote: boolean
}

/** The issuers of a scheme. Keys are never shared between them (RFC 8725, 3.8). */
export interface Trusted {
  /** The issuer for which the scheme signs; `undefined` if a function finds the issuers. */
  readonly first: Trust | undefined
  /** The issuers that are known at boot, in the order of the options. */
  readonly all: readonly Trust[]
  /** `true` if keys are fetched, or may be. */
  readonly isRemote: boolean
  /**
   * Returns the issuer with an exact `iss`, or *foreign* for an unknown one. The claim is not trusted before a key of
   * that issuer has verified the token.
   */
  readonly of: (iss: unknown) => Trust | Foreign | Invalid | Unavailable | Promise<Trust | Foreign | Unavailable>
}

/** Holds the settings that all issuers of a scheme share. */
export interface Common {
  readonly rules: Pick<ClaimRules, 'typ' | 'requiresIat'>
  readonly remote: RemoteOptions
}

/**
 * Reads the keys of all issuers of a scheme.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and never a key.
 */
export function createIssuers (issuers: JwtSettings['issuers'], common: Common, path: string): Trusted {
  if (typeof issuers === 'function') return byFunction(issuers, common, path)
  const trusts = issuers.map(each => createTrust(each, common))
  const byIssuer = new Map<unknown, Trust>(trusts.map(trust => [trust.rules.issuer, trust]))
  const anyIssuer = byIssuer.get(null)
  const names = joinNames(issuers.map(({ issuer }) => `'${issuer}'`))
  const unknown: Foreign = Object.freeze({ kind: 'foreign', detail: `its issuer (iss) is not ${names}` })
  return {
    first: trusts[0],
    all: trusts,
    isRemote: trusts.some(trust => trust.isRemote),
    of: iss => anyIssuer ?? (
      typeof iss === 'string' ? byIssuer.get(iss) ?? unknown : invalid('the claim iss is missing or not a string')
    )
  }
}

/**
 * Creates issuers that a function of the application finds. A result that cannot be parsed is an `AUTH_FAULT`, because
 * the function is called at run time.
 */
function byFunction (resolve: (iss: string) => unknown, common: Common, path: string): Trusted {
  const create = (iss: string, answer: unknown): Trust => {
    const parsed = parseIssuerAnswer(answer, `The result of the function ${path}.issuers`)
    return createTrust({ ...parsed, issuer: iss, path: `the result of the function ${path}.issuers` }, common)
  }
  const issuers = new IssuerFunction(resolve, (iss, answer) => atRunTime(() => create(iss, answer)))
  return { first: undefined, all: [], isRemote: true, of: iss => issuers.of(iss) }
}

function createTrust ({ issuer, audience, claims, algorithms, keys, path }: IssuerSettings, common: Common): Trust {
  const rules = Object.freeze({ ...common.rules, issuer, audience, required: claims })
  const check = (key: VerificationKey): void => { checkGuessable(key, 'it') }
  const source = { issuer, algorithms, check, insecureHosts: common.remote.insecureHosts, path }
  const all = { rules, given: keys, algorithms }
  if (keys === undefined) return { ...all, ...fetchedKeys(sourceByDiscovery(source), common.remote) }
  if (isKeysUrl(keys)) return { ...all, ...fetchedKeys(sourceAt(keys, source), common.remote) }
  return { ...all, ...givenKeys(keys, algorithms, `${path}.keys`) }
}

type Keys = Pick<Trust, 'ring' | 'find' | 'findAnother' | 'isRemote'>

function fetchedKeys (source: RemoteSource, options: RemoteOptions): Keys {
  const keys = new RemoteKeys(source, options)
  return {
    ring: null,
    find: header => keys.find(header),
    findAnother: (header, failed) => keys.findAnother(header, failed),
    isRemote: true
  }
}

function givenKeys (keys: unknown, algorithms: readonly Algorithm[] | null, path: string): Keys {
  const common = { findAnother: () => null, isRemote: false }
  if (typeof keys === 'function') {
    const rule = { algorithms, path: `the key that ${path} returned` }
    return {
      ...common, ring: null, find: createKeyFinder(keys as KeyResolver, rule, key => checkGuessable(key, rule.path))
    }
  }
  const ring = parseKeyring(keys, { algorithms, path })
  ring.keys.forEach((key, i) => { checkGuessable(key, ring.keys.length === 1 ? path : `key ${i + 1} of ${path}`) })
  return { ...common, ring, find: header => ring.find(header.alg, header.kid ?? null) }
}

/**
 * Refuses secrets that can be guessed, although they are long enough (RFC 8725, 3.5), and public keys whose private
 * halves were published.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function checkGuessable ({ key, algorithm }: VerificationKey, path: string): void {
  if (isSymmetric(algorithm)) checkSecret(key.export(), { minBytes: minSecretBytes(algorithm), path })
  else if (isKnown(key.export({ type: 'spki', format: 'der' }))) {
    throw misconfigured(`${path} is a published sample whose private key is public, so anybody could sign tokens. ` +
      'Generate a key pair.')
  }
}

/** Describes an issuer whose keys are fetched. */
interface RemoteIssuer {
  readonly issuer: string | null
  readonly algorithms: readonly Algorithm[] | null
  readonly check: (key: VerificationKey) => void
  readonly insecureHosts: readonly string[]
  /** The path of the options of the issuer, for messages. */
  readonly path: string
}

/** Returns the source of keys at a URL. @throws {AuthError} `AUTH_MISCONFIGURED` */
function sourceAt (
  keys: string | URL, { issuer, algorithms, check, insecureHosts, path }: RemoteIssuer
): RemoteSource {
  const url = sourceUrl(String(keys).trim(), insecureHosts)
  if (!(url instanceof URL)) throw misconfigured(`The option ${path}.keys ${url}.`)
  return { issuer, url, check, algorithms: publishableAlgorithms(algorithms, path) }
}

/** Returns the source of keys that the metadata of an issuer names. @throws {AuthError} `AUTH_MISCONFIGURED` */
function sourceByDiscovery ({ issuer, algorithms, check, insecureHosts, path }: RemoteIssuer): RemoteSource {
  if (issuer === null) {
    throw misconfigured(`The option ${path}.keys is missing, and without an issuer they cannot be discovered. Set ` +
      'keys or issuer.')
  }
  const problem = issuerUrlProblem(issuer, insecureHosts)
  if (problem !== null) {
    throw misconfigured(`The option ${path}.keys is missing. To discover them, ${path}.issuer ${problem}.`)
  }
  return { issuer, url: null, check, algorithms: publishableAlgorithms(algorithms, path) }
}

function publishableAlgorithms (algorithms: readonly Algorithm[] | null, path: string): readonly Algorithm[] | null {
  if (algorithms === null || !algorithms.some(isSymmetric)) return algorithms
  throw misconfigured(`The option ${path}.algorithms names HMAC, whose secrets are never published. Name algorithms ` +
    'with public keys, or give the keys in the option keys.')
}

/** The maximum number of cached issuers, and of cached negative results. */
const maxIssuers = 1_000
/** The maximum length of an `iss` in characters. The function is not called for longer ones. */
const maxLength = 500
/** The time for which a negative result is cached, in milliseconds. Short, so that new issuers are accepted soon. */
const negativeTtlMs = 60_000

/**
 * Finds issuers by a function of the application. Accepted issuers are cached without expiry, negative results for a
 * minute. Concurrent requests share one call.
 */
class IssuerFunction<T extends object> {
  readonly #resolve: (iss: string) => unknown
  readonly #make: (iss: string, answer: unknown) => T
  readonly #known = new Map<string, T>()
  readonly #answers = new TtlCache<T | null>({
    ttlMs: negativeTtlMs, maxEntries: maxIssuers, isNegative: answer => answer === null
  })

  /** @param make converts a result of `resolve` to an issuer; an error that it throws is a fault of the application. */
  constructor (resolve: (iss: string) => unknown, make: (iss: string, answer: unknown) => T) {
    this.#resolve = resolve
    this.#make = make
  }

  /** Finds an issuer. Returns *foreign* if the application does not accept it. */
  of (iss: unknown): T | Foreign | Invalid | Unavailable | Promise<T | Foreign | Unavailable> {
    if (typeof iss !== 'string') return invalid('the claim iss is missing or not a string')
    if (iss === '' || iss.length > maxLength) return foreign
    const known = this.#known.get(iss)
    if (known !== undefined) return known
    try {
      const answer = this.#answers.get(iss, () => this.#learn(iss))
      return isThenable(answer) ? answer.then(found => found ?? foreign, unavailableOr) : answer ?? foreign
    } catch (error) {
      return unavailableOr(error)
    }
  }

  #learn (iss: string): T | null | Promise<T | null> {
    const answer = this.#resolve(iss)
    return isThenable(answer) ? Promise.resolve(answer).then(each => this.#keep(iss, each)) : this.#keep(iss, answer)
  }

  #keep (iss: string, answer: unknown): T | null {
    if (isUnavailable(answer)) throw new AuthError('AUTH_UNAVAILABLE', answer.detail)
    if (isNo(answer)) return null
    const made = this.#make(iss, answer)
    const [oldest] = this.#known.size < maxIssuers ? [] : this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(iss, made)
    return made
  }
}

/** A scheme that accepts the tokens of an issuer. */
interface Member {
  /** The path of its options, for messages. */
  readonly path: string
  readonly trust: Trust
  /** `null` if it does not sign. */
  readonly sign: SignSettings | null
}

/** The schemes of an application by issuer. */
const membersOf = new WeakMap<FastifyInstance, Map<string, Member[]>>()

/**
 * Records a scheme of an issuer. An issuer that signs in this application has one set of keys and one `sign`: otherwise
 * one scheme would accept tokens that another has revoked.
 * @returns a function that returns true if an `aud` belongs to another signing scheme of the issuer.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if two schemes of an issuer differ and one of them signs.
 */
export function joinIssuer (app: FastifyInstance, member: Member): (aud: unknown) => boolean {
  const { issuer, audience } = member.trust.rules
  if (issuer === null) return () => false
  const byIssuer = getOrCreate(membersOf, app, () => new Map<string, Member[]>())
  const members = getOrCreate<string, Member[]>(byIssuer, issuer, () => [])
  for (const other of members) checkSame(member, other)
  members.push(member)
  return aud => {
    const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
    const others = members.filter(({ sign, trust }) => sign !== null && trust.rules.audience !== audience)
    return others.some(({ trust }) => trust.rules.audience?.some(each => named.includes(each)))
  }
}

function checkSame (one: Member, other: Member): void {
  if (one.sign === null && other.sign === null) return
  if (isDeepStrictEqual(one.sign, other.sign) && haveSameKeys(one, other)) return
  throw misconfigured(`${other.path} and ${one.path} have the same issuer, and one of them signs tokens, so they ` +
    'must have the same keys and the same sign. Otherwise one would accept tokens that the other has revoked. Write ' +
    'both options once and give them to both schemes.')
}

function haveSameKeys (one: Member, other: Member): boolean {
  const [keys, others] = [one.trust.ring?.keys, other.trust.ring?.keys]
  if (keys === undefined || others === undefined) return one.trust.given === other.trust.given
  return keys.length === others.length && keys.every(({ key, kid, algorithm, next }, i) => {
    const same = others[i]
    return same?.kid === kid && same.algorithm === algorithm && same.next === next && same.key.equals(key)
  })
}
