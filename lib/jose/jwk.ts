import type { JsonWebKey, KeyObject } from 'node:crypto'
import type { PublicJwk, PublicJwkSet } from '../../types/tokens.js'
import { misconfigured } from '../errors.js'
import { howToFixSecret } from '../secrets/check-secret.js'
import { joinNames } from '../util/describe.js'
import {
  type Algorithm, algorithmNames, createSignatureCheck, fits, isAlgorithm, isSymmetric, minSecretBytes,
  type SignatureCheck
} from './algorithms.js'
import { readKey } from './key-material.js'

/** A key with its one algorithm (RFC 8725, 3.1). Tokens with another `alg` are refused. */
export interface VerificationKey {
  readonly kid: string | null
  readonly algorithm: Algorithm
  /** A secret or public key. */
  readonly key: KeyObject
  /** The secret or private key, if the application gave one. */
  readonly signing: KeyObject | null
  /** `true` for a key that does not sign yet. */
  readonly next: boolean
  readonly verify: SignatureCheck
}

/** Options of {@link parseVerificationKey}. */
export interface KeyRule {
  /** The algorithms that the application allows; `null`: all. */
  readonly algorithms: readonly Algorithm[] | null
  /** The name of the key in messages. */
  readonly path: string
}

/**
 * Parses one key, determines its algorithm, and refuses weak keys (RFC 7518, 3.2 and 3.3; RFC 8725, 3.5). Guessable
 * secrets are refused elsewhere, because the sample keys of the RFCs are guessable.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, whose message contains `path` and not the key.
 */
export function parseVerificationKey (material: unknown, rule: KeyRule): VerificationKey {
  const { key, signing, kid, alg, next } = readKey(material, rule.path)
  const algorithm = selectAlgorithm(key, alg, rule)
  checkStrength(key, algorithm, rule.path)
  return Object.freeze({ kid, algorithm, key, signing, next, verify: createSignatureCheck(algorithm, key) })
}

/**
 * Parses an `algorithms` option: a non-empty list of supported algorithms without duplicates, either all symmetric or
 * all asymmetric.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function parseAlgorithms (value: unknown, path: string): readonly Algorithm[] {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isAlgorithm)) {
    throw misconfigured(
      `${path} must be a non-empty list of ${joinNames(algorithmNames)}, such as ['RS256']. If it is left out, each ` +
      'key has the usual algorithm of its kind.'
    )
  }
  if (new Set(value).size !== value.length) throw misconfigured(`${path} names an algorithm twice. Name each once.`)
  if (new Set(value.map(isSymmetric)).size !== 1) {
    throw misconfigured(
      `${path} has HMAC beside public-key algorithms, so that anybody could sign with the public key. Give each kind ` +
      'a scheme of its own.'
    )
  }
  return Object.freeze([...value])
}

/** The public members of each kind of key (RFC 7518, 6; RFC 8037, 2). Nothing else of a key is published. */
const publicMembers: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['EC', ['crv', 'x', 'y']],
  ['OKP', ['crv', 'x']],
  ['RSA', ['n', 'e']]
])

/** The parts of a key that are needed to publish it. */
export type PublishedKey = Pick<VerificationKey, 'kid' | 'algorithm' | 'key'>

/**
 * Returns the public JWK set of keys.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a secret, and for an RSA-PSS key, which has no JWK.
 */
export function publicJwkSet (keys: readonly PublishedKey[], path: string): PublicJwkSet {
  return Object.freeze({ keys: Object.freeze(keys.map(key => publicJwk(key, path))) })
}

function publicJwk ({ kid, algorithm, key }: PublishedKey, path: string): PublicJwk {
  if (isSymmetric(algorithm)) {
    throw misconfigured(`The keys of ${path} cannot be published, because they are secrets: whoever has them can ` +
      'sign tokens. Sign with a key pair, such as from npx fastify-gatehouse keys.')
  }
  if (key.asymmetricKeyType === 'rsa-pss') {
    throw misconfigured(`The keys of ${path} cannot be published, because one is an RSA-PSS key, which has no JWK. ` +
      "Give it as an RSA key with the algorithm 'PS256'.")
  }
  const jwk = key.export({ format: 'jwk' })
  const members = publicMembers.get(jwk.kty) as readonly string[]
  return Object.freeze({
    kty: String(jwk.kty),
    ...Object.fromEntries(members.map(member => [member, String(jwk[member])])),
    use: 'sig',
    alg: algorithm,
    ...kid === null ? {} : { kid }
  })
}

function selectAlgorithm (key: KeyObject, alg: string | null, { algorithms, path }: KeyRule): Algorithm {
  const fitting = algorithmNames.filter(name => fits(name, key))
  const [first] = fitting
  if (first === undefined) throw misconfigured(`${path} is of a kind that no supported algorithm uses.`)
  if (alg !== null) return checkedAlgorithm(alg, fitting, { algorithms, path })
  if (algorithms === null) return first
  const [only, ...others] = algorithms.filter(name => fitting.includes(name))
  if (only === undefined) {
    throw misconfigured(
      `${path} fits none of the algorithms ${joinNames(algorithms)}. It could be used with ${joinNames(fitting)}.`
    )
  }
  if (others.length > 0) {
    throw misconfigured(
      `${path} fits ${joinNames([only, ...others], 'and')}, but a key has only one algorithm. Name one of them, or ` +
      "give the key as a JWK with an 'alg'."
    )
  }
  return only
}

function checkedAlgorithm (alg: string, fitting: readonly Algorithm[], { algorithms, path }: KeyRule): Algorithm {
  const algorithm = fitting.find(name => name === alg)
  if (algorithm === undefined) {
    throw misconfigured(`${path} has an 'alg' that does not fit its kind. It could be ${joinNames(fitting)}.`)
  }
  if (algorithms !== null && !algorithms.includes(algorithm)) {
    throw misconfigured(
      `${path} is for ${algorithm}, which 'algorithms' does not name. Add it there, or leave the key out.`
    )
  }
  return algorithm
}

/** Bits of the longest RSA modulus with which OpenSSL verifies. */
const maxModulus = 16_384

function checkStrength (key: KeyObject, algorithm: Algorithm, path: string): void {
  const least = minSecretBytes(algorithm)
  const { symmetricKeySize, asymmetricKeyDetails: { modulusLength, publicExponent } = {} } = key
  if (symmetricKeySize !== undefined && symmetricKeySize < least) {
    const bytes = least > 32 ? ` --bytes ${least}` : ''
    throw misconfigured(`${path} is too short: ${algorithm} needs at least ${least} bytes (RFC 7518, 3.2), and it ` +
      `has ${symmetricKeySize}. ${howToFixSecret}${bytes}`)
  }
  if (modulusLength !== undefined && (modulusLength < 2048 || modulusLength > maxModulus)) {
    throw misconfigured(`${path} is an RSA key of ${modulusLength} bits; at least 2048 are needed (RFC 7518, 3.3), ` +
      `and more than ${maxModulus} are not supported.`)
  }
  if (publicExponent !== undefined && (publicExponent < 3n || publicExponent % 2n === 0n)) {
    throw misconfigured(`${path} is an RSA key with an unsafe public exponent. Make a new key pair.`)
  }
  if (modulusLength !== undefined && hasRocaFingerprint(modulusOf(key))) {
    throw misconfigured(
      `${path} is an RSA key made by a faulty chip, whose private half can be computed (CVE-2017-15361). Replace it.`
    )
  }
  if (fits('EdDSA', key) && isUnsafePoint(key.export({ format: 'jwk' }))) {
    throw misconfigured(`${path} is a public key of small order, or not in its canonical encoding: ` +
      'anybody can sign under it. Make a new key pair.')
  }
}

/**
 * Returns the modulus of an RSA key from its DER form, which ends with the modulus and the exponent. RSA-PSS keys
 * cannot be exported as a JWK.
 */
function modulusOf (key: KeyObject): bigint {
  const { modulusLength, publicExponent } = { modulusLength: 0, publicExponent: 0n, ...key.asymmetricKeyDetails }
  const exponentBytes = Math.floor(publicExponent.toString(2).length / 8) + 1
  const end = -2 - exponentBytes
  const modulus = key.export({ type: 'spki', format: 'der' }).subarray(end - Math.ceil(modulusLength / 8), end)
  return BigInt(`0x${modulus.toString('hex')}`)
}

interface Curve {
  readonly prime: bigint
  /** The `y` coordinates of all points of small order (RFC 7748, 7; "Taming the many EdDSAs", table 6). */
  readonly small: readonly bigint[]
}

const p25519 = 2n ** 255n - 19n
const p448 = 2n ** 448n - 2n ** 224n - 1n

/** The `y` coordinate of two points of order 8; their negatives have the same `y` and the other sign. */
const order8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n

const ed25519: Curve = { prime: p25519, small: [0n, 1n, p25519 - 1n, order8, p25519 - order8] }
const ed448: Curve = { prime: p448, small: [0n, 1n, p448 - 1n] }

/**
 * Returns true for a point of small order, for which anyone can forge signatures, and for encodings that are not
 * canonical because `y` is not below the prime (RFC 8032, 5.1.3 and 5.2.3).
 */
function isUnsafePoint ({ crv, x }: JsonWebKey): boolean {
  const curve = crv === 'Ed448' ? ed448 : ed25519
  const bytes = Buffer.from(`${x}`, 'base64url').reverse()
  // The highest bit is the sign of x.
  bytes.writeUInt8(bytes.readUInt8() & 0x7f)
  const y = BigInt(`0x${bytes.toString('hex')}`)
  return y >= curve.prime || curve.small.includes(y)
}

/** The odd primes up to 167 for which the residues of a vulnerable modulus differ from those of a random one. */
const primes = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167
]

/** Returns the powers of 65537 modulo a prime. */
function powers (prime: number): ReadonlySet<number> {
  const found = new Set<number>()
  for (let power = 1; !found.has(power); power = power * (65537 % prime) % prime) found.add(power)
  return found
}

/**
 * Returns true if an RSA modulus has the fingerprint of CVE-2017-15361 (ROCA; Nemec et al., "The Return of
 * Coppersmith's Attack", 2017): its primes were generated as `k * M + 65537^a mod M`, so that modulo every small prime
 * it is a power of 65537. The probability for a random modulus is at most 2^-27.
 */
export function hasRocaFingerprint (modulus: bigint): boolean {
  return primes.every(prime => powers(prime).has(Number(modulus % BigInt(prime))))
}
