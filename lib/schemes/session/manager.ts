import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticated, Outcome } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { LoginOptions, ProviderLogin, SessionCredential } from '../../../types/sessions.js'
import { AuthError, authFailure, internalError, refusal } from '../../errors.js'
import { publishFor, requestFields } from '../../events/events.js'
import { RequestSlot, stateOf } from '../../guard/request-state.js'
import { absent, completeOutcome, unavailableOr, withCredential } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { cookieValues, createReader } from '../../kit/read-credential.js'
import { isSameOwner } from '../../util/encoding.js'
import { settleAll } from '../../util/objects.js'
import { oweCookie } from '../../util/response.js'
import {
  keepOutOfSharedCaches, type OpenedCookie, type Seal, SealedCookies, SessionCookie
} from './cookie.js'
import type { SessionSettings } from './options.js'
import { checkedData, endOf, gone, idOf, lifetimeOf, type Liveness, type Session } from './session.js'

type SessionOutcome = Outcome<Principal, SessionCredential>

/** The session of one request, and the changes that the request makes to it. */
class CurrentSession {
  readonly request: FastifyRequest
  outcome: SessionOutcome = absent
  /** The session that may still be changed; `null` without one, when it ended, and once the response is sent. */
  session: Session | null
  /** The `Set-Cookie` value to send with the response. */
  due: string | null = null
  /** The handler changed the data, which is lost if the cookie is not sent. */
  isChanged = false
  /** The session that a login in this request began. */
  begun: Session | null = null
  /** The outcome before a login or logout in this request; `null` if there was none. */
  replaced: SessionOutcome | null = null

  constructor (request: FastifyRequest, session: Session | null) {
    this.request = request
    this.session = session
  }
}

interface SessionManagerParts {
  readonly seal: Seal
  readonly liveness: Liveness
}

/** The arguments of `reply.login`. */
interface LoginArguments {
  readonly principal: PrincipalInput
  readonly options: LoginOptions
}

/** Checks and sets the data of the session of a request. Returns what was set. */
type UpdateData = (current: CurrentSession, data: unknown) => Session['data']

/** Implements `request.auth.credential`. A class, because its accessor is faster than that of an object literal. */
class SessionHandle implements SessionCredential {
  readonly id: string
  #data: Session['data']
  readonly #current: CurrentSession
  readonly #update: UpdateData

  constructor ({ id, data }: Session, current: CurrentSession, update: UpdateData) {
    this.id = id
    this.#data = data
    this.#current = current
    this.#update = update
    Object.freeze(this)
  }

  get data (): Session['data'] {
    return this.#data
  }

  update (data: Record<string, unknown>): void {
    this.#data = this.#update(this.#current, data)
  }
}

/** Authenticates, begins, renews and ends the sessions of one scheme. */
export class SessionManager {
  readonly cookie: SessionCookie
  readonly #scheme: string
  readonly #settings: SessionSettings
  readonly #liveness: Liveness
  readonly #read: ReturnType<typeof createReader>
  readonly #cookies: SealedCookies
  readonly #current = new RequestSlot<CurrentSession>()
  readonly #providers = new WeakMap<FastifyRequest, ProviderLogin>()

  constructor (scheme: string, settings: SessionSettings, { seal, liveness }: SessionManagerParts) {
    this.cookie = new SessionCookie(settings)
    this.#scheme = scheme
    this.#settings = settings
    this.#cookies = new SealedCookies(seal, settings)
    this.#liveness = liveness
    this.#read = createReader(`cookie:${settings.cookieName}`, `The option schemes.${scheme}.cookieName`)
  }

  /**
   * Authenticates the cookie of a request. An ended session is *absent* and a forged cookie is *invalid*; the cookie of
   * either is removed with the response.
   */
  authenticate (request: FastifyRequest): SessionOutcome | Promise<SessionOutcome> {
    const current = this.#current.get(request)
    if (current !== undefined) return current.outcome
    const value = this.#read(request)
    if (typeof value !== 'string') return value.kind === 'invalid' ? this.#removed(request, value) : value
    const known = this.#cookies.get(value)
    const opened = known ?? this.#cookies.open(value)
    if (opened === 'forged') return this.#removed(request, gone.forged)
    const now = Date.now()
    if (opened === 'outdated') return this.#removed(request, gone.outdated)
    if (opened.endsAt <= now) return this.#removed(request, gone.over)
    if (known === undefined) this.#cookies.add(opened)
    const alive = this.#liveness.see(opened.session)
    if (alive === true) return this.#alive(request, opened, now)
    if (alive === false) return this.#removed(request, gone.ended)
    return this.#judgeLater(request, opened, alive).catch(storeUnavailable)
  }

  async #judgeLater (request: FastifyRequest, opened: OpenedCookie, alive: Promise<boolean>): Promise<SessionOutcome> {
    const isAlive = await alive
    // concurrent calls for one request share the outcome of the first
    return this.#current.get(request)?.outcome ??
      (isAlive ? this.#alive(request, opened, Date.now()) : this.#removed(request, gone.ended))
  }

  /**
   * Begins a session with a new id, and ends those that the request carries. Arguments are checked before anything is
   * changed.
   */
  async login (request: FastifyRequest, reply: FastifyReply, { principal, options }: LoginArguments): Promise<void> {
    const carried = this.#carried(request)
    const current = this.#current.get(request)?.session ?? onlyOne(carried)
    const person = principalFrom(principal, this.#scheme, 'the principal of reply.login()')
    const begun = this.#newSession(person, options, current)
    const { session, line } = this.#withProvider(begun, this.#providers.get(request) ?? begun.provider)
    await this.#liveness.begin(session, { address: request.ip ?? '', userAgent: request.headers['user-agent'] ?? '' })
    try {
      const ended = await this.#end(request, carried)
      // a renewal must not outlive the session, which another request may have ended meanwhile
      if (options.renew === true && !carried.every(each => ended.includes(each))) throw this.#nothingToRenew()
    } catch (error) {
      await this.#discard(session)
      throw error
    }
    this.#detach(request, session)
    this.#sendUncached(reply, line)
    const event = { ...this.#eventOf(session), renewed: options.renew === true }
    request.log.info({ event: 'login', auth: event }, 'a session began')
    publishFor(request, 'login', { ...requestFields(request), ...event })
  }

  /** Ends every session that the request carries, also when it has several cookies, which `authenticate` refuses. */
  async logout (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    this.#sendUncached(reply, this.cookie.removal)
    const ended = await this.#end(request, this.#carried(request))
    this.#detach(request, null)
    for (const session of ended) {
      const event = this.#eventOf(session)
      request.log.info({ event: 'logout', auth: event }, 'a session ended')
      publishFor(request, 'logout', { ...requestFields(request), ...event })
    }
  }

  /** Keeps the provider in the session that `login` begins for this request. */
  noteProvider (request: FastifyRequest, provider: ProviderLogin): void {
    this.#providers.set(request, provider)
  }

  /** Returns the provider of the session that the request carries, or `null`. */
  providerOf (request: FastifyRequest): ProviderLogin | null {
    return onlyOne(this.#carried(request))?.provider ?? null
  }

  /** Writes the cookie that is due. Returns a promise only if the store must be queried. */
  finish (request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const current = this.#current.get(request)
    if (current === undefined) return
    const { session, due, isChanged } = current
    current.session = null
    current.due = null
    if (due === null) return
    // if another request ended the session meanwhile, its cookie must not replace the one of a new login
    const alive = session === null || this.#liveness.isAlive(session)
    if (typeof alive === 'boolean') return alive ? this.#send(reply, due) : undefined
    return this.#sendIf(alive, reply, { due, isChanged })
  }

  #eventOf ({ id: session, principal: { realm, id } }: Session) {
    return { scheme: this.#scheme, realm, id, session }
  }

  #newSession (
    principal: Principal, { data, keep = false, renew = false, authenticatedAt: proved }: LoginOptions,
    previous: Session | null
  ): Session {
    const { expiry } = this.#settings
    if (keep && expiry.kept === null) {
      throw internalError(`reply.login() with keep needs a load function for schemes.${this.#scheme}, or its option ` +
        'keepTimeout with at most 24 hours')
    }
    const begunAt = this.#liveness.beginning(principal)
    const secret = randomBytes(16).toString('base64url')
    const fresh = { secret, id: idOf(secret), principal, begunAt, seenAt: Date.now() }
    if (!renew) {
      const endsAt = begunAt + lifetimeOf(expiry, keep).absolute
      const provedAt = proved === undefined ? begunAt : proved?.getTime() ?? null
      const authenticatedAt = provedAt === null ? null : Math.min(provedAt, begunAt)
      const times = { authenticatedAt, createdAt: begunAt, endsAt }
      return { ...fresh, ...times, kept: keep, data: checkedData(data ?? {}), provider: null }
    }
    if (proved !== undefined) {
      throw internalError('a renewed session keeps its authenticatedAt: leave the option out, or log in without renew')
    }
    if (previous === null || endOf(expiry, previous) <= Date.now()) throw this.#nothingToRenew()
    if (!isSameOwner(previous.principal, principal)) {
      throw internalError('a session is renewed for its own principal: log in without renew for another')
    }
    const { authenticatedAt, createdAt, endsAt, kept, provider } = previous
    const times = { authenticatedAt, createdAt, endsAt }
    return { ...fresh, ...times, kept, data: data === undefined ? previous.data : checkedData(data), provider }
  }

  #nothingToRenew (): AuthError {
    return refusal(authFailure('AUTH_REQUIRED', this.#scheme, 'there is no live session to renew'))
  }

  /** Adds a provider to a new session, without its ID token if the cookie has no room for that. */
  #withProvider (
    begun: Session, provider: ProviderLogin | null
  ): { readonly session: Session, readonly line: string } {
    const session = { ...begun, provider }
    if (provider === null || provider.idToken === null || this.cookie.fits(this.#cookies.seal(session))) {
      return { session, line: this.#boundedLine(session) }
    }
    return this.#withProvider(begun, { ...provider, idToken: null })
  }

  #boundedLine (session: Session): string {
    return this.cookie.boundedLine(this.#cookies.seal(session), this.#maxAge(session))
  }

  /** Returns the `Max-Age` of a kept session in seconds, else `null`. */
  #maxAge (session: Session): number | null {
    return session.kept ? Math.floor((endOf(this.#settings.expiry, session) - Date.now()) / 1000) : null
  }

  /** Removes a useless cookie with the response. */
  #removed (request: FastifyRequest, outcome: SessionOutcome): SessionOutcome {
    const current = this.#setCurrent(request, null)
    current.outcome = outcome
    current.due = this.cookie.removal
    return outcome
  }

  #setCurrent (request: FastifyRequest, session: Session | null): CurrentSession {
    const current = new CurrentSession(request, session)
    this.#current.set(request, current)
    return current
  }

  #alive (request: FastifyRequest, opened: OpenedCookie, now: number): SessionOutcome {
    const { session } = opened
    if (opened.old || now - session.seenAt >= lifetimeOf(this.#settings.expiry, session.kept).slideAfter) {
      return this.#renewed(request, { ...session, seenAt: now })
    }
    opened.outcome ??= this.#outcomeOf(session)
    return this.#admit(request, opened.outcome, session).outcome
  }

  /** Admits a session whose cookie is rewritten to extend its idle timeout. */
  #renewed (request: FastifyRequest, session: Session): SessionOutcome {
    const current = this.#admit(request, this.#outcomeOf(session), session)
    current.due = this.cookie.line(this.#cookies.seal(session), this.#maxAge(session))
    return current.outcome
  }

  /** Returns the outcome that all requests with a cookie share, apart from the credential. */
  #outcomeOf (session: Session): Authenticated {
    const { authenticatedAt } = session
    return completeOutcome(session.principal, {
      authenticatedAt: authenticatedAt === null ? null : new Date(authenticatedAt),
      expiresAt: new Date(endOf(this.#settings.expiry, session)),
      onRevoked: ended => this.#liveness.watch(session, ended),
      recheck: request => this.#recheck(request, session)
    })
  }

  #admit (request: FastifyRequest, outcome: Authenticated, session: Session): CurrentSession {
    const current = this.#setCurrent(request, session)
    current.outcome = withCredential(outcome, new SessionHandle(session, current, this.#update))
    return current
  }

  /** Checks the session again, unless this request itself began or ended one. */
  #recheck (request: FastifyRequest, session: Session): SessionOutcome | Promise<SessionOutcome> {
    const current = this.#current.get(request)
    if (current === undefined) return this.authenticate(request)
    if (current.replaced !== null) return current.replaced
    const judge = (isAlive: boolean): SessionOutcome => {
      if (isAlive) return current.outcome
      current.session = null
      return this.#removed(request, gone.ended)
    }
    if (endOf(this.#settings.expiry, session) <= Date.now()) return judge(false)
    const alive = this.#liveness.isAlive(session)
    return typeof alive === 'boolean' ? judge(alive) : alive.then(judge).catch(storeUnavailable)
  }

  readonly #update: UpdateData = (current, data) => {
    const reply = stateOf(current.request)?.reply ?? null
    if (current.session === null || reply?.raw.headersSent === true) {
      throw internalError(
        'the data of a session cannot be changed after the session ended, or once the response is sent'
      )
    }
    const changed = { ...current.session, seenAt: Date.now(), data: checkedData(data) }
    Object.assign(current, { due: this.#boundedLine(changed), session: changed, isChanged: true })
    if (reply !== null) oweCookie(reply, 'credential.update()')
    return changed.data
  }

  /**
   * Returns the unexpired sessions that the request carries, also on public routes, where nothing was authenticated.
   */
  #carried (request: FastifyRequest): readonly Session[] {
    return cookieValues(request, this.cookie.name).flatMap(value => {
      const opened = this.#cookies.open(value)
      return typeof opened === 'object' && opened.session.endsAt > Date.now() ? opened.session : []
    })
  }

  /**
   * Ends the sessions that the request carries, and the one that an earlier login of this request began. If one fails,
   * the others are ended all the same. Returns those that were alive.
   */
  async #end (request: FastifyRequest, carried: readonly Session[]): Promise<readonly Session[]> {
    const begun = this.#current.get(request)?.begun ?? null
    const sessions = begun === null ? carried : [...carried, begun]
    const wereAlive = await settleAll(sessions.map(async session => this.#liveness.end(session)))
    return sessions.filter((_, i) => wereAlive[i])
  }

  /** Ends a session whose cookie was not sent. If that fails, it ends by its timeout. */
  async #discard (session: Session): Promise<void> {
    try {
      await this.#liveness.end(session)
    } catch {}
  }

  /** Detaches the request from its session: nothing of it is written any more, and its credential cannot be updated. */
  #detach (request: FastifyRequest, begun: Session | null): void {
    const current = this.#current.get(request)
    if (current !== undefined) current.session = null
    const detached = this.#setCurrent(request, null)
    detached.begun = begun
    detached.replaced = current?.replaced ?? current?.outcome ?? null
  }

  /** Sends the cookie of a login or logout, whose response nobody may store (RFC 9111, 5.2.2.5). */
  #sendUncached (reply: FastifyReply, line: string): void {
    this.cookie.write(reply, line)
    reply.header('cache-control', 'no-store')
  }

  #send (reply: FastifyReply, line: string): void {
    this.cookie.write(reply, line)
    keepOutOfSharedCaches(reply)
  }

  /** Sends the cookie if the session is alive. When the store is unavailable, the browser keeps the previous cookie. */
  async #sendIf (
    alive: Promise<boolean>, reply: FastifyReply, { due, isChanged }: {
      readonly due: string, readonly isChanged: boolean
    }
  ): Promise<void> {
    try {
      if (await alive) this.#send(reply, due)
    } catch {
      if (!isChanged) return
      reply.request.log.error(
        'fastify-gatehouse: what credential.update() changed is lost, as the store is unavailable'
      )
    }
  }
}

function storeUnavailable (error: unknown): SessionOutcome {
  return unavailableOr(error, 'the store of sessions is unavailable')
}

/** Returns the session if there is exactly one, else `null`. */
function onlyOne (sessions: readonly Session[]): Session | null {
  const [first, ...others] = sessions
  return first === undefined || others.length > 0 ? null : first
}
