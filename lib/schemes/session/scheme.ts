import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../../types/outcome.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import type { LoginRequest, SessionCredential, SessionFeature } from '../../../types/sessions.js'
import type { StoreOwner } from '../../../types/store.js'
import { misconfigured } from '../../errors.js'
import { noteSecret } from '../../secrets/secret-uses.js'
import { shareHook } from '../../util/fastify.js'
import { getOrCreate } from '../../util/objects.js'
import { report } from '../../util/reports.js'
import { onSendHook } from '../../util/response.js'
import { createSeals, deriveKeys } from './cookie.js'
import { LoginRedirect, openLoginRequest } from './login-redirect.js'
import { SessionManager } from './manager.js'
import { parseSessionOptions, type SessionOptions, type SessionSettings } from './options.js'
import { localSessionsOf } from './revocations.js'
import type { Liveness } from './session.js'
import { StoredSessions } from './stored-sessions.js'

export type { SessionCredential, SessionOptions }

/**
 * Creates a scheme for people in browsers, with the session in an encrypted cookie. Without a store, this process only
 * remembers which sessions were ended early. With one, a session is alive while the store has a record of it, so that
 * people can list and end their sessions on all instances.
 *
 * `P` is the type of the principal of `reply.login`, `D` that of the data in the session.
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
export function session<P extends PrincipalInput = PrincipalInput, D extends object = Record<string, unknown>> (
  options: SessionOptions<P>
): SchemeFactory<PrincipalFrom<P>, SessionCredential<D>> {
  return async (app, name, context) => {
    const settings = parseSessionOptions(options, name)
    const created = await createSession(
      app, name, { settings, liveness: createLiveness(app, name, { settings, context }) }
    )
    // the types hold because only reply.login and credential.update() can write the cookie
    return { ...created, scheme: created.scheme as Scheme<PrincipalFrom<P>, SessionCredential<D>> }
  }
}

interface SessionContext {
  readonly settings: SessionSettings
  readonly context: SchemeContext
}

function createLiveness (
  app: FastifyInstance, scheme: string, { settings, context: { shared, store } }: SessionContext
): Liveness {
  if (!shared) return localSessionsOf(app, scheme, settings)
  return new StoredSessions({ scheme, store, expiry: settings.expiry, log: app.log })
}

interface SessionParts {
  readonly settings: SessionSettings
  readonly liveness: Liveness
}

/** Creates the scheme, and `app.gatehouse.sessions` for it. */
async function createSession (app: FastifyInstance, name: string, { settings, liveness }: SessionParts) {
  const { loginPath } = settings
  claimCookieName(app, settings.cookieName, name)
  if (!settings.secure) report(app, 'insecure-cookies', `schemes.${name}.secure`)
  for (const secret of settings.secrets) {
    // the keys of all session schemes are derived from their secrets with the name of the scheme
    noteSecret(app, { purpose: 'sessions', path: `schemes.${name}.secret` }, secret)
  }
  const keysFor = (purpose: string) => deriveKeys(settings.secrets, purpose, name)
  const [cookieSeal, returnPathSeal] = await createSeals(app, name, [
    { name: `gatehouse session ${name}`, keys: keysFor('session cookie') },
    { name: `gatehouse return path ${name}`, keys: keysFor('return path') }
  ])
  const manager = new SessionManager(name, settings, { seal: cookieSeal, liveness })
  const redirect = loginPath === null
    ? null
    : new LoginRedirect(loginPath, { scheme: name, cookie: manager.cookie, seal: returnPathSeal })
  app.addHook('onSend', shareHook(onSendHook((request, reply) => manager.finish(request, reply))))
  app.addHook('onClose', async () => { liveness.close() })
  const loginRequestOf = (request: FastifyRequest): LoginRequest => openLoginRequest(returnPathSeal, request)
  const sessions: SessionFeature = Object.freeze({
    ...loginCalls(manager, redirect),
    of: (owner: StoreOwner) => liveness.of(owner),
    ofAnyOwner: () => liveness.ofAnyOwner(),
    returnTo: (request: FastifyRequest, fallback: string) => loginRequestOf(request).path ?? fallback,
    loginRequestOf,
    deriveKeys: keysFor,
    ...loginPath === null ? {} : { loginPath }
  })
  return { scheme: schemeOf(settings, manager, redirect), features: { sessions } }
}

function schemeOf (
  { cookieName, decorate, load }: SessionSettings, manager: SessionManager, redirect: LoginRedirect | null
): Scheme {
  return Object.freeze({
    authenticate: (request: FastifyRequest) => manager.authenticate(request),
    refuse: (request: FastifyRequest, reply: FastifyReply, failure: AuthFailure) =>
      redirect?.refuse(request, reply, failure) ?? false,
    openapi: Object.freeze({ type: 'apiKey', in: 'cookie', name: cookieName } as const),
    ambient: true,
    reportsAuthTime: true,
    cacheControl: 'private',
    decorate,
    ...load === null ? {} : { load }
  })
}

/** Returns the calls that begin and end the session of a request. */
function loginCalls (manager: SessionManager, redirect: LoginRedirect | null) {
  return {
    login: (request, reply, principal, options) => manager.login(request, reply, { principal, options }),
    logout: (request, reply) => manager.logout(request, reply),
    redirectToLogin: (request, reply, login) => redirect?.redirect(request, reply, login) ?? false,
    cookie: manager.cookie,
    noteProvider: (request, provider) => { manager.noteProvider(request, provider) },
    providerOf: request => manager.providerOf(request)
  } satisfies Partial<SessionFeature>
}

/** Schemes by cookie name: two schemes with the same cookie name would refuse each other's cookies as forged. */
const claimedNames = new WeakMap<FastifyInstance, Map<string, string>>()

function claimCookieName (app: FastifyInstance, cookieName: string, scheme: string): void {
  const claimed = getOrCreate(claimedNames, app, () => new Map<string, string>())
  const owner = claimed.get(cookieName)
  if (owner !== undefined) {
    throw misconfigured(`The option schemes.${scheme}.cookieName makes the cookie name ${cookieName}, and so does ` +
      `the one of schemes.${owner}. Give one of them another cookieName.`)
  }
  claimed.set(cookieName, scheme)
}
