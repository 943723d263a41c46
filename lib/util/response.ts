import { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'
import { AuthError } from '../errors.js'
import { privateSlot } from './private-slot.js'

/**
 * Returns an `onSend` hook that does some work for each response, most of which need none: `prepare` returns a promise
 * only where there is something to wait for. Before it, the work that the request left behind is waited for.
 */
export function onSendHook (
  prepare: (request: FastifyRequest, reply: FastifyReply) => void | Promise<void>
): onSendHookHandler {
  const held = new WeakSet<FastifyReply>()
  return (request, reply, payload, done) => {
    // another response to a request whose first one waits here: it goes nowhere
    if (held.has(reply)) return
    const before = works.get(reply)?.settle()
    const work = before === undefined ? prepare(request, reply) : before.then(() => prepare(request, reply))
    if (work === undefined) {
      works.get(reply)?.carry()
      done()
      return
    }
    held.add(reply)
    return holdResponse(reply, payload, work).finally(() => {
      held.delete(reply)
      works.get(reply)?.carry()
    })
  }
}

/** A promise that knows whether anybody waits for it. */
class ObservedPromise extends Promise<void> {
  isObserved = false

  /** What is derived from it is a usual promise. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  override then<T, E> (...callbacks: Parameters<typeof Promise.prototype.then<T, E>>): Promise<T | E> {
    this.isObserved = true
    return super.then(...callbacks)
  }
}

/** What a request does for its response beside its handler. */
class ResponseWork {
  readonly #reply: FastifyReply
  readonly #pending = new Map<ObservedPromise, Promise<void>>()
  /** The call whose cookie no response carried yet. */
  #owed: string | null = null
  #isWatched = false

  constructor (reply: FastifyReply) {
    this.#reply = reply
  }

  add (work: Promise<void>): Promise<void> {
    const observed = new ObservedPromise(resolve => { resolve(work) })
    this.#pending.set(observed, work)
    // a failure that nobody waits for is answered by the response, and must not end the process
    work.then(() => { this.#pending.delete(observed) }, () => {})
    void Promise.prototype.then.call(observed, undefined, () => {})
    return observed
  }

  settle (): Promise<void> | undefined {
    return this.#pending.size === 0 ? undefined : this.#settleAll()
  }

  /** Waits for all, and fails with what failed and nobody else was told. */
  async #settleAll (): Promise<void> {
    const all = [...this.#pending]
    this.#pending.clear()
    const settled = await Promise.allSettled(all.map(([, work]) => work))
    for (const [i, [observed]] of all.entries()) {
      const result = settled[i]
      if (result?.status === 'rejected' && !observed.isObserved) throw result.reason
    }
  }

  owe (call: string): void {
    const reply = this.#reply
    if (isTaken(reply)) {
      this.#lose(call)
      return
    }
    this.#owed = call
    if (this.#isWatched) return
    this.#isWatched = true
    // a client that left before anything was sent lost nothing by our fault
    reply.raw.once('close', () => { if (this.#owed !== null && isTaken(reply)) this.#lose(this.#owed) })
  }

  carry (): void {
    this.#owed = null
  }

  #lose (call: string): void {
    this.#reply.request.log.error(`fastify-gatehouse: the response left without the session cookie of ${call}: it was sent by reply.hijack() or reply.raw, or before the call. ` +
      'Await the call, and send the response with reply.send() or by returning it')
  }
}

/** Whether the response went out, or goes out, without Fastify. */
function isTaken (reply: FastifyReply): boolean {
  return reply.sent || reply.raw.headersSent
}

const works = privateSlot<FastifyReply, ResponseWork>()

function workOf (reply: FastifyReply): ResponseWork {
  const known = works.get(reply)
  if (known !== undefined) return known
  const work = new ResponseWork(reply)
  works.set(reply, work)
  return work
}

/**
 * Lets the response wait for `work`. Whoever is given the promise that this returns, and waits for it, is told of a
 * failure; if nobody does, the response fails with it.
 */
export function waitFor (reply: FastifyReply, work: Promise<void>): Promise<void> {
  return workOf(reply).add(work)
}

/**
 * Notes that the response must carry a cookie that `call` wrote. One that leaves by another way than Fastify's is an
 * error in the log.
 */
export function oweCookie (reply: FastifyReply, call: string): void {
  workOf(reply).owe(call)
}

const replies = privateSlot<FastifyRequest, FastifyReply>()

/** Notes the reply of a request, which Fastify does not tell. */
export function noteReply (request: FastifyRequest, reply: FastifyReply): void {
  if (replies.get(request) === undefined) replies.set(request, reply)
}

/** Returns the reply of a request that a guard has seen. */
export function replyOf (request: FastifyRequest): FastifyReply | undefined {
  return replies.get(request)
}

/**
 * Passes what is given to `reply.send` to `instead`, until the returned function is called. `reply.sent` turns true
 * only once every `preSerialization` and `onSend` hook is done: until then a second `send` begins a second response,
 * and this is the one public way to notice it. No other reply is touched.
 */
function interceptSend (reply: FastifyReply, instead: (payload: unknown) => void): () => void {
  const before = Object.getOwnPropertyDescriptor(reply, 'send')
  const value = (payload: unknown): FastifyReply => {
    instead(payload)
    return reply
  }
  Object.defineProperty(reply, 'send', { configurable: true, writable: true, value })
  return () => {
    if (before === undefined) Reflect.deleteProperty(reply, 'send')
    else Object.defineProperty(reply, 'send', before)
  }
}

/** Tells whether somebody else's function answered a request. */
interface SendWatch {
  isSent (): boolean
  /** Ends the watch: what is sent from now on is no longer noticed. */
  stop (): void
}

/** Watches a reply until it is sent for the first time, which it leaves as it is. */
export function watchSend (reply: FastifyReply): SendWatch {
  let sent = false
  const stop = interceptSend(reply, payload => {
    sent = true
    stop()
    reply.send(payload)
  })
  return { isSent: () => sent || reply.sent, stop }
}

/**
 * Holds a response back until `work` is done: for an `onSend` hook, which returns the promise and never calls `done`
 * within it, as Fastify handles what the rest of the response throws only then. What is sent meanwhile is ignored and
 * logged, and a status that is set counts for nothing, as if the response had left at once. A stream that fails
 * meanwhile is answered as one that fails later: Fastify looks at it only when the response leaves.
 */
async function holdResponse (reply: FastifyReply, payload: unknown, work: Promise<void>): Promise<void> {
  const { statusCode, request } = reply
  // without a listener the event would end the process
  if (payload instanceof EventEmitter) payload.on('error', () => {})
  const release = interceptSend(reply, payload => {
    // an async handler that has sent its response and returns nothing
    if (payload === undefined) return
    const err = payload instanceof Error ? payload : undefined
    request.log[err === undefined ? 'warn' : 'error']({ err }, 'fastify-gatehouse: a second response was ignored, as the first was already on its way. Send once, and return the reply from async functions that send')
  })
  try {
    await work
    reply.code(statusCode)
  } catch (error) {
    // Fastify keeps a status that the handler has set, such as that of a redirect
    reply.code(error instanceof AuthError ? error.statusCode : 500)
    throw error
  } finally {
    release()
  }
}
