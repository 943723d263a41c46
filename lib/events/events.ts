import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'
import type { GatehouseEventName, GatehouseEvents } from '../../types/events.js'
import type { AuthErrorCode, AuthFailure } from '../../types/outcome.js'
import type { AuthError } from '../errors.js'
import { deepFrozenCopy } from '../util/objects.js'

/** The channels of all events. As the type is a record of all names, none can be missing. */
const channels: Readonly<Record<GatehouseEventName, Channel>> = {
  authenticated: channel('fastify-gatehouse:authenticated'),
  refused: channel('fastify-gatehouse:refused'),
  denied: channel('fastify-gatehouse:denied'),
  throttled: channel('fastify-gatehouse:throttled'),
  unavailable: channel('fastify-gatehouse:unavailable'),
  fault: channel('fastify-gatehouse:fault'),
  login: channel('fastify-gatehouse:login'),
  logout: channel('fastify-gatehouse:logout'),
  'key-created': channel('fastify-gatehouse:key-created'),
  'key-rotated': channel('fastify-gatehouse:key-rotated'),
  'key-revoked': channel('fastify-gatehouse:key-revoked'),
  'key-used-after-end': channel('fastify-gatehouse:key-used-after-end'),
  'store-down': channel('fastify-gatehouse:store-down'),
  'store-up': channel('fastify-gatehouse:store-up'),
  'token-issued': channel('fastify-gatehouse:token-issued'),
  'token-refreshed': channel('fastify-gatehouse:token-refreshed'),
  'token-reused': channel('fastify-gatehouse:token-reused'),
  'token-revoked': channel('fastify-gatehouse:token-revoked'),
  'code-reused': channel('fastify-gatehouse:code-reused'),
  'consent-given': channel('fastify-gatehouse:consent-given'),
  'client-refused': channel('fastify-gatehouse:client-refused'),
  'keys-fetched': channel('fastify-gatehouse:keys-fetched'),
  'keys-failed': channel('fastify-gatehouse:keys-failed')
}

/** Returns true if anybody subscribes to an event. Ask before you make a payload for each request. */
export function isObserved (name: GatehouseEventName): boolean {
  return channels[name].hasSubscribers
}

/** Returns the fields that all events about a request have. */
export function requestFields ({ id, method, routeOptions }: FastifyRequest) {
  return { requestId: String(id), method, route: routeOptions.url ?? null }
}

/**
 * Publishes an event on its channel, as a frozen copy that all subscribers share. Does nothing if there are none.
 * The payload must not contain a secret or a part of one.
 *
 * @example
 * publish('keys-failed', { scheme: 'user', issuer, url, reason: 'the answer has status 404', keys: 2 })
 */
export function publish<N extends GatehouseEventName> (name: N, payload: GatehouseEvents[N]): void {
  const target = channels[name]
  if (target.hasSubscribers) target.publish(deepFrozenCopy(payload))
}

/** The events about a request. Their payloads begin with {@link requestFields}. */
export type RequestEventName =
  'authenticated' | 'refused' | 'denied' | 'throttled' | 'unavailable' | 'fault' | 'login' | 'logout'

/** The request of the event that is being published; `null` for other events. */
let publishedFor: FastifyRequest | null = null

/** Returns the request of the event that a subscriber is called with; `null` if the event is about none. */
export function publishedRequest (): FastifyRequest | null {
  return publishedFor
}

/**
 * Publishes an event about a request. The payload is frozen and not copied, because there may be one on each request,
 * so it must be flat, and an object of its own.
 */
export function publishFor<N extends RequestEventName> (
  request: FastifyRequest, name: N, payload: GatehouseEvents[N]
): void {
  const outer = publishedFor
  publishedFor = request
  try {
    channels[name].publish(Object.freeze(payload))
  } finally {
    publishedFor = outer
  }
}

/**
 * Writes a refusal to the log of its request, and publishes its event.
 * @param message of the log line, such as `request refused`.
 */
export function reportRefusal (request: FastifyRequest, failure: AuthFailure, message: string): void {
  const { code, scheme, detail } = failure
  request.log.info({ event: refusalEvent(code), auth: { code, scheme, reason: detail } }, message)
  publishRefusal(request, failure)
}

/** Publishes the event of a refusal, by its code. */
export function publishRefusal (request: FastifyRequest, { code, scheme, detail, retryAfter }: AuthFailure): void {
  const name = refusalEvent(code)
  if (!isObserved(name)) return
  const fields = { ...requestFields(request), code, scheme, reason: detail }
  if (name === 'throttled' || name === 'unavailable') publishFor(request, name, { ...fields, retryAfter })
  else publishFor(request, name, fields)
}

/**
 * Writes a fault to the log of its request, with its cause, and publishes its event.
 * @param message of the log line, such as `authentication fault`.
 */
export function reportFault (
  request: FastifyRequest, { code, detail, cause, scheme }: AuthError, message: string
): void {
  const about = scheme === null ? {} : { scheme }
  request.log.error({ event: 'fault', err: cause, auth: { code, ...about, reason: detail } }, message)
  if (isObserved('fault')) publishFor(request, 'fault', { ...requestFields(request), code, reason: detail })
}

/** Returns the name of the event of a refusal. */
function refusalEvent (code: AuthErrorCode): 'refused' | 'denied' | 'throttled' | 'unavailable' {
  switch (code) {
    case 'AUTH_ACCESS_DENIED':
    case 'AUTH_CROSS_SITE': return 'denied'
    case 'AUTH_RATE_LIMITED': return 'throttled'
    case 'AUTH_UNAVAILABLE': return 'unavailable'
    default: return 'refused'
  }
}
