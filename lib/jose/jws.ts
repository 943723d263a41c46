import { isUtf8 } from 'node:buffer'
import { decodeBase64url } from '../util/base64url.js'
import { isObject, ownFields } from '../util/objects.js'
import type { VerificationKey } from './jwk.js'
import type { Keyring } from './keyring.js'

/** An unverified JOSE header (RFC 7515, 4). Only `kid` and `typ` are checked: they are strings if they are present. */
export interface JoseHeader {
  readonly alg?: unknown
  readonly kid?: string
  readonly typ?: string
  readonly [name: string]: unknown
}

/** A parsed compact JWS whose signature has not been verified. */
export interface CompactJws {
  readonly header: JoseHeader
  readonly payload: Buffer
  readonly signature: Buffer
  /** The signed text: the first two segments with the dot between them. */
  readonly input: string
}

/** A JWS whose signature has been verified. */
interface VerifiedJws {
  readonly header: JoseHeader
  readonly payload: Buffer
  readonly key: VerificationKey
}

/** Returns true if a text has the three segments of a compact JWS, whatever their contents. A JWE has five. */
export function isCompact (token: string): boolean {
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  return first > 0 && second !== -1 && token.indexOf('.', second + 1) === -1
}

/**
 * Parses a compact JWS (RFC 7515, 5.2, steps 1 to 7), or returns the reason why it is invalid. Does not split the text,
 * because a token may consist of 15,000 dots.
 */
export function parseCompact (token: string): CompactJws | string {
  if (!isCompact(token)) return 'the token is not a compact JWS'
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  const protectedHeader = decodeBase64url(token.slice(0, first))
  const payload = decodeBase64url(token.slice(first + 1, second))
  const signature = decodeBase64url(token.slice(second + 1))
  if (protectedHeader === null || payload === null || signature === null) {
    return 'a segment of the token is not canonical base64url'
  }
  const header = parseObject(protectedHeader)
  if (header === null) return 'the header of the token is not a JSON object'
  const fault = headerFault(header)
  return fault ?? { header, payload, signature, input: token.slice(0, second) }
}

/**
 * Parses a JSON object from UTF-8 bytes; returns `null` for anything else. The result has no prototype, so that a
 * missing member is `undefined` and `__proto__` is an ordinary member.
 */
export function parseObject (bytes: Buffer): Readonly<Record<string, unknown>> | null {
  if (!isUtf8(bytes)) return null
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return isObject(value) ? ownFields(value) : null
  } catch {
    return null
  }
}

/** Checks a header. `jwk`, `jku`, `x5u` and `x5c` are ignored: a token must not choose its own key (RFC 8725, 3.10). */
function headerFault (header: Readonly<Record<string, unknown>>): string | null {
  if (Object.hasOwn(header, 'crit')) return 'the token asks for extensions (crit) that are not supported'
  if (Object.hasOwn(header, 'b64')) return 'the token has a b64 header, which is not for JWTs (RFC 7797, 7)'
  if (Object.hasOwn(header, 'kid') && typeof header['kid'] !== 'string') return 'the kid of the token is not a string'
  if (Object.hasOwn(header, 'typ') && typeof header['typ'] !== 'string') return 'the typ of the token is not a string'
  return null
}

/** Returns the reason why a signature does not verify with a key, or `null` if it does. Never throws. */
export function signatureFault (jws: CompactJws, key: VerificationKey): string | null {
  if (jws.header.alg !== key.algorithm) return 'the alg of the token is not the algorithm of its key'
  try {
    return key.verify(jws.input, jws.signature) ? null : 'the signature of the token does not verify'
  } catch {
    return 'the signature of the token cannot be checked'
  }
}

/** Verifies a compact JWS with any payload, or returns the reason why it is refused. Never throws. */
export function verifyCompact (token: string, keyring: Keyring): VerifiedJws | string {
  const jws = parseCompact(token)
  if (typeof jws === 'string') return jws
  const key = keyring.find(jws.header.alg, jws.header.kid ?? null)
  if (key === null) return 'no key is known for the token'
  return signatureFault(jws, key) ?? { header: jws.header, payload: jws.payload, key }
}
