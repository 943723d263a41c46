import { once } from 'node:events'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

export interface Call {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Header lines that are sent as they are, after the others. */
  readonly lines?: readonly string[]
  readonly body?: string | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: string
}

export type Transport = (app: FastifyInstance, call: Call) => Promise<Answer>

export const inject: Transport = async (app, { method, path, headers, body }) => {
  const answer = await app.inject({
    method: method as 'GET', url: path, headers, ...body === undefined ? {} : { payload: body }
  })
  return { status: answer.statusCode, headers: answer.headers as Answer['headers'], body: answer.body }
}

const servers = new WeakMap<FastifyInstance, Promise<unknown>>()

/** Writes the request as bytes, so that nothing is normalised. */
export const socket: Transport = async (app, { method, path, headers, lines = [], body }) => {
  const listening = servers.get(app) ?? app.listen({ port: 0, host: '127.0.0.1' })
  servers.set(app, listening)
  await listening
  const { port } = app.server.address() as AddressInfo
  const client = connect(port, '127.0.0.1')
  const all = [
    `${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'Connection: close',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), ...lines
  ]
  if (body !== undefined) all.push(`Content-Length: ${Buffer.byteLength(body)}`)
  const chunks: Buffer[] = []
  client.on('data', chunk => { chunks.push(chunk) })
  client.on('error', () => {})
  client.write(`${all.join('\r\n')}\r\n\r\n${body ?? ''}`)
  await once(client, 'close')
  return parse(Buffer.concat(chunks).toString('latin1'))
}

function parse (text: string): Answer {
  const [head = '', body = ''] = text.split(/\r\n\r\n(.*)/s)
  const [first = '', ...rest] = head.split('\r\n')
  const headers: Record<string, string | string[]> = {}
  for (const line of rest) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return { status: Number(first.split(' ')[1]), headers, body }
}
