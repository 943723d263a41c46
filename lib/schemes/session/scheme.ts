import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../../types/error.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { LoginOptions, Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import type { StoreOwner } from '../../../types/store.js'
import { misconfigured } from '../../errors.js'
import { onSendHook } from '../../util/response.js'
import type { SessionCredential } from './credential.js'
import type { Registry } from './liveness.js'
import { localRegistryOf } from './local-sessions.js'
import { LoginPage, openReturnPath } from './login-redirect.js'
import { SessionKeeper } from './manager.js'
import { sessionSettings, type SessionOptions, type SessionSettings } from './options.js'
import { makeSeals } from './seal.js'
import { SharedRegistry } from './stored-sessions.js'

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
    const scheme = await makeSession(app, name, settings, registryFor(app, name, settings, context))
    // what the cookie holds is what login was given: nobody else can seal one
    return scheme as Scheme<PrincipalFrom<P>, SessionCredential<D>>
  }
}

function registryFor (app: FastifyInstance, scheme: string, settings: SessionSettings, context: SchemeContext | undefined): Registry {
  return context?.shared === true ? new SharedRegistry({ scheme, store: context.store, times: settings.times, log: app.log }) : localRegistryOf(app, scheme, settings)
}

/** The scheme over a given registry. */
export async function makeSession (app: FastifyInstance, name: string, settings: SessionSettings, registry: Registry): Promise<Scheme> {
  claimCookieName(app, settings.cookieName, name)
  if (!settings.secure) app.log.warn(`schemes.${name}: session cookies are sent without Secure and __Host-, as secure is false: for development over plain HTTP only`)
  const seals = await makeSeals(app, name, settings.secrets)
  const keeper = new SessionKeeper(name, settings, seals.cookie, registry)
  const loginPage = settings.loginPath === null ? null : new LoginPage(name, settings.loginPath, keeper.cookie, seals.returnPath)
  app.addHook('onSend', onSendHook((request, reply) => keeper.finish(request, reply)))
  app.addHook('onClose', async () => { registry.close() })
  return Object.freeze({
    authenticate: (request: FastifyRequest) => keeper.authenticate(request),
    refuse: (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure) => loginPage?.refuse(request, reply, failure) ?? false,
    login: (request: FastifyRequest, reply: FastifyReply, principal: PrincipalInput, options: LoginOptions) => keeper.login(request, reply, principal, options),
    logout: (request: FastifyRequest, reply: FastifyReply) => keeper.logout(request, reply),
    returnTo: (request: FastifyRequest, fallback: string) => openReturnPath(seals.returnPath, request, fallback),
    sessions: Object.freeze({
      list: (owner: StoreOwner) => registry.list(owner),
      revoke: (id: string, owner?: StoreOwner) => registry.revoke(id, owner),
      revokeAll: (owner: StoreOwner, options?: { readonly except?: string }) => registry.revokeAll(owner, options)
    }),
    openapi: Object.freeze({ type: 'apiKey', in: 'cookie', name: settings.cookieName } as const),
    ambient: true,
    dated: true,
    cacheControl: 'private',
    ...(settings.loginPath === null ? {} : { publicPath: settings.loginPath }),
    ...(settings.load === null ? {} : { load: settings.load })
  })
}

/** Two schemes that shared a cookie would each take the other's for a forgery. */
const claimed = new WeakMap<FastifyInstance, Map<string, string>>()

function claimCookieName (app: FastifyInstance, cookieName: string, scheme: string): void {
  const owners = claimed.get(app) ?? new Map<string, string>()
  const owner = owners.get(cookieName)
  if (owner !== undefined) throw misconfigured(`schemes.${scheme}: session has the cookie name ${cookieName}, and so has schemes.${owner}; give one of them another cookieName.`)
  claimed.set(app, owners.set(cookieName, scheme))
}
