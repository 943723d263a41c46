import type { JsonObject, StoreEntry, StoreIncrement, StoreOwner } from '../../types/store.js'
import { internalError } from '../errors.js'
import { jsonObject } from '../util/json.js'

const kinds = /^[a-z][a-z0-9-]{0,63}$/
/** Bytes of UTF-8. PostgreSQL's index entries hold no more than 2,704, and escaping may double what is here. */
const longestName = 1_024
/** Bytes of JSON. */
const largestValue = 65_536

/** Asserts what the contract says of names. The messages hold no id. */
export function checkName (kind: string, id: string): void {
  if (!kinds.test(kind)) throw internalError('store: a kind must match /^[a-z][a-z0-9-]{0,63}$/')
  if (id.length === 0) throw internalError(`store: an id of the kind '${kind}' is empty`)
  if (tooLong(id)) throw internalError(`store: an id of the kind '${kind}' is longer than ${longestName} bytes: hash it`)
}

export function checkOwner (kind: string, owner: StoreOwner): void {
  if (!kinds.test(kind)) throw internalError('store: a kind must match /^[a-z][a-z0-9-]{0,63}$/')
  if (owner.realm.length === 0 || owner.id.length === 0) throw internalError(`store: an owner of the kind '${kind}' has an empty realm or id`)
  if (tooLong(owner.realm + owner.id)) throw internalError(`store: the realm and id of an owner of the kind '${kind}' are longer than ${longestName} bytes`)
}

export function checkEntry (entry: StoreEntry): void {
  checkName(entry.kind, entry.id)
  if (entry.owner !== null) checkOwner(entry.kind, entry.owner)
  milliseconds(entry.expiresAt, entry.kind)
}

function tooLong (text: string): boolean {
  // no character of UTF-16 takes more than three bytes: most are settled without counting
  return text.length * 3 > longestName && Buffer.byteLength(text) > longestName
}

/** An end in milliseconds since 1970. */
export function milliseconds (expiresAt: Date | null, kind: string): number | null {
  if (expiresAt === null) return null
  const at = expiresAt.getTime()
  if (Number.isNaN(at)) throw internalError(`store: expiresAt of a record of the kind '${kind}' is no instant`)
  return at
}

/** The length of a window in whole milliseconds. */
export function windowOf (kind: string, { window, ceiling }: StoreIncrement): number {
  if (!(window > 0 && window <= 1e9)) throw internalError(`store: the window of a counter of the kind '${kind}' must be more than 0 seconds`)
  if (ceiling !== undefined && !(Number.isSafeInteger(ceiling) && ceiling >= 0)) throw internalError(`store: the ceiling of a counter of the kind '${kind}' must be a whole number`)
  return Math.ceil(window * 1_000)
}

/** A deep-frozen copy of a value, and its JSON. */
export function valueOf (kind: string, value: JsonObject): { readonly value: JsonObject, readonly json: string } {
  const copy = jsonObject(value, `store: the value of a record of the kind '${kind}'`) as JsonObject
  const json = JSON.stringify(copy)
  if (json.length * 3 > largestValue && Buffer.byteLength(json) > largestValue) throw internalError(`store: the value of a record of the kind '${kind}' is more than ${largestValue} bytes of JSON`)
  return { value: copy, json }
}

/** What not every database keeps as it is: NUL (PostgreSQL has none in text), lone surrogates (UTF-8 has none), and the sign that escapes them. */
const special = /[\\\0]|\p{Cs}/u
const escaped = /\\(\\|0|d[89a-f][0-9a-f]{2})/g

/** Any string as text that every database keeps and compares faithfully: two strings never become one. At most twice as long. */
export function toText (string: string): string {
  return special.test(string) ? string.replace(/[\\\0]|\p{Cs}/gu, escape) : string
}

function escape (character: string): string {
  if (character === '\\') return '\\\\'
  return character === '\0' ? '\\0' : `\\${character.charCodeAt(0).toString(16)}`
}

/** The string that {@link toText} was given. */
export function fromText (text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(escaped, (_, code: string) => code === '\\' ? '\\' : String.fromCharCode(code === '0' ? 0 : parseInt(code, 16)))
}
