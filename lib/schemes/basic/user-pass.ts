/** What a client sent. */
export interface UserPass { readonly username: string, readonly password: string }

/** Longer passwords are refused unread: hashing them is work that a stranger chooses. */
export const longestPassword = 1024

/** Base64 of a name and a password of 1,024 bytes each. What is longer is refused before it is decoded: normalising it costs the square of its length. */
const longestEncoded = Math.ceil((2 * longestPassword + 1) / 3) * 4

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * RFC 7617, 2: base64 of `user-id ":" password`; the first colon ends the name; no control characters. In UTF-8, normalised (NFC).
 * @returns `null` for what is not that.
 */
export function parseUserPass (encoded: string): UserPass | null {
  if (encoded.length > longestEncoded || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
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

export function hasControl (text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
