import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Outcome } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { LoginOptions } from '../../../types/sessions.js'
import { AuthError, authFailure, internalError, refusal } from '../../errors.js'
import { absent, authenticated, invalid, unavailableOr } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { cookieValues, createReader } from '../../kit/read-credential.js'
import { checkedData } from '../../util/json.js'
import { oweCookie, replyOf } from '../../util/response.js'
import { OpenedCookies } from './cookie-cache.js'
import { keepOutOfSharedCaches, SessionCookie } from './cookie.js'
import { SessionHandle, type SessionCredential } from './credential.js'
import { endOf, lifetimeOf } from './expiry.js'
import type { Liveness } from './liveness.js'
import type { SessionSettings } from './options.js'
import { idOf, pack, type Session } from './payload.js'
import type { Seal } from './seal.js'

type SessionOutcome = Outcome<Principal, SessionCredential>

/** What one request does to its session. */
interface Visit {
  outcome: SessionOutcome
  /** The session it may still change; `null` when there is none, when it ended, and once the response is on its way. */
  session: Session | null
  /** The `Set-Cookie` value that goes out with the response. */
  due: string | null
  /** The handler changed the data, which is lost if the cookie does not go out. */
  isChanged: boolean
  /** The session that a login of this request began. */
  begun: Session | null
}

const notOurs = Object.freeze(invalid('the session cookie was not sealed by this scheme, or was changed since'))

interface SessionManagerParts {
  readonly seal: Seal
  readonly liveness: Liveness
}

/** The arguments of `reply.login`. */
interface LoginRequest {
  readonly principal: PrincipalInput
  readonly options: LoginOptions
}

/** Opens, begins, keeps and ends the sessions of one scheme in one application. */
export class SessionManager {
  readonly cookie: SessionCookie
  readonly #scheme: string
  readonly #settings: SessionSettings
  readonly #seal: Seal
  readonly #liveness: Liveness
  readonly #read: ReturnType<typeof createReader>
  readonly #cookies: OpenedCookies
  /** Keyed by request, so that requests at once never mix. */
  readonly #visits = new WeakMap<FastifyRequest, Visit>()

  constructor (scheme: string, settings: SessionSettings, { seal, liveness }: SessionManagerParts) {
    this.cookie = new SessionCookie(settings)
    this.#scheme = scheme
    this.#settings = settings
    this.#seal = seal
    this.#cookies = new OpenedCookies(seal, settings.load === null)
    this.#liveness = liveness
    this.#read = createReader(`cookie:${settings.cookieName}`, `schemes.${scheme}: cookieName`)
  }

  /** Whose session the request carries. Ended sessions are *absent*, a forged cookie is *invalid*, and the cookie of either is removed with the response. */
  authenticate (request: FastifyRequest): SessionOutcome | Promise<SessionOutcome> {
    const visit = this.#visits.get(request)
    if (visit !== undefined) return visit.outcome
    const value = this.#read(request)
    if (typeof value !== 'string') return value.kind === 'invalid' ? this.#removed(request, value) : value
    const known = this.#cookies.known(value)
    const opened = known ?? this.#cookies.open(value)
    if (opened === null) return this.#removed(request, notOurs)
    const { session, old } = opened
    if (session === null || endOf(this.#settings.times, session) <= Date.now()) return this.#removed(request, absent)
    if (known === undefined) this.#cookies.keep(opened)
    const alive = this.#liveness.see(session)
    if (typeof alive === 'boolean') return alive ? this.#alive(request, session, old) : this.#removed(request, absent)
    // asked twice at once, it answers the same
    return alive
      .then(isAlive => this.#visits.get(request)?.outcome ?? (isAlive ? this.#alive(request, session, old) : this.#removed(request, absent)))
      .catch((error: unknown) => unavailableOr(error, 'the store of sessions does not answer'))
  }

  /** Begins a session with a new id, and ends those that the request carries. Everything that can be refused is refused before anything is changed. */
  async login (request: FastifyRequest, reply: FastifyReply, { principal, options }: LoginRequest): Promise<void> {
    const carried = this.#carried(request)
    const session = this.#newSession(principalFrom(principal, this.#scheme), options, onlyOne(carried))
    const line = this.#boundedLine(session)
    await this.#liveness.begin(session, { address: request.ip ?? '', userAgent: request.headers['user-agent'] ?? '' })
    try {
      const wasAlive = await this.#end(request, carried)
      // ended between, by a logout everywhere perhaps: a renewal must not outlive it
      if (options.renew === true && !wasAlive) throw this.#nothingToRenew()
    } catch (error) {
      await this.#forget(session)
      throw error
    }
    this.#leave(request, session)
    this.#answer(reply, line)
  }

  /** Ends every session that the request carries, also where reading refuses two of them: an earlier copy of a cookie is worthless too. */
  async logout (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    this.#answer(reply, this.cookie.removal)
    await this.#end(request, this.#carried(request))
    this.#leave(request, null)
  }

  /** Writes what is due. A promise only where the registry answers with one. */
  finish (request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const visit = this.#visits.get(request)
    if (visit === undefined) return
    const { session, due, isChanged } = visit
    visit.session = null
    visit.due = null
    if (due === null) return
    // ended by another request meanwhile: writing it would put the dead session over the one that a new login set
    const alive = session === null || this.#liveness.isAlive(session)
    if (typeof alive === 'boolean') return alive ? this.#send(reply, due) : undefined
    return this.#sendIf(alive, reply, { due, isChanged })
  }

  #newSession (principal: Principal, { data, keep = false, renew = false }: LoginOptions, carried: Session | null): Session {
    const { times } = this.#settings
    if (keep && times.kept === null) throw internalError(`schemes.${this.#scheme} keeps no sessions: that needs load, or the option keepTimeout with at most 24 hours`)
    const begunAt = this.#liveness.beginning(principal)
    const secret = randomBytes(16).toString('base64url')
    const fresh = { secret, id: idOf(secret), principal, begunAt, seenAt: Date.now() }
    if (!renew) return { ...fresh, authenticatedAt: begunAt, endsAt: begunAt + lifetimeOf(times, keep).absolute, kept: keep, data: checkedData(data ?? {}) }
    if (carried === null || endOf(times, carried) <= Date.now()) throw this.#nothingToRenew()
    if (carried.principal.id !== principal.id || carried.principal.realm !== principal.realm) throw internalError('a session is renewed for its own principal: begin one without renew for another')
    const { authenticatedAt, endsAt, kept } = carried
    return { ...fresh, authenticatedAt, endsAt, kept, data: data === undefined ? carried.data : checkedData(data) }
  }

  #nothingToRenew (): AuthError {
    return refusal(authFailure('AUTH_REQUIRED', this.#scheme, 'there is no live session to renew'))
  }

  #boundedLine (session: Session): string {
    return this.cookie.boundedLine(this.#sealed(session), this.#maxAge(session))
  }

  /** Of a kept session, which outlives the browser, in seconds. */
  #maxAge (session: Session): number | null {
    return session.kept ? Math.floor((endOf(this.#settings.times, session) - Date.now()) / 1000) : null
  }

  #sealed (session: Session): string {
    return this.#seal.seal(pack(session, this.#settings.load === null))
  }

  /** Removes a cookie that is of no use any more, with the response: kept, it would be sent for ever. */
  #removed (request: FastifyRequest, outcome: SessionOutcome): SessionOutcome {
    this.#visits.set(request, { outcome, session: null, due: this.cookie.removal, isChanged: false, begun: null })
    return outcome
  }

  #alive (request: FastifyRequest, opened: Session, old: boolean): SessionOutcome {
    const { times } = this.#settings
    const now = Date.now()
    const renew = old || now - opened.seenAt >= lifetimeOf(times, opened.kept).slideAfter
    const session = renew ? { ...opened, seenAt: now } : opened
    const visit: Visit = { outcome: absent, session, due: renew ? this.cookie.line(this.#sealed(session), this.#maxAge(session)) : null, isChanged: false, begun: null }
    visit.outcome = authenticated(session.principal, {
      credential: new SessionHandle(session, data => this.#update(request, visit, data)),
      authenticatedAt: new Date(session.authenticatedAt),
      expiresAt: new Date(endOf(times, session)),
      onRevoked: ended => this.#liveness.watch(session, ended),
      recheck: () => this.#again(request, visit, session)
    })
    this.#visits.set(request, visit)
    return visit.outcome
  }

  /** What a request's session comes to once its body is there. A session that this request itself began or ended is not asked for. */
  #again (request: FastifyRequest, visit: Visit, session: Session): SessionOutcome | Promise<SessionOutcome> {
    if (this.#visits.get(request) !== visit) return visit.outcome
    const judge = (isAlive: boolean): SessionOutcome => {
      if (isAlive) return visit.outcome
      visit.session = null
      return this.#removed(request, absent)
    }
    if (endOf(this.#settings.times, session) <= Date.now()) return judge(false)
    const alive = this.#liveness.isAlive(session)
    return typeof alive === 'boolean' ? judge(alive) : alive.then(judge).catch((error: unknown) => unavailableOr(error, 'the store of sessions does not answer'))
  }

  #update (request: FastifyRequest, visit: Visit, data: unknown): Session['data'] {
    const reply = replyOf(request)
    if (visit.session === null || reply?.raw.headersSent === true) throw internalError('the session ended in this request, or the response is on its way: its data cannot be changed any more')
    const changed = { ...visit.session, seenAt: Date.now(), data: checkedData(data) }
    visit.due = this.#boundedLine(changed)
    visit.isChanged = true
    if (reply !== undefined) oweCookie(reply, 'credential.update()')
    return changed.data
  }

  /** The sessions on the request itself, as login and logout stand on public routes too; none whose time has passed. */
  #carried (request: FastifyRequest): readonly Session[] {
    return cookieValues(request, this.cookie.name).flatMap(value => {
      const session = this.#cookies.open(value)?.session ?? null
      return session !== null && session.endsAt > Date.now() ? session : []
    })
  }

  /** Ends the sessions that the request carries, and the one that an earlier login of this request began; a failure of one keeps no other. @returns whether the first was alive. */
  async #end (request: FastifyRequest, carried: readonly Session[]): Promise<boolean> {
    const begun = this.#visits.get(request)?.begun ?? null
    const ends = await Promise.allSettled([...carried, ...begun === null ? [] : [begun]].map(async session => this.#liveness.end(session)))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    return carried.length > 0 && ends[0]?.status === 'fulfilled' && ends[0].value
  }

  /** A session whose cookie nobody got. What cannot be told that it is over ends by itself. */
  async #forget (session: Session): Promise<void> {
    try {
      await this.#liveness.end(session)
    } catch {}
  }

  /** From here on, the request has no session of its own: nothing of it is written any more, and a credential in a handler's hands is dead. */
  #leave (request: FastifyRequest, begun: Session | null): void {
    const visit = this.#visits.get(request)
    if (visit !== undefined) visit.session = null
    this.#visits.set(request, { outcome: absent, session: null, due: null, isChanged: false, begun })
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

  /** A registry that does not answer now is asked again by the next request; this response only keeps the cookie as it was. */
  async #sendIf (alive: Promise<boolean>, reply: FastifyReply, { due, isChanged }: { readonly due: string, readonly isChanged: boolean }): Promise<void> {
    try {
      if (await alive) this.#send(reply, due)
    } catch {
      if (isChanged) reply.request.log.error('fastify-gatehouse: what credential.update() changed is lost, as the store did not say whether the session is alive')
    }
  }
}

/** Which of several is meant, nobody can tell. */
function onlyOne (sessions: readonly Session[]): Session | null {
  const [first, ...others] = sessions
  return first === undefined || others.length > 0 ? null : first
}
