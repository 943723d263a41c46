import type { FastifyReply } from 'fastify'
import { internalError } from '../../errors.js'
import type { SessionSettings } from './options.js'

/**
 * Bytes of `name=value`. Browsers drop a cookie above 4,096 with its attributes (RFC 6265bis, 5.6) *silently, and keep the one before*:
 * the previous person would stay logged in.
 */
const largest = 3_800

/** Writes one cookie. No `Domain` and `Path=/`, as `__Host-` asks (RFC 6265bis, 4.1.3.2). */
export class SessionCookie {
  readonly name: string
  readonly #attributes: string

  constructor ({ cookieName, secure, sameSite }: Pick<SessionSettings, 'cookieName' | 'secure' | 'sameSite'>) {
    this.name = cookieName
    this.#attributes = `; Path=/; HttpOnly; ${secure ? 'Secure; ' : ''}SameSite=${sameSite}${sameSite === 'None' ? '; Partitioned' : ''}`
  }

  /** The `Set-Cookie` value that carries a session. Without `maxAge` (seconds) it ends with the browser. */
  line (value: string, maxAge: number | null): string {
    return `${this.name}=${value}${this.#attributes}${maxAge === null ? '' : `; Max-Age=${maxAge}`}`
  }

  /**
   * {@link SessionCookie.line} for a value whose size the application decides.
   * @throws {AuthError} `AUTH_FAULT` when it is larger than browsers keep.
   */
  boundedLine (value: string, maxAge: number | null): string {
    const size = this.name.length + 1 + value.length
    if (size > largest) throw internalError(`the session cookie ${this.name} would have ${size} bytes, and above ${largest} browsers may drop it: keep less in the principal and the data`)
    return this.line(value, maxAge)
  }

  /** The `Set-Cookie` value that removes it. */
  get removal (): string {
    return `${this.name}=${this.#attributes}; Max-Age=0`
  }

  /** Puts a line among the response's own; one of the same name is replaced (RFC 6265, 4.1.1: no name twice), all others stay. */
  write (reply: FastifyReply, line: string): void {
    const before = [reply.getHeader('set-cookie') ?? []].flat().map(String)
    const others = before.filter(each => !each.startsWith(`${this.name}=`))
    if (others.length !== before.length) {
      reply.removeHeader('set-cookie')
      if (others.length > 0) reply.header('set-cookie', others)
    }
    reply.header('set-cookie', line)
  }
}

/** A stored response would hand its `Set-Cookie` to the next person: shared caches may keep it (RFC 9111, 7.3). */
export function keepOutOfSharedCaches (reply: FastifyReply): void {
  const written = reply.getHeader('cache-control')
  if (written === undefined || !/(?:^|[,\s])(?:private|no-store)(?:[,\s]|$)/i.test(String(written))) reply.header('cache-control', 'no-store')
}
