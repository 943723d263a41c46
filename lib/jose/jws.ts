import { isUtf8 } from 'node:buffer'
import { decodeBase64url, parseJson } from '../util/encoding.js'
import { isObject } from '../util/objects.js'
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

/** The headers that were parsed before, by their segment. */
export type KnownHeaders = ReadonlyMap<string, JoseHeader>

const noHeaders: KnownHeaders = new Map()

/**
 * Parses a compact JWS (RFC 7515, 5.2, steps 1 to 7), or returns the reason why it is invalid. Does not split the text,
 * because a token may consist of 15,000 dots.
 * @param known is looked at first, because all tokens of a key have one header.
 */
export function parseCompact (token: string, known = noHeaders): CompactJws | string {
  if (!isCompact(token)) return 'the token is not a compact JWS'
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  const payload = decodeBase64url(token.slice(first + 1, second))
  const signature = decodeBase64url(token.slice(second + 1))
  const header = known.get(token.slice(0, first)) ?? parseHeader(token.slice(0, first))
  if (payload === null || signature === null || header === null) {
    return 'a segment of the token is not canonical base64url'
  }
  return typeof header === 'string' ? header : { header, payload, signature, input: token.slice(0, second) }
}

/** Parses a header. Returns the reason why it is invalid, or `null` if it is not base64url. */
function parseHeader (segment: string): JoseHeader | string | null {
  const bytes = decodeBase64url(segment)
  if (bytes === null) return null
  const header = parseObject(bytes)
  return header === null ? 'the header of the token is not a JSON object' : headerProblem(header) ?? header
}

/**
 * Parses a JSON object from UTF-8 bytes; returns `null` for anything else. The result is deep-frozen, because requests
 * with the same token share it. No object in it has a prototype, so that a missing member is `undefined` and
 * `__proto__` is an ordinary member.
 */
export function parseObject (bytes: Buffer): Readonly<Record<string, unknown>> | null {
  return Object.freeze(parseMembers(bytes))
}

/**
 * Parses as {@link parseObject} does, but does not freeze the object itself. Its members are read three times as fast
 * until it is frozen, because V8 then gives each object without a prototype a hidden class of its own.
 */
export function parseMembers (bytes: Buffer): Readonly<Record<string, unknown>> | null {
  const value = isUtf8(bytes) ? parseJson(bytes.toString()) : undefined
  return isObject(value) ? membersOf(value) : null
}

/** Copies the members, because an object that loses its prototype is slow to freeze. */
function membersOf (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const fields = Object.create(null) as Record<string, unknown>
  for (const name of Object.keys(value)) {
    const member = value[name]
    fields[name] = member
    if (typeof member === 'object' && member !== null) freezeJson(member)
  }
  return fields
}

/**
 * Deep-freezes a JSON value, and removes the prototypes of its objects. Does not recurse, because the token chooses the
 * depth.
 */
function freezeJson (value: object): void {
  const open: object[] = [value]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    if (!Array.isArray(each)) Object.setPrototypeOf(each, null)
    for (const inner of Object.values(each)) if (typeof inner === 'object' && inner !== null) open.push(inner)
    Object.freeze(each)
  }
}

/** Checks a header. `jwk`, `jku`, `x5u` and `x5c` are ignored: a token must not choose its own key (RFC 8725, 3.10). */
function headerProblem (header: Readonly<Record<string, unknown>>): string | null {
  if (Object.hasOwn(header, 'crit')) return 'the token asks for extensions (crit) that are not supported'
  if (Object.hasOwn(header, 'b64')) return 'the token has a b64 header, which is not for JWTs (RFC 7797, 7)'
  if (Object.hasOwn(header, 'kid') && typeof header['kid'] !== 'string') return 'the kid of the token is not a string'
  if (Object.hasOwn(header, 'typ') && typeof header['typ'] !== 'string') return 'the typ of the token is not a string'
  return null
}

/** Returns the reason why a signature does not verify with a key, or `null` if it does. Never throws. */
export function signatureProblem (jws: CompactJws, key: VerificationKey): string | null {
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
  return signatureProblem(jws, key) ?? { header: jws.header, payload: jws.payload, key }
}
