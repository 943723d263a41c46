import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Server } from './setup.js'

/** Milliseconds for which a person may take to log in, or to answer a form. */
const lifetime = 3_600_000

/** Computes the MAC of a text for one purpose. */
function mac (key: Uint8Array, purpose: string, text: string): string {
  return createHmac('sha256', key).update(`${purpose}\0${text}`).digest('base64url')
}

/** Seals a text with the present time, so that only this server can have written it, for this purpose. */
export function seal ({ person }: Server, purpose: string, text: string): string {
  const at = Date.now()
  const [newest] = person.formKeys as readonly [Uint8Array, ...Uint8Array[]]
  return `${at}.${mac(newest, purpose, `${at} ${text}`)}`
}

/** Returns the time at which a text was sealed within the last hour, in milliseconds since 1970, or `null`. */
export function sealedAt (
  { person }: Server, purpose: string, { text, sealed }: { readonly text: string, readonly sealed: string }
): number | null {
  const [, at = '', written] = /^(\d{1,15})\.([\w-]{43})$/.exec(sealed) ?? []
  if (written === undefined || Date.now() - Number(at) > lifetime) return null
  const isOwn = person.formKeys.some(
    key => timingSafeEqual(Buffer.from(mac(key, purpose, `${at} ${text}`)), Buffer.from(written))
  )
  return isOwn ? Number(at) : null
}
