import type { JsonWebKey, KeyObject } from 'node:crypto'
import { misconfigured } from '../errors.js'
import { joinNames } from '../util/describe.js'
import { algorithmNames, fits, isAlgorithm, isSymmetric, leastSecretBytes, signatureCheck } from './algorithms.js'
import type { Algorithm, SignatureCheck } from './algorithms.js'
import { readKey } from './key-material.js'

/** One key with its one algorithm (RFC 8725, 3.1): a token that names another is refused, whatever its signature. */
export interface VerificationKey {
  readonly kid: string | null
  readonly algorithm: Algorithm
  /** A secret or public key. */
  readonly key: KeyObject
  /** The secret or private key, where one was given. */
  readonly signing: KeyObject | null
  readonly verify: SignatureCheck
}

/** How {@link verificationKey} is to read a key. */
export interface KeyRule {
  /** The algorithms that the application allows; `null` when it did not say. */
  readonly algorithms: readonly Algorithm[] | null
  /** The key in words, for the sentence that stops the boot. */
  readonly place: string
}

/**
 * Reads one key, pins its algorithm and refuses it when it is weak by its kind (RFC 7518, 3.2 and 3.3; RFC 8725, 3.5).
 * Whether a secret is guessable is asked elsewhere: the samples of the RFCs are keys too.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the place and never the key.
 */
export function verificationKey (material: unknown, rule: KeyRule): VerificationKey {
  const { key, signing, kid, alg } = readKey(material, rule.place)
  const algorithm = pin(key, alg, rule)
  checkStrength(key, algorithm, rule.place)
  return Object.freeze({ kid, algorithm, key, signing, verify: signatureCheck(algorithm, key) })
}

/**
 * The algorithms of an `algorithms` option: a non-empty list of known names, without duplicates, none of them symmetric
 * beside asymmetric ones.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function algorithmList (value: unknown, place: string): readonly Algorithm[] {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isAlgorithm)) {
    throw misconfigured(
      `${place} must be a non-empty list of ${joinNames(algorithmNames)}, such as ['RS256']. It may be left out: a key then has the algorithm of its kind.`
    )
  }
  if (new Set(value).size !== value.length) throw misconfigured(`${place} names an algorithm twice.`)
  if (new Set(value.map(isSymmetric)).size !== 1) {
    throw misconfigured(
      `${place} has HMAC beside public-key algorithms: whoever knows the public key could then sign. Give each kind a scheme of its own.`
    )
  }
  return Object.freeze([...value])
}

function pin (key: KeyObject, alg: string | null, { algorithms, place }: KeyRule): Algorithm {
  const fitting = algorithmNames.filter(name => fits(name, key))
  const [first] = fitting
  if (first === undefined) throw misconfigured(`${place} is of a kind that no supported algorithm uses.`)
  if (alg !== null) return pinned(alg, fitting, { algorithms, place })
  if (algorithms === null) return first
  const [only, ...others] = algorithms.filter(name => fitting.includes(name))
  if (only === undefined) {
    throw misconfigured(
      `${place} fits none of the algorithms ${joinNames(algorithms)}. It could be used with ${joinNames(fitting)}.`
    )
  }
  if (others.length > 0) {
    throw misconfigured(
      `${place} fits ${joinNames([only, ...others], 'and')}, and a key has one algorithm. Name one, or give JWKs that say theirs in 'alg'.`
    )
  }
  return only
}

function pinned (alg: string, fitting: readonly Algorithm[], { algorithms, place }: KeyRule): Algorithm {
  const algorithm = fitting.find(name => name === alg)
  if (algorithm === undefined) {
    throw misconfigured(`${place} has an 'alg' that does not fit its kind. It could be ${joinNames(fitting)}.`)
  }
  if (algorithms !== null && !algorithms.includes(algorithm)) {
    throw misconfigured(
      `${place} is for ${algorithm}, which 'algorithms' does not name. Add it there, or leave the key out.`
    )
  }
  return algorithm
}

function checkStrength (key: KeyObject, algorithm: Algorithm, place: string): void {
  const least = leastSecretBytes(algorithm)
  const { symmetricKeySize, asymmetricKeyDetails: { modulusLength, publicExponent } = {} } = key
  if (symmetricKeySize !== undefined && symmetricKeySize < least) {
    throw misconfigured(
      `${place} is too short: ${algorithm} needs at least ${least} bytes (RFC 7518, 3.2), and it has ${symmetricKeySize}.`
    )
  }
  if (modulusLength !== undefined && modulusLength < 2048) {
    throw misconfigured(`${place} is an RSA key of ${modulusLength} bits; at least 2048 are needed (RFC 7518, 3.3).`)
  }
  if (publicExponent !== undefined && (publicExponent < 3n || publicExponent % 2n === 0n)) {
    throw misconfigured(`${place} is an RSA key with an unsafe public exponent.`)
  }
  if (modulusLength !== undefined && hasRocaFingerprint(modulusOf(key))) {
    throw misconfigured(
      `${place} is an RSA key made by a faulty chip, whose private half can be computed (CVE-2017-15361). Replace it.`
    )
  }
  if (algorithm === 'EdDSA' && isUnsafePoint(key.export({ format: 'jwk' }))) {
    throw misconfigured(`${place} is a public key of small order, or not in its canonical encoding: ` +
      'anybody can sign under it. Make a new key pair.')
  }
}

/**
 * Returns the modulus, which ends before the exponent in the last bytes of the DER form: keys that are for RSA-PSS
 * alone have no JWK.
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
  /** The `y` of every point of small order (RFC 7748, 7; "Taming the many EdDSAs", table 6). */
  readonly small: readonly bigint[]
}

const p25519 = 2n ** 255n - 19n
const p448 = 2n ** 448n - 2n ** 224n - 1n

/** The `y` of two points of order 8; their negatives have the other sign. */
const order8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n

const ed25519: Curve = { prime: p25519, small: [0n, 1n, p25519 - 1n, order8, p25519 - order8] }
const ed448: Curve = { prime: p448, small: [0n, 1n, p448 - 1n] }

/**
 * Returns true for a public key under which anybody can sign, because its point has small order, and for encodings that
 * are not canonical: a `y` that is not below the prime (RFC 8032, 5.1.3 and 5.2.3).
 */
function isUnsafePoint ({ crv, x }: JsonWebKey): boolean {
  const curve = crv === 'Ed448' ? ed448 : ed25519
  const bytes = Buffer.from(`${x}`, 'base64url').reverse()
  // the highest bit is the sign of the other coordinate
  bytes.writeUInt8(bytes.readUInt8() & 0x7f)
  const y = BigInt(`0x${bytes.toString('hex')}`)
  return y >= curve.prime || curve.small.includes(y)
}

/** The odd primes up to 167 for which the residues of a vulnerable modulus are told from chance. */
const primes = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167
]

/** The powers of 65537 modulo a prime. */
function powers (prime: number): ReadonlySet<number> {
  const found = new Set<number>()
  for (let power = 1; !found.has(power); power = power * (65537 % prime) % prime) found.add(power)
  return found
}

/**
 * Whether an RSA modulus has the fingerprint of CVE-2017-15361 (ROCA; Nemec et al., "The Return of Coppersmith's
 * Attack", 2017): its primes were made as
 * `k * M + 65537^a mod M`, so that modulo every small prime it is a power of 65537. A random modulus has it once in
 * 2^27 or less.
 */
export function hasRocaFingerprint (modulus: bigint): boolean {
  return primes.every(prime => powers(prime).has(Number(modulus % BigInt(prime))))
}
