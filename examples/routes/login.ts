import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { AuthError } from 'fastify-gatehouse'
import { oidcLogin, type OidcLoginOptions } from 'fastify-gatehouse/oidc'
import type { Config } from '../config.js'
import { demoPeople } from '../data/demo.js'
import type { People } from '../people.js'
import { loginPage } from '../views/pages.js'
import { sendPage, type PagesOptions } from './html.js'

const short = Type.String({ maxLength: 200 })
const credentials = Type.Object({ username: short, password: short, keep: Type.Boolean({ default: false }) })

export const login: FastifyPluginAsyncTypebox<PagesOptions> = async (app, { people, config }) => {
  // Never to the local network, and never in production.
  const isLocal = ['localhost', '127.0.0.1', '::1'].includes(config.HOST)
  const demo = config.production || !isLocal ? null : { people: demoPeople, password: config.PEOPLE_PASSWORD }

  /** Leads from the provider back to where the login page leads back to. */
  const providerFor = ({ url }: FastifyRequest) => config.LOGIN_ISSUER === ''
    ? null
    : {
        host: new URL(config.LOGIN_ISSUER).host, href: url.replace(/^\/login/, providerPath)
      }

  app.get('/login', { config: { auth: { public: 'login' } }, schema: { hide: true } }, async (request, reply) => {
    return sendPage(reply, loginPage({
      username: '', keep: false, error: null, provider: providerFor(request), demo
    }))
  })

  app.post('/login', {
    config: { auth: { public: 'login' } },
    schema: { hide: true, body: credentials }
  }, async (request, reply) => {
    const { username, password, keep } = request.body
    const again = (status: number, error: string) => {
      return sendPage(reply.code(status), loginPage({
        username, keep, error, provider: providerFor(request), demo
      }))
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

  if (config.LOGIN_ISSUER !== '') {
    await app.register(oidcLogin, providerOptions(config, people))
    return
  }
  app.post('/logout', { config: { auth: { public: 'logout' } }, schema: { hide: true } }, async (_request, reply) => {
    await reply.logout()
    return reply.redirect('/', 303)
  })
}

/** The path at which a login at the provider begins. */
const providerPath = '/login/provider'

/** Returns the login at the provider of LOGIN_ISSUER, whose POST /logout ends all sessions. */
function providerOptions (config: Config, people: People): OidcLoginOptions {
  const { PUBLIC_URL, LOGIN_ISSUER, LOGIN_CLIENT_ID, LOGIN_CLIENT_SECRET } = config
  return {
    redirectUri: `${PUBLIC_URL}${providerPath}/callback`,
    issuer: LOGIN_ISSUER,
    clientId: LOGIN_CLIENT_ID,
    ...LOGIN_CLIENT_SECRET === '' ? {} : { clientSecret: LOGIN_CLIENT_SECRET },
    session: 'web',
    fallback: '/desk',
    // This provider is the operator's own, and its subjects are the ids of our people.
    person: async ({ claims }) => await people.find(claims.sub),
    logout: true
  }
}

/** Formats a number of seconds for people: `1 second`, `40 seconds`, `3 minutes`. */
function inWords (seconds: number): string {
  const [count, unit] = seconds < 90 ? [seconds, 'second'] : [Math.ceil(seconds / 60), 'minute']
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
