import type { Foreign, Invalid } from '../../../types/outcome.js'
import { misconfigured } from '../../errors.js'
import { isSymmetric, leastSecretBytes } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { ClaimRules } from '../../jose/claims.js'
import { algorithmList } from '../../jose/jwk.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { JoseHeader } from '../../jose/jws.js'
import { keyringOf, resolverOf } from '../../jose/keyring.js'
import type { KeyResolver, Keyring } from '../../jose/keyring.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { isKnown } from '../../secrets/known-secrets.js'
import { fields } from '../../util/options.js'

type Said = Readonly<Record<string, unknown>>

/** One issuer: what its tokens must say, and the keys that are its own. */
export interface Trust {
  readonly rules: ClaimRules
  /** The keys that are known at boot; `null` where a resolver finds them. */
  readonly ring: Keyring | null
  readonly algorithms: readonly Algorithm[] | null
  readonly find: (header: JoseHeader) => VerificationKey | null | Promise<VerificationKey | null>
}

/** The issuers of a scheme. Keys are never shared between them (RFC 8725, 3.8). */
export interface Trusted {
  /** The only one, where the scheme signs. */
  readonly first: Trust
  /** Whose token it claims to be, by exact `iss`: *foreign* for one that nobody named. The claim is believed only after a key of that issuer verified it. */
  readonly of: (iss: unknown) => Trust | Foreign | Invalid
}

/** What all issuers of a scheme have in common. */
export type CommonRules = Pick<ClaimRules, 'typ' | 'dated'>

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and never a key. */
export function trusted (said: Said, common: CommonRules, place: string): Trusted {
  if ('issuers' in said) return several(listed(said['issuers'], common, place))
  const trust = trustOf(said, common, place)
  return trust.rules.issuer === null ? { first: trust, of: () => trust } : several([trust])
}

function several (trusts: readonly [Trust, ...Trust[]]): Trusted {
  const byIssuer = new Map<unknown, Trust>(trusts.map(trust => [trust.rules.issuer, trust]))
  return {
    first: trusts[0],
    of: iss => typeof iss === 'string' ? byIssuer.get(iss) ?? foreign : invalid('the claim iss is missing, or no string')
  }
}

function listed (issuers: unknown, common: CommonRules, place: string): readonly [Trust, ...Trust[]] {
  const given: readonly unknown[] = Array.isArray(issuers) ? issuers : []
  const [first, ...others] = given.map((each, i) => {
    const where = `issuers[${i}] of ${place}`
    const trust = trustOf(fields(each, ['issuer', 'audience', 'keys', 'algorithms'], where), common, where)
    if (trust.rules.issuer === null) throw misconfigured(`${where} has no issuer: among several, each is known by its exact 'iss'.`)
    return trust
  })
  if (first === undefined) throw misconfigured(`The option issuers of ${place} must be a non-empty list of { issuer, audience, keys }.`)
  if (new Set([first, ...others].map(trust => trust.rules.issuer)).size !== given.length) {
    throw misconfigured(`The option issuers of ${place} names an issuer twice. Give its keys and audiences in one entry.`)
  }
  return [first, ...others]
}

function trustOf (said: Said, common: CommonRules, place: string): Trust {
  const rules = Object.freeze({ ...common, issuer: issuer(said, place), audience: audience(said, place) })
  if (!('keys' in said)) throw misconfigured(`${place} needs keys. Finding them at the issuer's own address is not supported in this version.`)
  const keysPlace = `the option keys of ${place}`
  const algorithms = 'algorithms' in said ? algorithmList(said['algorithms'], `The option algorithms of ${place}`) : null
  if (typeof said['keys'] === 'function') {
    const rule = { algorithms, place: `the key that ${keysPlace} returned` }
    return { rules, ring: null, algorithms, find: resolverOf(said['keys'] as KeyResolver, rule, key => checkGuessable(key, rule.place)) }
  }
  const ring = keyringOf(said['keys'], { algorithms, place: keysPlace })
  ring.keys.forEach((key, i) => { checkGuessable(key, ring.keys.length === 1 ? keysPlace : `key ${i + 1} of ${keysPlace}`) })
  return { rules, ring, algorithms, find: header => ring.find(header.alg, header.kid ?? null) }
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
