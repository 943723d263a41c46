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

export interface RemoteApp {
  readonly app: FastifyInstance
  /** Everything that was logged. */
  readonly log: string[]
  /** The credential objects that handlers saw. A cached token has the same object each time. */
  readonly credentials: unknown[]
  ask (token: string): Promise<Answer>
  /** Sends tokens one after another, and returns the statuses. */
  statuses (...tokens: string[]): Promise<number[]>
}

/** Creates an application with one route and one scheme, which is closed when the test ends. */
export async function createApp (t: Test, options: unknown): Promise<RemoteApp> {
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

/** Stops both clocks of the process until the test ends; only `advance` moves them. */
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

/** Starts a server on a free port of loopback, which is closed when the test ends. Returns its host and port. */
export async function serve (
  t: Test, listener: RequestListener, server: Server = createServer(listener)
): Promise<string> {
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Returns a listener that serves a JSON value, or calls another listener, for each path. */
export function routes (paths: Readonly<Record<string, unknown>>, requested: string[] = []): RequestListener {
  return (request, response) => {
    const path = request.url ?? ''
    requested.push(path)
    const found = paths[path]
    if (found === undefined) response.writeHead(404).end()
    else if (typeof found === 'function') (found as RequestListener)(request, response)
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found))
  }
}

/** Waits until a condition holds. The time limit of the test is the only one. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => { setTimeout(resolve, 5) })
}
