import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LoginWish, SessionFeature } from '../../types/sessions.js'
import { cookieNames, cookieValues } from '../kit/read-credential.js'
import { SessionCookie } from '../schemes/session/cookie.js'
import type { Seal } from '../schemes/session/seal.js'

/** Seconds that a person may take to log in at the provider. */
const lifetime = 600

/** Logins that one browser may have under way at one provider, as in several tabs. */
const maxTries = 5

/** Characters of all cookies of one provider, as servers limit the size of all headers of a request. */
const maxTotal = 7_600

/** A login that a browser has begun. */
export interface Try extends LoginWish {
  readonly state: string
  readonly nonce: string
  /** The PKCE verifier (RFC 7636, 4.1). */
  readonly verifier: string
  /** Milliseconds since 1970. */
  readonly begunAt: number
}

interface TriesOptions {
  readonly seal: Seal
  /** The path at which logins begin, which the names of the cookies contain. */
  readonly path: string
  /** The attributes of the session's cookie. */
  readonly cookie: NonNullable<SessionFeature['cookie']>
}

/**
 * The logins that browsers have begun at one provider, each in a sealed cookie of its own, so that two tabs do not
 * disturb each other and any instance can end what another began.
 */
export class Tries {
  readonly #seal: Seal
  readonly #prefix: string
  readonly #attributes: TriesOptions['cookie']

  constructor ({ seal, path, cookie: { secure, sameSite } }: TriesOptions) {
    this.#seal = seal
    this.#prefix = `${secure ? '__Host-' : ''}login${path.replaceAll('/', '~')}~`
    // with Strict, a browser that comes from the provider would not send it
    this.#attributes = { secure, sameSite: sameSite === 'Strict' ? 'Lax' : sameSite }
  }

  /** Begins a login, and ends the oldest ones of this browser if there are too many. */
  begin (request: FastifyRequest, reply: FastifyReply, { path, maxAge }: LoginWish): Try {
    const id = randomBytes(6).toString('base64url')
    const cookie = this.#cookie(id)
    const begun = {
      state: `${id}.${random()}`, nonce: random(), verifier: random(), path, maxAge, begunAt: Date.now()
    }
    const whole = this.#sealed(begun)
    const fits = cookie.fits(whole)
    if (!fits) request.log.warn('the path to which a login leads back is too long for a cookie, and was left out')
    const value = fits ? whole : this.#sealed({ ...begun, path: null })
    this.#makeRoom(request, reply, cookie.name.length + value.length)
    cookie.write(reply, cookie.line(value, lifetime))
    return begun
  }

  /** Returns the login that this browser began with a state within the last ten minutes, or `null`. */
  find (request: FastifyRequest, state: string): Try | null {
    const [, id] = /^([\w-]{8})\.[\w-]{43}$/.exec(state) ?? []
    if (id === undefined) return null
    const tries = cookieValues(request, this.#cookie(id).name).flatMap(value => this.#open(value) ?? [])
    return tries.find(begun => isSame(begun.state, state)) ?? null
  }

  /** Removes a login from the browser, so that its answer is accepted once. */
  end (reply: FastifyReply, { state }: Try): void {
    this.#remove(reply, this.#cookie(state.slice(0, 8)))
  }

  #cookie (id: string): SessionCookie {
    return new SessionCookie({ cookieName: `${this.#prefix}${id}`, ...this.#attributes })
  }

  #sealed ({ state: s, nonce: n, verifier: v, path, maxAge, begunAt: t }: Try): string {
    return this.#seal.seal({ s, n, v, t, ...path === null ? {} : { p: path }, ...maxAge === null ? {} : { m: maxAge } })
  }

  /** Opens a cookie. Returns `null` if it is of another provider, or too old. */
  #open (value: string): Try | null {
    const opened = this.#seal.open(value)
    if (opened === null) return null
    const { s, n, v, t, p = null, m = null } = opened.payload
    const begun = { state: s, nonce: n, verifier: v, begunAt: t, path: p, maxAge: m } as unknown as Try
    return Date.now() - begun.begunAt < lifetime * 1000 ? begun : null
  }

  /** Removes the cookies that are of no use, and the oldest tries that one more has no room beside. */
  #makeRoom (request: FastifyRequest, reply: FastifyReply, size: number): void {
    const names = [...new Set(cookieNames(request))].filter(name => this.#isOwn(name))
    const sent = names.map(name => this.#sent(request, name))
    const newest = sent.flatMap(each => each.begun === null ? [] : [{ ...each, begun: each.begun }])
      .sort((a, b) => b.begun.begunAt - a.begun.begunAt)
    let total = size
    const kept = newest.slice(0, maxTries - 1).filter(each => {
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
    return { cookie, begun: this.#open(value), size: name.length + value.length }
  }

  #remove (reply: FastifyReply, cookie: SessionCookie): void {
    cookie.write(reply, cookie.removal)
  }
}

function random (): string {
  return randomBytes(32).toString('base64url')
}

function isSame (a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
