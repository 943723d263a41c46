import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { RequestAuth } from 'fastify-gatehouse'
import { sessionsPage } from '../views/sessions.js'
import { events } from './events.js'
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

  await app.register(events)
}

/** The id of the session that asks. */
function currentOf (auth: RequestAuth): string {
  return auth.scheme === 'web' ? auth.credential.id : ''
}
