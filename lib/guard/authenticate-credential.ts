import { EventEmitter } from 'node:events'
import type { FastifyRequest } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import { internalError } from '../errors.js'
import { reportRefusal } from '../events/events.js'
import { absent, invalid } from '../kit/outcome.js'
import { isSourceAmbient, sourcesOf } from '../kit/sources.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import { askScheme } from './authenticate.js'
import { callerOf } from './request-auth.js'
import type { Carrier } from './request-state.js'

/** The connection that a credential came on, and the names that `allows` knows. */
export interface CredentialContext {
  readonly request: FastifyRequest
  readonly permissions: Permissions
}

/**
 * Authenticates a credential that came in a message, such as the `connection_init` of GraphQL over WebSocket. The
 * scheme gets a view of the request that opened the connection. In this view, the credential is in the place where the
 * scheme reads it, and there is no other credential.
 * @returns the outcome of the scheme, completed and with the result of `load`; of a valid credential with `signal` and
 * `allows`.
 * @throws {AuthError} `AUTH_FAULT` for a scheme whose credentials browsers send by themselves, and if the scheme
 * throws.
 */
export async function authenticateCredential (
  bound: BoundScheme, credential: unknown, { request, permissions }: CredentialContext
): Promise<Outcome> {
  const place = placeOf(bound)
  if (credential === undefined || credential === null || credential === '') return absent
  if (typeof credential !== 'string') return invalid('the credential is not a string')
  const { failure, outcome } = await askScheme(bound, viewWith(request, bound, [place, credential]))
  if (failure !== null) reportRefusal(request, failure, 'credential refused')
  return outcome.kind === 'authenticated'
    ? callerOf({ bound, outcome }, carrierOf(request), permissions)
    : outcome
}

/**
 * Returns the first place of a scheme that only a script or a program fills. A credential that somebody copied from a
 * place that browsers fill was not sent on purpose, and the check against cross-site requests would not see it.
 */
function placeOf ({ name, scheme, ambient }: BoundScheme): string {
  const places = sourcesOf(scheme)
  const place = places.find(each => !isSourceAmbient(each, scheme))
  if (place !== undefined && (scheme.sources !== undefined || !ambient)) return place
  const reason = places.length === 0 && !ambient
    ? 'has no place for a credential in a request'
    : 'takes credentials that browsers send by themselves, such as cookies or Basic'
  throw internalError(`the scheme '${name}' of gatehouse.authenticate() ${reason}, so a message cannot carry one. ` +
    'Use a scheme that reads a header, or guard the route that opens the connection')
}

/** Returns a view of a request that has exactly one credential. The request itself is not changed. */
function viewWith (
  request: FastifyRequest, { scheme }: BoundScheme, [place, credential]: readonly [string, string]
): FastifyRequest {
  const parts = { headers: { ...request.raw.headers }, query: { ...request.query as object } }
  for (const each of ['bearer', 'cookie:', ...sourcesOf(scheme)]) Reflect.deleteProperty(...slotOf(each, parts))
  Reflect.set(...slotOf(place, parts), written(place, credential))
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

/** Returns the object and the key that a place means. */
function slotOf (place: string, { headers, query }: Parts): [object, string] {
  const [kind, name = ''] = place.split(':')
  switch (kind) {
    case 'query': return [query, name]
    case 'header': return [headers, name.toLowerCase()]
    case 'cookie': return [headers, 'cookie']
    default: return [headers, 'authorization']
  }
}

/** Returns a credential with the word that it has in a place. */
function written (place: string, credential: string): string {
  if (place === 'bearer') return `Bearer ${credential}`
  return place.startsWith('authorization:') ? `${place.slice('authorization:'.length)} ${credential}` : credential
}

/** Returns the connection, or the stream of HTTP/2, with which the use of the credential ends. */
function carrierOf ({ raw }: FastifyRequest): Carrier {
  if ('stream' in raw) return raw.stream as Carrier
  // a request that another plugin has created (an injected WebSocket) has no connection
  return raw.socket as Carrier | undefined ?? new EventEmitter()
}
