import { createRequire } from 'node:module'
import type {} from '@fastify/secure-session'
import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../../errors.js'
import { deriveKey } from '../../secrets/secret-uses.js'

const require = createRequire(import.meta.url)

/** The result of {@link Seal.open}. */
export interface Opened {
  readonly payload: Readonly<Record<string, unknown>>
  /** Sealed with an older secret than the newest. */
  readonly old: boolean
}

/** Encrypts and authenticates small objects. The text fits a cookie and a URL. */
export interface Seal {
  seal (payload: Readonly<Record<string, unknown>>): string
  /** Decrypts a text. Returns `null` for anything but a result of {@link Seal.seal}. Never throws. */
  open (text: string): Opened | null
}

/** One of several seals. Each has its own keys, so that a text of one never opens as another. */
export interface SealOptions {
  /** Differs from those of all other seals in the application. */
  readonly name: string
  /** The newest first: it seals, all of them open. */
  readonly keys: readonly Uint8Array[]
}

/**
 * The expiry that the engine is given, in seconds: longer than any session, so that it never applies. The engine does
 * not distinguish an expired text from a forged one. The scheme must, so it checks the times in the payload itself.
 */
const engineExpiry = 3_000_000_000

/**
 * Creates seals with `@fastify/secure-session`, registered in a child context, where its decorators do not conflict and
 * its hooks run for no route. Its texts are padded base64, which Node decodes leniently; here each payload has exactly
 * one valid text.
 * @param scheme the scheme whose secrets the keys are derived from, for messages.
 */
export async function createSeals<const S extends readonly SealOptions[]> (
  app: FastifyInstance, scheme: string, seals: S
): Promise<{ readonly [I in keyof S]: Seal }> {
  const secureSession = loadEngine(scheme)
  let engine = app
  await app.register(async child => {
    await child.register(secureSession, seals.map(({ name, keys }) => (
      { sessionName: name, key: keys.map(key => Buffer.from(key)), expiry: engineExpiry }
    )))
    engine = child
  })
  return seals.map(({ name }) => createSeal(engine, name)) as { readonly [I in keyof S]: Seal }
}

/**
 * Loads the engine, with its addon, only where a scheme has sessions.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if the addon was not built for this machine.
 */
function loadEngine (scheme: string) {
  try {
    return (require('@fastify/secure-session') as typeof import('@fastify/secure-session')).default
  } catch (error) {
    const [reason] = String((error as Error).message).split('\n', 1)
    throw misconfigured(`schemes.${scheme} seals its cookies with the addon sodium-native, which cannot be loaded on ` +
      `this machine: ${reason}. Install the packages on the machine and with the version of Node that run them ` +
      '(npm ci, or npm rebuild sodium-native). Schemes without a session do not need it.')
  }
}

/** Derives the keys of one purpose and one scheme. */
export function deriveKeys (secrets: readonly Uint8Array[], purpose: string, scheme: string): readonly Buffer[] {
  return secrets.map(secret => deriveKey(secret, `${purpose}\0${scheme}`))
}

const shape = /^[\w-]+\.[\w-]{32}$/

/**
 * The allowed last digits, by the number of digits modulo 4: a single digit is not allowed, and unused bits must be
 * zero (RFC 4648, 3.5).
 */
const lastDigits = [null, '', 'AQgw', 'AEIMQUYcgkosw048'] as const

/** Returns true for canonical base64url without padding. The nonce of 24 bytes has no unused bits. */
function isCanonical (text: string): boolean {
  if (!shape.test(text)) return false
  const length = text.length - 33
  const allowed = lastDigits[length % 4] ?? null
  return allowed === null || allowed.includes(text.charAt(length - 1))
}

function createSeal (engine: FastifyInstance, sessionName: string): Seal {
  return {
    seal (payload) {
      const text = engine.encodeSecureSession(engine.createSecureSession({ p: payload }), sessionName)
      return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '').replace(';', '.')
    },
    open (text) {
      if (!isCanonical(text)) return null
      // the engine decodes with Node's base64 decoder, which also accepts base64url
      const session = engine.decodeSecureSession(text.replace('.', ';'), undefined, sessionName)
      // the payload is one field, as the engine reads each field through a proxy
      return session === null ? null : { payload: session.get('p'), old: session.changed }
    }
  }
}
