import type { Foreign, Invalid, Unavailable } from '../../../types/outcome.js'
import { misconfigured } from '../../errors.js'
import { isSymmetric, minSecretBytes } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { ClaimRules } from '../../jose/claims.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { JoseHeader } from '../../jose/jws.js'
import { createKeyFinder, parseKeyring } from '../../jose/keyring.js'
import type { Keyring, KeyResolver } from '../../jose/keyring.js'
import { RemoteKeys } from '../../jose/remote/remote-keys.js'
import type { FoundKey, RemoteOptions, RemoteSource } from '../../jose/remote/remote-keys.js'
import { foreign, invalid } from '../../kit/outcome.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { isKnown } from '../../secrets/known-secrets.js'
import { atRunTime } from '../../util/options.js'
import { IssuerFunction } from './issuer-function.js'
import { parseIssuerAnswer } from './options.js'
import type { IssuerSettings, JwtSettings } from './options.js'
import { isKeysUrl, sourceAt, sourceByDiscovery } from './remote.js'

/** One issuer: the rules for its claims, and its keys. */
export interface Trust {
  readonly rules: ClaimRules
  /** The option `keys`, as given. */
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
  return {
    first: trusts[0],
    all: trusts,
    isRemote: trusts.some(trust => trust.isRemote),
    of: iss => anyIssuer ?? (
      typeof iss === 'string' ? byIssuer.get(iss) ?? foreign : invalid('the claim iss is missing or not a string')
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
  if (keys === undefined) return { ...all, ...fetched(sourceByDiscovery(source), common.remote) }
  if (isKeysUrl(keys)) return { ...all, ...fetched(sourceAt(keys, source), common.remote) }
  return { ...all, ...given(keys, algorithms, `${path}.keys`) }
}

type Keys = Pick<Trust, 'ring' | 'find' | 'findAnother' | 'isRemote'>

function fetched (source: RemoteSource, options: RemoteOptions): Keys {
  const keys = new RemoteKeys(source, options)
  return {
    ring: null,
    find: header => keys.find(header),
    findAnother: (header, failed) => keys.findAnother(header, failed),
    isRemote: true
  }
}

function given (keys: unknown, algorithms: readonly Algorithm[] | null, path: string): Keys {
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
export function checkGuessable ({ key, algorithm }: VerificationKey, place: string): void {
  if (isSymmetric(algorithm)) checkSecret(key.export(), { minBytes: minSecretBytes(algorithm), path: place })
  else if (isKnown(key.export({ type: 'spki', format: 'der' }))) {
    throw misconfigured(`${place} is a published sample whose private key is public, so anybody could sign tokens. ` +
      'Generate a key pair.')
  }
}
