import { KeyObject } from 'node:crypto'
import { isCryptoKey } from 'node:util/types'
import type { Unavailable } from '../../types/outcome.js'
import { AuthError, misconfigured } from '../errors.js'
import { isThenable } from '../util/answer.js'
import { joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { isSymmetric } from './algorithms.js'
import { verificationKey } from './jwk.js'
import type { KeyRule, VerificationKey } from './jwk.js'
import type { JoseHeader } from './jws.js'
import { unwrapped } from './key-material.js'
import type { Jwk, KeyMaterial } from './key-material.js'

/** A JWK set (RFC 7517, 5). */
export interface JwkSet {
  readonly keys: readonly Jwk[]
}

/** The keys of one issuer: one, a JWK set, a list of these, or a record or Map from `kid` to key. */
export type StaticKeys = KeyMaterial | JwkSet | ReadonlyArray<KeyMaterial | JwkSet> | Readonly<Record<string, KeyMaterial>> | ReadonlyMap<string, KeyMaterial>

/** The keys of one issuer, ready to be asked. */
export interface Keyring {
  readonly keys: readonly VerificationKey[]
  /**
   * The one key that a header selects, or `null`. Whether the header's `alg` is the key's is asked of the signature.
   */
  find (alg: unknown, kid: string | null): VerificationKey | null
}

/**
 * The keyring of a `keys` option.
 * @throws {AuthError} `AUTH_MISCONFIGURED`: no key, a weak key, two with one `kid`, secrets beside public keys, an
 * algorithm that no key has.
 */
export function keyringOf (keys: unknown, { algorithms, place }: KeyRule): Keyring {
  const given = entries(keys, place)
  if (given.length === 0) throw misconfigured(`${place} holds no key.`)
  const all = given.map(entry => named(entry, verificationKey(entry.material, { algorithms, place: entry.place })))
  const kids = all.flatMap(key => key.kid ?? [])
  if (new Set(kids).size !== kids.length) {
    throw misconfigured(`${place} has two keys with one kid: which of them a token means could not be told.`)
  }
  if (new Set(all.map(key => isSymmetric(key.algorithm))).size > 1) {
    throw misconfigured(`${place} mixes secrets with public keys. Give each kind a scheme of its own.`)
  }
  const unused = algorithms?.filter(name => !all.some(key => key.algorithm === name)) ?? []
  if (unused.length > 0) {
    throw misconfigured(
      `${place} has no key for ${joinNames(unused, 'and')}, which 'algorithms' names. Leave it out there, or give a key.`
    )
  }
  return ringOf(all)
}

/** Makes a keyring of keys that are read already. No two have one `kid`. */
export function ringOf (keys: readonly VerificationKey[]): Keyring {
  const byKid = new Map(keys.flatMap(key => key.kid === null ? [] : [[key.kid, key]]))
  return Object.freeze({ keys: Object.freeze(keys), find: (alg, kid) => find(keys, byKid, alg, kid) } satisfies Keyring)
}

/**
 * `kid` selects, by equality, among keys that have one. Where no key has, or none was sent, the one key there is; of
 * several, the one that has this algorithm, if it is the only one. Never a try of every key.
 */
function find (
  all: readonly VerificationKey[], byKid: ReadonlyMap<string, VerificationKey>, alg: unknown, kid: string | null
): VerificationKey | null {
  if (kid !== null && byKid.size > 0) return byKid.get(kid) ?? null
  const [only, ...others] = all.length === 1 ? all : all.filter(key => key.algorithm === alg)
  return only !== undefined && others.length === 0 ? only : null
}

interface Entry {
  readonly kid: string | null
  readonly material: unknown
  readonly place: string
}

/** A record says the kid where the key itself does not; both must not differ. */
function named (entry: Entry, key: VerificationKey): VerificationKey {
  if (entry.kid === null) return key
  if (key.kid !== null && key.kid !== entry.kid) {
    throw misconfigured(`${entry.place} is a JWK with another kid than the one it is listed under.`)
  }
  return Object.freeze({ ...key, kid: entry.kid })
}

function entries (given: unknown, place: string): Entry[] {
  if (given === undefined) {
    throw misconfigured(`${place} is undefined. Set it, or the environment variable that it comes from.`)
  }
  const keys = unwrapped(given, place)
  if (keys instanceof Map) return [...keys].map(([kid, material], i) => entry(kid, material, i, place))
  if (isSet(keys) || !isRecord(keys)) return setOrKey(keys, place)
  return Object.entries(keys).map(([kid, material], i) => entry(kid, material, i, place))
}

/** Named by its number: who confuses this record with that of API keys has secrets where the kids belong. */
function entry (kid: unknown, material: unknown, i: number, place: string): Entry {
  if (typeof kid !== 'string' || kid === '') {
    throw misconfigured(`${place} is a Map with a kid that is not a non-empty string.`)
  }
  return { kid, material, place: `key ${i + 1} of ${place}` }
}

/** The keys of a list, of a JWK set, or the one key: in a list, each may be a set, and each may be wrapped. */
function setOrKey (given: unknown, place: string): Entry[] {
  const value = unwrapped(given, place)
  if (Array.isArray(value)) return value.flatMap((each, i) => setOrKey(each, `key ${i + 1} of ${place}`))
  if (isSet(value)) {
    return value.keys.map((material, i) => ({ kid: null, material, place: `key ${i + 1} of the JWK set in ${place}` }))
  }
  return [{ kid: null, material: value, place }]
}

function isSet (value: unknown): value is { readonly keys: readonly unknown[] } {
  return isObject(value) && Array.isArray(value['keys'])
}

function isRecord (value: unknown): value is Readonly<Record<string, unknown>> {
  return isObject(value) && !(value instanceof KeyObject) && !isCryptoKey(value) && !(
    value instanceof Uint8Array
  ) && typeof value['kty'] !== 'string'
}

type Resolved = KeyMaterial | Unavailable | null | undefined

/**
 * Finds the key of a token by its header, of which nothing is believed yet. `null`, `undefined`, an empty text and
 * whatever is no key (`keys[header.kid]` under
 * `__proto__`) mean that there is none: 401. An `unavailable()` outcome, returned, and an `AuthError` of
 * `AUTH_UNAVAILABLE`, thrown, mean that nobody can tell now: 503. What else it throws, and a key that is weak, is a
 * fault: 500. Keys are read once for each object or text, so return the same.
 */
export type KeyResolver = (header: JoseHeader) => Resolved | Promise<Resolved>

type Found = VerificationKey | Unavailable | null

/** Texts are few: the keys that are in use. */
const rememberedTexts = 100

/**
 * A key resolver whose results are read, checked and pinned like every other key, once each. `check` may refuse a key
 * by throwing.
 */
export function resolverOf (
  resolve: KeyResolver, rule: KeyRule, check: (key: VerificationKey) => void
): (header: JoseHeader) => Found | Promise<Found> {
  const texts = new Map<string, VerificationKey>()
  const objects = new WeakMap<object, VerificationKey>()

  function read (resolved: unknown): Found {
    if (isUnavailable(resolved)) return resolved
    if (!isMaterial(resolved)) return null
    const known = typeof resolved === 'string' ? texts.get(resolved) : objects.get(resolved)
    if (known !== undefined) return known
    const key = verificationKey(resolved, rule)
    check(key)
    if (typeof resolved !== 'string') objects.set(resolved, key)
    else if (texts.size < rememberedTexts) texts.set(resolved, key)
    return key
  }

  return header => {
    try {
      const resolved: unknown = resolve(header)
      return isThenable(resolved) ? Promise.resolve(resolved).then(read).catch(unavailableFrom) : read(resolved)
    } catch (error) {
      return unavailableFrom(error)
    }
  }
}

/**
 * Converts an `AuthError` of `AUTH_UNAVAILABLE`, by which a function of the application says that it cannot tell, to
 * its outcome.
 * @throws whatever else it is.
 */
export function unavailableFrom (error: unknown): Unavailable {
  if (error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE') {
    return { kind: 'unavailable', detail: error.detail, retryAfter: 5 }
  }
  throw error
}

/** Returns true for an outcome that `unavailable()` made. */
export function isUnavailable (value: unknown): value is Unavailable {
  return isObject(value) && Object.hasOwn(value, 'kind') && value['kind'] === 'unavailable'
}

function isMaterial (value: unknown): value is KeyMaterial {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length > 0
  return value instanceof KeyObject || isCryptoKey(value) || (isObject(value) && Object.hasOwn(value, 'kty'))
}
