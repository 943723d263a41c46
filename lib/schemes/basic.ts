import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import type { PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import type { Load, SchemeFactory } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { fields, isObject } from '../shape.js'
import { isThenable } from '../thenable.js'
import { authenticated, invalid } from './outcome.js'
import { principalFrom } from './principal.js'
import { readAuthorization } from './read.js'

/** A user of the table that {@link basic} takes: the principal, its name being the `id`, and the password. */
export type BasicUser = Omit<PrincipalInput, 'id'> & { readonly password: string }

interface BasicCommon {
  /** What the browser's prompt names. Default: the scheme's name. */
  readonly realm?: string
  readonly load?: Load
}

/** The options of {@link basic}: `verify` or `users`. */
export type BasicOptions<P extends PrincipalInput = PrincipalInput> = BasicCommon & (
  | {
    /** The user's principal, or `null`. Take as long for an unknown user as for a known one. What it throws is a 500. */
    readonly verify: (username: string, password: string, request: FastifyRequest) => P | null | Promise<P | null>
    readonly users?: never
  }
  | {
    /** From user name to password and principal. Passwords are not kept. */
    readonly users: Readonly<Record<string, BasicUser>>
    readonly verify?: never
  })

/** What a client sent. */
interface UserPass { readonly username: string, readonly password: string }

type Verify<P> = (username: string, password: string, request: FastifyRequest) => P | null | Promise<P | null>

/** Longer passwords are refused unread: hashing them is work that a stranger chooses. */
const longestPassword = 1024

/**
 * HTTP Basic, RFC 7617, in UTF-8.
 *
 * @example
 * const ops = basic({ realm: 'ops', users: { deploy: { password: process.env.OPS_PASSWORD, roles: ['ops'] } } })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot.
 */
export function basic<P extends PrincipalInput> (options: BasicOptions<P>): SchemeFactory<PrincipalFrom<P>, null> {
  return (_app, name) => {
    const place = `basic() of the scheme '${name}'`
    const said = fields(options, ['verify', 'users', 'realm', 'load'], `The options of ${place}`)
    const { realm = name, load } = said
    if (typeof realm !== 'string') throw misconfigured(`The option realm of ${place} must be a string.`)
    if (load !== undefined && typeof load !== 'function') throw misconfigured(`The option load of ${place} must be a function.`)
    const verify = verifier<P>(said, name, place)
    const challenge = Object.freeze({ scheme: 'Basic', params: Object.freeze({ realm, charset: 'UTF-8' }) })
    const judge = (principal: P | null): Outcome<PrincipalFrom<P>, null> =>
      principal === null
        ? invalid('the user name or the password is wrong')
        : authenticated(principalFrom(principal, name), { credential: null, authenticatedAt: new Date() })
    return {
      openapi: { type: 'http', scheme: 'basic' },
      ambient: true,
      dated: true,
      ...load === undefined ? {} : { load: load as Load<PrincipalFrom<P>> },
      challenge: failure => failure.code === 'AUTH_ACCESS_DENIED' ? null : challenge,
      authenticate (request) {
        const encoded = readAuthorization(request, 'basic')
        if (typeof encoded !== 'string') return encoded
        const sent = parseUserPass(encoded)
        if (sent === null || sent.username === '' || sent.password === '') return invalid('the credential is no user name and password')
        if (Buffer.byteLength(sent.password) > longestPassword) return invalid('the password is too long')
        const found = verify(sent.username, sent.password, request)
        return isThenable(found) ? Promise.resolve(found).then(judge) : judge(found)
      }
    }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * RFC 7617, 2: base64 of `user-id ":" password`; the first colon ends the name; no control characters. In UTF-8, normalised (NFC).
 * @returns `null` for what is not that.
 */
export function parseUserPass (encoded: string): UserPass | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
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

function hasControl (text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

function verifier<P extends PrincipalInput> (said: Readonly<Record<string, unknown>>, name: string, place: string): Verify<P> {
  if (('verify' in said) === ('users' in said)) throw misconfigured(`${place} needs either verify or users.`)
  if ('users' in said) return table<P>(said.users, name, place)
  if (typeof said.verify !== 'function') throw misconfigured(`The option verify of ${place} must be a function (username, password, request) => principal or null.`)
  return said.verify as Verify<P>
}

/** Passwords as digests under a random prefix of this process. An unknown user is compared too, with a digest that nothing has. */
function table<P extends PrincipalInput> (users: unknown, name: string, place: string): Verify<P> {
  if (!isObject(users) || Object.keys(users).length === 0) throw misconfigured(`The option users of ${place} must be an object from user name to { password, scopes, roles }, with at least one user.`)
  const salt = randomBytes(32).toString('latin1')
  const digest = (password: string): Buffer => hash('sha256', salt + password, 'buffer')
  const known = new Map(Object.entries(users).map(([username, user]) => [username.normalize('NFC'), parseUser(username, user, digest, name, place)]))
  if (known.size < Object.keys(users).length) throw misconfigured(`The option users of ${place} has two names that are one in Unicode's normal form (NFC). Remove one of them.`)
  const nobody = { digest: randomBytes(32), principal: null }
  return (username, password) => {
    const user = known.get(username) ?? nobody
    return timingSafeEqual(digest(password), user.digest) ? user.principal as P | null : null
  }
}

function parseUser (username: string, user: unknown, digest: (password: string) => Buffer, name: string, place: string) {
  const which = `The user '${username}' of ${place}`
  if (username === '' || username.includes(':') || hasControl(username)) throw misconfigured(`${which} has a name that RFC 7617 cannot carry: it is empty, or has a colon or a control character.`)
  if (!isObject(user) || typeof user.password !== 'string') throw misconfigured(`${which} must be { password, scopes, roles }; the password is ${isObject(user) ? typeof user.password : 'missing'}.`)
  if (user.password.length < 8 || Buffer.byteLength(user.password) > longestPassword || hasControl(user.password)) throw misconfigured(`${which} has a password that is shorter than 8 characters, longer than ${longestPassword} bytes, or has control characters.`)
  const { password, ...rest } = user
  return { digest: digest(password.normalize('NFC')), principal: principalFrom({ ...rest, id: username }, name) }
}
