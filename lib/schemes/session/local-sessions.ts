import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { longestOf } from './expiry.js'
import type { Registry } from './liveness.js'
import type { SessionSettings } from './options.js'
import { isId, type Session } from './payload.js'
import { Denials } from './revocations.js'

interface Watch { readonly session: Session, readonly ended: () => void }

/**
 * Every authentic session is alive that was not ended in this process. What this process did not begin it cannot know of: it lists nothing, and of an id it cannot
 * tell whether there is such a session.
 */
class LocalRegistry implements Registry {
  readonly #denials: Denials
  readonly #watches = new Map<string, Set<Watch>>()

  /** @param longest milliseconds that a session lives at most. */
  constructor (longest: number, limit?: number) {
    this.#denials = new Denials(longest, () => { this.#tellAll() }, limit)
  }

  /** For schemes that share it: milliseconds that a session of one more of them lives at most. */
  outlast (longest: number): void {
    this.#denials.outlast(longest)
  }

  beginning (principal: StoreOwner): number {
    return Math.max(Date.now(), this.#denials.after(principal))
  }

  begin (session: Session): void {
    this.#denials.begin(session)
  }

  end (session: Session): boolean {
    if (this.#denials.denies(session)) return false
    this.#denials.end(session)
    this.#tell(session.id)
    return true
  }

  isAlive (session: Session): boolean {
    return !this.#denials.denies(session)
  }

  see (session: Session): boolean {
    return !this.#denials.denies(session)
  }

  watch (session: Session, ended: () => void): () => void {
    const watch = { session, ended }
    const set = this.#watches.get(session.id) ?? new Set<Watch>()
    this.#watches.set(session.id, set.add(watch))
    // it may have ended since the request was let in; never before this returns
    if (this.#denials.denies(session)) queueMicrotask(() => { this.#tell(session.id) })
    return () => {
      set.delete(watch)
      if (set.size === 0 && this.#watches.get(session.id) === set) this.#watches.delete(session.id)
    }
  }

  async list (): Promise<never> {
    throw internalError('sessions are listed only with a store, as without one nobody knows them all: give the plugin the option store')
  }

  async revoke (id: string, owner?: StoreOwner): Promise<boolean> {
    if (!isId(id)) return false
    this.#denials.endById(id, owner === undefined ? null : { realm: owner.realm, id: owner.id })
    this.#tell(id)
    return true
  }

  async revokeAll (owner: StoreOwner, { except }: { readonly except?: string } = {}): Promise<void> {
    this.#denials.endAll(owner, except ?? null)
    this.#tellAll()
  }

  close (): void {
    this.#watches.clear()
  }

  #tellAll (): void {
    for (const id of [...this.#watches.keys()]) this.#tell(id)
  }

  /** Tells those who watch a session that is over. */
  #tell (id: string): void {
    const watches = this.#watches.get(id) ?? new Set<Watch>()
    for (const watch of watches) {
      if (!this.#denials.denies(watch.session)) continue
      watches.delete(watch)
      watch.ended()
    }
    if (watches.size === 0) this.#watches.delete(id)
  }
}

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
