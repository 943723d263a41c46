import { internalError } from '../errors.js'

/** Deeper values are cyclic, or too large for a cookie in any case. */
const deepest = 32

/**
 * A deep-frozen copy of what JSON carries faithfully. Fields that are `undefined` are left out.
 * @throws {AuthError} `AUTH_FAULT` for a Date, a Map, NaN and the like, which would come back as something else than was given; `place` names where.
 */
export function jsonCopy (value: unknown, place: string, depth = 0): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (depth > deepest) throw internalError(`${place} is nested too deeply, or in itself`)
  if (Array.isArray(value)) return Object.freeze(Array.from(value, (each, index) => jsonCopy(each, `${place}[${index}]`, depth + 1)))
  if (isPlain(value)) return jsonObject(value, place, depth)
  throw internalError(`${place} is not what JSON carries: strings, finite numbers, booleans, null, lists and plain objects of them`)
}

/** {@link jsonCopy} of an object's own fields. */
export function jsonObject (value: object, place: string, depth = 0): Readonly<Record<string, unknown>> {
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  // fromEntries defines, where assignment would set a prototype by the key __proto__
  return Object.freeze(Object.fromEntries(fields.map(([key, field]) => [key, jsonCopy(field, `${place}.${key}`, depth + 1)])))
}

/** Returns a deep-frozen copy of what an application keeps in a session. @throws {AuthError} `AUTH_FAULT` as {@link jsonCopy} does. */
export function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlain(data)) throw internalError('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}

/** Whether a value is an object made by `{}` or `JSON.parse`, not a class's. */
export function isPlain (value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Freezes what `JSON.parse` made, all the way down. */
export function deepFreeze<T> (value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const each of Object.values(value)) deepFreeze(each)
  return Object.freeze(value)
}
