import { KeyObject } from 'node:crypto'
import { isCryptoKey } from 'node:util/types'
import type { Unavailable } from '../../types/outcome.js'
import { misconfigured } from '../errors.js'
import { unavailableOr } from '../kit/outcome.js'
import { joinNames } from '../util/describe.js'
import { isBytes, isMap, isObject, isThenable } from '../util/objects.js'
import { isSymmetric } from './algorithms.js'
import { parseVerificationKey } from './jwk.js'
import type { KeyRule, VerificationKey } from './jwk.js'
import type { JoseHeader } from './jws.js'
import { unwrap } from './key-material.js'
import type { Jwk, KeyMaterial } from './key-material.js'

/** A JWK set (RFC 7517, 5). */
export interface JwkSet {
  readonly keys: readonly Jwk[]
}

/** The keys of one issuer: a key, a JWK set, a list of these, or a record or Map from `kid` to key. */
export type StaticKeys =
  | KeyMaterial
  | JwkSet
  | ReadonlyArray<KeyMaterial | JwkSet>
  | Readonly<Record<string, KeyMaterial>>
  | ReadonlyMap<string, KeyMaterial>

/** The parsed keys of one issuer. */
export interface Keyring {
  readonly keys: readonly VerificationKey[]
  /**
   * Returns the key that a header selects, or `null`. Its algorithm may differ from `alg`; {@link signatureProblem}
   * checks that.
   */
  find (alg: unknown, kid: string | null): VerificationKey | null
}

/**
 * Parses a `keys` option.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if there is no key, a weak key, two keys with the same `kid`, a key that no
 * token can mean, both secrets and public keys, or an algorithm without a key.
 */
export function parseKeyring (keys: unknown, { algorithms, path }: KeyRule): Keyring {
  const given = entries(keys, path)
  if (given.length === 0) throw misconfigured(`${path} holds no key. Give at least one.`)
  for (const { material, path } of given) checkNext(unwrap(material, path), path)
  const all = given.map(entry => named(entry, parseVerificationKey(entry.material, { algorithms, path: entry.path })))
  checkKids(all, path)
  if (new Set(all.map(key => isSymmetric(key.algorithm))).size > 1) {
    throw misconfigured(`${path} mixes secrets with public keys. Give each kind a scheme of its own.`)
  }
  const unused = algorithms?.filter(name => !all.some(key => key.algorithm === name)) ?? []
  if (unused.length > 0) {
    throw misconfigured(
      `${path} has no key for ${joinNames(unused, 'and')}, which 'algorithms' names. Leave it out there, or give a key.`
    )
  }
  return createKeyring(all)
}

/** Refuses keys that tokens cannot distinguish by `kid` or algorithm, because none of them would ever be used. */
function checkKids (keys: readonly VerificationKey[], path: string): void {
  const kids = keys.flatMap(key => key.kid ?? [])
  if (new Set(kids).size !== kids.length) {
    throw misconfigured(`${path} has two keys with the same kid, so a token cannot say which one it means. Give each ` +
      'key its own kid.')
  }
  const unnamed = keys.find(
    key => key.kid === null && keys.some(other => other !== key && other.algorithm === key.algorithm)
  )
  if (unnamed !== undefined) {
    throw misconfigured(`${path} has several keys for ${unnamed.algorithm}, of which not all have a kid, so a token ` +
      'cannot say which one it means. Give each key a kid: in its JWK, or in an object from kid to key.')
  }
}

/** Refuses a `next` that is neither `true` nor `false`, because the key would sign. */
function checkNext (material: unknown, path: string): void {
  if (!isObject(material) || material instanceof KeyObject || isCryptoKey(material)) return
  if (material['next'] === undefined || typeof material['next'] === 'boolean') return
  throw misconfigured(`${path} is a JWK whose 'next' is neither true nor false.`)
}

/** Creates a keyring of parsed keys, which must not share a `kid`. */
export function createKeyring (keys: readonly VerificationKey[]): Keyring {
  const byKid = new Map(keys.flatMap(key => key.kid === null ? [] : [[key.kid, key]]))

  /**
   * Finds the key with this `kid`, if any key has one. Without a `kid`, returns the only key, or else the only key with
   * this algorithm. Keys are never tried one by one.
   */
  function find (alg: unknown, kid: string | null): VerificationKey | null {
    if (kid !== null && byKid.size > 0) return byKid.get(kid) ?? null
    const [only, ...others] = keys.length === 1 ? keys : keys.filter(key => key.algorithm === alg)
    return only !== undefined && others.length === 0 ? only : null
  }

  return Object.freeze({ keys: Object.freeze(keys), find } satisfies Keyring)
}

interface Entry {
  readonly kid: string | null
  readonly material: unknown
  readonly path: string
}

/** Gives a key the `kid` of the record that lists it. If the key has a `kid` itself, the two must be equal. */
function named (entry: Entry, key: VerificationKey): VerificationKey {
  if (entry.kid === null) return key
  if (key.kid !== null && key.kid !== entry.kid) {
    throw misconfigured(`${entry.path} is a JWK with another kid than the one it is listed under. Use the same kid ` +
      'in both places.')
  }
  return Object.freeze({ ...key, kid: entry.kid })
}

function entries (given: unknown, path: string): Entry[] {
  if (given === undefined) {
    throw misconfigured(`${path} is undefined. Set it, or the environment variable that it comes from.`)
  }
  const keys = unwrap(given, path)
  if (isMap(keys)) return [...keys].map((pair, i) => entry(pair, i, path))
  if (isSet(keys) || !isRecord(keys)) return setOrKey(keys, path)
  return Object.entries(keys).map((pair, i) => entry(pair, i, path))
}

/**
 * Creates the entry of one key of a record. Messages name it by its number and not by its kid: in a record that was
 * confused with that of API keys, the kids are secrets.
 */
function entry ([kid, material]: readonly [unknown, unknown], i: number, path: string): Entry {
  if (typeof kid !== 'string' || kid === '') {
    throw misconfigured(`${path} is a Map with a kid that is not a non-empty string.`)
  }
  return { kid, material, path: `key ${i + 1} of ${path}` }
}

/** Returns the keys of a list or a JWK set, or the one key. The items of a list may be sets, and may be encoded. */
function setOrKey (given: unknown, path: string): Entry[] {
  const value = unwrap(given, path)
  if (Array.isArray(value)) return value.flatMap((each, i) => setOrKey(each, `key ${i + 1} of ${path}`))
  if (isSet(value)) {
    return value.keys.map((material, i) => ({ kid: null, material, path: `key ${i + 1} of the JWK set in ${path}` }))
  }
  return [{ kid: null, material: value, path }]
}

function isSet (value: unknown): value is { readonly keys: readonly unknown[] } {
  return isObject(value) && Array.isArray(value['keys'])
}

function isRecord (value: unknown): value is Readonly<Record<string, unknown>> {
  return isObject(value) && !(value instanceof KeyObject) && !isCryptoKey(value) && !isBytes(value) &&
    typeof value['kty'] !== 'string'
}

type Resolved = KeyMaterial | Unavailable | null | undefined

/**
 * Finds the key of a token by its header, which is not verified yet. Return `null`, `undefined` or `''` if there is no
 * key (401); any other value that is not a key, such as `keys[header.kid]` for `__proto__`, counts as none. Return
 * `unavailable()` or throw an `AuthError` with the code `AUTH_UNAVAILABLE` if the key cannot be looked up now (503).
 * Any other error, and a weak key, is an `AUTH_FAULT` (500). Keys are parsed once for each object or text, so return
 * the same ones again.
 */
export type KeyResolver = (header: JoseHeader) => Resolved | Promise<Resolved>

type Found = VerificationKey | Unavailable | null

/** The maximum number of cached keys that were given as text. Few keys are in use at a time. */
const maxCachedTexts = 100

/**
 * Creates a function that parses and checks the results of a key resolver like all other keys, once each.
 * @param check throws to refuse a key.
 */
export function createKeyFinder (
  resolve: KeyResolver, rule: KeyRule, check: (key: VerificationKey) => void
): (header: JoseHeader) => Found | Promise<Found> {
  const texts = new Map<string, VerificationKey>()
  const objects = new WeakMap<object, VerificationKey>()

  function read (resolved: unknown): Found {
    if (isUnavailable(resolved)) return resolved
    if (!isMaterial(resolved)) return null
    const known = typeof resolved === 'string' ? texts.get(resolved) : objects.get(resolved)
    if (known !== undefined) return known
    const key = parseVerificationKey(resolved, rule)
    check(key)
    if (typeof resolved !== 'string') objects.set(resolved, key)
    else if (texts.size < maxCachedTexts) texts.set(resolved, key)
    return key
  }

  return header => {
    try {
      const resolved: unknown = resolve(header)
      return isThenable(resolved) ? Promise.resolve(resolved).then(read).catch(unavailableOr) : read(resolved)
    } catch (error) {
      return unavailableOr(error)
    }
  }
}

/** Returns true for a result of `unavailable()`. */
export function isUnavailable (value: unknown): value is Unavailable {
  return isObject(value) && Object.hasOwn(value, 'kind') && value['kind'] === 'unavailable'
}

function isMaterial (value: unknown): value is KeyMaterial {
  if (typeof value === 'string' || isBytes(value)) return value.length > 0
  return value instanceof KeyObject || isCryptoKey(value) || (isObject(value) && Object.hasOwn(value, 'kty'))
}
