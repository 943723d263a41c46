import { timingSafeEqual } from 'node:crypto'
import type { StoreOwner } from '../../types/store.js'

/** Compares two secret texts in constant time. Only their lengths can be measured. */
export function isSameSecret (one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

/** Parses JSON. Returns `undefined`, which is not a JSON value, for any other text. */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The digits whose unused bits are zero, by the number of digits in the last group. */
const lastDigits = [null, '', 'AQgw', 'AEIMQUYcgkosw048'] as const

/** Returns true for canonical base64url, which {@link decodeBase64url} describes. */
export function isBase64url (text: string): boolean {
  const allowed = lastDigits[text.length % 4] ?? null
  return /^[\w-]*$/.test(text) && (allowed === null || allowed.includes(text.charAt(text.length - 1)))
}

/**
 * Returns the bytes of a base64url text, or `null` unless it is the only text for them: no padding, no other
 * characters, no unused bits set (RFC 7515, 2; RFC 4648, 3.5). Otherwise one signature would have several spellings,
 * and a token that was revoked or cached under one of them would pass under another.
 */
export function decodeBase64url (text: string): Buffer | null {
  return isBase64url(text) ? Buffer.from(text, 'base64url') : null
}

/** Returns an owner as one text, by which maps and the store in Redis find it. Two owners never have the same text. */
export function ownerKey ({ realm, id }: StoreOwner): string {
  return JSON.stringify([realm, id])
}

/** Returns true if both are the same owner. `null` is the owner of a record that has none. */
export function isSameOwner (one: StoreOwner | null, other: StoreOwner): boolean {
  return one !== null && one.realm === other.realm && one.id === other.id
}

/** Returns the query of a URL as it was sent, without its question mark. */
export function queryText (url = ''): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start + 1)
}
