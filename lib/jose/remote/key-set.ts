import { isObject, ownFields } from '../../util/objects.js'
import type { Algorithm } from '../algorithms.js'
import { parseVerificationKey } from '../jwk.js'
import type { VerificationKey } from '../jwk.js'

const maxKeys = 100

/** The keys of a fetched JWK set. */
export interface UsableKeys {
  readonly keys: readonly VerificationKey[]
  readonly ignored: readonly IgnoredKey[]
}

/** A key of a set that cannot be used. */
export interface IgnoredKey {
  /** The `kid` in the set, truncated to 100 characters; `null` if it has none. */
  readonly kid: string | null
  readonly reason: string
}

/** Options of {@link usableKeys}. */
export interface KeySetRules {
  /** The algorithms that the application allows; `null`: all. */
  readonly algorithms: readonly Algorithm[] | null
  /** The keys of the previous set. A key that has not changed stays the same object. */
  readonly previous: readonly VerificationKey[]
  /** Throws to refuse a key, such as one whose private key has been published. */
  readonly check: (key: VerificationKey) => void
}

/**
 * Parses a JWK set (RFC 7517, 5). Ignores secrets, private keys, keys for encryption and weak keys, and all keys that
 * share a `kid`, because it is ambiguous which of them a token means. Returns the reason if the document is not a JWK
 * set, or has no usable key.
 */
export function usableKeys (document: unknown, rules: KeySetRules): UsableKeys | string {
  const entries: unknown = isObject(document) ? ownFields(document)['keys'] : undefined
  if (!Array.isArray(entries)) return 'the answer is not a JWK set'
  if (entries.length > maxKeys) return `the JWK set has more than ${maxKeys} keys`
  const judged = entries.map(
    (jwk: unknown) => isObject(jwk) ? judge(ownFields(jwk), rules) : ignored(null, 'it is not an object')
  )
  const read = judged.flatMap(each => isIgnored(each) ? [] : [each])
  const repeated = new Set(read.map(key => key.kid).filter((kid, i, all) => kid !== null && all.indexOf(kid) !== i))
  const keys = read.filter(key => !repeated.has(key.kid))
  const ambiguous = read.filter(key => repeated.has(key.kid)).map(
    key => ignored(key.kid, 'another key of the set has the same kid')
  )
  if (keys.length === 0) return 'the JWK set has no key that can be used'
  return { keys, ignored: [...judged.filter(isIgnored), ...ambiguous] }
}

function isIgnored (each: VerificationKey | IgnoredKey): each is IgnoredKey {
  return Object.hasOwn(each, 'reason')
}

function judge (
  jwk: Readonly<Record<string, unknown>>, { algorithms, previous, check }: KeySetRules
): VerificationKey | IgnoredKey {
  if (jwk['kty'] === 'oct') return ignored(jwk['kid'], 'it is a secret: everybody who reads the set could sign')
  if (jwk['d'] !== undefined) return ignored(jwk['kid'], 'it is a private key: everybody who reads the set could sign')
  try {
    const key = parseVerificationKey(jwk, { algorithms, path: 'it' })
    check(key)
    return previous.find(
      known => known.kid === key.kid && known.algorithm === key.algorithm && known.key.equals(key.key)
    ) ?? key
  } catch (error) {
    // The first sentence says what is wrong; the others are advice for keys of the application.
    return ignored(jwk['kid'], String((error as Error).message).replace(/\. [^]*$/, ''))
  }
}

function ignored (kid: unknown, reason: string): IgnoredKey {
  return { kid: typeof kid === 'string' ? kid.slice(0, 100) : null, reason: reason.slice(0, 200) }
}
