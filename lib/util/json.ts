import { internalError } from '../errors.js'
import { isPlainObject } from './objects.js'

/** Deeper values are cyclic, or too large for a cookie in any case. */
const maxDepth = 32

/**
 * Returns a deep-frozen copy of a value that JSON carries unchanged. Fields that are `undefined` are left out.
 * @param place how the error names the value.
 * @throws {AuthError} `AUTH_FAULT` for a Date, a Map, NaN and the like, which JSON would turn into something else.
 */
function jsonCopy (value: unknown, place: string, depth: number): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (depth > maxDepth) throw internalError(`${place} is nested too deeply, or in itself`)
  if (Array.isArray(value)) {
    return Object.freeze(Array.from(value, (each, index) => jsonCopy(each, `${place}[${index}]`, depth + 1)))
  }
  if (isPlainObject(value)) return jsonObject(value, place, depth)
  throw internalError(`${place} is not what JSON carries: strings, finite numbers, booleans, null, lists and plain objects of ` +
    'them')
}

/**
 * Returns a deep-frozen copy of an object of values that JSON carries unchanged.
 * @param place how the error names the object.
 * @throws {AuthError} `AUTH_FAULT` for a Date, a Map, NaN and the like, which JSON would turn into something else.
 */
export function jsonObject (value: object, place: string, depth = 0): Readonly<Record<string, unknown>> {
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  // fromEntries defines, where assignment would set a prototype by the key __proto__
  return Object.freeze(Object.fromEntries(fields.map(([key, field]) => [key, jsonCopy(field, `${place}.${key}`, depth + 1)])))
}

/**
 * Returns a deep-frozen copy of the data that an application keeps in a session.
 * @throws {AuthError} `AUTH_FAULT` as {@link jsonObject} does.
 */
export function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlainObject(data)) throw internalError('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}
