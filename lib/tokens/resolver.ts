import { KeyObject } from 'node:crypto'
import { isObject } from '../shape.js'
import { isThenable } from '../thenable.js'
import { verificationKey } from './jwk.js'
import type { KeyRule, VerificationKey } from './jwk.js'
import type { JoseHeader } from './jws.js'
import type { KeyMaterial } from './material.js'

type Resolved = KeyMaterial | null | undefined

/**
 * Finds the key of a token by its header, of which nothing is believed yet. `null`, `undefined`, an empty text and whatever is no key (`keys[header.kid]` under
 * `__proto__`) mean that there is none: 401. What it throws, and a key that is weak, is a fault: 500. Keys are read once for each object or text, so return the same.
 */
export type KeyResolver = (header: JoseHeader) => Resolved | Promise<Resolved>

/** Texts are few: the keys that are in use. */
const rememberedTexts = 100

/** A key resolver whose results are read, checked and pinned like every other key, once each. `check` may refuse a key by throwing. */
export function resolverOf (resolve: KeyResolver, rule: KeyRule, check: (key: VerificationKey) => void): (header: JoseHeader) => VerificationKey | null | Promise<VerificationKey | null> {
  const texts = new Map<string, VerificationKey>()
  const objects = new WeakMap<object, VerificationKey>()

  function read (resolved: unknown): VerificationKey | null {
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
    const resolved: unknown = resolve(header)
    return isThenable(resolved) ? Promise.resolve(resolved).then(read) : read(resolved)
  }
}

function isMaterial (value: unknown): value is KeyMaterial {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length > 0
  return value instanceof KeyObject || (isObject(value) && Object.hasOwn(value, 'kty'))
}
