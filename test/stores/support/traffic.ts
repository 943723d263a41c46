import { Agent, request, type IncomingMessage } from 'node:http'
import { timeLimit } from '../../support/time-limit.js'

/** One request, and what it is for. */
export interface Call {
  /** What is sent: a kind of credential. */
  readonly kind: string
  /** Which one of its kind. */
  readonly subject: string
  readonly port: number
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: object
}

/** A call, and what became of it. Instants are milliseconds by `performance.now`. */
export interface Answer {
  readonly call: Call
  readonly sentAt: number
  readonly took: number
  /** 0: no answer came, and `text` says why. */
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

/** Milliseconds without an answer after which a request hangs: far above every deadline. */
const patience = timeLimit(45_000)

/** Opens no more connections than a server that is busy keeps waiting: what comes beyond is reset by the kernel, unseen by the application. */
const agent = new Agent({ keepAlive: true, maxSockets: 400 })

/** Sends one request over a socket. Never rejects. */
export async function send (call: Call): Promise<Answer> {
  for (;;) {
    const answer = await sendOnce(call)
    if (answer !== null) return answer
  }
}

/** Sends a request, and returns null where the connection was kept open and turned out to be closed: RFC 9112, 9.3.1, has clients try again. */
function sendOnce (call: Call): Promise<Answer | null> {
  const { port, method, path, headers, body } = call
  const content = body === undefined ? {} : { 'content-type': 'application/json' }
  const sentAt = performance.now()
  return new Promise(resolve => {
    const done = (answer: Pick<Answer, 'status' | 'headers' | 'text'>): void => { resolve({ call, sentAt, took: performance.now() - sentAt, ...answer }) }
    const sent = request({ agent, host: '127.0.0.1', port, method, path, headers: { ...headers, ...content }, timeout: patience })
    const failed = (error: NodeJS.ErrnoException): void => {
      if (sent.reusedSocket && error.code === 'ECONNRESET') resolve(null)
      else done({ status: 0, headers: {}, text: error.message })
    }
    sent.once('response', response => {
      let text = ''
      response.on('data', (chunk: Buffer) => { text += String(chunk) })
      response.once('end', () => { done({ status: response.statusCode ?? 0, headers: response.headers, text }) })
      response.once('error', failed)
    })
    sent.once('timeout', () => { sent.destroy(new Error(`no answer within ${patience} ms`)) })
    sent.once('error', failed)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

export interface Traffic {
  readonly answers: readonly Answer[]
  /** Ends the sending, waits for every answer, and says how many requests a second were sent. */
  end (): Promise<number>
}

/**
 * Sends so many requests a second, whatever becomes of those before: a server that is slow is asked no less. What could not be sent in time, because this process was
 * kept from it, is left out rather than sent in one heap, and so the rate says it.
 */
export function traffic (rate: number, next: (n: number) => Call, seen: (answer: Answer) => void = () => {}): Traffic {
  const answers: Answer[] = []
  const pending = new Set<Promise<void>>()
  const began = performance.now()
  let [due, sent] = [0, 0]
  const tick = (): void => {
    const now = Math.floor((performance.now() - began) * rate / 1_000)
    due = Math.max(due, now - rate / 10)
    for (; due < now; due++) {
      const one: Promise<void> = send(next(sent++)).then(answer => {
        answers.push(answer)
        seen(answer)
      }).finally(() => pending.delete(one))
      pending.add(one)
    }
  }
  const timer = setInterval(tick, 5)
  return {
    answers,
    async end () {
      clearInterval(timer)
      const actual = sent / (performance.now() - began) * 1_000
      await Promise.all(pending)
      return actual
    }
  }
}

/** An event stream that is held open. */
export interface Stream {
  /** When it ended, by `performance.now`; `null` while it is open. */
  readonly endedAt: () => number | null
  close (): void
}

/** Opens an event stream. Rejects when it does not open. */
export function stream ({ port, path, headers }: Pick<Call, 'port' | 'path' | 'headers'>): Promise<Stream> {
  return new Promise((resolve, reject) => {
    let endedAt: number | null = null
    const sent = request({ host: '127.0.0.1', port, path, headers }, response => {
      if (response.statusCode !== 200) reject(new Error(`a stream was answered with ${String(response.statusCode)}`))
      response.once('close', () => { endedAt = performance.now() })
      response.once('error', () => {})
      response.once('data', () => { resolve({ endedAt: () => endedAt, close: () => { sent.destroy() } }) })
      response.resume()
    })
    sent.once('error', reject)
    sent.end()
  })
}
