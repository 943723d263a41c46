import { once } from 'node:events'
import { Readable } from 'node:stream'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { RequestAuth } from 'fastify-gatehouse'
import { sessionsPage } from '../views/sessions.js'
import { sendPage, type PagesOptions } from './html.js'

const sessionId = Type.Object({ id: Type.String({ maxLength: 60 }) })

/** Where everybody is logged in, and how to end that. */
export const sessions: FastifyPluginAsyncTypebox<PagesOptions> = async app => {
  app.gatehouse.default('web')
  const { sessions } = app.gatehouse

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth, principal }, reply) => {
    return sendPage(reply, sessionsPage({ visitor: principal, sessions: await sessions.list(principal), current: currentOf(auth) }))
  })

  // The owner goes along: an id of somebody else's session ends nothing.
  app.post('/:id/end', { config: { auth: 'web' }, schema: { hide: true, params: sessionId } }, async (request, reply) => {
    const ended = await sessions.revoke(request.params.id, request.principal)
    return ended ? reply.redirect('/sessions', 303) : reply.callNotFound()
  })

  app.post('/end-others', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth, principal }, reply) => {
    await sessions.revokeAll(principal, { except: currentOf(auth) })
    return reply.redirect('/sessions', 303)
  })

  // The stream outlives its request, so it watches the session: open pages learn at once that it is over. Closing the application would wait for it.
  const closing = new AbortController()
  app.addHook('preClose', async () => { closing.abort() })

  app.get('/events', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth }, reply) => {
    if (auth.signal === null) return reply.challenge()
    return reply.type('text/event-stream').header('cache-control', 'no-store').send(Readable.from(untilTheEnd(auth.signal, closing.signal)))
  })
}

/** The id of the session that asks. */
function currentOf (auth: RequestAuth): string {
  return auth.scheme === 'web' ? auth.credential.id : ''
}

/** Says when the session is over. When the server is, it just ends, and the browser connects again. */
async function * untilTheEnd (session: AbortSignal, closing: AbortSignal): AsyncGenerator<string> {
  yield ': logged in\n\n'
  if (!session.aborted) await once(session, 'abort', { signal: closing }).catch(() => {})
  if (session.aborted) yield 'event: end\ndata: the session is over\n\n'
}
