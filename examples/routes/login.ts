import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AuthError } from 'fastify-gatehouse'
import { demoPeople } from '../data/demo.js'
import { loginPage } from '../views/pages.js'
import { sendPage, type PagesOptions } from './html.js'

const short = Type.String({ maxLength: 200 })
const credentials = Type.Object({ username: short, password: short, keep: Type.Boolean({ default: false }) })

export const login: FastifyPluginAsyncTypebox<PagesOptions> = async (app, { people, config }) => {
  // Never to the local network, and never in production.
  const isLocal = ['localhost', '127.0.0.1', '::1'].includes(config.HOST)
  const demo = config.production || !isLocal ? null : { people: demoPeople, password: config.PEOPLE_PASSWORD }

  app.get('/login', { config: { auth: { public: 'login' } }, schema: { hide: true } }, async (_request, reply) => {
    return sendPage(reply, loginPage({ username: '', keep: false, error: null, demo }))
  })

  app.post('/login', {
    config: { auth: { public: 'login' } },
    schema: { hide: true, body: credentials }
  }, async (request, reply) => {
    const { username, password, keep } = request.body
    const again = (status: number, error: string) => {
      return sendPage(reply.code(status), loginPage({ username, keep, error, demo }))
    }
    try {
      // After five wrong guesses for an account, or thirty from an address, this throws 429. A browser that the person
      // has used before has a count of its own.
      const person = await app.gatehouse.guesses.attempt(reply, username, () => people.verify(username, password))
      if (person === null) return again(401, 'Wrong name or password.')
      await reply.login(person, { keep })
      return reply.redirect(app.gatehouse.sessions.returnTo(request, '/desk'), 303)
    } catch (error) {
      if (!(error instanceof AuthError) || error.code !== 'AUTH_RATE_LIMITED') throw error
      return again(429, `Too many wrong guesses. Try again in ${inWords(Number(reply.getHeader('retry-after')))}.`)
    }
  })

  app.post('/logout', { config: { auth: { public: 'logout' } }, schema: { hide: true } }, async (_request, reply) => {
    await reply.logout()
    return reply.redirect('/', 303)
  })
}

/** Formats a number of seconds for people: `1 second`, `40 seconds`, `3 minutes`. */
function inWords (seconds: number): string {
  const [count, unit] = seconds < 90 ? [seconds, 'second'] : [Math.ceil(seconds / 60), 'minute']
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
