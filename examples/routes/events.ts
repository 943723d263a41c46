import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

/** The maximum number of streams per session. Another one ends the oldest, and the browser reconnects. */
const maxStreams = 20

/** Ends a stream, optionally with a last event. */
type End = (last?: string) => void

/** The open streams. A stream is removed when its reader disconnects, so that it does not stay in memory. */
class Streams {
  readonly #open = new Map<string, Set<End>>()

  /** Opens a stream for a session. It ends with the session. */
  add (session: string, signal: AbortSignal): Readable {
    const stream = new Readable({ read () {} })
    const mine = this.#open.get(session) ?? new Set<End>()
    const end: End = (last = '') => {
      leave()
      stream.push(last)
      stream.push(null)
    }
    const onSessionEnd = (): void => { end('event: end\ndata: the session has ended\n\n') }
    const leave = (): void => {
      signal.removeEventListener('abort', onSessionEnd)
      mine.delete(end)
      if (mine.size === 0 && this.#open.get(session) === mine) this.#open.delete(session)
    }
    this.#open.set(session, mine.add(end))
    stream.once('close', leave)
    stream.push(': logged in\n\n')
    if (mine.size > maxStreams) [...mine][0]?.()
    if (signal.aborted) onSessionEnd()
    else signal.addEventListener('abort', onSessionEnd)
    return stream
  }

  /** Ends all streams without an event. Browsers then reconnect. */
  end (): void {
    for (const end of [...this.#open.values()].flatMap(ends => [...ends])) end()
  }
}

/** Notifies open pages when their session ends. */
export const events: FastifyPluginAsyncTypebox = async app => {
  const streams = new Streams()
  // Otherwise app.close() would wait for open streams.
  app.addHook('preClose', async () => { streams.end() })

  // A stream outlives the check of its request, so it watches the signal of the session.
  app.get('/events', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth }, reply) => {
    if (auth.scheme !== 'web' || auth.signal === null) return reply.challenge()
    const stream = streams.add(auth.credential.id, auth.signal)
    return reply.type('text/event-stream').header('cache-control', 'no-store').send(stream)
  })
}
