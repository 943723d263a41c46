import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import gatehouse, { AuthError, authenticated, invalid, read, type GatehouseOptions, type Principal, type Scheme } from '../../lib/index.js'

/** A credential of {@link tokenScheme}, and the same as a credential that is bad. */
export const alice = { 'x-user': 'alice' }
export const wrong = { 'x-user': 'wrong' }

/** Takes the name in `x-user` for the principal's; `wrong` is invalid. Counts how often it is asked. */
export function tokenScheme (more: Partial<Scheme> & { readonly async?: boolean, readonly from?: 'header:x-user' | 'cookie:user' } = {}): Scheme & { asked: number } {
  const { async = false, from = 'header:x-user', ...rest } = more
  const scheme = {
    asked: 0,
    openapi: { type: 'apiKey', in: 'header', name: 'x-user' } as const,
    challenge: () => ({ scheme: 'Token', params: { realm: 'test' } }),
    authenticate (request: FastifyRequest) {
      scheme.asked++
      const name = read(request, from)
      const outcome = typeof name !== 'string'
        ? name
        : name === 'wrong' ? invalid('a wrong name') : authenticated({ id: name, scopes: name === 'boss' ? ['orders:write'] : [] } as unknown as Principal)
      return async ? Promise.resolve(outcome) : outcome
    },
    ...rest
  }
  return scheme
}

/** An application whose plugin is loaded, with one scheme unless told otherwise. */
export async function guarded (options: Partial<GatehouseOptions> = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(server) as unknown as FastifyInstance
  await app.register(gatehouse, { schemes: { user: tokenScheme() }, ...options })
  return app
}

/** A handler that says who called, and how often it was reached. */
export function counted (): { reached: number, handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> } {
  const self = {
    reached: 0,
    async handler (request: FastifyRequest) {
      self.reached++
      return { who: request.principal?.id ?? null, body: request.body ?? null }
    }
  }
  return self
}

/** Asserts that an application does not start, and that the sentence says all of these. */
export async function stopsTheBoot (t: Test, start: () => PromiseLike<unknown>, ...says: readonly (string | RegExp)[]): Promise<void> {
  let error: unknown
  try {
    await start()
  } catch (caught) {
    error = caught
  }
  if (!(error instanceof AuthError)) {
    t.fail(`should stop the boot with an AuthError and says: ${says.join(', ')}`, { error })
    return
  }
  t.equal(error.code, 'AUTH_MISCONFIGURED')
  for (const each of says) t.match(error.message, each)
}

export async function portOf (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** One answer as a socket shows it. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A socket that is written to and read from as it is. */
export async function wire (port: number) {
  const socket = connect({ port, host: '127.0.0.1' })
  const came = { unread: '', ended: false }
  socket.setEncoding('latin1')
  socket.on('data', chunk => { came.unread += String(chunk) })
  socket.on('error', () => { came.ended = true })
  const closed = once(socket, 'close').then(() => { came.ended = true })
  await once(socket, 'connect')
  const until = async (enough: () => boolean): Promise<void> => {
    while (!enough() && !came.ended) await Promise.race([once(socket, 'data'), closed])
  }
  return {
    closed,
    end: (): void => { socket.destroy() },
    /** Sends bytes as they are. Lines end in CRLF. */
    send: (text: string): void => { socket.write(text) },
    /** Everything that came and was not read, once it holds `text`. */
    async until (text: string): Promise<string> {
      await until(() => came.unread.includes(text))
      return came.unread
    },
    /** Reads one whole answer with a `Content-Length`, or one without a body. */
    async read (): Promise<Answer> {
      await until(() => came.unread.includes('\r\n\r\n'))
      const end = came.unread.indexOf('\r\n\r\n')
      if (end === -1) throw new Error(`the connection closed after ${JSON.stringify(came.unread)}`)
      const [first = '', ...lines] = came.unread.slice(0, end).split('\r\n')
      const headers = Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
      const whole = end + 4 + Number(headers['content-length'] ?? 0)
      await until(() => came.unread.length >= whole)
      const body = came.unread.slice(end + 4, whole)
      came.unread = came.unread.slice(whole)
      return { status: Number(first.split(' ')[1]), headers, body }
    }
  }
}

/** Sends one request in its own connection. `head` is the request line and headers; `Host` is added. */
export async function ask (port: number, head: readonly string[], body = ''): Promise<Answer> {
  const socket = await wire(port)
  socket.send([...head, `Host: 127.0.0.1:${port}`, '', body].join('\r\n'))
  const answer = await socket.read()
  socket.end()
  return answer
}
