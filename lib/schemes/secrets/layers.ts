import { isUtf8 } from 'node:buffer'

/**
 * Returns bytes and what stands under their quotes and encodings, outermost first: environments, secret stores and
 * configuration files wrap keys in JSON strings, base64, hexadecimal digits and more, often twice. Each layer is
 * shorter than the one before.
 */
export function layersOf (bytes: Uint8Array): readonly [Buffer, ...Buffer[]] {
  const layers: [Buffer, ...Buffer[]] = [Buffer.from(bytes)]
  for (let inner = unwrapped(layers[0]); inner !== null; inner = unwrapped(inner)) layers.push(inner)
  return layers
}

/**
 * Returns what is left when nothing can be decoded any more, without whitespace around it: the same bytes in whatever
 * spelling a secret came.
 */
export function innermost (layers: readonly [Buffer, ...Buffer[]]): Buffer {
  const bytes = layers.reduce((_outer, inner) => inner)
  const text = textOf(bytes)
  return text === null ? bytes : Buffer.from(text)
}

/**
 * Returns the trimmed text of bytes: valid UTF-8 without control characters other than whitespace. `null` for other
 * bytes.
 */
export function textOf (bytes: Buffer): string | null {
  if (!isUtf8(bytes)) return null
  const text = bytes.toString()
  return /[\u0000-\u0008\u000e-\u001f\u007f-\u009f]/.test(text) ? null : text.trim()
}

/** Parses JSON; `undefined` for what is none. */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function unwrapped (bytes: Buffer): Buffer | null {
  const text = textOf(bytes)
  return text === null ? fromUtf16(bytes) : unquoted(text) ?? fromPercent(text) ?? decoded(text)
}

/** Files that PowerShell writes are UTF-16. */
function fromUtf16 (bytes: Buffer): Buffer | null {
  const isAscii = /^(?:\xff\xfe)?(?:[\t\n\r -~]\0)+$/.test(bytes.toString('latin1'))
  return isAscii ? Buffer.from(bytes.toString('utf16le')) : null
}

function unquoted (text: string): Buffer | null {
  const json = text.startsWith('"') ? parseJson(text) : undefined
  const inner = typeof json === 'string' ? json : /^(["'`])([^]*)\1$/.exec(text)?.[2]
  return inner === undefined ? null : Buffer.from(inner)
}

function fromPercent (text: string): Buffer | null {
  try {
    return /%[0-9a-f]{2}/i.test(text) ? Buffer.from(decodeURIComponent(text)) : null
  } catch {
    return null
  }
}

/**
 * Decodes decimal bytes (a `Uint8Array` as text), hexadecimal digits (also of a UUID), and base64 or base64url on one
 * line or several.
 */
function decoded (text: string): Buffer | null {
  if (/^\d{1,3}(?:,\d{1,3})+$/.test(text)) return Buffer.from(text.split(',').map(Number))
  const hex = text.replace(/^0x|[\s:-]/gi, '')
  if (/^(?:[0-9a-f]{2})+$/i.test(hex)) return Buffer.from(hex, 'hex')
  const base64 = text.replace(/^(?:data:[^,]*,|base64:)/, '').replace(/\s*(?:\n|\\n|\\r)\s*/g, '')
  return /^[\w+/-]{2,}={0,2}$/.test(base64) ? Buffer.from(base64, 'base64') : null
}
