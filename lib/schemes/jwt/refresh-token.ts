import { hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

/** A parsed refresh token: the handle of its family, and its generation. */
export interface RefreshToken {
  readonly handle: string
  readonly generation: number
}

/** The issuer and client that a refresh token is bound to. */
interface Audience {
  readonly issuer: string
  readonly client: string
}

interface MacKey {
  /** The name of the secret in records, which reveals nothing about it. */
  readonly name: string
  /** The key in the two forms in which HMAC hashes it (RFC 2104, 2). */
  readonly inner: Buffer
  readonly outer: Buffer
}

/** The length of a block of SHA-256. */
const blockBytes = 64

const handleBytes = 16

/** Generates the handle of a family: 128 random bits. */
export function createHandle (): string {
  return randomBytes(handleBytes).toString('base64url')
}

/** Returns the id of a family's record. It gives no access, because the handle cannot be computed from it. */
export function familyId (handle: string): string {
  return hash('sha256', handle, 'base64url')
}

/**
 * Writes and reads refresh tokens, `<prefix>_<handle>.<generation>.<mac>`. By the MAC, forged tokens are refused
 * without a look-up, and earlier tokens of a family are recognised without records of their own.
 */
export class RefreshTokens {
  readonly #prefix: string
  readonly #pattern: RegExp
  readonly #keys: readonly MacKey[]

  /** @param secrets the newest first. New tokens use the first, and all are accepted. */
  constructor (prefix: string, secrets: readonly Uint8Array[]) {
    this.#prefix = prefix
    this.#pattern = new RegExp(`^${prefix}_([\\w-]{22})\\.(0|[1-9]\\d{0,14})\\.([\\w-]{43})$`)
    this.#keys = secrets.map(secret => ({
      name: derive(secret, 'refresh token secret name', 9).toString('base64url'),
      ...padded(derive(secret, 'refresh token', 32))
    }))
  }

  /** The name of the secret of new tokens. */
  get newest (): string {
    return String(this.#keys[0]?.name)
  }

  /** Writes a token with the secret of this name. Returns `null` if there is no such secret. */
  write (token: RefreshToken, audience: Audience, secret: string): string | null {
    const found = this.#keys.find(({ name }) => name === secret)
    if (found === undefined) return null
    return `${this.#prefix}_${token.handle}.${token.generation}.${mac(found, token, audience)}`
  }

  /** Returns the handle in a text with the form of a token, which may be forged; `null` for any other text. */
  handleIn (text: string): string | null {
    return this.#pattern.exec(text)?.[1] ?? null
  }

  /** Reads a token. Returns `null` for a text that none of the secrets has authenticated for this client. */
  read (text: unknown, audience: Audience): RefreshToken | null {
    const [, handle, generation, written] = typeof text === 'string' ? this.#pattern.exec(text) ?? [] : []
    if (handle === undefined || written === undefined) return null
    const token = { handle, generation: Number(generation) }
    return this.#keys.some(key => isEqual(mac(key, token, audience), written)) ? token : null
  }
}

/** Derives a key for one purpose by HKDF (RFC 5869). */
function derive (secret: Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-gatehouse 1 ${purpose}`, length))
}

function padded (key: Buffer): Pick<MacKey, 'inner' | 'outer'> {
  const block = Buffer.concat([key], blockBytes)
  return { inner: block.map(byte => byte ^ 0x36) as Buffer, outer: block.map(byte => byte ^ 0x5c) as Buffer }
}

/**
 * Computes the MAC of a token: HMAC-SHA256 by two one-shot hashes, which cost less than an `Hmac` object. Each field is
 * preceded by its length, so that the encoding is unambiguous.
 */
function mac ({ inner, outer }: MacKey, { handle, generation }: RefreshToken, { issuer, client }: Audience): string {
  const text = `${field(issuer)}${field(handle)}${field(String(generation))}${field(client)}`
  const digest = hash('sha256', Buffer.concat([inner, Buffer.from(text)]), 'buffer')
  return hash('sha256', Buffer.concat([outer, digest]), 'base64url')
}

function field (text: string): string {
  return `${Buffer.byteLength(text)}:${text}`
}

function isEqual (expected: string, presented: string): boolean {
  return timingSafeEqual(Buffer.from(expected), Buffer.from(presented))
}
