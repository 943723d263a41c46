import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { staff } from '../data/demo.js'
import { loginPage } from '../views/pages.js'
import { sendPage, type PagesOptions } from './html.js'

const credentials = Type.Object({ username: Type.String({ maxLength: 200 }), password: Type.String({ maxLength: 200 }), keep: Type.Boolean({ default: false }) })

export const login: FastifyPluginAsyncTypebox<PagesOptions> = async (app, { people, config }) => {
  const demo = config.production ? null : { people: staff, password: config.PEOPLE_PASSWORD }

  app.get('/login', { config: { auth: { public: 'the way in' } }, schema: { hide: true } }, async (_request, reply) => {
    return sendPage(reply, loginPage({ username: '', error: null, demo }))
  })

  app.post('/login', {
    config: { auth: { public: 'the way in' } },
    schema: { hide: true, body: credentials }
  }, async (request, reply) => {
    const { username, password } = request.body
    // Five wrong guesses, then 429: for an account and for an address. A browser that the person used before counts by itself.
    const person = await app.gatehouse.guesses.attempt(reply, username, () => people.verify(username, password))
    if (person === null) return sendPage(reply.code(401), loginPage({ username, error: 'Wrong name or password.', demo }))
    await reply.login(person, { keep: request.body.keep })
    return reply.redirect(app.gatehouse.sessions.returnTo(request, '/desk'), 303)
  })

  app.post('/logout', { config: { auth: { public: 'the way out' } }, schema: { hide: true } }, async (_request, reply) => {
    await reply.logout()
    return reply.redirect('/', 303)
  })
}
