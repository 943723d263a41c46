import { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'
import { AuthError, isError } from '../errors.js'
import { GivenObject } from './objects.js'

/**
 * Returns an `onSend` hook that calls `prepare` for each response, after the pending work of the request (see
 * {@link waitFor}) has finished. `prepare` returns a promise only if the response has to wait for it. Without it, the
 * response waits for the pending work alone.
 */
export function onSendHook (
  prepare: (request: FastifyRequest, reply: FastifyReply) => void | Promise<void> = () => {}
): onSendHookHandler {
  const held = new WeakSet<FastifyReply>()
  return (request, reply, payload, done) => {
    // This is a second response to a request whose first one is waiting here; it is never sent.
    if (held.has(reply)) return
    const before = WorkField.get(reply)?.settle()
    const work = before === undefined ? prepare(request, reply) : before.then(() => prepare(request, reply))
    if (work === undefined) {
      WorkField.get(reply)?.carry()
      done()
      return
    }
    held.add(reply)
    return holdResponse(reply, payload, work).finally(() => {
      held.delete(reply)
      WorkField.get(reply)?.carry()
    })
  }
}

/** A promise that records if anyone waits for it. */
class ObservedPromise extends Promise<void> {
  isObserved = false

  /** Makes derived promises ordinary ones. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  override then<T, E> (...callbacks: Parameters<typeof Promise.prototype.then<T, E>>): Promise<T | E> {
    this.isObserved = true
    return super.then(...callbacks)
  }
}

/** The work of one request that its response waits for. */
class ResponseWork {
  readonly #reply: FastifyReply
  readonly #pending = new Map<ObservedPromise, Promise<void>>()
  /** The call whose cookie has not been sent with a response yet. */
  #owed: string | null = null
  #isWatched = false

  constructor (reply: FastifyReply) {
    this.#reply = reply
  }

  add (work: Promise<void>): Promise<void> {
    const observed = new ObservedPromise(resolve => { resolve(work) })
    this.#pending.set(observed, work)
    // If nobody waits for a failed promise, the response fails with it; it must not end the process.
    work.then(() => { this.#pending.delete(observed) }, () => {})
    void Promise.prototype.then.call(observed, undefined, () => {})
    return observed
  }

  settle (): Promise<void> | undefined {
    return this.#pending.size === 0 ? undefined : this.#settleAll()
  }

  /** Waits for all work, and rejects with the first failure that nobody waited for. */
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
    // If the client left before anything was sent, there is nothing to report.
    reply.raw.once('close', () => { if (this.#owed !== null && isTaken(reply)) this.#lose(this.#owed) })
  }

  carry (): void {
    this.#owed = null
  }

  #lose (call: string): void {
    this.#reply.request.log.error(
      `fastify-gatehouse: the response left without the session cookie of ${call}: it was sent by reply.hijack() or ` +
      'reply.raw, or before the call. Await the call, and send the response with reply.send() or by returning it'
    )
  }
}

/** Returns true if the response is sent without Fastify, or has already been sent. */
function isTaken (reply: FastifyReply): boolean {
  return reply.sent || reply.raw.headersSent
}

/** Keeps the work in a private field of the reply. */
class WorkField extends GivenObject {
  #work: ResponseWork | undefined

  static get (reply: object): ResponseWork | undefined {
    return #work in reply ? reply.#work : undefined
  }

  static add (reply: FastifyReply): ResponseWork {
    const work = new ResponseWork(reply)
    new WorkField(reply).#work = work
    return work
  }
}

function workOf (reply: FastifyReply): ResponseWork {
  return WorkField.get(reply) ?? WorkField.add(reply)
}

/**
 * Makes the response wait for `work`. Returns a promise that rejects if the work fails; if nobody waits for that
 * promise, the response fails instead.
 */
export function waitFor (reply: FastifyReply, work: Promise<void>): Promise<void> {
  return workOf(reply).add(work)
}

/** Logs an error if the response is sent without Fastify, and so without the cookie that `call` has set. */
export function oweCookie (reply: FastifyReply, call: string): void {
  workOf(reply).owe(call)
}

/**
 * Calls `instead` in place of `reply.send`, until the returned function is called. `reply.sent` becomes true only after
 * every `preSerialization` and `onSend` hook; until then a second `send` starts a second response, and this is the only
 * public way to notice it. Only this reply is changed.
 */
function interceptSend (reply: FastifyReply, instead: (payload: unknown) => void): () => void {
  const before = Object.getOwnPropertyDescriptor(reply, 'send')
  const value = (payload: unknown): FastifyReply => {
    instead(payload)
    return reply
  }
  Object.defineProperty(reply, 'send', { configurable: true, writable: true, value })
  let isActive = true
  return () => {
    // a later call must not remove what was put in its place since
    if (!isActive) return
    isActive = false
    if (before === undefined) Reflect.deleteProperty(reply, 'send')
    else Object.defineProperty(reply, 'send', before)
  }
}

/** Detects if a function of the application has sent the response. */
export interface SendWatch {
  isSent (): boolean
  /** Ends the watch. Later calls of `reply.send` are not noticed. */
  stop (): void
}

/** Watches a reply until `reply.send` is called for the first time, which then runs as usual. */
export function watchSend (reply: FastifyReply): SendWatch {
  let sent = false
  const stop = interceptSend(reply, payload => {
    sent = true
    stop()
    reply.send(payload)
  })
  return { isSent: () => sent || reply.sent, stop }
}

/** Milliseconds within which a response must begin that a function of the application sends by itself. */
const maxDelayMs = 10_000

/**
 * Calls `late` if a function of the application has to send the response, and does not begin in time.
 * @param watch began before the function was called.
 * @returns a function that cancels this.
 */
export function expectSend (reply: FastifyReply, watch: SendWatch, late: () => void): () => void {
  const timer = setTimeout(() => {
    watch.stop()
    if (!watch.isSent() && !reply.raw.headersSent) late()
  }, maxDelayMs).unref()
  const cancel = (): void => { clearTimeout(timer) }
  reply.raw.once('close', cancel)
  return cancel
}

/**
 * Holds back a response in an `onSend` hook until `work` is done. The hook returns the promise instead of calling
 * `done`, because only then Fastify handles errors of the later steps. Meanwhile, a second response is ignored and
 * logged, and changes of the status are undone, as if the response had been sent at once. A stream that fails meanwhile
 * is handled like one that fails later, because Fastify starts to read it only when the response is sent.
 */
async function holdResponse (reply: FastifyReply, payload: unknown, work: Promise<void>): Promise<void> {
  const { statusCode, request } = reply
  // Without a listener, an error event would end the process.
  if (payload instanceof EventEmitter) payload.on('error', () => {})
  const release = interceptSend(reply, payload => {
    // An async handler that has sent its response returns undefined.
    if (payload === undefined) return
    const err = isError(payload) ? payload : undefined
    request.log[err === undefined ? 'warn' : 'error'](
      { err },
      'fastify-gatehouse: a second response was ignored, as the first was already on its way. ' +
        'Send once, and return the reply from async functions that send'
    )
  })
  try {
    await work
    reply.code(statusCode)
  } catch (error) {
    // Otherwise Fastify would keep a status that the handler has set, such as that of a redirect.
    reply.code(error instanceof AuthError ? error.statusCode : 500)
    throw error
  } finally {
    release()
  }
}
