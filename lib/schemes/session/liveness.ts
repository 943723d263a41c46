import type { Principal } from '../../../types/principal.js'
import type { SessionFeature } from '../../../types/sessions.js'
import type { Session } from './payload.js'

/** Describes the request that begins a session, for lists of sessions. */
export interface LoginContext {
  readonly address: string
  readonly userAgent: string
}

/**
 * Knows which sessions are alive. Answers at once or by a promise, which rejects with `AUTH_UNAVAILABLE` when the store
 * does not respond.
 */
export interface Liveness extends Pick<SessionFeature, 'of' | 'ofAnyOwner'> {
  /**
   * Returns the instant, in milliseconds since 1970, at which a session of this principal that is begun now begins:
   * later than everything of theirs that was ended.
   */
  beginning (principal: Principal): number
  /** Records a new session, before its cookie goes out. */
  begin (session: Session, context: LoginContext): void | Promise<void>
  /** Ends a session. Returns whether it was alive until now. */
  end (session: Session): boolean | Promise<boolean>
  isAlive (session: Session): boolean | Promise<boolean>
  /** Returns the same as `isAlive`, for a request of the owner: when the session was last seen is written later. */
  see (session: Session): boolean | Promise<boolean>
  /** Calls back once when the session was ended, here or elsewhere. Returns a function that stops that. */
  watch (session: Session, ended: () => void): () => void
  close (): void
}
