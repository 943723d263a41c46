import { createRequire } from 'node:module'
import type {} from '@fastify/secure-session'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Authenticated } from '../../../types/outcome.js'
import type { ProviderLogin } from '../../../types/sessions.js'
import { internalError, misconfigured } from '../../errors.js'
import { principalFrom } from '../../kit/principal.js'
import { deriveKey } from '../../secrets/secret-uses.js'
import { createTokenCache, type CachedToken } from '../../util/cache.js'
import { isBase64url } from '../../util/encoding.js'
import { deepFreeze, isPlainObject, jsonObject, ownFields } from '../../util/objects.js'
import type { SessionSettings } from './options.js'
import { endOf, idOf, type Session } from './session.js'

/**
 * Bytes of `name=value`. Browsers silently drop a cookie above 4,096 bytes with its attributes (RFC 6265bis, 5.6) and
 * keep the previous one: the previous person would stay logged in.
 */
const maxBytes = 3_800

/**
 * Writes the cookie of one scheme. Without `Domain` and with `Path=/`, as `__Host-` requires (RFC 6265bis, 4.1.3.2).
 */
export class SessionCookie {
  readonly name: string
  readonly secure: boolean
  readonly sameSite: SessionSettings['sameSite']
  readonly #attributes: string

  constructor ({ cookieName, secure, sameSite }: Pick<SessionSettings, 'cookieName' | 'secure' | 'sameSite'>) {
    this.name = cookieName
    this.secure = secure
    this.sameSite = sameSite
    const partitioned = sameSite === 'None' ? '; Partitioned' : ''
    this.#attributes = `; Path=/; HttpOnly; ${secure ? 'Secure; ' : ''}SameSite=${sameSite}${partitioned}`
  }

  /**
   * Returns the `Set-Cookie` value of a session.
   * @param maxAge seconds; `null`: until the browser is closed.
   */
  line (value: string, maxAge: number | null): string {
    return `${this.name}=${value}${this.#attributes}${maxAge === null ? '' : `; Max-Age=${maxAge}`}`
  }

  /** Returns true if browsers accept the cookie with this value. */
  fits (value: string): boolean {
    return this.name.length + 1 + value.length <= maxBytes
  }

  /**
   * Returns {@link SessionCookie.line} for a value whose size depends on the application.
   * @throws {AuthError} `AUTH_FAULT` when it is larger than browsers accept.
   */
  boundedLine (value: string, maxAge: number | null): string {
    if (!this.fits(value)) {
      const size = this.name.length + 1 + value.length
      throw internalError(`the session cookie ${this.name} would have ${size} bytes, and above ${maxBytes} browsers ` +
        'may drop it: keep less in the principal and the data')
    }
    return this.line(value, maxAge)
  }

  /** The `Set-Cookie` value that removes the cookie. */
  get removal (): string {
    return `${this.name}=${this.#attributes}; Max-Age=0`
  }

  /**
   * Adds a line to the response. Replaces one of the same name (RFC 6265, 4.1.1: no name twice) and keeps all others.
   */
  write (reply: FastifyReply, line: string): void {
    const lines = [reply.getHeader('set-cookie') ?? []].flat().map(String)
    const others = lines.filter(each => !each.startsWith(`${this.name}=`))
    if (others.length !== lines.length) {
      reply.removeHeader('set-cookie')
      if (others.length > 0) reply.header('set-cookie', others)
    }
    reply.header('set-cookie', line)
  }
}

/** Prevents shared caches from storing the response, which would send its `Set-Cookie` to others (RFC 9111, 7.3). */
export function keepOutOfSharedCaches (reply: FastifyReply): void {
  const cacheControl = reply.getHeader('cache-control')
  if (/(?:^|[,\s])(?:private|no-store)(?:[,\s]|$)/i.test(String(cacheControl))) return
  reply.header('cache-control', 'no-store')
}

/** An opened cookie. */
export interface OpenedCookie extends CachedToken {
  readonly session: Session
  /** The instant at which the session ends, in milliseconds since 1970. */
  readonly endsAt: number
  /** The outcome that requests with the cookie share, apart from the credential. The first request creates it. */
  outcome: Authenticated | null
  /** Sealed with an older secret than the newest. */
  readonly old: boolean
}

/** Cookies of a few kilobytes at most: some megabytes. */
const maxCachedCookies = 2_048

/**
 * Seals and opens the cookies of one scheme, and caches those that were opened. Whether a session has ended is checked
 * on every request all the same.
 */
export class SealedCookies {
  readonly #seal: Seal
  readonly #settings: Pick<SessionSettings, 'expiry' | 'load'>
  readonly #opened = createTokenCache<OpenedCookie>(maxCachedCookies)

  constructor (seal: Seal, settings: Pick<SessionSettings, 'expiry' | 'load'>) {
    this.#seal = seal
    this.#settings = settings
  }

  get (text: string): OpenedCookie | undefined {
    return this.#opened.get(text)
  }

  /** Returns the value of a session's cookie. */
  seal (session: Session): string {
    return this.#seal.seal(pack(session, this.#settings.load === null))
  }

  /** Opens a cookie. It is *forged* if this scheme did not seal it, and *outdated* if another version did. */
  open (text: string): OpenedCookie | 'forged' | 'outdated' {
    const opened = this.#seal.open(text)
    if (opened === null) return 'forged'
    const { expiry, load } = this.#settings
    // without `load`, the cookie has the scopes and roles
    const session = unpack(opened.payload, load === null)
    if (session === null) return 'outdated'
    return { token: text, session, endsAt: endOf(expiry, session), old: opened.old, outcome: null }
  }

  /** Caches a cookie. Call it only for sessions that have not ended: cookies of ended ones would evict theirs. */
  add (opened: OpenedCookie): void {
    this.#opened.add(opened)
  }
}

/** The version of the payload. */
const version = 1

/**
 * Returns the payload of a session's cookie, with short keys, as browsers drop cookies above 4 KiB.
 * @param holdsAuthority adds scopes and roles: there is no `load`.
 */
function pack (session: Session, holdsAuthority: boolean): Readonly<Record<string, unknown>> {
  const { realm, id, scopes, roles, ...more } = session.principal
  return {
    v: version,
    s: session.secret,
    r: realm,
    i: id,
    ...(holdsAuthority ? { c: scopes, o: roles } : {}),
    ...unlessEmpty('m', jsonObject(more, 'principal')),
    ...unlessEmpty('d', session.data),
    a: session.authenticatedAt,
    ...(session.createdAt === session.authenticatedAt ? {} : { t: session.createdAt }),
    ...(session.begunAt === session.createdAt ? {} : { b: session.begunAt }),
    l: session.seenAt,
    e: session.endsAt,
    ...(session.kept ? { k: 1 } : {}),
    ...(session.provider === null ? {} : { p: session.provider })
  }
}

function unlessEmpty (key: string, fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.keys(fields).length === 0 ? {} : { [key]: fields }
}

const empty: Readonly<Record<string, unknown>> = Object.freeze({})

/**
 * Parses an authentic payload. Returns `null` when another version of this plugin wrote it.
 * @param holdsAuthority takes scopes and roles from the cookie: there is no `load`.
 */
export function unpack (payload: Readonly<Record<string, unknown>>, holdsAuthority: boolean): Session | null {
  const fields = ownFields(payload)
  const { v, s, r, i, a, t = a, b = t, l, e, k, m = empty, d = empty, p = null } = fields
  const scopes = holdsAuthority ? names(fields['c']) : []
  const roles = holdsAuthority ? names(fields['o']) : []
  if (v !== version || typeof s !== 'string' || typeof r !== 'string' || typeof i !== 'string' || i === '') return null
  if ((typeof a !== 'number' && a !== null) || typeof t !== 'number' || typeof b !== 'number') return null
  if (typeof l !== 'number' || typeof e !== 'number') return null
  if (!isPlainObject(m) || !isPlainObject(d)) return null
  const principal = principalFrom({ ...deepFreeze(m), realm: r, id: i, scopes, roles }, r)
  const times = { authenticatedAt: a, createdAt: t, begunAt: b, seenAt: l, endsAt: e }
  const provider = p as ProviderLogin | null
  return { secret: s, id: idOf(s), principal, ...times, kept: k === 1, data: deepFreeze(d), provider }
}

function names (value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter(name => typeof name === 'string') : []
}

const require = createRequire(import.meta.url)

/** The result of {@link Seal.open}. */
interface Opened {
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
interface SealOptions {
  /** Differs from those of all other seals in the application. */
  readonly name: string
  /** The newest comes first and seals. Texts that were sealed with any of them can be opened. */
  readonly keys: readonly Uint8Array[]
}

/**
 * The expiry that the engine is given: longer than any session, so that it never applies. The engine does not
 * distinguish an expired text from a forged one. The scheme must, so it checks the times in the payload itself.
 */
const engineExpirySeconds = 3_000_000_000

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
      { sessionName: name, key: keys.map(key => Buffer.from(key)), expiry: engineExpirySeconds }
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

/** Returns true for canonical base64url without padding. The nonce of 24 bytes has no unused bits. */
function isCanonical (text: string): boolean {
  return /^[\w-]+\.[\w-]{32}$/.test(text) && isBase64url(text.slice(0, -33))
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
