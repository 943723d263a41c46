import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { LocalRegistry } from './local.js'
import type { SessionSettings } from './options.js'
import { longestOf } from './times.js'

/** Who shares a registry: schemes of one name whose cookies open by one of these secrets, which are those of all of them. */
interface Shared {
  readonly scheme: string
  readonly secrets: Set<string>
  readonly registry: LocalRegistry
}

/** By the server, which is what the contexts of one application have in common. */
const applications = new WeakMap<object, readonly Shared[]>()

/**
 * The registry of a scheme that has no store. Where contexts of one application register the plugin each, with one secret and one name, each accepts the cookies of the other:
 * so that a logout in one of them counts in all, they remember together.
 */
export function localRegistryOf ({ server }: FastifyInstance, scheme: string, { secrets, times }: Pick<SessionSettings, 'secrets' | 'times'>): LocalRegistry {
  const digests = new Set(secrets.map(secret => hash('sha256', secret, 'base64url')))
  const all = applications.get(server) ?? []
  const sibling = all.find(each => each.scheme === scheme && [...digests].some(digest => each.secrets.has(digest)))
  if (sibling !== undefined) {
    for (const digest of digests) sibling.secrets.add(digest)
    sibling.registry.outlast(longestOf(times))
    return sibling.registry
  }
  const registry = new LocalRegistry(longestOf(times))
  applications.set(server, [...all, { scheme, secrets: digests, registry }])
  return registry
}
