import { createPrivateKey, createPublicKey, createSecretKey, KeyObject } from 'node:crypto'
import type { JsonWebKeyInput, webcrypto } from 'node:crypto'
import { isCryptoKey } from 'node:util/types'
import { misconfigured } from '../errors.js'
import { findKey, layersOf } from '../secrets/disguised-keys.js'
import { joinNames } from '../util/describe.js'
import { decodeBase64url } from '../util/encoding.js'
import { isBytes, isObject } from '../util/objects.js'

/** A JSON Web Key (RFC 7517, 4). Members that this plugin does not know are ignored. */
export interface Jwk {
  readonly kty: string
  readonly kid?: string | undefined
  readonly alg?: string | undefined
  readonly use?: string | undefined
  readonly key_ops?: readonly string[] | undefined
  /** `true` for a key of one's own that is published, so that verifiers know it, and does not sign yet. */
  readonly next?: boolean | undefined
  readonly [member: string]: unknown
}

/**
 * A key in an option: an HMAC secret, a PEM text (public key, certificate or private key), a `KeyObject`, a
 * `CryptoKey`, or a JWK, also as JSON text.
 */
export type KeyMaterial = string | Uint8Array | KeyObject | webcrypto.CryptoKey | Jwk

/** A parsed key, with the `kid` and `alg` of its JWK. */
export interface ReadKey {
  /** A secret or public key. */
  readonly key: KeyObject
  /** The secret or private key, if there is one. */
  readonly signing: KeyObject | null
  readonly kid: string | null
  readonly alg: string | null
  /** `true` for a key that is published and does not sign yet: a JWK with the member `next`. */
  readonly next: boolean
}

/**
 * Parses one key in any form. A text or bytes that contain a public key in any recognised form, also under quotes and
 * encodings, are never used as an HMAC secret: anyone who knows the public key could sign (CVE-2016-10555,
 * CVE-2023-48223).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, whose message contains `path` and not the key.
 */
export function readKey (material: unknown, path: string): ReadKey {
  if (material instanceof KeyObject) return fromKeyObject(material, path)
  if (isCryptoKey(material)) return fromCryptoKey(material, path)
  const bare = unwrap(material, path)
  if (isBytes(bare)) return fromSecret(Buffer.from(bare), path)
  if (typeof bare === 'string') return fromPem(bare, path)
  if (isObject(bare) && typeof bare['kty'] === 'string') return fromJwk(bare, path)
  throw misconfigured(`${path} must be a secret, a PEM text, a KeyObject, a CryptoKey or a JWK.`)
}

/**
 * Removes the quotes and encodings of a text or of bytes. Returns a PEM text, a parsed JSON value, or the bytes of a
 * secret; other values are returned as they are.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a key in an unsupported form.
 */
export function unwrap (material: unknown, path: string): unknown {
  if (typeof material !== 'string' && !isBytes(material)) return material
  const bytes = Buffer.from(material as Uint8Array)
  const found = findKey(layersOf(bytes))
  if (found === null) return bytes
  if ('problem' in found) throw misconfigured(`${path} ${found.problem}`)
  return found.material
}

/** The properties of a key that is not a JWK. */
const unnamed = { kid: null, alg: null, next: false } as const

function fromKeyObject (object: KeyObject, path: string): ReadKey {
  if (object.type === 'secret') return fromSecret(object.export(), path)
  const key = object.type === 'private' ? createPublicKey(object) : object
  return { key, signing: object.type === 'public' ? null : object, ...unnamed }
}

/**
 * Parses a `CryptoKey`, which is bound to one algorithm, unlike a `KeyObject`. Its usages are checked like `key_ops` of
 * a JWK.
 */
function fromCryptoKey (cryptoKey: webcrypto.CryptoKey, path: string): ReadKey {
  if (!cryptoKey.usages.some(usage => usage === 'verify' || usage === 'sign')) {
    throw misconfigured(`${path} is a CryptoKey whose usages lack verify or sign: it is not for signatures.`)
  }
  const { name, hash }: { readonly name: string, readonly hash?: { readonly name: string } } = cryptoKey.algorithm
  const prefix = prefixes.get(name)
  return {
    ...fromKeyObject(KeyObject.from(cryptoKey), path),
    alg: prefix === undefined ? null : `${prefix}${hash?.name.replace('SHA-', '')}`
  }
}

/** The prefixes of JWS algorithms by Web Crypto's names, for types of keys that fit several algorithms. */
const prefixes: ReadonlyMap<string, string> = new Map([['HMAC', 'HS'], ['RSASSA-PKCS1-v1_5', 'RS'], ['RSA-PSS', 'PS']])

function fromSecret (bytes: Buffer, path: string): ReadKey {
  if (bytes.length === 0) {
    throw misconfigured(`${path} is empty. Set it, or the environment variable that it comes from.`)
  }
  if (findKey(layersOf(bytes)) !== null) {
    throw misconfigured(
      `${path} is a secret that holds a public or private key, or JSON. Give its PEM text or its JWK.`
    )
  }
  const key = createSecretKey(bytes)
  return { key, signing: key, ...unnamed }
}

function fromPem (text: string, path: string): ReadKey {
  const key = attempt(() => createPublicKey(text))
  if (key === null) {
    throw misconfigured(
      `${path} is a PEM text that holds no readable key. An encrypted private key has to be given as a KeyObject.`
    )
  }
  return {
    key, signing: text.includes('PRIVATE KEY-----') ? attempt(() => createPrivateKey(text)) : null, ...unnamed
  }
}

function fromJwk (jwk: Readonly<Record<string, unknown>>, path: string): ReadKey {
  const kid = text(jwk, 'kid', path)
  const alg = text(jwk, 'alg', path)
  const next = jwk['next'] === true
  checkPurpose(jwk, path)
  if (jwk['kty'] === 'oct') {
    const bytes = typeof jwk['k'] === 'string' ? decodeBase64url(jwk['k']) : null
    if (bytes === null) throw misconfigured(`${path} is a JWK whose 'k' is not base64url.`)
    return { ...fromSecret(bytes, path), kid, alg, next }
  }
  const { e: exponent } = jwk
  if (typeof exponent === 'string' && exponent.length > maxExponent) {
    throw misconfigured(`${path} is an RSA key with an exponent of more than 256 bits (FIPS 186-5, A.1.1).`)
  }
  const input: JsonWebKeyInput = { key: { ...jwk }, format: 'jwk' }
  const key = attempt(() => createPublicKey(input))
  if (key === null) {
    throw misconfigured(`${path} is a JWK that holds no key: its type, curve and numbers do not fit together.`)
  }
  return { key, signing: jwk['d'] === undefined ? null : attempt(() => createPrivateKey(input)), kid, alg, next }
}

/**
 * Characters of the exponent of an RSA key: 256 bits. Node takes half a minute to read one that is as long as a JWK set
 * may be.
 */
const maxExponent = 43

/** Refuses keys that are not for signatures by their `use` or `key_ops` (RFC 7517, 4.2 and 4.3). */
function checkPurpose (jwk: Readonly<Record<string, unknown>>, path: string): void {
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') {
    throw misconfigured(`${path} is a JWK whose 'use' is not 'sig': it is not for signatures. Leave it out.`)
  }
  const operations = jwk['key_ops']
  if (operations === undefined) return
  const signs = jwk['kty'] === 'oct' || jwk['d'] !== undefined
  const accepted = signs ? ['verify', 'sign'] : ['verify']
  if (Array.isArray(operations) && accepted.some(operation => operations.includes(operation))) return
  throw misconfigured(
    `${path} is a JWK whose 'key_ops' lacks ${joinNames(accepted)}: it is not for signatures. Leave it out.`
  )
}

function text (jwk: Readonly<Record<string, unknown>>, member: string, path: string): string | null {
  const value = jwk[member]
  if (value === undefined) return null
  if (typeof value !== 'string' || value === '') {
    throw misconfigured(`${path} is a JWK whose '${member}' is not a non-empty string.`)
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
