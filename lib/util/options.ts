import { AuthError, internalError, misconfigured } from '../errors.js'
import { ownFields } from './property.js'

/**
 * Returns an options object that has only known keys, none of them `undefined`: a typo, or a variable that the
 * environment does not have, must not read as "left out".
 * What is returned are its own fields, without a prototype: what `Object.prototype` was given is no option.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place`.
 */
export function fields (value: unknown, known: readonly string[], place: string): Readonly<Record<string, unknown>> {
  const given = knownKeys(value, known, place)
  for (const key of Object.keys(given)) if (given[key] === undefined) throw undefinedKey(place, key)
  return given
}

/**
 * Returns a plain object that has only known keys.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place`.
 */
export function knownKeys (value: unknown, known: readonly string[], place: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw misconfigured(`${place} must be an object with one or more of ${list(known)}.`)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) throw misconfigured(`${place} must be a plain object: what it inherits would not be read.`)
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    const unknown = /^[a-z]{1,30}$/i.test(key) ? `'${key}'` : shown(key)
    throw misconfigured(`${place} ${hasOf(place)} an unknown key ${unknown}.${nearest(key, known)} Known: ` +
      `${list(known)}.`)
  }
  return ownFields(value)
}

/** Returns the error for a key that is there without a value. */
export function undefinedKey (place: string, key: string): AuthError {
  return misconfigured(`${place} ${hasOf(place)} '${key}' set to undefined. Set it, or the environment variable that ` +
    'it comes from, or leave the key out.')
}

function hasOf (place: string): 'has' | 'have' {
  return place.startsWith('The options ') ? 'have' : 'has'
}

/**
 * What the boot calls a misconfiguration, with a sentence for whoever starts the application, is a fault where requests wait: it says nothing to the client.
 * @param call what was called, where the sentence does not name it.
 */
export function atRunTime<T> (read: () => T, call?: string): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof AuthError ? internalError(call === undefined ? error.detail : `${call}: ${error.detail}`) : error
  }
}

/** A plain object: not null, not a list, not a function. */
export function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Freezes a shape of ours all the way down. Functions are the application's, and stay as they are. */
export function frozen<T> (shape: T): T {
  if (typeof shape !== 'object' || shape === null || Object.isFrozen(shape)) return shape
  Object.values(shape).forEach(frozen)
  return Object.freeze(shape)
}

/**
 * A copy that is frozen all the way down, of lists and plain objects; what they hold of other kinds (a Date, a function, an object of a class) is the same.
 * For what many requests are given: none of them changes it for the next.
 */
export function frozenCopy<T> (value: T, copies = new Map<unknown, unknown>()): T {
  const known = copies.get(value)
  if (known !== undefined) return known as T
  if (Array.isArray(value)) return filled(value, [], copies)
  return isPlain(value) ? filled(value, {}, copies) : value
}

/** The copy is known before what it holds is copied, because that may hold it again. */
function filled<T extends object> (value: T, copy: object, copies: Map<unknown, unknown>): T {
  copies.set(value, copy)
  // defined, where an assignment would set a prototype by the key __proto__
  for (const [key, each] of Object.entries(value)) Object.defineProperty(copy, key, { value: frozenCopy(each, copies), enumerable: true })
  return Object.freeze(copy) as T
}

function isPlain (value: unknown): value is object {
  if (!isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Returns true for a token of RFC 9110, 5.6.2: the name of a header, of an authentication scheme, of a parameter. */
export function isHttpToken (text: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)
}

/** Bytes of the shortest secret that any option takes: a password. */
export const shortestSecret = 12

/** A wrong value, for sentences: what could be a secret in the wrong place, or would not end, only by its kind. Never throws. */
export function shown (value: unknown): string {
  switch (typeof value) {
    case 'string': return Buffer.byteLength(value) < shortestSecret ? `'${JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"')}'` : `a text of ${value.length} characters`
    case 'object': return value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object'
    case 'number':
    case 'boolean':
    case 'undefined': return String(value)
    default: return `a ${typeof value}`
  }
}

/** `a, b or c`, for sentences. */
export function list (names: readonly string[], last = 'or'): string {
  if (names.length < 2) return names.join('')
  return `${names.slice(0, -1).join(', ')} ${last} ${names[names.length - 1]}`
}

/** " Did you mean 'scopes'?", of the known names the nearest that is at most two edits away, else nothing. */
export function nearest (name: string, known: readonly string[]): string {
  const [close] = known
    .map(other => ({ other, edits: distance(name.toLowerCase(), other.toLowerCase()) }))
    .filter(({ edits }) => edits <= 2)
    .sort((a, b) => a.edits - b.edits)
  return close === undefined ? '' : ` Did you mean '${close.other}'?`
}

/** Levenshtein distance. Names are short. */
function distance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  let edits = b.length
  a.split('').forEach((letter, i) => {
    let diagonal = i
    edits = i + 1
    const next = [edits]
    row.slice(1).forEach((above, j) => {
      edits = Math.min(edits + 1, above + 1, diagonal + (letter === b[j] ? 0 : 1))
      diagonal = above
      next.push(edits)
    })
    row = next
  })
  return edits
}
