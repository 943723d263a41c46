import {
  createHmac, createSecretKey, hash, hkdfSync, randomBytes, timingSafeEqual, type KeyObject
} from 'node:crypto'

/** A parsed refresh token: the handle of its family, and its generation. */
export interface RefreshToken {
  readonly handle: string
  readonly generation: number
}

interface MacKey {
  /** The name of the secret in records, which reveals nothing about it. */
  readonly name: string
  readonly key: KeyObject
}

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
  readonly #issuer: string

  constructor ({ issuer, prefix, secrets }: RefreshTokenFormat) {
    this.#prefix = prefix
    this.#issuer = issuer
    this.#pattern = new RegExp(`^${prefix}_([\\w-]{22})\\.(0|[1-9]\\d{0,14})\\.([\\w-]{43})$`)
    this.#keys = secrets.map(secret => ({
      name: derive(secret, 'refresh token secret name', 9).toString('base64url'),
      key: createSecretKey(derive(secret, 'refresh token', 32))
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

  /** Computes the MAC of a token. Each field is preceded by its length, so that the encoding is unambiguous. */
  #mac ({ key }: MacKey, { handle, generation }: RefreshToken, client: string): string {
    const fields = [this.#issuer, handle, String(generation), client].map(field).join('')
    return createHmac('sha256', key).update(fields).digest('base64url')
  }
}

/** Derives a key for one purpose by HKDF (RFC 5869). */
function derive (secret: Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-gatehouse 1 ${purpose}`, length))
}

function field (text: string): string {
  return `${Buffer.byteLength(text)}:${text}`
}

function isEqual (expected: string, presented: string): boolean {
  return timingSafeEqual(Buffer.from(expected), Buffer.from(presented))
}
