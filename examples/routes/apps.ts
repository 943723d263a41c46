import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { appsPage } from '../views/apps.js'
import { sendPage, type PagesOptions } from './html.js'

const client = Type.Object({ client: Type.String({ maxLength: 60 }) })
const grant = Type.Object({ id: Type.String({ maxLength: 60 }) })

/** Shows people which applications and programs act for them, and lets them end that. */
export const apps: FastifyPluginAsyncTypebox<PagesOptions> = async app => {
  app.gatehouse.default('web')
  const { tokens, oauth } = app.gatehouse

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async ({ principal }, reply) => {
    const grants = await tokens.of(principal).list()
    const consents = await oauth.consents.of(principal).list()
    return sendPage(reply, appsPage({ visitor: principal, grants, consents }))
  })

  // Ends the tokens, and forgets the consent, so that the application has to ask again.
  app.post('/:client/disconnect', {
    config: { auth: 'web' },
    schema: { hide: true, params: client }
  }, async ({ principal, params }, reply) => {
    const mine = tokens.of(principal)
    await oauth.consents.of(principal).remove(params.client)
    const grants = (await mine.list()).filter(each => each.client === params.client)
    await Promise.all(grants.map(async ({ id }) => await mine.revoke(id)))
    return reply.redirect('/apps', 303)
  })

  // Only this person's tokens: the id of another person's grant ends nothing.
  app.post('/tokens/:id/end', {
    config: { auth: 'web' },
    schema: { hide: true, params: grant }
  }, async ({ principal, params }, reply) => {
    const ended = await tokens.of(principal).revoke(params.id)
    return ended ? reply.redirect('/apps', 303) : reply.callNotFound()
  })
}
