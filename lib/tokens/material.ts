import { createPrivateKey, createPublicKey, createSecretKey, KeyObject } from 'node:crypto'
import type { JsonWebKeyInput } from 'node:crypto'
import { misconfigured } from '../errors.js'
import { isObject, list } from '../shape.js'
import { decodeBase64url } from './base64url.js'

/** A JSON Web Key (RFC 7517, 4). Members that this plugin does not know are ignored. */
export interface Jwk {
  readonly kty: string
  readonly kid?: string | undefined
  readonly alg?: string | undefined
  readonly use?: string | undefined
  readonly key_ops?: readonly string[] | undefined
  readonly [member: string]: unknown
}

/** One key as an application may give it: an HMAC secret; a PEM text (public key, certificate, private key); a `KeyObject`; a JWK, also as JSON text. */
export type KeyMaterial = string | Uint8Array | KeyObject | Jwk

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
 * Reads one key, whatever its form. A text or bytes that hold a public key in any form that can be told are never taken for an HMAC secret: who knows the public
 * key could sign (CVE-2016-10555, CVE-2023-48223).
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place` and never the key.
 */
export function readKey (material: unknown, place: string): ReadKey {
  if (material instanceof KeyObject) return fromKeyObject(material)
  if (material instanceof Uint8Array) return fromBytes(Buffer.from(material), place)
  if (typeof material === 'string') return fromText(material, place)
  if (isObject(material) && typeof material['kty'] === 'string') return fromJwk(material, place)
  throw misconfigured(`${place} must be a secret, a PEM text, a KeyObject or a JWK.`)
}

/** What a JSON text says when it is an object, so that a JWK or JWK set may come from the environment as it is; `null` for any other text. */
export function jsonObject (text: string): Readonly<Record<string, unknown>> | null {
  if (!text.trimStart().startsWith('{')) return null
  try {
    // what begins with a brace and parses is an object
    const value: Readonly<Record<string, unknown>> = JSON.parse(text)
    return value
  } catch {
    return null
  }
}

function fromKeyObject (object: KeyObject): ReadKey {
  const key = object.type === 'private' ? createPublicKey(object) : object
  return { key, signing: object.type === 'public' ? null : object, kid: null, alg: null }
}

function fromText (text: string, place: string): ReadKey {
  if (text.includes('-----BEGIN ')) return fromPem(text, place)
  const json = jsonObject(text)
  if (json !== null && typeof json['kty'] === 'string') return fromJwk(json, place)
  if (/^\s*(?:ssh-|ecdsa-sha2-)/.test(text)) throw misconfigured(`${place} is an OpenSSH public key. Convert it: ssh-keygen -e -m PKCS8 -f key.pub`)
  if (/^\s*https?:\/\//.test(text)) throw misconfigured(`${place} is a URL. Fetching keys is not supported in this version: give the keys themselves.`)
  if (isDer(Buffer.from(text, 'base64'))) throw misconfigured(`${place} is the inside of a PEM text. Give the whole of it, with its BEGIN and END lines.`)
  return fromSecret(Buffer.from(text), place)
}

function fromBytes (bytes: Buffer, place: string): ReadKey {
  if (bytes.includes('-----BEGIN ') || jsonObject(bytes.toString()) !== null) return fromText(bytes.toString(), place)
  if (isDer(bytes)) throw misconfigured(`${place} is a key in DER form. Give a PEM text, or a KeyObject made with createPublicKey().`)
  return fromSecret(bytes, place)
}

function fromSecret (bytes: Buffer, place: string): ReadKey {
  if (bytes.length === 0) throw misconfigured(`${place} is empty.`)
  const key = createSecretKey(bytes)
  return { key, signing: key, kid: null, alg: null }
}

/** Whether bytes are a public or private key in one of the DER forms. */
function isDer (der: Buffer): boolean {
  if (der[0] !== 0x30) return false
  return attempt(() => createPublicKey({ key: der, format: 'der', type: 'spki' })) !== null ||
    attempt(() => createPublicKey({ key: der, format: 'der', type: 'pkcs1' })) !== null ||
    attempt(() => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })) !== null ||
    attempt(() => createPublicKey(`-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`)) !== null
}

function fromPem (text: string, place: string): ReadKey {
  const key = attempt(() => createPublicKey(text))
  if (key === null) throw misconfigured(`${place} is a PEM text that holds no readable key. An encrypted private key has to be given as a KeyObject.`)
  return { key, signing: text.includes('PRIVATE KEY-----') ? attempt(() => createPrivateKey(text)) : null, kid: null, alg: null }
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
  if (key === null) throw misconfigured(`${place} is a JWK that holds no key: its type, curve and numbers do not fit together.`)
  return { key, signing: jwk['d'] === undefined ? null : attempt(() => createPrivateKey(input)), kid, alg }
}

/** RFC 7517, 4.2 and 4.3: a key that says what it is for is used for nothing else. */
function checkPurpose (jwk: Readonly<Record<string, unknown>>, place: string): void {
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') throw misconfigured(`${place} is a JWK whose 'use' is not 'sig': it is not for signatures. Leave it out.`)
  const operations = jwk['key_ops']
  if (operations === undefined) return
  const signs = jwk['kty'] === 'oct' || jwk['d'] !== undefined
  const accepted = signs ? ['verify', 'sign'] : ['verify']
  if (Array.isArray(operations) && accepted.some(operation => operations.includes(operation))) return
  throw misconfigured(`${place} is a JWK whose 'key_ops' lacks ${list(accepted)}: it is not for signatures. Leave it out.`)
}

function text (jwk: Readonly<Record<string, unknown>>, member: string, place: string): string | null {
  const value = jwk[member]
  if (value === undefined) return null
  if (typeof value !== 'string' || value === '') throw misconfigured(`${place} is a JWK whose '${member}' is not a non-empty string.`)
  return value
}

function attempt<T> (make: () => T): T | null {
  try {
    return make()
  } catch {
    return null
  }
}
