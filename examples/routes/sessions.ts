import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { RequestAuth } from 'fastify-gatehouse'
import { sessionsPage } from '../views/sessions.js'
import { events } from './events.js'
import { sendPage, type PagesOptions } from './html.js'

const sessionId = Type.Object({ id: Type.String({ maxLength: 60 }) })

/** Shows people their sessions, and lets them end these. */
export const sessions: FastifyPluginAsyncTypebox<PagesOptions> = async app => {
  app.gatehouse.default('web')
  const { sessions } = app.gatehouse

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth, principal }, reply) => {
    const mine = await sessions.of(principal).list()
    return sendPage(reply, sessionsPage({ visitor: principal, sessions: mine, current: currentOf(auth) }))
  })

  // Only this person's sessions: the id of another person's session ends nothing.
  app.post('/:id/end', {
    config: { auth: 'web' },
    schema: { hide: true, params: sessionId }
  }, async (request, reply) => {
    const ended = await sessions.of(request.principal).revoke(request.params.id)
    return ended ? reply.redirect('/sessions', 303) : reply.callNotFound()
  })

  app.post('/end-others', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth, principal }, reply) => {
    await sessions.of(principal).revokeAll({ except: currentOf(auth) })
    return reply.redirect('/sessions', 303)
  })

  await app.register(events)
}

/** Returns the id of the session that sent the request. */
function currentOf (auth: RequestAuth): string {
  return auth.scheme === 'web' ? auth.credential.id : ''
}
