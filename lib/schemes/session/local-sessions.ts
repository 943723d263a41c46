import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { AnyOwnerSessions, OwnerSessions } from '../../../types/sessions.js'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { longestOf } from './expiry.js'
import type { Liveness } from './liveness.js'
import type { SessionSettings } from './options.js'
import { isId, type Session } from './payload.js'
import { Revocations } from './revocations.js'

interface Watch { readonly session: Session, readonly ended: () => void }

/**
 * Takes every authentic session for alive that was not ended in this process. Of sessions that other processes began it
 * knows nothing: it cannot list, nor tell whether an id exists.
 */
class LocalSessions implements Liveness {
  readonly #revocations: Revocations
  readonly #watches = new Map<string, Set<Watch>>()

  /** @param longest milliseconds that a session lives at most. */
  constructor (longest: number, limit?: number) {
    this.#revocations = new Revocations(longest, () => { this.#notifyAll() }, limit)
  }

  /** For schemes that share it: milliseconds that a session of one more of them lives at most. */
  outlast (longest: number): void {
    this.#revocations.outlast(longest)
  }

  beginning (principal: StoreOwner): number {
    return Math.max(Date.now(), this.#revocations.after(principal))
  }

  begin (session: Session): void {
    this.#revocations.begin(session)
  }

  end (session: Session): boolean {
    if (this.#revocations.denies(session)) return false
    this.#revocations.end(session)
    this.#notify(session.id)
    return true
  }

  isAlive (session: Session): boolean {
    return !this.#revocations.denies(session)
  }

  see (session: Session): boolean {
    return !this.#revocations.denies(session)
  }

  watch (session: Session, ended: () => void): () => void {
    const watch = { session, ended }
    const set = this.#watches.get(session.id) ?? new Set<Watch>()
    this.#watches.set(session.id, set.add(watch))
    // it may have ended since the request was let in; never before this returns
    if (this.#revocations.denies(session)) queueMicrotask(() => { this.#notify(session.id) })
    return () => {
      set.delete(watch)
      if (set.size === 0 && this.#watches.get(session.id) === set) this.#watches.delete(session.id)
    }
  }

  of (owner: StoreOwner): OwnerSessions {
    return Object.freeze({
      list: async () => {
        throw internalError('sessions are listed only with a store, as without one nobody knows them all: give the plugin ' +
          'the option store')
      },
      revoke: async (id: string) => this.#revoke(id, () => { this.#revocations.endOwned(id, owner) }),
      revokeAll: async ({ except = null }: { readonly except?: string | null } = {}) => {
        this.#revocations.endAll(owner, except)
        this.#notifyAll()
      }
    })
  }

  ofAnyOwner (): AnyOwnerSessions {
    return Object.freeze({
      revoke: async (id: string) => this.#revoke(id, () => { this.#revocations.endOfAnyOwner(id) })
    })
  }

  close (): void {
    this.#watches.clear()
  }

  #revoke (id: string, end: () => void): boolean {
    if (!isId(id)) return false
    end()
    this.#notify(id)
    return true
  }

  #notifyAll (): void {
    for (const id of [...this.#watches.keys()]) this.#notify(id)
  }

  /** Notifies those who watch a session that is over. */
  #notify (id: string): void {
    const watches = this.#watches.get(id) ?? new Set<Watch>()
    for (const watch of watches) {
      if (!this.#revocations.denies(watch.session)) continue
      watches.delete(watch)
      watch.ended()
    }
    if (watches.size === 0) this.#watches.delete(id)
  }
}

/** Shared by schemes of one name that have a secret in common: `secrets` has the digests of the secrets of all. */
interface Shared {
  readonly scheme: string
  readonly secrets: Set<string>
  readonly sessions: LocalSessions
}

/** Keyed by server, which is what the contexts of one application have in common. */
const applications = new WeakMap<object, readonly Shared[]>()

/**
 * Returns the sessions of a scheme that has no store. Contexts of one application that each register the plugin, with
 * one secret and one name, accept each other's cookies: they share what was ended, so that a logout in one counts in all.
 */
export function localSessionsOf ({ server }: FastifyInstance, scheme: string, { secrets, times }: Pick<SessionSettings, 'secrets' | 'times'>): LocalSessions {
  const digests = new Set(secrets.map(secret => hash('sha256', secret, 'base64url')))
  const all = applications.get(server) ?? []
  const sibling = all.find(each => each.scheme === scheme && [...digests].some(digest => each.secrets.has(digest)))
  if (sibling !== undefined) {
    for (const digest of digests) sibling.secrets.add(digest)
    sibling.sessions.outlast(longestOf(times))
    return sibling.sessions
  }
  const sessions = new LocalSessions(longestOf(times))
  applications.set(server, [...all, { scheme, secrets: digests, sessions }])
  return sessions
}
