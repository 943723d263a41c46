import { internalError } from '../errors.js'
import { isPlainObject } from './objects.js'

/** The maximum depth. Deeper values are cyclic, or too large for a cookie anyway. */
const maxDepth = 32

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

/** Parses JSON. Returns `undefined`, which is no JSON value, for any other text. */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Returns a deep-frozen copy of the data that an application keeps in a session.
 * @throws {AuthError} `AUTH_FAULT` as {@link jsonObject} does.
 */
export function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlainObject(data)) throw internalError('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}
