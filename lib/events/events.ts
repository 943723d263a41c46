import { channel } from 'node:diagnostics_channel'
import type { Channel } from 'node:diagnostics_channel'
import type { GatehouseEventName, GatehouseEvents } from '../../types/events.js'
import { deepFrozenCopy } from '../util/objects.js'

/** Every event by name. Listed as a record, so that a name cannot be forgotten here. */
const channels: Readonly<Record<GatehouseEventName, Channel>> = {
  'token-issued': channel('fastify-gatehouse:token-issued'),
  'token-refreshed': channel('fastify-gatehouse:token-refreshed'),
  'token-reused': channel('fastify-gatehouse:token-reused'),
  'token-revoked': channel('fastify-gatehouse:token-revoked'),
  'code-reused': channel('fastify-gatehouse:code-reused'),
  'consent-given': channel('fastify-gatehouse:consent-given'),
  'keys-fetched': channel('fastify-gatehouse:keys-fetched'),
  'keys-failed': channel('fastify-gatehouse:keys-failed')
}

/**
 * Publishes an event on its channel, as a frozen copy that all subscribers share. Does nothing where nobody listens.
 * The payload must hold no secret, and no part of one.
 *
 * @example
 * publish('keys-failed', { scheme: 'user', issuer, url, reason: 'the answer has status 404', keys: 2 })
 */
export function publish<N extends GatehouseEventName> (name: N, payload: GatehouseEvents[N]): void {
  const target = channels[name]
  if (target.hasSubscribers) target.publish(deepFrozenCopy(payload))
}
