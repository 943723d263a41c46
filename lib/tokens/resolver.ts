import { KeyObject } from 'node:crypto'
import { isCryptoKey } from 'node:util/types'
import type { Unavailable } from '../../types/outcome.js'
import { AuthError } from '../errors.js'
import { isObject } from '../shape.js'
import { isThenable } from '../thenable.js'
import { verificationKey } from './jwk.js'
import type { KeyRule, VerificationKey } from './jwk.js'
import type { JoseHeader } from './jws.js'
import type { KeyMaterial } from './material.js'

type Resolved = KeyMaterial | Unavailable | null | undefined

/**
 * Finds the key of a token by its header, of which nothing is believed yet. `null`, `undefined`, an empty text and whatever is no key (`keys[header.kid]` under
 * `__proto__`) mean that there is none: 401. An `unavailable()` outcome, returned, and an `AuthError` of `AUTH_UNAVAILABLE`, thrown, mean that nobody can tell now:
 * 503. What else it throws, and a key that is weak, is a fault: 500. Keys are read once for each object or text, so return the same.
 */
export type KeyResolver = (header: JoseHeader) => Resolved | Promise<Resolved>

type Found = VerificationKey | Unavailable | null

/** Texts are few: the keys that are in use. */
const rememberedTexts = 100

/** A key resolver whose results are read, checked and pinned like every other key, once each. `check` may refuse a key by throwing. */
export function resolverOf (resolve: KeyResolver, rule: KeyRule, check: (key: VerificationKey) => void): (header: JoseHeader) => Found | Promise<Found> {
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
 * Converts an `AuthError` of `AUTH_UNAVAILABLE`, by which a function of the application says that it cannot tell, to its outcome.
 * @throws whatever else it is.
 */
export function unavailableFrom (error: unknown): Unavailable {
  if (error instanceof AuthError && error.code === 'AUTH_UNAVAILABLE') return { kind: 'unavailable', detail: error.detail, retryAfter: 5 }
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
