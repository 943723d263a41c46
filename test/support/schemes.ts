import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import gatehouse, { absent, authenticated, expired, foreign, invalid, unavailable, type GatehouseOptions, type Outcome, type Principal, type Scheme } from '../../lib/index.js'

const none: unknown = undefined

/** What a {@link scripted} scheme does for one value of its header; other values are the id of a principal. */
const scripts: Readonly<Record<string, () => unknown>> = {
  foreign: () => foreign,
  invalid: () => invalid('secret reason'),
  expired: () => expired('secret reason'),
  unavailable: () => unavailable('secret reason', 17),
  nothing: () => undefined,
  null: () => null,
  false: () => false,
  notValid: () => ({ valid: false }),
  text: () => 'authenticated',
  unknown: () => ({ kind: 'maybe' }),
  nobody: () => ({ kind: 'authenticated' }),
  nullPrincipal: () => ({ kind: 'authenticated', principal: null }),
  noId: () => authenticated({ scopes: ['a'] } as unknown as Principal),
  badScopes: () => authenticated({ id: 'ann', scopes: 'admin' } as unknown as Principal),
  badDate: () => authenticated({ id: 'ann' }, { authenticatedAt: new Date(NaN) }),
  noDate: () => authenticated({ id: 'ann' }, { expiresAt: '2030-01-01' as unknown as Date }),
  throw: () => { throw new Error('secret cause') },
  throwNothing: () => { throw none },
  reject: async () => { throw new Error('secret cause') }
}

export interface Scripted extends Scheme { asked: number }

/** A scheme that does what the header `x-<name>` says, at once or later, and counts how often it is asked. */
export function scripted (name: string, more: Partial<Scheme> & { readonly async?: boolean } = {}): Scripted {
  const { async = false, ...rest } = more
  const scheme: Scripted = {
    asked: 0,
    openapi: { type: 'apiKey', in: 'header', name: `x-${name}` },
    challenge: ({ code }) => ({ scheme: 'Test', params: { realm: name, ...code === 'AUTH_REQUIRED' ? {} : { error: code.toLowerCase() } } }),
    authenticate (request: FastifyRequest): Outcome | Promise<Outcome> {
      scheme.asked++
      const said = request.headers[`x-${name}`]
      const answer = (): Outcome => {
        if (typeof said !== 'string') return absent
        return (Object.hasOwn(scripts, said) ? scripts[said]?.() : authenticated({ id: said, scopes: said.split('+').slice(1) })) as Outcome
      }
      return async ? pause(0).then(answer) : answer()
    },
    ...rest
  }
  return scheme
}

/** Every script of {@link scripted} that breaks the contract of a scheme. */
export const broken = ['text', 'unknown', 'nobody', 'nullPrincipal', 'noId', 'badScopes', 'badDate', 'noDate', 'throw', 'throwNothing', 'reject']

export interface LogLine { readonly level: number, readonly msg: string, readonly auth?: { code: string, scheme?: string, reason: string }, readonly err?: { message: string, stack: string, type: string } }

/** An application with the plugin, whose log is kept. Guesses are not counted: these tests send many. */
export async function application (options: Partial<GatehouseOptions>, server: FastifyServerOptions = {}, before: (app: FastifyInstance) => unknown = () => {}): Promise<{ app: FastifyInstance, log: LogLine[] }> {
  const log: LogLine[] = []
  const stream = { write: (line: string) => { log.push(JSON.parse(line) as LogLine) } }
  const app = Fastify({ logger: { stream, level: 'info' }, ...server } as object) as unknown as FastifyInstance
  await before(app)
  await app.register(gatehouse, { limits: { guesses: false }, ...options } as GatehouseOptions)
  return { app, log }
}

/** A handler that says whom it sees, and counts how often it was reached. */
export function handler () {
  const self = {
    reached: 0,
    async handler (request: FastifyRequest, _reply: FastifyReply): Promise<unknown> {
      self.reached++
      const { authenticated, scheme, error } = request.auth
      return { authenticated, scheme, id: request.principal?.id ?? null, error: error?.code ?? null }
    }
  }
  return self
}

export interface RawAnswer { readonly status: number, readonly headers: Readonly<Record<string, string>>, readonly body: string }

/** Listens on a free port of loopback until the test ends. */
export async function listen (t: Test, app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  return (app.server.address() as AddressInfo).port
}

/** Sends one HTTP/1.1 request exactly as written: the lines of the header, joined by nobody. */
export async function send (port: number, method: string, path: string, lines: readonly string[] = [], connection = 'close'): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  let text = ''
  socket.on('data', chunk => { text += String(chunk) })
  socket.write([`${method} ${path} HTTP/1.1`, 'Host: gate.test', `Connection: ${connection}`, ...lines, '', ''].join('\r\n'), 'latin1')
  await once(socket, 'close')
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...headers] = head.split('\r\n')
  return {
    status: Number(first.split(' ')[1]),
    headers: Object.fromEntries(headers.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)])),
    body: rest.join('\r\n\r\n')
  }
}
