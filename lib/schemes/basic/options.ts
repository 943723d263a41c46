import type { FastifyRequest } from 'fastify'
import type { Duration } from '../../../types/options.js'
import type { No, PrincipalInput } from '../../../types/principal.js'
import type { Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { parseRealm } from '../../kit/challenge.js'
import { decorateOption } from '../../kit/principal.js'
import type { Passwords } from '../../passwords/passwords.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, exactlyOne, functionOf, object, oneOf, optional } from '../../util/options.js'
import type { FoundUser } from './users.js'

/** A user of the option `users`: the principal, whose `id` is the user name, and the password or its hash. */
export type BasicUser<P extends PrincipalInput = PrincipalInput> = Omit<P, 'id'> & (
  | { readonly password: string | undefined, readonly hash?: never }
  | {
    /** An argon2, scrypt or bcrypt hash, as `npx fastify-gatehouse hash` prints it. */
    readonly hash: string | undefined
    readonly password?: never
  })

interface BasicCommon {
  /** The realm of the challenge, which the prompt of a browser may show. Default: the name of the scheme. */
  readonly realm?: string
  readonly load?: Load
  /** Adds a property to every request: the principal of this scheme, or `null`. `true` for the scheme's own name. */
  readonly decorate?: true | string
}

interface BasicCached {
  /**
   * Caches a right password per user, stored hash and address for `ttl`, at most 5 minutes, so that a slow hash is not
   * computed on every request. A changed hash takes effect at once, and a wrong password is never cached. Default: no
   * cache.
   */
  readonly cache?: { readonly ttl: Duration }
}

/** The options of {@link basic}: `verify`, `users` or `find`. */
export type BasicOptions<P extends PrincipalInput = PrincipalInput> = BasicCommon & (
  | {
    /**
     * Returns the principal of the user, or `null`, `undefined`, `false` or `{ valid: false }` for a wrong password.
     * Should take as long for an unknown user as for a known one. If it throws, the response is a 500.
     */
    readonly verify: (username: string, password: string, request: FastifyRequest) => P | No | Promise<P | No>
    /**
     * Calls `verify` with empty passwords too, which are refused otherwise. Do not use it where `verify` binds to an
     * LDAP server: a bind with a name and an empty password succeeds without authenticating anybody (RFC 4513, 5.1.2).
     */
    readonly emptyPassword?: 'verify'
    readonly users?: never
    readonly find?: never
    /** Needs `users` or `find`: the cache depends on the stored hash. */
    readonly cache?: never
    readonly passwords?: never
  }
  | BasicCached & {
    /** Users by name. Plain passwords are not kept. */
    readonly users: Readonly<Record<string, BasicUser<P>>>
    readonly verify?: never
    readonly find?: never
    readonly passwords?: never
  }
  | BasicCached & {
    /**
     * Returns the stored hash and the principal of a user, or `null`, `undefined`, `false` or `{ valid: false }` for an
     * unknown one. Called on every request; the plugin verifies the password. If it throws, the response is a 500.
     */
    readonly find: (username: string, request: FastifyRequest) => FoundUser<P> | No | Promise<FoundUser<P> | No>
    /**
     * Verifies the hashes: the result of `passwords({...})` of `fastify-gatehouse/passwords`, needed for hashes under a
     * pepper. Default: `passwords()`.
     */
    readonly passwords?: Pick<Passwords, 'verify'>
    readonly verify?: never
    readonly users?: never
  })

type Verify = (username: string, password: string, request: FastifyRequest) => unknown
type Find = (username: string, request: FastifyRequest) => unknown

/** The way to verify a password: by the application, with a table, or with a hash that the application finds. */
export type PasswordChoice =
  | { readonly kind: 'verify', readonly verify: Verify }
  | { readonly kind: 'users', readonly users: unknown }
  /** `passwords` is `null` for the default. */
  | { readonly kind: 'find', readonly find: Find, readonly passwords: Pick<Passwords, 'verify'> | null }

/** {@link BasicOptions}, parsed and complete. */
export interface BasicSettings {
  readonly choice: PasswordChoice
  readonly realm: string
  readonly load: Load | null
  /** Seconds for which a right password is cached; `null`: no cache. */
  readonly cacheTtl: number | null
  readonly decorate: true | string | null
  /** Empty passwords are verified. */
  readonly emptyPassword: boolean
  /** The path of these options, for messages: `schemes.ops`. */
  readonly path: string
}

/** Seconds. */
const maxCacheTtl = 300

const parse = object({
  verify: optional(functionOf<Verify>('(username, password, request) => principal or null'), null),
  users: value => value,
  find: optional(functionOf<Find>('(username, request) => { hash, principal } or null'), null),
  realm: optional(parseRealm, null),
  load: optional(functionOf<Load>('(principal, { scheme, request }) => principal or null'), null),
  cache: optional(object({ ttl: duration({ positive: true, max: maxCacheTtl }) }), null),
  passwords: optional(parsePasswords, null),
  decorate: optional(decorateOption, null),
  emptyPassword: optional(oneOf('verify'), null)
})

/** Parses the options of the scheme `name`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function parseBasicOptions (options: unknown, name: string): BasicSettings {
  const path = `schemes.${name}`
  const parsed = parse(options, `The options of ${path}`)
  const { verify, users, find, passwords, realm, load, cache, decorate, emptyPassword } = parsed
  const choice = exactlyOne<PasswordChoice>({
    verify: verify === null ? null : { kind: 'verify', verify },
    users: users === undefined ? null : { kind: 'users', users },
    find: find === null ? null : { kind: 'find', find, passwords }
  }, `The options of ${path}`)
  if (passwords !== null && choice.kind !== 'find') {
    throw misconfigured(`The option ${path}.passwords is only used by find. Leave it out.`)
  }
  if (emptyPassword !== null && choice.kind !== 'verify') {
    throw misconfigured(`The option ${path}.emptyPassword is only used by verify. Leave it out.`)
  }
  if (cache !== null && choice.kind === 'verify') {
    throw misconfigured(`The option ${path}.cache has to see the stored hash, so that a changed password counts at ` +
      'once. Use find instead of verify, or leave cache out.')
  }
  return Object.freeze({
    choice,
    realm: realm ?? name,
    load,
    cacheTtl: cache?.ttl ?? null,
    decorate,
    emptyPassword: emptyPassword !== null,
    path
  })
}

function parsePasswords (value: unknown, option: string): Pick<Passwords, 'verify'> {
  if (isObject(value) && typeof value['verify'] === 'function') return value as unknown as Passwords
  throw misconfigured(`${option} must be what passwords() of fastify-gatehouse/passwords returns. Got ` +
    `${describeValue(value)}.`)
}
