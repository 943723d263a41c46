import { hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

/** A parsed refresh token: the handle of its family, and its generation. */
export interface RefreshToken {
  readonly handle: string
  readonly generation: number
}

interface MacKey {
  /** The name of the secret in records, which reveals nothing about it. */
  readonly name: string
  /** What HMAC hashes first (RFC 2104, 2): a block with the key, the issuer, and room for the rest. */
  readonly inner: Buffer
  /** What HMAC hashes then: a block with the key, and room for the first digest. */
  readonly outer: Buffer
}

/** The length of a block of SHA-256, and of its digest. */
const [blockBytes, digestBytes] = [64, 32]

/** The room for the fields of a token, in bytes. Those with a longer client are copied. */
const fieldBytes = 512

const handleBytes = 16

/** Generates the handle of a family: 128 random bits. */
export function createHandle (): string {
  return randomBytes(handleBytes).toString('base64url')
}

/** Returns the id of a family's record. It gives no access, because the handle cannot be computed from it. */
export function familyId (handle: string): string {
  return hash('sha256', handle, 'base64url')
}

/** The issuer that refresh tokens are bound to, the prefix by which scanners find them, and the secrets. */
export interface RefreshTokenFormat {
  readonly issuer: string
  readonly prefix: string
  /** The newest first. New tokens use the first, and all are accepted. */
  readonly secrets: readonly Uint8Array[]
}

/**
 * Writes and reads refresh tokens, `<prefix>_<handle>.<generation>.<mac>`. By the MAC, forged tokens are refused
 * without a look-up, and earlier tokens of a family are recognised without records of their own.
 */
export class RefreshTokens {
  readonly #prefix: string
  readonly #pattern: RegExp
  readonly #keys: readonly MacKey[]
  /** Where the fields of a token begin in what HMAC hashes first. */
  readonly #start: number

  constructor ({ issuer, prefix, secrets }: RefreshTokenFormat) {
    const begin = field(issuer)
    this.#prefix = prefix
    this.#pattern = new RegExp(`^${prefix}_([\\w-]{22})\\.(0|[1-9]\\d{0,14})\\.([\\w-]{43})$`)
    this.#start = blockBytes + Buffer.byteLength(begin)
    this.#keys = secrets.map(secret => ({
      name: derive(secret, 'refresh token secret name', 9).toString('base64url'),
      ...macKey(derive(secret, 'refresh token', 32), begin)
    }))
  }

  /** The name of the secret of new tokens. */
  get newest (): string {
    return String(this.#keys[0]?.name)
  }

  /** Writes a token of a client with the secret of this name. Returns `null` if there is no such secret. */
  write (token: RefreshToken, client: string, secret: string): string | null {
    const found = this.#keys.find(({ name }) => name === secret)
    if (found === undefined) return null
    return `${this.#prefix}_${token.handle}.${token.generation}.${this.#mac(found, token, client)}`
  }

  /** Returns the handle in a text with the form of a token, which may be forged; `null` for any other text. */
  handleIn (text: string): string | null {
    return this.#pattern.exec(text)?.[1] ?? null
  }

  /** Reads a token. Returns `null` for a text that none of the secrets has authenticated for this client. */
  read (text: unknown, client: string): RefreshToken | null {
    const [, handle, generation, written] = typeof text === 'string' ? this.#pattern.exec(text) ?? [] : []
    if (handle === undefined || written === undefined) return null
    const token = { handle, generation: Number(generation) }
    return this.#keys.some(key => isEqual(this.#mac(key, token, client), written)) ? token : null
  }

  /**
   * Computes the MAC of a token: HMAC-SHA256 by two one-shot hashes over buffers that are kept, which costs a third of
   * an `Hmac` object. Each field is preceded by its length, so that the encoding is unambiguous.
   */
  #mac ({ inner, outer }: MacKey, { handle, generation }: RefreshToken, client: string): string {
    const number = String(generation)
    const fields = `${handle.length}:${handle}${number.length}:${number}${field(client)}`
    const written = inner.write(fields, this.#start)
    // a character has up to four bytes, so with less room left some may be missing
    const input = written > fieldBytes - 4
      ? Buffer.concat([inner.subarray(0, this.#start), Buffer.from(fields)])
      : inner.subarray(0, this.#start + written)
    outer.write(hash('sha256', input, 'binary'), blockBytes, 'binary')
    return hash('sha256', outer, 'base64url')
  }
}

/** Derives a key for one purpose by HKDF (RFC 5869). */
function derive (secret: Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-gatehouse 1 ${purpose}`, length))
}

/** Prepares a key for HMAC, over texts that begin with `begin`. */
function macKey (key: Buffer, begin: string): Pick<MacKey, 'inner' | 'outer'> {
  const block = Buffer.concat([key], blockBytes)
  const [ipad, opad] = [block.map(byte => byte ^ 0x36), block.map(byte => byte ^ 0x5c)]
  return {
    inner: Buffer.concat([ipad, Buffer.from(begin)], blockBytes + Buffer.byteLength(begin) + fieldBytes),
    outer: Buffer.concat([opad], blockBytes + digestBytes)
  }
}

function field (text: string): string {
  return `${Buffer.byteLength(text)}:${text}`
}

/** The two texts that are compared, of the length of a MAC. */
const [expectedBytes, presentedBytes] = [Buffer.alloc(43), Buffer.alloc(43)]

function isEqual (expected: string, presented: string): boolean {
  expectedBytes.write(expected, 'latin1')
  presentedBytes.write(presented, 'latin1')
  return timingSafeEqual(expectedBytes, presentedBytes)
}
