import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../../types/error.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import type { LoginOptions, SessionFeature } from '../../../types/sessions.js'
import type { StoreOwner } from '../../../types/store.js'
import { misconfigured } from '../../errors.js'
import { onSendHook } from '../../util/response.js'
import type { SessionCredential } from './credential.js'
import type { Liveness } from './liveness.js'
import { localSessionsOf } from './local-sessions.js'
import { LoginRedirect, openReturnPath } from './login-redirect.js'
import { SessionManager } from './manager.js'
import { sessionSettings, type SessionOptions, type SessionSettings } from './options.js'
import { makeSeals } from './seal.js'
import { StoredSessions } from './stored-sessions.js'

export type { SessionCredential, SessionOptions }

/**
 * Sessions for people in browsers, in a sealed cookie. Without a store nothing is kept on the server but the sessions that were ended early; with one, a session is alive
 * while the store knows of it, so that people see theirs and end them, everywhere.
 *
 * `P` is what `reply.login` is given, `D` what the application keeps in the session.
 *
 * @example
 * const web = session<{ id: string, name: string }>({ secret: process.env.SESSION_SECRET, loginPath: '/login' })
 *
 * app.post('/login', { config: { auth: { public: 'logs people in' } } }, async (request, reply) => {
 *   const user = await users.check(request.body)
 *   if (user === null) return reply.code(401).send('Wrong name or password')
 *   await reply.login({ id: user.id, name: user.name, roles: user.roles })
 *   return reply.redirect(app.gatehouse.sessions.returnTo(request, '/'), 303)
 * })
 */
export function session<P extends PrincipalInput = PrincipalInput, D extends object = Record<string, unknown>> (options: SessionOptions<P>): SchemeFactory<PrincipalFrom<P>, SessionCredential<D>> {
  return async (app, name, context) => {
    const settings = sessionSettings(options, name)
    const made = await makeSession(app, name, { settings, liveness: livenessOf(app, name, { settings, context }) })
    // the cookie holds what login was given: nobody else can seal one
    return { ...made, scheme: made.scheme as Scheme<PrincipalFrom<P>, SessionCredential<D>> }
  }
}

interface SessionContext {
  readonly settings: SessionSettings
  readonly context: SchemeContext
}

function livenessOf (app: FastifyInstance, scheme: string, { settings, context: { shared, store } }: SessionContext): Liveness {
  if (!shared) return localSessionsOf(app, scheme, settings)
  return new StoredSessions({ scheme, store, times: settings.times, log: app.log })
}

interface SessionParts {
  readonly settings: SessionSettings
  readonly liveness: Liveness
}

/** Makes the scheme, and what it offers to applications. */
export async function makeSession (app: FastifyInstance, name: string, { settings, liveness }: SessionParts) {
  const { loginPath, load, decorate } = settings
  claimCookieName(app, settings.cookieName, name)
  if (!settings.secure) app.log.warn(`schemes.${name}: session cookies are sent without Secure and __Host-, as secure is false: for development over plain HTTP only`)
  const seals = await makeSeals(app, name, settings.secrets)
  const manager = new SessionManager(name, settings, { seal: seals.cookie, liveness })
  const loginPage = loginPath === null ? null : new LoginRedirect(loginPath, { scheme: name, cookie: manager.cookie, seal: seals.returnPath })
  app.addHook('onSend', onSendHook((request, reply) => manager.finish(request, reply)))
  app.addHook('onClose', async () => { liveness.close() })
  const scheme: Scheme = Object.freeze({
    authenticate: (request: FastifyRequest) => manager.authenticate(request),
    refuse: (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure) => loginPage?.refuse(request, reply, failure) ?? false,
    openapi: Object.freeze({ type: 'apiKey', in: 'cookie', name: settings.cookieName } as const),
    ambient: true,
    reportsAuthTime: true,
    cacheControl: 'private',
    decorate,
    ...load === null ? {} : { load }
  })
  const sessions: SessionFeature = Object.freeze({
    login: (request: FastifyRequest, reply: FastifyReply, principal: PrincipalInput, options: LoginOptions) => manager.login(request, reply, { principal, options }),
    logout: (request: FastifyRequest, reply: FastifyReply) => manager.logout(request, reply),
    of: (owner: StoreOwner) => liveness.of(owner),
    ofAnyOwner: () => liveness.ofAnyOwner(),
    returnTo: (request: FastifyRequest, fallback: string) => openReturnPath(seals.returnPath, request, fallback),
    ...loginPath === null ? {} : { loginPath }
  })
  return { scheme, features: { sessions } }
}

/** Two schemes that shared a cookie would each take the other's for a forgery. */
const claimed = new WeakMap<FastifyInstance, Map<string, string>>()

function claimCookieName (app: FastifyInstance, cookieName: string, scheme: string): void {
  const owners = claimed.get(app) ?? new Map<string, string>()
  const owner = owners.get(cookieName)
  if (owner !== undefined) throw misconfigured(`schemes.${scheme}: session has the cookie name ${cookieName}, and so has schemes.${owner}; give one of them another cookieName.`)
  claimed.set(app, owners.set(cookieName, scheme))
}
