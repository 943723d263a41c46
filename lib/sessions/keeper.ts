import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../types/principal.js'
import { fault } from '../errors.js'
import { absent, authenticated, invalid, unavailable } from '../schemes/outcome.js'
import { principalFrom } from '../schemes/principal.js'
import { reader } from '../schemes/read.js'
import { keepOutOfSharedCaches, SessionCookie } from './cookie.js'
import { SessionHandle, type SessionCredential } from './credential.js'
import { isPlain, jsonObject } from './json.js'
import type { SessionSettings } from './options.js'
import { pack, unpack, type Session } from './payload.js'
import type { Revocations } from './revocations.js'
import type { Seal } from './seal.js'

type SessionOutcome = Outcome<Principal, SessionCredential>

/** What one request does to its session. */
interface Visit {
  outcome: SessionOutcome
  /** The session it may still change; `null` when there is none, when it ended, and once the response is on its way. */
  session: Session | null
  /** The `Set-Cookie` value that goes out with the response. */
  due: string | null
  /** The session that a login of this request began. */
  begun: Session | null
}

/** Opens, begins, keeps and ends the sessions of one scheme in one application. */
export class SessionKeeper {
  readonly cookie: SessionCookie
  readonly #scheme: string
  readonly #settings: SessionSettings
  readonly #seal: Seal
  readonly #revocations: Revocations
  readonly #read: ReturnType<typeof reader>
  /** Keyed by request, so that requests at once never mix. */
  readonly #visits = new WeakMap<FastifyRequest, Visit>()

  constructor (scheme: string, settings: SessionSettings, seal: Seal, revocations: Revocations) {
    this.cookie = new SessionCookie(settings)
    this.#scheme = scheme
    this.#settings = settings
    this.#seal = seal
    this.#revocations = revocations
    this.#read = reader(`cookie:${settings.cookieName}`, `schemes.${scheme}: cookieName`)
  }

  /** Whose session the request carries. Ended sessions are *absent*, and their cookie is removed with the response; a forged cookie is *invalid*. */
  authenticate (request: FastifyRequest): SessionOutcome | Promise<SessionOutcome> {
    const visit = this.#visits.get(request)
    if (visit !== undefined) return visit.outcome
    const value = this.#read(request)
    if (typeof value !== 'string') return value
    const opened = this.#seal.open(value)
    if (opened === null) return invalid('the session cookie was not sealed by this scheme, or was changed since')
    const session = this.#unpack(opened.payload)
    if (session === null || this.#endOf(session) <= Date.now()) return this.#ended(request)
    const revoked = this.#revocations.has(session.id)
    if (typeof revoked === 'boolean') return revoked ? this.#ended(request) : this.#alive(request, session, opened.old)
    return this.#whenTold(revoked, request, session, opened.old)
  }

  /** Begins a session with a new id, and revokes one that the request carries. Everything that can be refused is refused before anything is changed. */
  async login (request: FastifyRequest, reply: FastifyReply, input: PrincipalInput, data: unknown = {}): Promise<void> {
    const now = Date.now()
    const session: Session = {
      id: randomBytes(16).toString('base64url'),
      principal: principalFrom(input, this.#scheme),
      authenticatedAt: now,
      seenAt: now,
      endsAt: now + this.#settings.absoluteTimeout,
      data: checkedData(data)
    }
    const line = this.cookie.boundedLine(this.#sealed(session))
    await this.#revokeAll(request)
    this.#leave(request, session)
    this.#answer(reply, line)
  }

  /** Ends the session that the request carries, if any: an earlier copy of its cookie is worthless too. */
  async logout (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    this.#answer(reply, this.cookie.removal)
    await this.#revokeAll(request)
    this.#leave(request, null)
  }

  /** Writes what is due. A promise only where the revocations answer with one. */
  finish (request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const visit = this.#visits.get(request)
    if (visit === undefined) return
    const { session, due } = visit
    visit.session = null
    visit.due = null
    if (due === null) return
    // ended by another request meanwhile: writing it would put the dead session over the one that a new login set
    const revoked = session !== null && this.#revocations.has(session.id)
    if (typeof revoked === 'boolean') return revoked ? undefined : this.#send(reply, due)
    return this.#sendUnless(revoked, reply, due)
  }

  #unpack (payload: Readonly<Record<string, unknown>>): Session | null {
    return unpack(payload, this.#settings.load === null)
  }

  /** The sealed end, or an earlier one when the timeouts were shortened since. */
  #endOf (session: Session): number {
    const { idleTimeout, absoluteTimeout } = this.#settings
    return Math.min(session.seenAt + idleTimeout, session.endsAt, session.authenticatedAt + absoluteTimeout)
  }

  #sealed (session: Session): string {
    return this.#seal.seal(pack(session, this.#settings.load === null))
  }

  async #whenTold (revoked: Promise<boolean>, request: FastifyRequest, session: Session, old: boolean): Promise<SessionOutcome> {
    try {
      return await revoked ? this.#ended(request) : this.#alive(request, session, old)
    } catch {
      return unavailable('the list of revoked sessions does not answer')
    }
  }

  #ended (request: FastifyRequest): SessionOutcome {
    this.#visits.set(request, { outcome: absent, session: null, due: this.cookie.removal, begun: null })
    return absent
  }

  #alive (request: FastifyRequest, opened: Session, old: boolean): SessionOutcome {
    const now = Date.now()
    const renew = old || now - opened.seenAt >= this.#settings.slideAfter
    const session = renew ? { ...opened, seenAt: now } : opened
    const visit: Visit = { outcome: absent, session, due: renew ? this.cookie.line(this.#sealed(session)) : null, begun: null }
    visit.outcome = authenticated(session.principal, {
      credential: new SessionHandle(session, data => this.#update(visit, data)),
      authenticatedAt: new Date(session.authenticatedAt),
      expiresAt: new Date(this.#endOf(session))
    })
    this.#visits.set(request, visit)
    return visit.outcome
  }

  #update (visit: Visit, data: unknown): Session['data'] {
    if (visit.session === null) throw fault('the session ended in this request, or the response is on its way: its data cannot be changed any more')
    const changed = { ...visit.session, seenAt: Date.now(), data: checkedData(data) }
    visit.due = this.cookie.boundedLine(this.#sealed(changed))
    return changed.data
  }

  /** The session on the request itself, as login and logout stand on public routes too, and the one that an earlier login of this request began. */
  async #revokeAll (request: FastifyRequest): Promise<void> {
    const value = this.#read(request)
    const opened = typeof value === 'string' ? this.#seal.open(value) : null
    const carried = opened === null ? null : this.#unpack(opened.payload)
    const begun = this.#visits.get(request)?.begun ?? null
    const now = Date.now()
    for (const session of [carried, begun]) {
      if (session !== null && session.endsAt > now) await this.#revocations.add(session.id, session.endsAt)
    }
  }

  /** From here on, the request has no session of its own: nothing of it is written any more, and a credential in a handler's hands is dead. */
  #leave (request: FastifyRequest, begun: Session | null): void {
    const visit = this.#visits.get(request)
    if (visit !== undefined) visit.session = null
    this.#visits.set(request, { outcome: absent, session: null, due: null, begun })
  }

  /** Logging in and out: RFC 9111, 5.2.2.5. */
  #answer (reply: FastifyReply, line: string): void {
    this.cookie.write(reply, line)
    reply.header('cache-control', 'no-store')
  }

  #send (reply: FastifyReply, line: string): void {
    this.cookie.write(reply, line)
    keepOutOfSharedCaches(reply)
  }

  /** A list that does not answer now is asked again by the next request; this response only keeps the cookie as it was. */
  async #sendUnless (revoked: Promise<boolean>, reply: FastifyReply, line: string): Promise<void> {
    const isRevoked = await revoked.catch(() => true)
    if (!isRevoked) this.#send(reply, line)
  }
}

function checkedData (data: unknown): Readonly<Record<string, unknown>> {
  if (!isPlain(data)) throw fault('the data of a session must be a plain object')
  return jsonObject(data, 'data')
}
