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

/** One issuer: what its tokens must say, and the keys that are its own. */
export interface Trust {
  readonly rules: ClaimRules
  /** The keys that are known at boot; `null` where a resolver finds them, or they are fetched. */
  readonly ring: Keyring | null
  readonly algorithms: readonly Algorithm[] | null
  readonly find: (header: JoseHeader) => FoundKey | Promise<FoundKey>
  /**
   * Finds another key where one that the token did not name failed to verify it; `null` where the keys cannot have
   * changed.
   */
  readonly findAnother: (header: JoseHeader, failed: VerificationKey) => FoundKey | Promise<FoundKey>
  /** The keys are fetched. */
  readonly isRemote: boolean
}

/** The issuers of a scheme. Keys are never shared between them (RFC 8725, 3.8). */
export interface Trusted {
  /** The issuer that the scheme signs for; `undefined` where a function finds the issuers. */
  readonly first: Trust | undefined
  /** Keys are fetched, or may be. */
  readonly isRemote: boolean
  /**
   * Whose token it claims to be, by exact `iss`: *foreign* for one that nobody named. The claim is believed only after
   * a key of that issuer verified it.
   */
  readonly of: (iss: unknown) => Trust | Foreign | Invalid | Unavailable | Promise<Trust | Foreign | Unavailable>
}

/** What all issuers of a scheme have in common. */
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
    isRemote: trusts.some(trust => trust.isRemote),
    of: iss => anyIssuer ?? (
      typeof iss === 'string' ? byIssuer.get(iss) ?? foreign : invalid('the claim iss is missing, or no string')
    )
  }
}

/**
 * Asks a function of the application. An answer that cannot be read is its fault: there is no boot that it could stop.
 */
function byFunction (ask: (iss: string) => unknown, common: Common, path: string): Trusted {
  const create = (iss: string, answer: unknown): Trust => {
    const parsed = parseIssuerAnswer(answer, `What the function ${path}.issuers returned`)
    return createTrust({ ...parsed, issuer: iss, path: `what the function ${path}.issuers returned` }, common)
  }
  const issuers = new IssuerFunction(ask, (iss, answer) => atRunTime(() => create(iss, answer)))
  return { first: undefined, isRemote: true, of: iss => issuers.of(iss) }
}

function createTrust ({ issuer, audience, algorithms, keys, path }: IssuerSettings, common: Common): Trust {
  const rules = Object.freeze({ ...common.rules, issuer, audience })
  const check = (key: VerificationKey): void => { checkGuessable(key, 'it') }
  const source = { issuer, algorithms, check, insecureHosts: common.remote.insecureHosts, path }
  if (keys === undefined) return { rules, algorithms, ...fetched(sourceByDiscovery(source), common.remote) }
  if (isKeysUrl(keys)) return { rules, algorithms, ...fetched(sourceAt(keys, source), common.remote) }
  return { rules, algorithms, ...given(keys, algorithms, `${path}.keys`) }
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
    throw misconfigured(`${place} is a published sample: everybody has its private key, and can sign. Make a key pair.`)
  }
}
