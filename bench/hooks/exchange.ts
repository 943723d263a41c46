import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** The headers of one request. */
export type Headers = Readonly<Record<string, string>>

/** An HTTP/1 request without a connection, with the parts that Fastify and the hooks read. */
class Incoming {
  readonly method = 'GET'
  readonly url = '/'
  readonly httpVersion = '1.1'
  readonly httpVersionMajor = 1
  readonly complete = true
  readonly upgrade = false
  readonly socket = { remoteAddress: '127.0.0.1', remotePort: 40_000, encrypted: false }
  readonly headers: Headers
  readonly rawHeaders: readonly string[]

  constructor (headers: Headers, rawHeaders: readonly string[]) {
    this.headers = headers
    this.rawHeaders = rawHeaders
  }

  on (): this { return this }
  once (): this { return this }
  removeListener (): this { return this }
  off (): this { return this }
}

/** A response that is not sent, and records only its status. */
class Outgoing {
  statusCode = 200
  headersSent = false
  writableEnded = false

  on (): this { return this }
  once (): this { return this }
  removeListener (): this { return this }
  off (): this { return this }
  setHeader (): this { return this }
  getHeader (): undefined { return undefined }
  getHeaders (): object { return {} }
  hasHeader (): boolean { return false }
  removeHeader (): void {}
  write (): boolean { return true }

  writeHead (status: number): this {
    this.statusCode = status
    this.headersSent = true
    return this
  }

  end (): void {
    this.writableEnded = true
  }
}

/** The number of concurrent requests, which share a turn of the event loop. */
const batch = 50

/** Sends requests to an application in this process, without the network and the HTTP parser of Node. */
export class Client {
  readonly #app: FastifyInstance
  readonly #status: number
  readonly #requests: readonly (readonly [Headers, readonly string[]])[]
  #next = 0

  /** @param headers of each request, in turn. */
  constructor (app: FastifyInstance, headers: readonly Headers[], status: number) {
    this.#app = app
    this.#status = status
    this.#requests = headers.map(each => [each, Object.entries(each).flat()])
  }

  /**
   * Sends requests, and waits for the responses.
   * @throws {Error} if a response has another status, because the bench would measure something else.
   */
  async send (count: number): Promise<void> {
    for (let sent = 0; sent < count; sent += batch) {
      const responses: Outgoing[] = []
      for (let i = 0; i < batch; i++) responses.push(this.#start())
      do await turn(); while (!responses.every(({ writableEnded }) => writableEnded))
      const wrong = responses.find(({ statusCode }) => statusCode !== this.#status)
      if (wrong !== undefined) throw new Error(`an answer has the status ${wrong.statusCode}, not ${this.#status}`)
    }
  }

  #start (): Outgoing {
    const [headers, rawHeaders] = this.#requests[this.#next] as readonly [Headers, readonly string[]]
    this.#next = (this.#next + 1) % this.#requests.length
    const response = new Outgoing()
    this.#app.routing(new Incoming(headers, rawHeaders) as never, response as never)
    return response
  }
}
