import { isUtf8 } from 'node:buffer'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { JsonWebKeyInput, KeyObject } from 'node:crypto'
import { parseJson } from '../util/encoding.js'

/** The result of {@link findKey}. */
type FoundKey =
  /** A PEM text, or a parsed JSON value. */
  | { readonly material: unknown }
  /** The end of a sentence about a form that is recognised but not supported. */
  | { readonly problem: string }

/**
 * Finds a public or private key, or JSON, in any layer of a secret ({@link layersOf}). If a public key were used as an
 * HMAC secret, anyone who knows it could sign (CVE-2016-10555, CVE-2023-48223).
 */
export function findKey (layers: readonly Buffer[]): FoundKey | null {
  const found = layers.flatMap(layer => {
    const text = textOf(layer)
    return (text === null ? keyInBytes(layer) : keyInText(text)) ?? []
  })
  return found.find(each => 'material' in each) ?? found[0] ?? null
}

const openSsh = 'is an OpenSSH public key. Convert it: ssh-keygen -e -m PKCS8 -f key.pub'

/** Unsupported forms of keys, and how to fix them. */
const unreadable: ReadonlyArray<readonly [RegExp, string]> = [
  [/^(?:sk-)?(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-)|^-+ ?BEGIN SSH2/, openSsh],
  [
    // With a scheme, without one, or only a host and a path: a secret in base64 has neither a colon nor a dot.
    /^[a-z][a-z0-9+.-]*:\/\/|^(?:\/\/)?[\w-]+(?:\.[\w-]+)+(?::\d+)?\/|\/\.well-known\//i,
    'is a URL. A URL of keys is https, and stands alone, without quotes, as the whole option keys of jwt().'
  ],
  [/<(?:\w+:)?(?:RSA|EC|DSA)?KeyValue\b/, 'is an XML key. Convert it to a PEM text or a JWK.'],
  [/\bkty\W+(?:RSA|EC|OKP|oct)\b/, 'looks like a JWK, but it is not valid JSON.']
]

function keyInText (text: string): FoundKey | null {
  const json = /^[[{]/.test(text) ? parseJson(text) : undefined
  if (json !== undefined) return { material: json }
  const pem = /-----BEGIN[^]*-----END[^-]*-----|-----BEGIN[^]*/.exec(text)
  if (pem !== null) return { material: pem[0].replace(/\\+r/g, '').replace(/\\+n/g, '\n') }
  const form = unreadable.find(([pattern]) => pattern.test(text))
  return form === undefined ? null : { problem: form[1] }
}

const der = 'is a key in DER form, the inside of a PEM text. Give the whole PEM text with its BEGIN and END lines, ' +
  'or a KeyObject made with createPublicKey().'

function keyInBytes (bytes: Buffer): FoundKey | null {
  if (/^\0\0\0[\x07-\x22](?:ssh-|ecdsa-|sk-)/.test(bytes.toString('latin1', 0, 12))) return { problem: openSsh }
  if (isPoint(bytes)) return { problem: 'is a raw public key, a point of an elliptic curve. Give a PEM text or a JWK.' }
  return isDer(bytes) ? { problem: der } : null
}

/** Returns true for an uncompressed point (SEC 1, 2.3.3), as VAPID keys are written. */
function isPoint (bytes: Buffer): boolean {
  const [size, crv] = ({ 65: [32, 'P-256'], 97: [48, 'P-384'], 133: [66, 'P-521'] } as const)[bytes.length] ?? [0, '']
  if (size === 0 || bytes[0] !== 4) return false
  const [x, y] = [bytes.subarray(1, 1 + size), bytes.subarray(1 + size)].map(each => each.toString('base64url'))
  return succeeds(() => createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' } as JsonWebKeyInput))
}

/**
 * Returns true for public keys, private keys and certificates, and for any ASN.1 sequence of at least 256 bytes, which
 * a random secret is not.
 */
function isDer (bytes: Buffer): boolean {
  if (bytes[0] !== 0x30) return false
  if (bytes.length >= 256 && bytes[1] === 0x82 && bytes.readUInt16BE(2) === bytes.length - 4) return true
  return succeeds(() => createPublicKey({ key: bytes, format: 'der', type: 'spki' })) ||
    succeeds(() => createPublicKey({ key: bytes, format: 'der', type: 'pkcs1' })) ||
    succeeds(() => createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' })) ||
    succeeds(() => createPrivateKey({ key: bytes, format: 'der', type: 'sec1' }))
}

function succeeds (read: () => KeyObject): boolean {
  try {
    read()
    return true
  } catch {
    return false
  }
}

/**
 * Decodes bytes repeatedly, and returns all layers, the outermost first: environments, secret stores and configuration
 * files wrap keys in JSON strings, base64, hexadecimal digits and more, often twice. Each layer is shorter than the
 * previous one.
 */
export function layersOf (bytes: Uint8Array): readonly [Buffer, ...Buffer[]] {
  const layers: [Buffer, ...Buffer[]] = [Buffer.from(bytes)]
  for (let inner = unwrap(layers[0]); inner !== null; inner = unwrap(inner)) layers.push(inner)
  return layers
}

/** Returns the last layer, trimmed. It is the same for all encodings of a secret. */
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

function unwrap (bytes: Buffer): Buffer | null {
  const text = textOf(bytes)
  return text === null ? fromUtf16(bytes) : unquote(text) ?? fromPercent(text) ?? decode(text)
}

/** Decodes ASCII in UTF-16, which PowerShell writes to files. */
function fromUtf16 (bytes: Buffer): Buffer | null {
  const isAscii = /^(?:\xff\xfe)?(?:[\t\n\r -~]\0)+$/.test(bytes.toString('latin1'))
  return isAscii ? Buffer.from(bytes.toString('utf16le')) : null
}

function unquote (text: string): Buffer | null {
  const json = text.startsWith('"') ? parseJson(text) : undefined
  const inner = typeof json === 'string' ? json : /^(["'`])([^]*)\1$/.exec(text)?.[2]
  return inner === undefined ? null : Buffer.from(inner)
}

/**
 * Matches text that may be percent-encoded: printable ASCII without spaces. Random bytes that contain `%3E` by chance
 * have other characters too.
 */
const percentEncoded = /^[!-~]*%[0-9a-f]{2}[!-~]*$/i

function fromPercent (text: string): Buffer | null {
  try {
    return percentEncoded.test(text) ? Buffer.from(decodeURIComponent(text)) : null
  } catch {
    return null
  }
}

/**
 * Decodes decimal bytes (a `Uint8Array` as text), hexadecimal digits (also of a UUID), and base64 or base64url on one
 * line or several.
 */
function decode (text: string): Buffer | null {
  if (/^\d{1,3}(?:,\d{1,3})+$/.test(text)) return Buffer.from(text.split(',').map(Number))
  const hex = text.replace(/^0x|[\s:-]/gi, '')
  if (/^(?:[0-9a-f]{2})+$/i.test(hex)) return Buffer.from(hex, 'hex')
  const base64 = text.replace(/^(?:data:[^,]*,|base64:)/, '').replace(/\s*(?:\n|\\n|\\r)\s*/g, '')
  return /^[\w+/-]{2,}={0,2}$/.test(base64) ? Buffer.from(base64, 'base64') : null
}
