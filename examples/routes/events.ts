import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

/** Pages of one session that are told. One more, and the oldest is not any more: its browser connects again. */
const most = 20

/** Ends a stream: with what it says last, if anything. */
type End = (last?: string) => void

/** The streams that are open, each until whoever reads it has gone: an abandoned one would rest in memory as long as its session lasts. */
class Streams {
  readonly #open = new Map<string, Set<End>>()

  /** A stream of a session, which ends with it. */
  add (session: string, signal: AbortSignal): Readable {
    const stream = new Readable({ read () {} })
    const mine = this.#open.get(session) ?? new Set<End>()
    const end: End = (last = '') => {
      leave()
      stream.push(last)
      stream.push(null)
    }
    const over = (): void => { end('event: end\ndata: the session is over\n\n') }
    const leave = (): void => {
      signal.removeEventListener('abort', over)
      mine.delete(end)
      if (mine.size === 0 && this.#open.get(session) === mine) this.#open.delete(session)
    }
    this.#open.set(session, mine.add(end))
    stream.once('close', leave)
    stream.push(': logged in\n\n')
    if (mine.size > most) [...mine][0]?.()
    if (signal.aborted) over()
    else signal.addEventListener('abort', over)
    return stream
  }

  /** When the server ends, they just end, and the browsers connect again. */
  end (): void {
    for (const end of [...this.#open.values()].flatMap(ends => [...ends])) end()
  }
}

/** Tells open pages at once that their session is over. */
export const events: FastifyPluginAsyncTypebox = async app => {
  const streams = new Streams()
  // Closing the application would wait for them.
  app.addHook('preClose', async () => { streams.end() })

  // The stream outlives its request, so it watches the session.
  app.get('/events', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth }, reply) => {
    if (auth.scheme !== 'web' || auth.signal === null) return reply.challenge()
    return reply.type('text/event-stream').header('cache-control', 'no-store').send(streams.add(auth.credential.id, auth.signal))
  })
}
