import { createPrivateKey, createPublicKey, createSecretKey, KeyObject } from 'node:crypto'
import type { JsonWebKeyInput, webcrypto } from 'node:crypto'
import { isCryptoKey } from 'node:util/types'
import { misconfigured } from '../errors.js'
import { findKey, layersOf } from '../secrets/disguised-keys.js'
import { decodeBase64url } from '../util/base64url.js'
import { joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'

/** A JSON Web Key (RFC 7517, 4). Members that this plugin does not know are ignored. */
export interface Jwk {
  readonly kty: string
  readonly kid?: string | undefined
  readonly alg?: string | undefined
  readonly use?: string | undefined
  readonly key_ops?: readonly string[] | undefined
  readonly [member: string]: unknown
}

/**
 * One key as an application may give it: an HMAC secret; a PEM text (public key, certificate, private key); a
 * `KeyObject` or `CryptoKey`; a JWK, also as JSON text.
 */
export type KeyMaterial = string | Uint8Array | KeyObject | webcrypto.CryptoKey | Jwk

/** One key, read: what verifies, what signs where there is such, and what its JWK says of it. */
export interface ReadKey {
  /** A secret or public key. */
  readonly key: KeyObject
  /** A secret or private key. */
  readonly signing: KeyObject | null
  readonly kid: string | null
  readonly alg: string | null
}

/**
 * Reads one key, whatever its form. A text or bytes that hold a public key in any form that can be told, also under
 * quotes and encodings, are never taken for an HMAC secret: whoever knows the public key could sign (CVE-2016-10555,
 * CVE-2023-48223).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place` and never the key.
 */
export function readKey (material: unknown, place: string): ReadKey {
  if (material instanceof KeyObject) return fromKeyObject(material, place)
  if (isCryptoKey(material)) return fromCryptoKey(material, place)
  const bare = unwrapped(material, place)
  if (bare instanceof Uint8Array) return fromSecret(Buffer.from(bare), place)
  if (typeof bare === 'string') return fromPem(bare, place)
  if (isObject(bare) && typeof bare['kty'] === 'string') return fromJwk(bare, place)
  throw misconfigured(`${place} must be a secret, a PEM text, a KeyObject, a CryptoKey or a JWK.`)
}

/**
 * Returns what stands under the quotes and encodings of a text or of bytes: a PEM text, what a JSON text says, or the
 * bytes of a secret. Returns anything else as it is.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a key in a form that is not read.
 */
export function unwrapped (material: unknown, place: string): unknown {
  if (typeof material !== 'string' && !(material instanceof Uint8Array)) return material
  const bytes = Buffer.from(material as Uint8Array)
  const found = findKey(layersOf(bytes))
  if (found === null) return bytes
  if ('problem' in found) throw misconfigured(`${place} ${found.problem}`)
  return found.material
}

function fromKeyObject (object: KeyObject, place: string): ReadKey {
  if (object.type === 'secret') return fromSecret(object.export(), place)
  const key = object.type === 'private' ? createPublicKey(object) : object
  return { key, signing: object.type === 'public' ? null : object, kid: null, alg: null }
}

/**
 * A `CryptoKey` is bound to one algorithm, where a `KeyObject` has only a kind. What it may be used for is checked as
 * `key_ops` of a JWK is.
 */
function fromCryptoKey (cryptoKey: webcrypto.CryptoKey, place: string): ReadKey {
  if (!cryptoKey.usages.some(usage => usage === 'verify' || usage === 'sign')) {
    throw misconfigured(`${place} is a CryptoKey whose usages lack verify or sign: it is not for signatures.`)
  }
  const { name, hash }: { readonly name: string, readonly hash?: { readonly name: string } } = cryptoKey.algorithm
  const prefix = prefixes.get(name)
  return {
    ...fromKeyObject(KeyObject.from(cryptoKey), place),
    alg: prefix === undefined ? null : `${prefix}${hash?.name.replace('SHA-', '')}`
  }
}

/** Web Crypto's names of the algorithms that one kind of key has several of. */
const prefixes: ReadonlyMap<string, string> = new Map([['HMAC', 'HS'], ['RSASSA-PKCS1-v1_5', 'RS'], ['RSA-PSS', 'PS']])

function fromSecret (bytes: Buffer, place: string): ReadKey {
  if (bytes.length === 0) throw misconfigured(`${place} is empty.`)
  if (findKey(layersOf(bytes)) !== null) {
    throw misconfigured(
      `${place} is a secret that holds a public or private key, or JSON. Give its PEM text or its JWK.`
    )
  }
  const key = createSecretKey(bytes)
  return { key, signing: key, kid: null, alg: null }
}

function fromPem (text: string, place: string): ReadKey {
  const key = attempt(() => createPublicKey(text))
  if (key === null) {
    throw misconfigured(
      `${place} is a PEM text that holds no readable key. An encrypted private key has to be given as a KeyObject.`
    )
  }
  return {
    key, signing: text.includes('PRIVATE KEY-----') ? attempt(() => createPrivateKey(text)) : null, kid: null, alg: null
  }
}

function fromJwk (jwk: Readonly<Record<string, unknown>>, place: string): ReadKey {
  const kid = text(jwk, 'kid', place)
  const alg = text(jwk, 'alg', place)
  checkPurpose(jwk, place)
  if (jwk['kty'] === 'oct') {
    const bytes = typeof jwk['k'] === 'string' ? decodeBase64url(jwk['k']) : null
    if (bytes === null) throw misconfigured(`${place} is a JWK whose 'k' is not base64url.`)
    return { ...fromSecret(bytes, place), kid, alg }
  }
  const input: JsonWebKeyInput = { key: { ...jwk }, format: 'jwk' }
  const key = attempt(() => createPublicKey(input))
  if (key === null) {
    throw misconfigured(`${place} is a JWK that holds no key: its type, curve and numbers do not fit together.`)
  }
  return { key, signing: jwk['d'] === undefined ? null : attempt(() => createPrivateKey(input)), kid, alg }
}

/** RFC 7517, 4.2 and 4.3: a key that says what it is for is used for nothing else. */
function checkPurpose (jwk: Readonly<Record<string, unknown>>, place: string): void {
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') {
    throw misconfigured(`${place} is a JWK whose 'use' is not 'sig': it is not for signatures. Leave it out.`)
  }
  const operations = jwk['key_ops']
  if (operations === undefined) return
  const signs = jwk['kty'] === 'oct' || jwk['d'] !== undefined
  const accepted = signs ? ['verify', 'sign'] : ['verify']
  if (Array.isArray(operations) && accepted.some(operation => operations.includes(operation))) return
  throw misconfigured(
    `${place} is a JWK whose 'key_ops' lacks ${joinNames(accepted)}: it is not for signatures. Leave it out.`
  )
}

function text (jwk: Readonly<Record<string, unknown>>, member: string, place: string): string | null {
  const value = jwk[member]
  if (value === undefined) return null
  if (typeof value !== 'string' || value === '') {
    throw misconfigured(`${place} is a JWK whose '${member}' is not a non-empty string.`)
  }
  return value
}

function attempt<T> (make: () => T): T | null {
  try {
    return make()
  } catch {
    return null
  }
}
