/** The user name and password of a request. */
export interface UserPass { readonly username: string, readonly password: string }

/**
 * Bytes of a password. Longer ones are refused before they are hashed, which costs time that an attacker could choose.
 */
export const maxPasswordBytes = 1024

/** Base64 of a name and a password of 1,024 bytes each. Longer ones are refused: normalising takes quadratic time. */
const maxEncodedLength = Math.ceil((2 * maxPasswordBytes + 1) / 3) * 4

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses the credential of HTTP Basic (RFC 7617, 2): base64 of `user-id ":" password` in UTF-8, where the first colon
 * ends the name, without control characters. Returns both in normal form (NFC); `null` for anything else.
 */
export function parseUserPass (encoded: string): UserPass | null {
  if (encoded.length > maxEncodedLength || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
  const text = decode(Buffer.from(encoded, 'base64'))
  const colon = text?.indexOf(':') ?? -1
  if (text === null || colon === -1 || hasControl(text)) return null
  return { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

function decode (bytes: Buffer): string | null {
  try {
    return utf8.decode(bytes).normalize('NFC')
  } catch {
    return null
  }
}

/** Returns true for a text with a control character. */
export function hasControl (text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
