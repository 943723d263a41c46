import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { GatehouseEventName, GatehouseEvents } from '../../types/events.js'
import { deepFrozenCopy } from '../util/objects.js'

/** The channels of all events. As the type is a record of all names, none can be missing. */
const channels: Readonly<Record<GatehouseEventName, Channel>> = {
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
