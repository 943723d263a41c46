import { types } from 'node:util'
import type { No } from '../../types/principal.js'
import { internalError } from '../errors.js'

/** An object whose own fields may be read by name. */
type Fields = Readonly<Record<string, unknown>>

/** Returns true for an object that is neither null nor a list nor a function. */
export function isObject (value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns true for an object made by `{}` or `JSON.parse`, and not by a class. */
export function isPlainObject (value: unknown): value is Fields {
  if (!isObject(value)) return false
  const prototype = prototypeOf(value)
  return prototype === null || isRootPrototype(prototype)
}

/**
 * Returns false for an object that does not keep its content in fields: an error, a date, or anything that is iterable,
 * such as a Map, the rows of a query or a text. It would count as an object without any.
 */
export function hasFields (value: object): boolean {
  return !(Symbol.iterator in value || types.isNativeError(value) || types.isDate(value))
}

/** Returns true for `Object.prototype`, that of another JavaScript realm (`vm`, Jest) too. */
export function isRootPrototype (value: object): boolean {
  return prototypeOf(value) === null && Object.hasOwn(value, 'isPrototypeOf')
}

/** Returns true for a byte array of any JavaScript realm. */
export function isBytes (value: unknown): value is Uint8Array {
  return types.isUint8Array(value)
}

/** Returns true for a `Map` of any JavaScript realm. */
export function isMap (value: unknown): value is ReadonlyMap<unknown, unknown> {
  return types.isMap(value)
}

/** Returns true for a valid `Date` of any JavaScript realm. */
export function isValidDate (value: unknown): value is Date {
  return types.isDate(value) && !Number.isNaN(value.getTime())
}

/**
 * Reads a property that is the object's own or comes from its class, such as an accessor of an entity. Ignores what is
 * inherited from `Object.prototype`: an attacker who can write to it, through a careless merge somewhere, would
 * otherwise give every object that property.
 */
export function property (object: object, key: string): unknown {
  // most of these properties are missing, and reading them is the fastest way to find that out
  const value = (object as Fields)[key]
  return value !== undefined && hasProperty(object, key) ? value : undefined
}

/** Returns true if a property is the object's own or comes from its class. */
export function hasProperty (object: object, key: string): boolean {
  if (Object.hasOwn(object, key)) return true
  // A prototype without a prototype is the Object.prototype of some JavaScript realm, or replaces it.
  for (let from = prototypeOf(object); from !== null; from = prototypeOf(from)) {
    if (Object.hasOwn(from, key)) return prototypeOf(from) !== null
  }
  return false
}

/**
 * Copies the own fields of a plain object (options, JSON) to one without a prototype. Missing fields are `undefined`.
 */
export function ownFields (object: object): Fields {
  return Object.assign(Object.create(null) as object, object) as Fields
}

/** Reads an own field of a plain object, such as a header of a request. */
export function ownField<T extends object, K extends keyof T> (object: T, key: K): T[K] | undefined {
  const value = object[key]
  return value === undefined || Object.hasOwn(object, key) ? value : undefined
}

function prototypeOf (object: object): object | null {
  return Object.getPrototypeOf(object) as object | null
}

/**
 * Deep-freezes lists and objects in place. Functions are not frozen, because they belong to the application. Does not
 * recurse, because the client chooses the depth of a JSON value in a request.
 */
export function deepFreeze<T> (value: T): T {
  const open: unknown[] = [value]
  while (open.length > 0) {
    const each = open.pop()
    if (typeof each !== 'object' || each === null || Object.isFrozen(each)) continue
    open.push(...Object.values(Object.freeze(each)))
  }
  return value
}

/**
 * Returns a deep-frozen copy, for values that many requests share. Lists and plain objects are copied; other values in
 * them (a Date, a function, an instance of a class) are the same as in the original.
 */
export function deepFrozenCopy<T> (value: T, copies = new Map<unknown, unknown>()): T {
  const known = copies.get(value)
  if (known !== undefined) return known as T
  if (Array.isArray(value)) return fillCopy(value, [], copies)
  return isPlainObject(value) ? fillCopy(value, {}, copies) : value
}

/** Registers the copy before its fields are copied, because they may hold the original again. */
function fillCopy<T extends object> (value: T, copy: object, copies: Map<unknown, unknown>): T {
  copies.set(value, copy)
  for (const [key, each] of Object.entries(value)) {
    // An assignment would set the prototype for the key __proto__.
    Object.defineProperty(copy, key, { value: deepFrozenCopy(each, copies), enumerable: true })
  }
  return Object.freeze(copy) as T
}

/**
 * Returns true if the result of an application's function means "no": `null`, `undefined`, `false`, or an object whose
 * `valid` is `false` (docs/options.md, "Functions that may say no"). Every such result is checked here. A result that
 * is neither a "no" nor of the declared type is an `AUTH_FAULT`.
 */
export function isNo (answer: unknown): answer is No {
  if (typeof answer !== 'object' || answer === null) return answer === null || answer === undefined || answer === false
  return property(answer, 'valid') === false
}

/**
 * Returns true if a flag that restricts a credential is set. A scheme of the application may return any value: every
 * value except `false`, `null` and `undefined` counts as `true`.
 */
export function isSet (flag: boolean | null | undefined): boolean {
  return flag != null && flag !== false
}

/** Returns true for a promise, or any object with `then`, such as a query builder. */
export function isThenable<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | null | undefined)?.then === 'function'
}

/**
 * Returns true for a promise in a place where it is a mistake. Nobody will await it, and its rejection must not end the
 * process.
 */
export function isMisplacedPromise (value: unknown): boolean {
  if (!isThenable(value)) return false
  Promise.resolve(value).catch(() => {})
  return true
}

/** Waits until all calls have ended, and returns their results. Rejects with the first failure only then. */
export async function settleAll<T> (calls: Iterable<Promise<T>>): Promise<readonly T[]> {
  const results = await Promise.allSettled(calls)
  return results.map(result => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

/**
 * Returns its argument from the constructor, so that a subclass adds its private fields to that object (ECMA-262,
 * 13.3.7.1: fields are added to the result of `super`). Such a field is as fast as a property, and no other code can
 * see, copy or replace it. A WeakMap would do the same, but was measured to cost twenty times as much for objects that
 * live as long as a request.
 *
 * Each field has a class that is written out. Classes that a function returns would share their inline caches, which
 * makes access to their fields two to three times as slow.
 */
export class GivenObject {
  constructor (given: object) {
    return given
  }
}

interface MapOf<K, V> { get (key: K): V | undefined, set (key: K, value: V): unknown }

/** Returns the value of a key, which is created and stored if there is none. */
export function getOrCreate<K, V> (map: MapOf<K, V>, key: K, create: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const created = create()
  map.set(key, created)
  return created
}

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
  if (Number.isFinite(value)) return value
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
