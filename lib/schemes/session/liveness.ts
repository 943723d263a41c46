import type { Principal } from '../../../types/principal.js'
import type { SessionFeature } from '../../../types/sessions.js'
import type { Session } from './payload.js'

/** Describes the request that begins a session, for lists of sessions. */
export interface LoginContext {
  readonly address: string
  readonly userAgent: string
}

/**
 * Knows which sessions are alive. Returns a value, or a promise that rejects with `AUTH_UNAVAILABLE` when the store is
 * unavailable.
 */
export interface Liveness extends Pick<SessionFeature, 'of' | 'ofAnyOwner'> {
  /**
   * Returns the start of a new session of this principal, in milliseconds since 1970: now, or later than the last
   * `revokeAll` of theirs.
   */
  beginning (principal: Principal): number
  /** Records a new session, before its cookie is sent. */
  begin (session: Session, context: LoginContext): void | Promise<void>
  /** Ends a session. Returns whether it was alive until now. */
  end (session: Session): boolean | Promise<boolean>
  isAlive (session: Session): boolean | Promise<boolean>
  /** Returns the same as `isAlive`, and records that the session was used. */
  see (session: Session): boolean | Promise<boolean>
  /** Calls `ended` once when the session ends, in this process or another. Returns a function that stops watching. */
  watch (session: Session, ended: () => void): () => void
  close (): void
}
