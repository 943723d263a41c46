import { EventEmitter } from 'node:events'
import type { FastifyReply } from 'fastify'
import { AuthError } from './errors.js'

/**
 * Passes what is given to `reply.send` to `instead`, until the returned function is called. `reply.sent` turns true only once every `preSerialization` and `onSend` hook is done: until
 * then a second `send` begins a second response, and this is the one public way to notice it. No other reply is touched.
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
export interface SendWatch {
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
 * Holds a response back until `work` is done: for an `onSend` hook, which returns the promise and never calls `done` within it, as Fastify handles what the rest of the response throws only then. What is sent meanwhile is ignored and logged, and a status that is set counts for nothing, as if the
 * response had left at once. A stream that fails meanwhile is answered as one that fails later: Fastify looks at it only when the response leaves.
 */
export async function holdResponse (reply: FastifyReply, payload: unknown, work: Promise<void>): Promise<void> {
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
