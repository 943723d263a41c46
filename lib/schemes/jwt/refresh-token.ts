import { createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'

/** A refresh token that is ours: whose family, and which of its tokens. */
export interface RefreshToken {
  readonly handle: string
  readonly generation: number
}

/** Whom a refresh token is for. */
interface Audience {
  readonly issuer: string
  readonly client: string
}

interface MacKey {
  /** The name by which records call the secret. It says nothing of it. */
  readonly name: string
  readonly key: Buffer
}

const handleBytes = 16

/** Generates the handle of a family: 128 random bits. */
export function createHandle (): string {
  return randomBytes(handleBytes).toString('base64url')
}

/** Returns the id of a family's record, which opens nothing: the handle cannot be found from it. */
export function familyId (handle: string): string {
  return hash('sha256', handle, 'base64url')
}

/**
 * Writes and reads refresh tokens, `<prefix>_<handle>.<generation>.<mac>`. The MAC makes garbage known without a
 * look-up, and every earlier token of a family known as such without a record of its own.
 */
export class RefreshTokens {
  readonly #prefix: string
  readonly #pattern: RegExp
  readonly #keys: readonly MacKey[]

  /** @param secrets the newest, which writes, first. All of them are accepted. */
  constructor (prefix: string, secrets: readonly Uint8Array[]) {
    this.#prefix = prefix
    this.#pattern = new RegExp(`^${prefix}_([\\w-]{22})\\.(0|[1-9]\\d{0,14})\\.([\\w-]{43})$`)
    this.#keys = secrets.map(secret => ({
      name: derive(secret, 'refresh token secret name', 9).toString('base64url'),
      key: derive(secret, 'refresh token', 32)
    }))
  }

  /** The name of the secret that new tokens are written with. */
  get newest (): string {
    return String(this.#keys[0]?.name)
  }

  /** Writes a token with the secret of this name; `null` where it is not among the secrets. */
  write (token: RefreshToken, audience: Audience, secret: string): string | null {
    const found = this.#keys.find(({ name }) => name === secret)
    if (found === undefined) return null
    return `${this.#prefix}_${token.handle}.${token.generation}.${mac(found.key, token, audience)}`
  }

  /** Reads a token; `null` for what no secret of ours wrote for this client. */
  read (text: unknown, audience: Audience): RefreshToken | null {
    const [, handle, generation, written] = typeof text === 'string' ? this.#pattern.exec(text) ?? [] : []
    if (handle === undefined || written === undefined) return null
    const token = { handle, generation: Number(generation) }
    return this.#keys.some(({ key }) => isEqual(mac(key, token, audience), written)) ? token : null
  }
}

/** HKDF (RFC 5869): one secret gives unrelated keys for other purposes. */
function derive (secret: Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-gatehouse 1 ${purpose}`, length))
}

/** The fields have their lengths before them, so that no two lists of fields are one text. */
function mac (key: Buffer, { handle, generation }: RefreshToken, { issuer, client }: Audience): string {
  const fields = [issuer, handle, String(generation), client].map(field => `${Buffer.byteLength(field)}:${field}`)
  return createHmac('sha256', key).update(fields.join('')).digest('base64url')
}

function isEqual (expected: string, presented: string): boolean {
  return timingSafeEqual(Buffer.from(expected), Buffer.from(presented))
}
