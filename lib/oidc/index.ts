import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { OidcLoginOptions } from '../../types/oidc.js'
import { redactRoutes } from '../guard/redact.js'
import { internalsOf, ownSessions, type OwnSessions } from '../plugin/internals.js'
import { createSeals } from '../schemes/session/cookie.js'
import { logOptions } from '../util/fastify.js'
import { sendFailure } from './errors.js'
import { beginLogin, endLogin, joinLogout, logOut, type LoginParts } from './login.js'
import { parseLoginOptions, type LoginSettings } from './options.js'
import { PendingLogins } from './pending-logins.js'
import { Provider } from './provider.js'

export type {
  OAuthLoginOptions, OidcClaims, OidcLogin, OidcLoginOptions, OidcTokens, OpenIdLoginOptions
} from '../../types/oidc.js'

/** Keeps the routes out of OpenAPI documents: they are for browsers. */
const schema = { hide: true } as object

/** Bytes of the body of a logout, which is not used. */
const maxBodyBytes = 16_384

const login: FastifyPluginAsync<OidcLoginOptions> = async (app, options) => {
  const settings = parseLoginOptions(options, app.prefix)
  const sessions = ownSessions(internalsOf(app, 'oidcLogin'), settings.session, 'The option oidcLogin.session')
  const provider = new Provider(settings.provider)
  app.addHook('onClose', async () => { provider.close() })
  const pendingLogins = await createPendingLogins(app, settings, sessions)
  const created = { settings, sessions, provider, pendingLogins }
  const log = logOptions(options)
  await app.register(async context => { addLogin(context, created) }, log)
  const { logout } = settings
  const logins = logout === null ? null : joinLogout(app, logout, created)
  if (logout === null || logins === null) return
  await app.register(async context => {
    acceptAnyBody(context)
    const config = { auth: { public: 'ends the session that the request carries, if there is one' } }
    context.post(logout.path.slice(app.prefix.length), { config, schema },
      async (request, reply) => await logOut(logins, request, reply))
  }, log)
}

/**
 * Adds a login with a provider of OpenID Connect, or of OAuth 2.0 alone. The login begins a session. Register it once
 * for each provider.
 *
 * @example
 * await app.register(oidcLogin, {
 *   redirectUri: 'https://app.example.com/login/google/callback',
 *   issuer: 'https://accounts.google.com',
 *   clientId: process.env.GOOGLE_CLIENT_ID,
 *   clientSecret: process.env.GOOGLE_CLIENT_SECRET,
 *   session: 'web',
 *   person: async ({ claims }) => people.bySubject(claims.iss, claims.sub)
 * })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, naming the option and the fix.
 */
export const oidcLogin = fp(
  login, { fastify: '5.x', name: 'fastify-gatehouse-oidc', dependencies: ['fastify-gatehouse'] }
)

/** Creates the pending logins of a provider, with keys of its own, so that those of another provider do not count. */
async function createPendingLogins (
  app: FastifyInstance, { path, session, provider }: LoginSettings, { deriveKeys, cookie }: OwnSessions
): Promise<PendingLogins> {
  const { redirectUri, server, clientId } = provider
  const keys = deriveKeys(`login at ${JSON.stringify([redirectUri, server.href, clientId])}`)
  const [seal] = await createSeals(app, session, [{ name: `gatehouse login ${path}`, keys }])
  return new PendingLogins({ seal, path, cookie })
}

/** Adds the routes that begin and end a login. */
function addLogin (context: FastifyInstance, created: LoginParts): void {
  const { settings: { path, callbackPath, session, provider: { server: { host } } } } = created
  // The code and the state are secrets until the login has ended.
  redactRoutes(context, new Set(['code', 'state']))
  context.setErrorHandler((error, _request, reply) => sendFailure(reply, error, { session, path }))
  const add = (url: string, reason: string, handle: typeof beginLogin): void => {
    // A HEAD request must neither begin nor end a login.
    const options = { config: { auth: { public: reason } }, schema, exposeHeadRoute: false }
    const path = url.slice(context.prefix.length)
    context.get(path, options, async (request, reply) => await handle(created, request, reply))
  }
  add(path, `begins a login at ${host}`, beginLogin)
  add(callbackPath, `ends a login at ${host} that began in the same browser`, endLogin)
}

/** Accepts any body of a logout, which no one reads. */
function acceptAnyBody (context: FastifyInstance): void {
  context.removeAllContentTypeParsers()
  context.addContentTypeParser('*', { parseAs: 'string', bodyLimit: maxBodyBytes }, (_request, _body, done) => {
    done(null)
  })
}
