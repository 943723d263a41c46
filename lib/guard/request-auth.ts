import type { FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'
import { internalError, misconfigured, type AuthError } from '../errors.js'
import { parseRequirements, type Requirements } from '../policy/parse.js'
import type { Permissions } from '../policy/requirements.js'
import { readOptions } from '../util/options.js'
import { meetsRequirements } from './authorize.js'
import { expirySignal } from './expiry-signal.js'
import { stateOf, type Carrier, type Identity, type Pass } from './request-state.js'

/** The part of one scheme. Its fields are own properties, so that copies and JSON of it are complete. */
class Entry {
  readonly principal: Principal
  readonly credential: unknown
  readonly authenticatedAt: string | null
  readonly expiresAt: string | null

  constructor ({ outcome }: Identity) {
    this.principal = outcome.principal
    this.credential = outcome.credential
    this.authenticatedAt = outcome.authenticatedAt?.toISOString() ?? null
    this.expiresAt = outcome.expiresAt?.toISOString() ?? null
  }
}

/** `request.auth` of an authenticated caller. */
class Authenticated extends Entry {
  readonly authenticated = true
  readonly scheme: string
  readonly error = null
  readonly #acting: Identity
  readonly #identities: readonly Identity[]
  readonly #permissions: Permissions
  readonly #carrier: Carrier
  #signal: AbortSignal | null = null

  constructor (acting: Identity, { identities, carrier }: Pass, permissions: Permissions) {
    super(acting)
    this.scheme = acting.bound.name
    this.#acting = acting
    this.#identities = identities
    this.#permissions = permissions
    this.#carrier = carrier
  }

  /** Aborted when the credential expires or is revoked while a WebSocket or an event stream still uses it. */
  get signal (): AbortSignal {
    this.#signal ??= expirySignal(this.#identities, this.#carrier)
    return this.#signal
  }

  /** Every scheme that this request satisfied, by name. */
  get all (): Readonly<Record<string, Entry>> {
    const entries = this.#identities.map(identity => [identity.bound.name, Object.freeze(new Entry(identity))])
    return Object.freeze(Object.fromEntries(entries))
  }

  allows (query: unknown): boolean {
    return parseQuery(query, this.#permissions).every(each => meetsRequirements(each, this.#acting))
  }
}

/** `request.auth` of an anonymous caller. */
class Anonymous {
  readonly authenticated = false
  readonly scheme = null
  readonly principal = null
  readonly credential = null
  readonly authenticatedAt = null
  readonly expiresAt = null
  readonly signal = null
  readonly error: AuthError | null
  readonly all = Object.freeze({})
  readonly #permissions: Permissions

  constructor (error: AuthError | null, permissions: Permissions) {
    this.error = error
    this.#permissions = permissions
  }

  /** Returns `false`. A wrong query is an error here as well. */
  allows (query: unknown): boolean {
    return parseQuery(query, this.#permissions).length === 0
  }
}

/** @throws {AuthError} `AUTH_FAULT` for a wrong query, which must read neither as yes nor as no. */
function parseQuery (query: unknown, permissions: Permissions): readonly Requirements[] {
  try {
    const given = readOptions(query, ['scopes', 'roles'], 'request.auth.allows()')
    if (Object.keys(given).length === 0) {
      throw misconfigured('request.auth.allows() is asked for nothing. Give it scopes, roles, or both.')
    }
    return (['scopes', 'roles'] as const).flatMap(kind => kind in given
      ? [parseRequirements(given[kind], { kind, path: `request.auth.allows({ ${kind} })` }, permissions)]
      : [])
  } catch (cause) {
    throw internalError('request.auth.allows() was asked something that is not in its grammar', cause)
  }
}

/** Returns `request.auth`. It is made when it is first read, once for each pass of a guard. */
export function requestAuth (request: FastifyRequest, permissions: Permissions): object {
  const state = stateOf(request)
  if (state === undefined || state.pass === null) return Object.freeze(new Anonymous(null, permissions))
  state.auth ??= Object.freeze(authOfPass(state.pass, permissions))
  return state.auth
}

function authOfPass (pass: Pass, permissions: Permissions): object {
  const [acting] = pass.identities
  return acting === undefined ? new Anonymous(pass.error, permissions) : new Authenticated(acting, pass, permissions)
}
