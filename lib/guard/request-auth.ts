import { EventEmitter } from 'node:events'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { AuthErrorCode, Outcome } from '../../types/outcome.js'
import type { Principal } from '../../types/principal.js'
import {
  type AuthError, authFailure, callFunction, functionError, internalError, misconfigured, refusal
} from '../errors.js'
import { reportRefusal } from '../events/events.js'
import { absent, invalid } from '../kit/outcome.js'
import { isSourceAmbient, sourcesOf } from '../kit/sources.js'
import { parseRequirements, type Requirements } from '../policy/parse.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import { describeValue } from '../util/describe.js'
import { isMisplacedPromise } from '../util/objects.js'
import { readOptions } from '../util/options.js'
import { askScheme } from './authenticate.js'
import { meetsRequirements } from './authorize.js'
import { type Carrier, type Identity, isClosed, type Pass, stateOf } from './request-state.js'

/** The result of one scheme. Its fields are own properties, so that copies and JSON of it are complete. */
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
class AuthenticatedCaller extends Entry {
  readonly authenticated = true
  readonly scheme: string
  readonly error = null
  readonly #acting: Identity
  readonly #identities: readonly Identity[]
  readonly #context: CredentialContext
  readonly #carrier: Carrier
  #signal: AbortSignal | null = null

  constructor (acting: Identity, { identities, carrier }: Pass, context: CredentialContext) {
    super(acting)
    this.scheme = acting.bound.name
    this.#acting = acting
    this.#identities = identities
    this.#context = context
    this.#carrier = carrier
  }

  /** Aborted if the credential expires or is revoked while a WebSocket or an event stream still uses it. */
  get signal (): AbortSignal {
    this.#signal ??= expirySignal(this.#identities, this.#carrier, this.#context.request.log)
    return this.#signal
  }

  /** Returns the result of every scheme that this request satisfied, by name. */
  get all (): Readonly<Record<string, Entry>> {
    const entries = this.#identities.map(identity => [identity.bound.name, Object.freeze(new Entry(identity))])
    return Object.freeze(Object.fromEntries(entries))
  }

  allows (query: unknown): boolean {
    return isAllowed(this.#acting, query, this.#context.permissions)
  }
}

/** `request.auth` of an anonymous caller. */
class AnonymousCaller {
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

  /** Returns `false`, but rejects a wrong query. */
  allows (query: unknown): boolean {
    return parseQuery(query, this.#permissions).length === 0
  }
}

/** Returns true if the principal of an identity has the scopes and roles of a query. */
function isAllowed (identity: Identity, query: unknown, permissions: Permissions): boolean {
  return parseQuery(query, permissions).every(each => meetsRequirements(each, identity))
}

/**
 * Parses the argument of `allows()`.
 * @throws {AuthError} `AUTH_FAULT` for a wrong query, which must count neither as allowed nor as denied.
 */
function parseQuery (query: unknown, permissions: Permissions): readonly Requirements[] {
  try {
    const fields = readOptions(query, ['scopes', 'roles'], 'The query of allows()')
    if (Object.keys(fields).length === 0) {
      throw misconfigured('The query of allows() is empty. Give it scopes, roles, or both.')
    }
    return (['scopes', 'roles'] as const).flatMap(kind => kind in fields
      ? [parseRequirements(fields[kind], { kind, path: `allows({ ${kind} })` }, permissions)]
      : [])
  } catch (cause) {
    throw internalError('allows() was called with a query that cannot be parsed', cause)
  }
}

/** Returns `request.principal`: the acting principal, or `null` for an anonymous caller. */
export function requestPrincipal (request: FastifyRequest): Principal | null {
  return stateOf(request)?.pass?.identities[0]?.outcome.principal ?? null
}

/** Returns `request.auth`. It is created when it is first read, once for each pass of a guard. */
export function requestAuth (request: FastifyRequest, permissions: Permissions): object {
  const state = stateOf(request)
  if (state === undefined || state.pass === null) return Object.freeze(new AnonymousCaller(null, permissions))
  state.auth ??= Object.freeze(createAuth(state.pass, { request, permissions }))
  return state.auth
}

function createAuth (pass: Pass, context: CredentialContext): object {
  const [acting] = pass.identities
  return acting === undefined
    ? new AnonymousCaller(pass.error, context.permissions)
    : new AuthenticatedCaller(acting, pass, context)
}

/** The longest delay of a timer in Node, in milliseconds (31 bits). A longer wait takes several timers. */
const maxDelay = 2 ** 31 - 1

/**
 * Returns a signal for connections that outlive their request, such as a WebSocket or an event stream. It is aborted
 * when one of the credentials expires or is revoked, with an `AuthError` as its reason.
 * @param carrier ends the watch when it closes. If it has closed already, nothing is watched.
 * @throws {AuthError} `AUTH_FAULT` for an `onRevoked` that throws, or returns no function.
 */
export function expirySignal (
  identities: readonly Identity[], carrier: Carrier, log: Pick<FastifyBaseLogger, 'error'>
): AbortSignal {
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
  // a closed carrier does not emit `close` again
  if (isClosed(carrier)) return controller.signal
  carrier.once('close', stop)
  for (const identity of identities) {
    const { expiresAt, onRevoked = null } = identity.outcome
    const expire = (): void => { end('AUTH_TOKEN_EXPIRED', identity, 'the credential expired while it was in use') }
    const revoke = (): void => {
      end('AUTH_INVALID_CREDENTIALS', identity, 'the credential was revoked while it was in use')
    }
    if (expiresAt !== null) watches.push(runAt(expiresAt.getTime(), expire))
    if (onRevoked !== null) {
      try {
        watches.push(safeEnd(identity.bound, onRevoked(revoke), log))
      } catch (cause) {
        stop()
        throw functionError(`onRevoked of the scheme '${identity.bound.name}'`, cause)
      }
    }
  }
  // a scheme may have called back synchronously, before the other watches started
  if (controller.signal.aborted) stop()
  return controller.signal
}

/**
 * Returns the function that ends a watch of a scheme. It is called when a connection closes, outside of any request,
 * where an error would end the process: it is logged.
 * @throws {AuthError} `AUTH_FAULT` for a scheme that returned no function.
 */
function safeEnd ({ name }: BoundScheme, end: () => unknown, log: Pick<FastifyBaseLogger, 'error'>): () => void {
  if (typeof end === 'function') {
    return () => {
      callFunction(`the end of onRevoked of the scheme '${name}'`, end).catch((err: unknown) => {
        log.error({ err }, 'a watched credential could not be left')
      })
    }
  }
  isMisplacedPromise(end)
  throw internalError(`onRevoked of the scheme '${name}' must return a function that ends the watch. Got ` +
    describeValue(end))
}

/** Calls a function at an instant, by the clock of the process. Does not keep the process alive. */
function runAt (instant: number, run: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const left = instant - Date.now()
    timer = setTimeout(left > maxDelay ? wait : run, Math.min(Math.max(left, 0), maxDelay)).unref()
  }
  wait()
  return () => { clearTimeout(timer) }
}

/** The connection that a credential came on, and the names that `allows` knows. */
export interface CredentialContext {
  readonly request: FastifyRequest
  readonly permissions: Permissions
}

/**
 * Authenticates a credential that came in a message, such as the `connection_init` of GraphQL over WebSocket. The
 * scheme gets a view of the request that opened the connection. In this view, the credential is in the source where the
 * scheme reads it, and there is no other credential.
 * @returns the outcome of the scheme, completed and with the result of `load`; of a valid credential with `signal` and
 * `allows`.
 * @throws {AuthError} `AUTH_FAULT` for a scheme whose credentials browsers send by themselves, and if the scheme
 * throws.
 */
export async function authenticateCredential (
  bound: BoundScheme, credential: unknown, { request, permissions }: CredentialContext
): Promise<Outcome> {
  const source = sourceFor(bound)
  if (credential === undefined || credential === null || credential === '') return absent
  if (typeof credential !== 'string') return invalid('the credential is not a string')
  const { failure, outcome } = await askScheme(bound, viewWith(request, bound, [source, credential]))
  if (failure !== null) reportRefusal(request, failure, 'credential refused')
  return outcome.kind === 'authenticated'
    ? callerOf({ bound, outcome }, carrierOf(request), { request, permissions })
    : outcome
}

/** Returns the outcome of a credential that came outside of a request's own, with `signal` and `allows`. */
function callerOf (identity: Identity, carrier: Carrier, { request, permissions }: CredentialContext): Outcome {
  let signal: AbortSignal | null = null
  const { outcome } = identity
  return Object.freeze({
    ...outcome,
    // a Date can be changed even in a frozen object, and other requests may share the outcome
    authenticatedAt: copyOf(outcome.authenticatedAt),
    expiresAt: copyOf(outcome.expiresAt),
    get signal () {
      signal ??= expirySignal([identity], carrier, request.log)
      return signal
    },
    allows: (query: unknown) => isAllowed(identity, query, permissions)
  })
}

function copyOf (instant: Date | null): Date | null {
  return instant === null ? null : new Date(instant)
}

/**
 * Returns the first source of a scheme that only a script or a program fills. A credential that somebody copied from a
 * source that browsers fill was not sent on purpose, and the check against cross-site requests would not see it.
 */
function sourceFor ({ name, scheme, ambient }: BoundScheme): string {
  const sources = sourcesOf(scheme)
  const source = sources.find(each => !isSourceAmbient(each, scheme))
  if (source !== undefined && (scheme.sources !== undefined || !ambient)) return source
  const reason = sources.length === 0 && !ambient
    ? 'has no place for a credential in a request'
    : 'takes credentials that browsers send by themselves, such as cookies or Basic'
  throw internalError(`the scheme '${name}' of gatehouse.authenticate() ${reason}, so a message cannot carry one. ` +
    'Use a scheme that reads a header, or guard the route that opens the connection')
}

/** Returns a view of a request that has exactly one credential. The request itself is not changed. */
function viewWith (
  request: FastifyRequest, { scheme }: BoundScheme, [source, credential]: readonly [string, string]
): FastifyRequest {
  const parts = { headers: { ...request.raw.headers }, query: { ...request.query as object } }
  for (const each of ['bearer', 'cookie:', ...sourcesOf(scheme)]) Reflect.deleteProperty(...slotOf(each, parts))
  Reflect.set(...slotOf(source, parts), headerValue(source, credential))
  const { headers, query } = parts
  const rawHeaders = Object.entries(headers).flatMap(([name, value]) => [value].flat().flatMap(line => [name, line]))
  const raw = Object.create(request.raw, { headers: { value: headers }, rawHeaders: { value: rawHeaders } }) as object
  return Object.create(request, {
    raw: { value: raw }, headers: { value: headers }, query: { value: query }
  }) as FastifyRequest
}

interface Parts {
  readonly headers: object
  readonly query: object
}

/** Returns the object and the key that a source means. */
function slotOf (source: string, { headers, query }: Parts): [object, string] {
  const [kind, name = ''] = source.split(':')
  switch (kind) {
    case 'query': return [query, name]
    case 'header': return [headers, name.toLowerCase()]
    case 'cookie': return [headers, 'cookie']
    default: return [headers, 'authorization']
  }
}

/** Returns a credential as it is sent in a source: with its word in `Authorization`. */
function headerValue (source: string, credential: string): string {
  if (source === 'bearer') return `Bearer ${credential}`
  return source.startsWith('authorization:') ? `${source.slice('authorization:'.length)} ${credential}` : credential
}

/** Returns the connection, or the stream of HTTP/2, with which the use of the credential ends. */
function carrierOf ({ raw }: FastifyRequest): Carrier {
  if ('stream' in raw) return raw.stream as Carrier
  // a request that another plugin has created (an injected WebSocket) has no connection
  return raw.socket as Carrier | undefined ?? new EventEmitter()
}
