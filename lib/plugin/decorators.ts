import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gatehouse } from '../../types/gatehouse.js'
import type { AuthFailure } from '../../types/outcome.js'
import type { PrincipalInput } from '../../types/principal.js'
import { auditRows } from '../audit/rows.js'
import type { Doctor } from '../doctor/doctor.js'
import { AuthError, authFailure, internalError, misconfigured, refusal } from '../errors.js'
import { changesState } from '../guard/cross-site.js'
import { authenticateCredential, requestAuth, requestPrincipal } from '../guard/request-auth.js'
import { policyToMeet, stateOf } from '../guard/request-state.js'
import type { Responder } from '../guard/responder.js'
import { decorateOption } from '../kit/principal.js'
import type { GuessLimiter } from '../limits/guesses.js'
import { parseDeclaration } from '../policy/parse.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import { joinNames } from '../util/describe.js'
import { isObject, property } from '../util/objects.js'
import { oweCookie, waitFor } from '../util/response.js'
import {
  chooseProvider, chooseScheme, parseAttemptOptions, parseAuthenticateOptions, parseCheck, parseLoginOptions,
  parseReply, parseSchemeOption, providersOf
} from './call-options.js'
import { createApiKeyCalls, createOAuthCalls, createSessionCalls, createTokenCalls } from './feature-calls.js'
import { attachInternals, type Parts } from './internals.js'
import { clientRealms, type BoundSchemes } from './schemes.js'

/** Creates `app.gatehouse` of one context. */
export function createGatehouse (context: FastifyInstance, parts: Parts): Gatehouse {
  const { guard, schemes, defaults, policies, registry, guesses, internals } = parts
  const gatehouse = attachInternals({
    default (auth: unknown) {
      const prefix = context.prefix || '/'
      const path = `app.gatehouse.default() of the context with the prefix '${prefix}'`
      const declaration = parseDeclaration(auth, path, guard.permissions)
      defaults.set(context, { declaration, label: `group ${prefix}` })
      // Rejects a default that no route could use.
      policies.defaultOf(context, path)
    },
    guard (auth: unknown) {
      const policy = policies.resolve(context, auth, 'app.gatehouse.guard()')
      if (policy.access === 'public') {
        throw misconfigured('app.gatehouse.guard() has a public policy, which would guard nothing. Give it schemes ' +
          'or rules, or remove the hook.')
      }
      if (!policy.detached) defaults.noteUse(context)
      parts.guards.add(policy)
      return guard.hook(policy)
    },
    audit: () => auditRows(registry.routes, parts.stage),
    doctor: () => parts.doctor.findings(),
    authenticate: async (name: unknown, credential: unknown, options: unknown) => {
      const { request } = parseAuthenticateOptions(options)
      const bound = chooseScheme(schemes, name)
      return await authenticateCredential(bound, credential, { request, permissions: guard.permissions }) as never
    },
    guesses: Object.freeze({
      attempt: async <T>(reply: FastifyReply, account: string, check: () => T | Promise<T>, options: unknown = {}) => {
        const { realm = '' } = parseAttemptOptions(options)
        return guesses.login(parseReply(reply, 'guesses.attempt()'), { realm, account }, parseCheck(check))
      }
    }),
    apiKeys: createApiKeyCalls(schemes),
    sessions: createSessionCalls(schemes),
    tokens: createTokenCalls(schemes),
    oauth: createOAuthCalls(internals)
  }, internals)
  return Object.freeze(gatehouse)
}

/** Creates `reply.challenge`, `reply.forbid`, `reply.login` and `reply.logout`. */
export function createReplyMethods ({ guard, key, schemes, policies, guesses, doctor }: Parts) {
  const { responder } = guard
  const providers = providersOf(schemes, features => features.sessions)
  const realms = clientRealms(schemes)
  const noteLogin = createLoginNotes(guesses, doctor)
  const refuse = (reply: FastifyReply, failure: AuthFailure): FastifyReply => {
    const end = responder.refuse(reply, policyToMeet(reply.request, key, policies), failure)
    return end.isSent ? reply : reply.send(end.error)
  }
  const change = (reply: FastifyReply, call: string, run: () => Promise<void>): Promise<void> =>
    waitFor(reply, logErrors(reply, responder, async () => {
      await run()
      oweCookie(reply, call)
    }))
  return {
    challenge (this: FastifyReply) {
      return refuse(this, authFailure('AUTH_REQUIRED', null, 'the handler called reply.challenge()'))
    },
    forbid (this: FastifyReply) {
      const acting = stateOf(this.request)?.pass?.identities[0]
      const scheme = acting?.bound.name ?? null
      return refuse(this, authFailure('AUTH_ACCESS_DENIED', scheme, 'the handler called reply.forbid()'))
    },
    login (this: FastifyReply, principal: PrincipalInput, options: unknown = {}) {
      return change(this, 'reply.login()', async () => {
        const parsed = parseLoginOptions(options)
        const { name, feature } = chooseProvider(providers, parsed.scheme, 'keep sessions')
        checkPerson(principal, realms)
        if (parsed.stateChecked !== true) checkSameSite(guard.otherSite(this.request), name, explainLogin)
        await feature.login(this.request, this, principal, parsed)
        if (parsed.stateChecked !== true) noteLogin(this.request)
      })
    },
    logout (this: FastifyReply, options: unknown = {}) {
      return change(this, 'reply.logout()', async () => {
        const { name, feature } = chooseProvider(
          providers, parseSchemeOption(options, 'reply.logout()'), 'keep sessions'
        )
        checkSameSite(guard.otherSite(this.request), name, explainLogout)
        await feature.logout(this.request, this)
      })
    }
  }
}

/** Returns a function that reports each route with an unlimited login to the doctor, once. */
function createLoginNotes (guesses: GuessLimiter, doctor: Doctor): (request: FastifyRequest) => void {
  const noted = new Set<string>()
  return request => {
    const route = `${request.method} ${request.routeOptions.url}`
    if (noted.has(route) || !isUnlimited(request, guesses)) return
    noted.add(route)
    doctor.noteLogin(route, request.log)
  }
}

/**
 * Returns true for a login whose password may have been guessed without a limit. A caller who was authenticated already
 * guesses nothing, and a link that logs a person in has a secret that cannot be guessed.
 */
function isUnlimited (request: FastifyRequest, guesses: GuessLimiter): boolean {
  const isAuthenticated = (stateOf(request)?.pass?.identities.length ?? 0) > 0
  return changesState(request) && !isAuthenticated && !guesses.covers(request)
}

/** Refuses a session with the identity of a client, which only a token of the client may have. */
function checkPerson (principal: unknown, realms: ReadonlySet<string>): void {
  if (!isObject(principal)) return
  const [realm, id] = [property(principal, 'realm'), property(principal, 'id')]
  if (typeof realm !== 'string' || !realms.has(realm) || typeof id !== 'string' || !id.startsWith('client:')) return
  throw internalError("the id of the principal of reply.login() begins with 'client:', which is reserved for clients " +
    'in the realm of an issuer that signs tokens')
}

/** Returns the reason for the log, with the fix for an application whose login ends on another site. */
function explainLogin (difference: string): string {
  return `the browser reports a login from another site: ${difference}. If the login ends in a request from another ` +
    'site (the callback of an identity provider, a link in an email) and this application has checked its own ' +
    'state, write reply.login(principal, { stateChecked: true })'
}

function explainLogout (difference: string): string {
  return `the browser reports a logout from another site: ${difference}`
}

/**
 * Refuses a login or logout that another site caused, for every method: a GET may cause either, and both are attacks.
 */
function checkSameSite (difference: string | null, name: string, explain: (difference: string) => string): void {
  if (difference !== null) throw refusal(authFailure('AUTH_CROSS_SITE', name, explain(difference)))
}

async function logErrors (reply: FastifyReply, responder: Responder, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof AuthError) responder.reportSessionError(reply, error)
    throw error
  }
}

/** Adds `request.auth`, `request.principal`, and the principal of every scheme that has the option `decorate`. */
export function decorateRequests (app: FastifyInstance, schemes: BoundSchemes, permissions: Permissions): void {
  for (const name of ['auth', 'principal']) checkFree(app, name)
  app.decorateRequest('auth', {
    getter (this: FastifyRequest) { return requestAuth(this, permissions) as FastifyRequest['auth'] }
  })
  app.decorateRequest('principal', {
    getter (this: FastifyRequest) { return requestPrincipal(this) as FastifyRequest['principal'] }
  })
  for (const bound of schemes.values()) decorateForScheme(app, bound)
}

/** Properties that Fastify assigns to every request, and that `hasRequestDecorator` does not know. */
const assigned: readonly string[] = ['id', 'params', 'raw', 'query', 'log', 'body']

function decorateForScheme (app: FastifyInstance, bound: BoundScheme): void {
  const option = `The option schemes.${bound.name}.decorate`
  const { decorate } = bound.scheme
  if (decorate == null) return
  const parsed = decorateOption(decorate, option)
  const name = parsed === true ? bound.name : parsed
  if (assigned.includes(name) || app.hasRequestDecorator(name)) {
    throw misconfigured(`${option} needs request.${name}, which exists already: it belongs to Fastify, to another ` +
      `scheme or to another plugin${pluginsBefore(app)}. Choose another name, such as ` +
      `decorate: '${bound.name}Principal'.`)
  }
  app.decorateRequest(name, {
    getter (this: FastifyRequest) {
      return stateOf(this)?.pass?.identities.find(identity => identity.bound === bound)?.outcome.principal ?? null
    }
  })
}

function checkFree (app: FastifyInstance, name: string): void {
  // A property of Object.prototype is not a decorator.
  if (!app.hasRequestDecorator(name) || Object.hasOwn(Object.prototype, name)) return
  throw misconfigured(`fastify-gatehouse needs request.${name}, which another plugin has decorated already` +
    `${pluginsBefore(app)}. Register that plugin in a context of its own, with the routes that need it: ` +
    'app.register(async child => { … }).')
}

/** Lists the plugins of this context for messages, because Fastify does not report the owner of a decorator. */
function pluginsBefore (app: FastifyInstance): string {
  const names = app.pluginName.split(' -> ').filter(name => name !== 'fastify' && name !== 'fastify-gatehouse')
  return names.length === 0 ? '' : ` (registered here: ${joinNames(names, 'and')})`
}
