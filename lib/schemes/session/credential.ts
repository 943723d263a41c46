import type { Session } from './payload.js'

/** What a handler may know of its session, at `request.auth.credential`. `D` is what the application keeps in it. */
export interface SessionCredential<D extends object = Record<string, unknown>> {
  /** The session's id: a handle for logs and lists. It opens nothing; the cookie is not here. */
  readonly id: string
  /** What `reply.login(principal, { data })` or the last `update` put there, deep-frozen; `{}` when nothing did. */
  readonly data: Readonly<Partial<D>>
  /**
   * Replaces the data; the cookie is written anew with the response. Two requests at once: the response that arrives last wins.
   * @throws {AuthError} `AUTH_FAULT` when the data is not JSON or makes the cookie larger than browsers keep, after `reply.login` or `reply.logout`, and once the response is on its way. Nothing is changed then. A response that leaves by `reply.hijack()` or `reply.raw` does not carry the cookie, which is an error in the log.
   */
  update (data: D): void
}

/** A class, as its accessor costs a twentieth of an object literal's, on every request. */
export class SessionHandle implements SessionCredential {
  readonly id: string
  #data: Session['data']
  readonly #replace: (data: unknown) => Session['data']

  /** `replace` says what the data is from now on, or throws. */
  constructor (session: Session, replace: (data: unknown) => Session['data']) {
    this.id = session.id
    this.#data = session.data
    this.#replace = replace
    Object.freeze(this)
  }

  get data (): Session['data'] {
    return this.#data
  }

  update (data: Record<string, unknown>): void {
    this.#data = this.#replace(data)
  }
}
