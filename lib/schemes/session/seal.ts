import { hkdfSync } from 'node:crypto'
import secureSession from '@fastify/secure-session'
import type { FastifyInstance } from 'fastify'

/** What a seal held, and whether it was made with an older secret than the newest. */
export interface Opened {
  readonly payload: Readonly<Record<string, unknown>>
  readonly old: boolean
}

/** Authenticated encryption of small objects into text that fits a cookie and a URL. */
export interface Seal {
  seal (payload: Readonly<Record<string, unknown>>): string
  /** `null` for everything that is not exactly what {@link Seal.seal} returned. Never throws. */
  open (text: string): Opened | null
}

/** The two purposes. Each has keys of its own, so that nothing sealed for one opens as the other. */
export interface Seals {
  readonly cookie: Seal
  readonly returnPath: Seal
}

/**
 * Years longer than any session: the engine answers "expired" and "forged" alike, and only one of them may be cleared silently.
 * The times that end a session are sealed within and are the scheme's to check. In seconds.
 */
const engineExpiry = 3_000_000_000

/**
 * `@fastify/secure-session` in a child of its own, where its decorators meet nobody's and its hooks run for no route.
 * Its texts are two padded base64 values that Node decodes leniently, so that many texts open as one; here there is one text for each seal.
 */
export async function makeSeals (app: FastifyInstance, scheme: string, secrets: readonly Uint8Array[]): Promise<Seals> {
  const names = { cookie: `gatehouse session ${scheme}`, returnPath: `gatehouse return path ${scheme}` }
  let engine = app
  await app.register(async child => {
    await child.register(secureSession, [
      { sessionName: names.cookie, key: secrets.map(secret => deriveKey(secret, 'session cookie', scheme)), expiry: engineExpiry },
      { sessionName: names.returnPath, key: secrets.map(secret => deriveKey(secret, 'return path', scheme)), expiry: engineExpiry }
    ])
    engine = child
  })
  return { cookie: makeSeal(engine, names.cookie), returnPath: makeSeal(engine, names.returnPath) }
}

/** HKDF (RFC 5869): one secret, in two schemes or for two purposes, gives unrelated keys. */
function deriveKey (secret: Uint8Array, purpose: string, scheme: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-gatehouse 1 ${purpose}\0${scheme}`, 32))
}

const shape = /^[\w-]+\.[\w-]{32}$/

/** What a last digit may be, by the number of digits beyond whole groups of four: one alone is none, and unused bits are zero (RFC 4648, 3.5). */
const lastDigits = [null, '', 'AQgw', 'AEIMQUYcgkosw048'] as const

/** Base64url without padding, in the one spelling that its bytes have. The nonce's 24 bytes leave no bit unused. */
function isCanonical (text: string): boolean {
  if (!shape.test(text)) return false
  const length = text.length - 33
  const allowed = lastDigits[length % 4] ?? null
  return allowed === null || allowed.includes(text.charAt(length - 1))
}

function makeSeal (engine: FastifyInstance, sessionName: string): Seal {
  return {
    seal (payload) {
      const text = engine.encodeSecureSession(engine.createSecureSession({ p: payload }), sessionName)
      return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '').replace(';', '.')
    },
    open (text) {
      if (!isCanonical(text)) return null
      // Node's decoder reads base64url as well
      const session = engine.decodeSecureSession(text.replace('.', ';'), undefined, sessionName)
      // one field: the engine reads fields through a proxy, and copies them all in its data()
      return session === null ? null : { payload: session.get('p'), old: session.changed }
    }
  }
}
