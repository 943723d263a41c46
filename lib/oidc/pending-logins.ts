import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LoginRequest } from '../../types/sessions.js'
import { cookieNames, cookieValues } from '../kit/read-credential.js'
import type { OwnSessions } from '../plugin/internals.js'
import { type Seal, SessionCookie } from '../schemes/session/cookie.js'
import { isSameSecret } from '../util/encoding.js'

/** The time that a person may take to log in at the provider. */
const lifetimeSeconds = 600

/** The number of logins that one browser may have begun at one provider, such as in several tabs. */
const maxPending = 5

/** Characters of all cookies of one provider, as servers limit the size of all headers of a request. */
const maxTotal = 7_600

/** Describes a login that a browser has begun, and not ended. */
export interface PendingLogin extends LoginRequest {
  readonly state: string
  readonly nonce: string
  /** The PKCE verifier (RFC 7636, 4.1). */
  readonly verifier: string
  /** Milliseconds since 1970. */
  readonly begunAt: number
}

interface PendingLoginsOptions {
  readonly seal: Seal
  /** The path at which logins begin, which the names of the cookies contain. */
  readonly path: string
  /** The attributes of the session's cookie. */
  readonly cookie: OwnSessions['cookie']
}

/**
 * Keeps the logins that browsers have begun at one provider, each in a sealed cookie of its own: two tabs do not
 * disturb each other, and any instance can end what another began.
 */
export class PendingLogins {
  readonly #seal: Seal
  readonly #prefix: string
  readonly #attributes: PendingLoginsOptions['cookie']

  constructor ({ seal, path, cookie: { secure, sameSite } }: PendingLoginsOptions) {
    this.#seal = seal
    this.#prefix = `${secure ? '__Host-' : ''}login${path.replaceAll('/', '~')}~`
    // With Strict, a browser that comes from the provider would not send the cookie.
    this.#attributes = { secure, sameSite: sameSite === 'Strict' ? 'Lax' : sameSite }
  }

  /** Begins a login, and ends the oldest ones of this browser if there are too many. */
  begin (request: FastifyRequest, reply: FastifyReply, { path, maxAge }: LoginRequest): PendingLogin {
    const id = randomBytes(6).toString('base64url')
    const cookie = this.#cookie(id)
    const pending = {
      state: `${id}.${random()}`, nonce: random(), verifier: random(), path, maxAge, begunAt: Date.now()
    }
    const whole = this.#sealed(pending)
    const fits = cookie.fits(whole)
    if (!fits) request.log.warn('the path to which a login leads back is too long for a cookie, and was left out')
    const value = fits ? whole : this.#sealed({ ...pending, path: null })
    this.#makeRoom(request, reply, cookie.name.length + value.length)
    cookie.write(reply, cookie.line(value, lifetimeSeconds))
    return pending
  }

  /** Returns the login that this browser began with a state within the last ten minutes, or `null`. */
  find (request: FastifyRequest, state: string): PendingLogin | null {
    const [, id] = /^([\w-]{8})\.[\w-]{43}$/.exec(state) ?? []
    if (id === undefined) return null
    const found = cookieValues(request, this.#cookie(id).name).flatMap(value => this.#open(value) ?? [])
    return found.find(pending => isSameSecret(pending.state, state)) ?? null
  }

  /** Removes a login from the browser, so that its answer is accepted once. */
  end (reply: FastifyReply, { state }: PendingLogin): void {
    this.#remove(reply, this.#cookie(state.slice(0, 8)))
  }

  #cookie (id: string): SessionCookie {
    return new SessionCookie({ cookieName: `${this.#prefix}${id}`, ...this.#attributes })
  }

  #sealed ({ state: s, nonce: n, verifier: v, path, maxAge, begunAt: t }: PendingLogin): string {
    return this.#seal.seal({ s, n, v, t, ...path === null ? {} : { p: path }, ...maxAge === null ? {} : { m: maxAge } })
  }

  /** Opens a cookie. Returns `null` if it is of another provider, or too old. */
  #open (value: string): PendingLogin | null {
    const opened = this.#seal.open(value)
    if (opened === null) return null
    const { s, n, v, t, p = null, m = null } = opened.payload
    const pending = { state: s, nonce: n, verifier: v, begunAt: t, path: p, maxAge: m } as unknown as PendingLogin
    return Date.now() - pending.begunAt < lifetimeSeconds * 1000 ? pending : null
  }

  /** Removes the cookies that cannot be opened, and the oldest logins if there would be too many with a new one. */
  #makeRoom (request: FastifyRequest, reply: FastifyReply, size: number): void {
    const names = [...new Set(cookieNames(request))].filter(name => this.#isOwn(name))
    const sent = names.map(name => this.#sent(request, name))
    const newest = sent.flatMap(each => each.pending === null ? [] : [{ ...each, pending: each.pending }])
      .sort((a, b) => b.pending.begunAt - a.pending.begunAt)
    let total = size
    const kept = newest.slice(0, maxPending - 1).filter(each => {
      total += each.size
      return total <= maxTotal
    })
    for (const { cookie } of sent) {
      if (!kept.some(each => each.cookie === cookie)) this.#remove(reply, cookie)
    }
  }

  #isOwn (name: string): boolean {
    return name.startsWith(this.#prefix) && /^[\w-]{8}$/.test(name.slice(this.#prefix.length))
  }

  #sent (request: FastifyRequest, name: string) {
    const [value = ''] = cookieValues(request, name)
    const cookie = this.#cookie(name.slice(this.#prefix.length))
    return { cookie, pending: this.#open(value), size: name.length + value.length }
  }

  #remove (reply: FastifyReply, cookie: SessionCookie): void {
    cookie.write(reply, cookie.removal)
  }
}

function random (): string {
  return randomBytes(32).toString('base64url')
}
