import { internalError } from '../errors.js'
import { isPlainObject } from './objects.js'

/** The maximum depth. Deeper values are cyclic, or too large for a cookie anyway. */
const maxDepth = 32

/**
 * Returns a deep-frozen copy of an object of values that JSON carries unchanged.
 * @param path how the error names the object.
 * @throws {AuthError} `AUTH_FAULT` for a Date, a Map, NaN and the like, which JSON would turn into something else.
 */
export function jsonObject (value: object, path: string, depth = 0): Readonly<Record<string, unknown>> {
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  // Unlike an assignment, fromEntries does not set the prototype for the key __proto__.
  return Object.freeze(
    Object.fromEntries(fields.map(([key, field]) => [key, jsonCopy(field, `${path}.${key}`, depth + 1)]))
  )
}

/**
 * Returns a deep-frozen copy of a value that JSON carries unchanged. Fields that are `undefined` are left out.
 * @param path how the error names the value.
 * @throws {AuthError} `AUTH_FAULT` for a Date, a Map, NaN and the like, which JSON would turn into something else.
 */
function jsonCopy (value: unknown, path: string, depth: number): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (depth > maxDepth) throw internalError(`${path} is nested too deeply, or in itself`)
  if (Array.isArray(value)) {
    return Object.freeze(Array.from(value, (each, index) => jsonCopy(each, `${path}[${index}]`, depth + 1)))
  }
  if (isPlainObject(value)) return jsonObject(value, path, depth)
  throw internalError(
    `${path} cannot be stored as JSON. Use only strings, finite numbers, booleans, null, lists and plain objects of ` +
    'them'
  )
}

/** Parses JSON. Returns `undefined`, which is no JSON value, for any other text. */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const shape = /^[A-Za-z0-9_-]*$/

/**
 * Returns the bytes of a base64url text, or `null` unless it is the only text for them: no padding, no other
 * characters, no unused bits set (RFC 7515, 2; RFC 4648, 3.5). Otherwise one signature would have several spellings,
 * and a token that was revoked or cached under one of them would pass under another.
 */
export function decodeBase64url (text: string): Buffer | null {
  const beyond = text.length % 4
  if (beyond === 1 || !shape.test(text)) return null
  const unused = beyond === 0 ? 0 : beyond === 2 ? 0b1111 : 0b11
  return (alphabet.indexOf(text.charAt(text.length - 1)) & unused) === 0 ? Buffer.from(text, 'base64url') : null
}

/** Returns the query of a URL as it was sent, without its question mark. */
export function queryText (url = ''): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start + 1)
}
