import type { Principal } from '../../../types/principal.js'
import type { SessionIndex } from '../../../types/sessions.js'
import type { Session } from './payload.js'

/** What is noted of the request that begins a session. */
export interface Sighting {
  readonly address: string
  readonly userAgent: string
}

/**
 * Which sessions are alive. What is asked may be answered at once or by a promise, which rejects with `AUTH_UNAVAILABLE` when a store does not answer.
 */
export interface Registry extends SessionIndex {
  /** The instant at which a session of this principal begins that begins now: later than everything that was ended of theirs. */
  beginning (principal: Principal): number
  /** Takes note of a new session: before its cookie goes out. */
  begin (session: Session, from: Sighting): void | Promise<void>
  /** Ends one. @returns whether it was alive until now. */
  end (session: Session): boolean | Promise<boolean>
  isAlive (session: Session): boolean | Promise<boolean>
  /** The same, for a request of its owner: that it was seen is noted, some time later. */
  see (session: Session): boolean | Promise<boolean>
  /** Calls back once when it was ended, here or elsewhere. @returns what stops that. */
  watch (session: Session, ended: () => void): () => void
  close (): void
}
