import type { Foreign, Invalid, Unavailable } from '../../../types/outcome.js'
import { misconfigured } from '../../errors.js'
import { isSymmetric, leastSecretBytes } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { ClaimRules } from '../../jose/claims.js'
import { algorithmList } from '../../jose/jwk.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { JoseHeader } from '../../jose/jws.js'
import { keyringOf, resolverOf } from '../../jose/keyring.js'
import type { Keyring, KeyResolver } from '../../jose/keyring.js'
import { RemoteKeys } from '../../jose/remote/remote-keys.js'
import type { FoundKey, RemoteOptions, RemoteSource } from '../../jose/remote/remote-keys.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { isKnown } from '../../secrets/known-secrets.js'
import { ownFields } from '../../util/objects.js'
import { atRunTime, readOptions } from '../../util/options.js'
import { IssuerFunction } from './issuer-function.js'
import { isKeysUrl, sourceAt, sourceByDiscovery } from './remote.js'

type Said = Readonly<Record<string, unknown>>

/** One issuer: what its tokens must say, and the keys that are its own. */
export interface Trust {
  readonly rules: ClaimRules
  /** The keys that are known at boot; `null` where a resolver finds them, or they are fetched. */
  readonly ring: Keyring | null
  readonly algorithms: readonly Algorithm[] | null
  readonly find: (header: JoseHeader) => FoundKey | Promise<FoundKey>
  /** Finds another key where one that the token did not name failed to verify it; `null` where the keys cannot have changed. */
  readonly findAnother: (header: JoseHeader, failed: VerificationKey) => FoundKey | Promise<FoundKey>
  /** The keys are fetched. */
  readonly isRemote: boolean
}

/** The issuers of a scheme. Keys are never shared between them (RFC 8725, 3.8). */
export interface Trusted {
  /** The only one, where the scheme signs; `null` where a function tells the issuers. */
  readonly first: Trust | null
  /** Keys are fetched, or may be. */
  readonly isRemote: boolean
  /** Whose token it claims to be, by exact `iss`: *foreign* for one that nobody named. The claim is believed only after a key of that issuer verified it. */
  readonly of: (iss: unknown) => Trust | Foreign | Invalid | Unavailable | Promise<Trust | Foreign | Unavailable>
}

/** What all issuers of a scheme have in common. */
export interface Common {
  readonly rules: Pick<ClaimRules, 'typ' | 'dated'>
  readonly remote: RemoteOptions
}

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and never a key. */
export function trusted (said: Said, common: Common, place: string): Trusted {
  if (typeof said['issuers'] === 'function') return byFunction(said['issuers'] as (iss: string) => unknown, common, place)
  if ('issuers' in said) return several(listed(said['issuers'], common, place))
  const trust = trustOf(said, common, place)
  return trust.rules.issuer === null ? { first: trust, isRemote: trust.isRemote, of: () => trust } : several([trust])
}

function several (trusts: readonly [Trust, ...Trust[]]): Trusted {
  const byIssuer = new Map<unknown, Trust>(trusts.map(trust => [trust.rules.issuer, trust]))
  return {
    first: trusts[0],
    isRemote: trusts.some(trust => trust.isRemote),
    of: iss => typeof iss === 'string' ? byIssuer.get(iss) ?? foreign : invalid('the claim iss is missing, or no string')
  }
}

function listed (issuers: unknown, common: Common, place: string): readonly [Trust, ...Trust[]] {
  const entries: readonly unknown[] = Array.isArray(issuers) ? issuers : []
  const [first, ...others] = entries.map((each, i) => {
    const where = `issuers[${i}] of ${place}`
    const trust = trustOf(readOptions(each, ['issuer', 'audience', 'keys', 'algorithms'], where), common, where)
    if (trust.rules.issuer === null) throw misconfigured(`${where} has no issuer: among several, each is known by its exact 'iss'.`)
    return trust
  })
  if (first === undefined) throw misconfigured(`The option issuers of ${place} must be a non-empty list of { issuer, audience, keys }, or a function.`)
  if (new Set([first, ...others].map(trust => trust.rules.issuer)).size !== entries.length) {
    throw misconfigured(`The option issuers of ${place} names an issuer twice. Give its keys and audiences in one entry.`)
  }
  return [first, ...others]
}

/** Issuers by a function of the application. An answer that cannot be read is its fault: there is no boot that it could stop. */
function byFunction (ask: (iss: string) => unknown, common: Common, place: string): Trusted {
  const where = `what the function issuers of ${place} returned`
  const trust = (iss: string, answer: unknown): Trust => {
    const options = readOptions(answer, ['audience', 'keys', 'algorithms'], where)
    return trustOf(ownFields({ ...options, issuer: iss }), common, where)
  }
  const issuers = new IssuerFunction(ask, (iss, answer) => atRunTime(() => trust(iss, answer)))
  return { first: null, isRemote: true, of: iss => issuers.of(iss) }
}

function trustOf (said: Said, common: Common, place: string): Trust {
  const rules = Object.freeze({ ...common.rules, issuer: issuer(said, place), audience: audience(said, place) })
  const algorithms = 'algorithms' in said ? algorithmList(said['algorithms'], `The option algorithms of ${place}`) : null
  const check = (key: VerificationKey): void => { checkGuessable(key, 'it') }
  const about = { issuer: rules.issuer, algorithms, check, insecureHosts: common.remote.insecureHosts, place }
  if (!('keys' in said)) return { rules, algorithms, ...fetched(sourceByDiscovery(about), common.remote) }
  if (isKeysUrl(said['keys'])) return { rules, algorithms, ...fetched(sourceAt(said['keys'], about), common.remote) }
  return { rules, algorithms, ...given(said['keys'], algorithms, `the option keys of ${place}`) }
}

type Keys = Pick<Trust, 'ring' | 'find' | 'findAnother' | 'isRemote'>

function fetched (source: RemoteSource, options: RemoteOptions): Keys {
  const keys = new RemoteKeys(source, options)
  return { ring: null, find: header => keys.find(header), findAnother: (header, failed) => keys.findAnother(header, failed), isRemote: true }
}

function given (keys: unknown, algorithms: readonly Algorithm[] | null, place: string): Keys {
  const common = { findAnother: () => null, isRemote: false }
  if (typeof keys === 'function') {
    const rule = { algorithms, place: `the key that ${place} returned` }
    return { ...common, ring: null, find: resolverOf(keys as KeyResolver, rule, key => checkGuessable(key, rule.place)) }
  }
  const ring = keyringOf(keys, { algorithms, place })
  ring.keys.forEach((key, i) => { checkGuessable(key, ring.keys.length === 1 ? place : `key ${i + 1} of ${place}`) })
  return { ...common, ring, find: header => ring.find(header.alg, header.kid ?? null) }
}

/**
 * Refuses secrets that can be guessed, although they are long enough (RFC 8725, 3.5), and public keys whose private
 * halves were published.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function checkGuessable ({ key, algorithm }: VerificationKey, place: string): void {
  if (isSymmetric(algorithm)) checkSecret(key.export(), { minBytes: leastSecretBytes(algorithm), place })
  else if (isKnown(key.export({ type: 'spki', format: 'der' }))) {
    throw misconfigured(`${place} is a published sample: everybody has its private key, and can sign. Make a key pair.`)
  }
}

function issuer (said: Said, place: string): string | null {
  const value = said['issuer']
  if (value === false) return null
  if (typeof value === 'string' && value !== '') return value
  throw misconfigured(`${place} needs issuer: the exact 'iss' of its tokens, or false if tokens of any issuer are meant to pass.`)
}

function audience (said: Said, place: string): readonly string[] | null {
  const value = said['audience']
  if (value === false) return null
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length > 0 && list.every(each => typeof each === 'string' && each !== '')) return Object.freeze([...list] as string[])
  throw misconfigured(`${place} needs audience: the 'aud' of this application, a list of them, or false if tokens for anybody are meant to pass.`)
}
