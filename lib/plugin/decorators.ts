import type { FastifyInstance, FastifyReply } from 'fastify'
import type { AuthFailure } from '../../types/error.js'
import type { Gatehouse } from '../../types/gatehouse.js'
import type { PrincipalInput } from '../../types/principal.js'
import { auditRows } from '../audit/rows.js'
import { AuthError, authFailure, misconfigured, refusal } from '../errors.js'
import type { Guard } from '../guard/guard.js'
import { policyToMeet, stateOf } from '../guard/request-state.js'
import type { Responder } from '../guard/responder.js'
import type { GuessLimiter } from '../limits/guesses.js'
import type { Defaults } from '../policy/defaults.js'
import { parseDeclaration } from '../policy/parse.js'
import type { Policies } from '../policy/resolve.js'
import type { RouteBook } from '../routes/route-registry.js'
import { oweCookie, waitFor } from '../util/response.js'
import { attemptOptions, loginOptions, schemeOption } from './call-options.js'
import { createApiKeyCalls, createSessionCalls, createTokenCalls } from './feature-calls.js'
import { chooseProvider, providersOf, type BoundSchemes } from './schemes.js'

/** What the decorators work with. */
export interface Parts {
  readonly guard: Guard
  readonly key: symbol
  readonly schemes: BoundSchemes
  readonly defaults: Defaults
  readonly policies: Policies
  readonly book: RouteBook
  readonly stage: string
  readonly guesses: GuessLimiter
}

/** `app.gatehouse`, as one context sees it. */
export function gatehouseOf (context: FastifyInstance, parts: Parts): Gatehouse {
  const { guard, schemes, defaults, policies, book, guesses } = parts
  return Object.freeze({
    default (auth: unknown) {
      const place = `app.gatehouse.default() of the context with the prefix '${context.prefix || '/'}'`
      defaults.set(context, { declaration: parseDeclaration(auth, place, guard.permissions), label: `group ${context.prefix || '/'}` })
      policies.resolve(context, true, place)
    },
    guard (auth: unknown) {
      const policy = policies.resolve(context, auth, 'app.gatehouse.guard()')
      if (policy.access === 'public') {
        throw misconfigured('app.gatehouse.guard() got a public policy, which would guard nothing. Give it schemes ' +
          'or rules, or leave the hook out.')
      }
      return guard.hook(policy)
    },
    audit: () => auditRows(book.marks, parts.stage),
    guesses: Object.freeze({
      attempt: async <T>(reply: FastifyReply, account: string, check: () => T | Promise<T>, options: unknown = {}) => {
        const { realm = '' } = attemptOptions(options)
        return guesses.login(reply, realm, account, check)
      }
    }),
    apiKeys: createApiKeyCalls(schemes),
    sessions: createSessionCalls(schemes),
    tokens: createTokenCalls(schemes)
  })
}

/** `reply.challenge`, `reply.forbid`, `reply.login` and `reply.logout`. */
export function replyMethods ({ guard, key, schemes, policies }: Parts) {
  const { responder } = guard
  const providers = providersOf(schemes, features => features.sessions)
  const refuse = (reply: FastifyReply, failure: AuthFailure): FastifyReply => {
    const end = responder.refuse(reply, policyToMeet(reply.request, key, policies), failure)
    return end === 'replied' ? reply : reply.send(end.error)
  }
  const change = (reply: FastifyReply, call: string, run: () => Promise<void>): Promise<void> =>
    waitFor(reply, logged(reply, responder, async () => {
      await run()
      oweCookie(reply, call)
    }))
  return {
    challenge (this: FastifyReply) {
      return refuse(this, authFailure('AUTH_REQUIRED', null, 'the handler asked for a credential'))
    },
    forbid (this: FastifyReply) {
      const acting = stateOf(this.request)?.pass?.identities[0]
      const scheme = acting?.bound.name ?? null
      return refuse(this, authFailure('AUTH_ACCESS_DENIED', scheme, 'the handler refused the principal'))
    },
    login (this: FastifyReply, principal: PrincipalInput, options: unknown = {}) {
      return change(this, 'reply.login()', async () => {
        const parsed = loginOptions(options)
        const { name, feature } = chooseProvider(providers, parsed.scheme, 'keep sessions')
        if (parsed.stateChecked !== true) checkSameSite(guard.otherSite(this.request), name, loginFromElsewhere)
        await feature.login(this.request, this, principal, parsed)
      })
    },
    logout (this: FastifyReply, options: unknown = {}) {
      return change(this, 'reply.logout()', async () => {
        const { name, feature } = chooseProvider(providers, schemeOption(options, 'reply.logout()'), 'keep sessions')
        checkSameSite(guard.otherSite(this.request), name, other => `a browser says that another site asked to log out: ${other}`)
        await feature.logout(this.request, this)
      })
    }
  }
}

/** Returns the reason for the log: only the application can know whether this is an attack. */
function loginFromElsewhere (other: string): string {
  return `a browser says that another site asked to log in: ${other}. If the login ends in a request from another site (the callback of an identity ` +
    'provider, a link in a mail) and this application has checked its own state, write reply.login(principal, { stateChecked: true })'
}

/** Refuses to log in or out for another site, which is an attack of its own, whatever the method. */
function checkSameSite (other: string | null, name: string, reasonOf: (other: string) => string): void {
  if (other !== null) throw refusal(authFailure('AUTH_CROSS_SITE', name, reasonOf(other)))
}

async function logged (reply: FastifyReply, responder: Responder, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof AuthError) responder.logSessionError(reply, error)
    throw error
  }
}
