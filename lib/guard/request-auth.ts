import type { FastifyRequest } from 'fastify'
import type { AuthErrorCode } from '../../types/error.js'
import type { Principal } from '../../types/principal.js'
import { type AuthError, authFailure, internalError, misconfigured, refusal } from '../errors.js'
import { parseRequirements } from '../policy/parse.js'
import type { Permissions } from '../policy/requirements.js'
import { readOptions } from '../util/options.js'
import { meetsRequirements } from './authorize.js'
import { type Carrier, type Identity, isOver, type Pass, stateOf } from './request-state.js'

/** One scheme's part. Its fields are its own, so that copies and JSON of it are complete. */
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

/** `request.auth` of a caller whom a scheme knows. */
class Known extends Entry {
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
    this.#signal ??= lifetimeOf(this.#identities, this.#carrier)
    return this.#signal
  }

  /** Every scheme that this request satisfied, by name. */
  get all (): Readonly<Record<string, Entry>> {
    return Object.freeze(Object.fromEntries(this.#identities.map(identity => [identity.bound.name, Object.freeze(new Entry(identity))])))
  }

  allows (query: unknown): boolean {
    return requirements(query, this.#permissions).every(asked => meetsRequirements(asked, this.#acting))
  }
}

/** `request.auth` of a caller whom nobody knows. */
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

  /** Always `false`; a wrong question is an error here as well. */
  allows (query: unknown): boolean {
    return requirements(query, this.#permissions).length === 0
  }
}

/** @throws {AuthError} `AUTH_FAULT` for a question that is not in the grammar: it must not read as yes or as no. */
function requirements (query: unknown, permissions: Permissions) {
  try {
    const said = readOptions(query, ['scopes', 'roles'], 'request.auth.allows()')
    if (Object.keys(said).length === 0) throw misconfigured('request.auth.allows() is asked for nothing. Give it scopes, roles, or both.')
    return (['scopes', 'roles'] as const)
      .flatMap(kind => kind in said ? [parseRequirements(kind, said[kind], `request.auth.allows({ ${kind} })`, permissions)] : [])
  } catch (cause) {
    throw internalError('request.auth.allows() was asked something that is not in its grammar', cause)
  }
}

/** What `request.auth` shows. Made when it is first read, once for each end of the guard. */
export function viewOf (request: FastifyRequest, permissions: Permissions): object {
  const state = stateOf(request)
  if (state === undefined || state.pass === null) return Object.freeze(new Anonymous(null, permissions))
  state.view ??= Object.freeze(viewOfPass(state.pass, permissions))
  return state.view
}

function viewOfPass (pass: Pass, permissions: Permissions): object {
  const [acting] = pass.identities
  return acting === undefined ? new Anonymous(pass.error, permissions) : new Known(acting, pass, permissions)
}

/** Timers of Node hold 31 bits of milliseconds; a longer wait is made of several. */
const longestWait = 2 ** 31 - 1

/**
 * A signal for what outlives its request, such as a WebSocket or an event stream: aborted when one of the credentials expires or is revoked, with an `AuthError` as its reason.
 * @param carrier what the credential's use ends with: its `close` stops the watch. Where it has closed, nothing is watched.
 */
export function lifetimeOf (identities: readonly Identity[], carrier: Carrier): AbortSignal {
  const controller = new AbortController()
  const watches: (() => void)[] = []
  const stop = (): void => {
    carrier.off('close', stop)
    for (const unwatch of watches.splice(0)) unwatch()
  }
  const end = (code: AuthErrorCode, { bound }: Identity, detail: string): void => {
    stop()
    controller.abort(refusal(authFailure(code, bound.name, detail)))
  }
  // what closed already says it no more
  if (isOver(carrier)) return controller.signal
  carrier.once('close', stop)
  for (const identity of identities) {
    const { expiresAt, onRevoked = null } = identity.outcome
    if (expiresAt !== null) watches.push(at(expiresAt.getTime(), () => { end('AUTH_TOKEN_EXPIRED', identity, 'the credential expired while it was in use') }))
    if (onRevoked !== null) watches.push(onRevoked(() => { end('AUTH_INVALID_CREDENTIALS', identity, 'the credential was revoked while it was in use') }))
  }
  // a scheme that called back at once, before there was anything to stop
  if (controller.signal.aborted) stop()
  return controller.signal
}

/** Runs once at an instant, by the clock of the process; does not keep the process alive. */
function at (instant: number, run: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const left = instant - Date.now()
    timer = setTimeout(left > longestWait ? wait : run, Math.min(Math.max(left, 0), longestWait)).unref()
  }
  wait()
  return () => { clearTimeout(timer) }
}
