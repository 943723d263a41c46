import { hash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { AnyOwnerSessions, OwnerSessions } from '../../../types/sessions.js'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { maxLifetime, type Liveness } from './expiry.js'
import type { SessionSettings } from './options.js'
import { isId, type Session } from './payload.js'
import { Revocations } from './revocations.js'

interface Watch { readonly session: Session, readonly ended: () => void }

/**
 * Treats every authentic session as alive unless it was ended in this process. It does not know the sessions that other
 * processes began, so it cannot list them, nor tell whether an id exists.
 */
class LocalSessions implements Liveness {
  readonly #revocations: Revocations
  readonly #watches = new Map<string, Set<Watch>>()

  /** @param lifetime the longest absolute timeout, in milliseconds. */
  constructor (lifetime: number) {
    this.#revocations = new Revocations(lifetime, () => { this.#notifyAll() })
  }

  /**
   * Remembers revocations for this time, in milliseconds, if it is longer: a scheme that shares them has a longer
   * timeout.
   */
  extendTo (lifetime: number): void {
    this.#revocations.extendTo(lifetime)
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
    // the session may have ended since the request was authenticated
    if (this.#revocations.denies(session)) queueMicrotask(() => { this.#notify(session.id) })
    return () => {
      set.delete(watch)
      if (set.size === 0 && this.#watches.get(session.id) === set) this.#watches.delete(session.id)
    }
  }

  of (owner: StoreOwner): OwnerSessions {
    return Object.freeze({
      list: async () => {
        throw internalError('sessions are listed only with a store: give the plugin the option store')
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

  /** Notifies those who watch a session, if it was ended. */
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

/** Sessions that are shared by schemes of one name that have a secret in common. */
interface SharedSessions {
  readonly scheme: string
  /** The digests of the secrets of all. */
  readonly secrets: Set<string>
  readonly sessions: LocalSessions
}

/** By HTTP server, which all plugin contexts of one application have in common. */
const applications = new WeakMap<object, readonly SharedSessions[]>()

/**
 * Returns the sessions of a scheme without a store. When an application registers the plugin in several contexts with
 * one secret and one scheme name, they accept each other's cookies. They share the revocations, so that a logout in one
 * context counts in all.
 */
export function localSessionsOf (
  { server }: FastifyInstance, scheme: string, { secrets, expiry }: Pick<SessionSettings, 'secrets' | 'expiry'>
): LocalSessions {
  const digests = new Set(secrets.map(secret => hash('sha256', secret, 'base64url')))
  const all = applications.get(server) ?? []
  const sibling = all.find(each => each.scheme === scheme && [...digests].some(digest => each.secrets.has(digest)))
  if (sibling !== undefined) {
    for (const digest of digests) sibling.secrets.add(digest)
    sibling.sessions.extendTo(maxLifetime(expiry))
    return sibling.sessions
  }
  const sessions = new LocalSessions(maxLifetime(expiry))
  applications.set(server, [...all, { scheme, secrets: digests, sessions }])
  return sessions
}
