import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import authPlugin, { jwt } from '../../lib/index.js'
import type { JwtOptions } from '../../lib/index.js'

export interface Answer {
  readonly status: number
  readonly retryAfter: number | null
  readonly body: Readonly<Record<string, unknown>>
}

export interface Desk {
  readonly app: FastifyInstance
  /** Everything that was logged. */
  readonly log: string[]
  /** The credential objects that handlers saw: the same object for a token that was remembered. */
  readonly credentials: unknown[]
  ask (token: string): Promise<Answer>
  /** Statuses of tokens that are sent one after the other. */
  statuses (...tokens: string[]): Promise<number[]>
}

/** An application with one route and one scheme, which is closed with the test. */
export async function desk (t: Test, options: unknown): Promise<Desk> {
  const log: string[] = []
  const credentials: unknown[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { log.push(line) } } } })
  t.teardown(async () => { await app.close() })
  await app.register(authPlugin, { schemes: { user: jwt(options as JwtOptions) } })
  app.get('/', async request => {
    credentials.push(request.auth.credential)
    return { id: request.principal?.id, realm: request.principal?.realm }
  })
  await app.ready()
  const ask = async (token: string): Promise<Answer> => {
    const { statusCode, headers, body } = await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
    return {
      status: statusCode,
      retryAfter: headers['retry-after'] === undefined ? null : Number(headers['retry-after']),
      body: JSON.parse(body)
    }
  }
  const statuses = async (...tokens: string[]): Promise<number[]> => {
    const all: number[] = []
    for (const token of tokens) all.push((await ask(token)).status)
    return all
  }
  return { app, log, credentials, ask, statuses }
}

/**
 * Both clocks of the process, which stand still but for what a test advances them. They go on with the end of the test.
 */
export function clock (t: Test): { advance (seconds: number): void } {
  const [now, steady] = [Date.now, performance.now]
  const [date, since] = [Date.now(), performance.now()]
  let offset = 0
  Date.now = () => date + offset
  performance.now = () => since + offset
  t.teardown(() => {
    Date.now = now
    performance.now = steady
  })
  return { advance (seconds) { offset += seconds * 1000 } }
}

/** A server on a free loopback port, which is closed with the test. */
export async function served (
  t: Test, listener: RequestListener, server: Server = createServer(listener)
): Promise<string> {
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Serves each path what it has: a JSON value, or a listener. */
export function routes (paths: Readonly<Record<string, unknown>>, asked: string[] = []): RequestListener {
  return (request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    const found = paths[path]
    if (found === undefined) response.writeHead(404).end()
    else if (typeof found === 'function') (found as RequestListener)(request, response)
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found))
  }
}

/** Waits until something holds, for as long as the test may take. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => { setTimeout(resolve, 5) })
}
