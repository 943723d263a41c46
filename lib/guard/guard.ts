import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../types/outcome.js'
import { AuthError, authFailure, internalError, refusal } from '../errors.js'
import { isObserved, publishFor, requestFields } from '../events/events.js'
import type { Policy } from '../policy/policy.js'
import { rateLimitFor, type RateLimit } from '../policy/rate-limit.js'
import type { Permissions } from '../policy/requirements.js'
import { isSet, ownField, property } from '../util/objects.js'
import { authenticate, nothingSent, type Failed, type Verdict } from './authenticate.js'
import { checkFunctions, checkOthers, checkStatic } from './authorize.js'
import { changesState, otherSite } from './cross-site.js'
import {
  ensureState, sentRefusal, stateOf, type Carrier, type RequestState, type Identity, type Pass
} from './request-state.js'
import type { Ended, Responder } from './responder.js'
import { testSeam } from './test-seam.js'

/**
 * Counts one request under the limit of its policy and those of its credentials, and sets the rate limit headers.
 * @param identities at least one, the acting principal first.
 * @returns a failure if a limit is exceeded or the request could not be counted, otherwise `null`.
 */
export type CountRequest =
  (reply: FastifyReply, limit: RateLimit | null, identities: readonly Identity[]) => Promise<AuthFailure | null>

/** Configuration of a guard, created once per registration. */
export interface GuardConfig {
  readonly permissions: Permissions
  /** Origins from which cross-site requests are allowed. */
  readonly origins: ReadonlySet<string>
  readonly responder: Responder
  readonly countRequest: CountRequest
}

/** A guard as a hook, for any stage up to `preHandler`. */
export type GuardHook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/**
 * Lets requests through, or ends them. It works in two stages: the first, before the body is read, authenticates the
 * caller and checks the static rules; the second, after validation, counts rate limits and calls the functions of the
 * rules. A stage returns how the request ended and never throws. It is synchronous if every scheme is.
 */
export class Guard {
  readonly permissions: Permissions
  readonly responder: Responder
  readonly #origins: ReadonlySet<string>
  readonly #countRequest: CountRequest

  constructor ({ permissions, origins, responder, countRequest }: GuardConfig) {
    this.permissions = permissions
    this.responder = responder
    this.#origins = origins
    this.#countRequest = countRequest
  }

  /** Returns a hook that runs both stages, for a policy that is known at boot. */
  hook (policy: Policy): GuardHook {
    this.responder.prepare(policy)
    const gatehouseGuard: GuardHook = async (_request, reply) => { await this.run(policy, reply) }
    return gatehouseGuard
  }

  /**
   * Runs both stages. The pass is set once both have succeeded, so that concurrent guards never see each other's
   * unfinished passes. Resolves only if the request may continue: a function of the application may have called it.
   * @throws the error for Fastify, if the request was refused; if the response was sent, once it has ended.
   */
  async run (policy: Policy, reply: FastifyReply): Promise<void> {
    const state = ensureState(reply.request)
    const sent = sentRefusal(reply.request, state)
    if (sent !== null) throw sent
    const first = await this.#enter(policy, reply, state)
    const end = isPass(first) ? await this.finish(first, reply) ?? first : first
    if (isPass(end)) {
      setPass(end, reply, state)
      state.hookPasses = [...state.hookPasses ?? [], end]
      return
    }
    if (end.isSent) await reply
    throw end.error
  }

  /**
   * Runs the guards of the application on a route without a policy again, if a slow body came after them: from the
   * first that is due, so that the latest is still the one that `request.auth` shows.
   * @returns `null` if there is nothing to do.
   */
  repeat (reply: FastifyReply): Promise<void> | null {
    const state = stateOf(reply.request)
    const passes = state?.hookPasses ?? null
    if (state === undefined || passes === null) return null
    const first = passes.findIndex(pass => isDue(pass, state))
    return first === -1 ? null : this.#runAll(passes.splice(first), reply)
  }

  async #runAll (passes: readonly Pass[], reply: FastifyReply): Promise<void> {
    for (const { policy } of passes) await this.run(policy, reply)
  }

  /**
   * Runs the first stage for a route. The second stage accepts only this pass.
   * @returns `null` if the request continues.
   */
  enterRoute (policy: Policy, reply: FastifyReply): Ended | null | Promise<Ended | null> {
    const state = ensureState(reply.request)
    const end = this.#enter(policy, reply, state)
    return end instanceof Promise ? setRoutePassLater(end, reply, state) : setRoutePass(end, reply, state)
  }

  /** Runs the second stage for a route whose first stage passed for exactly this policy. */
  finishRoute (policy: Policy, reply: FastifyReply): Ended | null | Promise<Ended | null> {
    const state = ensureState(reply.request)
    const { routePass } = state
    if (routePass?.policy !== policy) {
      return this.responder.sendInternalError(
        reply, internalError('the guard did not pass for the policy of this route'))
    }
    const end = isDue(routePass, state) ? this.#repeatRoute(policy, reply, state) : this.finish(routePass, reply)
    return testSeam?.isStubbed(reply.request) === true ? answerForHandler(end, reply) : end
  }

  /** Repeats the first stage, because the body took long to receive, then runs the second. */
  async #repeatRoute (policy: Policy, reply: FastifyReply, state: RequestState): Promise<Ended | null> {
    const end = await this.#enter(policy, reply, state)
    if (!isPass(end)) return end
    setRoutePass(end, reply, state)
    return await this.finish(end, reply)
  }

  /** Returns how a browser reports that another site sent a request, or `null`. */
  otherSite (request: FastifyRequest): string | null {
    return otherSite(request, this.#origins)
  }

  /** Runs the first stage: authenticates the caller, then checks cross-site requests and static rules. */
  #enter (policy: Policy, reply: FastifyReply, state: RequestState): Pass | Ended | Promise<Pass | Ended> {
    try {
      state.reply ??= reply
      const verdict = authenticate(policy, state)
      return verdict instanceof Promise
        ? this.#concludeLater(policy, verdict, reply)
        : this.#conclude(policy, verdict, reply)
    } catch (cause) {
      return this.#fail(reply, cause)
    }
  }

  async #concludeLater (policy: Policy, verdict: Promise<Verdict>, reply: FastifyReply): Promise<Pass | Ended> {
    try {
      return this.#conclude(policy, await verdict, reply)
    } catch (cause) {
      return this.#fail(reply, cause)
    }
  }

  #fail (reply: FastifyReply, cause: unknown): Ended {
    return this.responder.sendInternalError(reply, internalError('the guard failed', cause))
  }

  #conclude (policy: Policy, verdict: Verdict, reply: FastifyReply): Pass | Ended {
    if (!isIdentified(verdict)) return this.#concludeFailure(policy, verdict, reply)
    for (const { outcome } of verdict) if (outcome.headers != null) reply.headers(outcome.headers)
    const refused = this.#check(policy, verdict, reply.request)
    return refused === null
      ? { policy, identities: verdict, error: null, carrier: carrierOf(reply) }
      : this.responder.refuse(reply, policy, refused)
  }

  #concludeFailure (policy: Policy, { failure, cause }: Failed, reply: FastifyReply): Pass | Ended {
    if (failure.code === 'AUTH_FAULT') {
      return this.responder.sendInternalError(reply, internalError(failure.detail, cause, failure.scheme))
    }
    return isForgiven(policy, failure)
      ? { policy, identities: [], error: refusal(failure), carrier: carrierOf(reply) }
      : this.responder.refuse(reply, policy, failure)
  }

  /** Checks cross-site requests and static rules. */
  #check (policy: Policy, identities: readonly Identity[], request: FastifyRequest): AuthFailure | null {
    const [acting] = identities
    if (acting === undefined) return policy.access === 'required' ? nothingSent.failure : null
    return this.#checkSite(acting, identities, request) ?? checkStatic(policy, acting) ?? checkOthers(identities)
  }

  /** Refuses requests from other sites with a credential that browsers send by themselves. */
  #checkSite (acting: Identity, identities: readonly Identity[], request: FastifyRequest): AuthFailure | null {
    if (!identities.some(isAmbient) || !changesState(request)) return null
    const other = this.otherSite(request)
    return other === null
      ? null
      : authFailure('AUTH_CROSS_SITE', acting.bound.name, `the browser reports a request from another site: ${other}`)
  }

  /**
   * Runs the second stage: the rate limits, then functions, so that the limit protects functions that query a database.
   * Errors that an application's function throws reach the application's error handler unchanged.
   * @returns `null` if the request continues; a promise only if there is work to do.
   */
  finish (pass: Pass, reply: FastifyReply): Promise<Ended | null> | Ended | null {
    const { policy, identities } = pass
    const [acting] = identities
    const isLimited = policy.rateLimit !== null || hasOwnLimit(identities)
    if (acting === undefined || !(isLimited || policy.late)) return null
    if (!isLimited) return this.#checkFunctions(policy, acting, reply)
    let counted: ReturnType<CountRequest>
    try {
      const limit = policy.rateLimit === null ? null : rateLimitFor(acting.outcome.principal, policy.rateLimit)
      counted = this.#countRequest(reply, limit, identities)
    } catch (error) {
      return this.#endWith(error, reply)
    }
    return this.#finishCounted(pass, counted, reply)
  }

  async #finishCounted (
    { policy, identities }: Pass, counted: ReturnType<CountRequest>, reply: FastifyReply
  ): Promise<Ended | null> {
    const refused = await counted
    if (refused !== null) return this.responder.refuse(reply, policy, refused)
    return policy.rules.length === 0 ? null : this.#checkFunctions(policy, identities[0] as Identity, reply)
  }

  async #checkFunctions (policy: Policy, acting: Identity, reply: FastifyReply): Promise<Ended | null> {
    let refused: AuthFailure | null
    try {
      refused = await checkFunctions(policy, { acting, request: reply.request, permissions: this.permissions })
    } catch (error) {
      return this.#endWith(error, reply)
    }
    return refused === null ? null : this.responder.refuse(reply, policy, refused)
  }

  /** Ends a request for which a function of the application threw: with a fault, or an error for the error handler. */
  #endWith (error: unknown, reply: FastifyReply): Ended {
    if (error instanceof AuthError && error.code === 'AUTH_FAULT') return this.responder.sendInternalError(reply, error)
    // Fastify ignores a falsy error of a hook
    if (error) return { error, isSent: false }
    return this.responder.sendInternalError(reply, internalError('a function of the route threw a falsy value'))
  }
}

/** Answers a request of a test in place of its handler, if the guard let it through. */
async function answerForHandler (end: Ended | null | Promise<Ended | null>, reply: FastifyReply): Promise<Ended> {
  const settled = await end
  if (settled !== null) return settled
  // a text, which no response schema serialises
  reply.code(200).type('text/plain').send('The guard let this test through.')
  return { error: null, isSent: true }
}

function isIdentified (verdict: Verdict): verdict is readonly Identity[] {
  return Array.isArray(verdict)
}

function isPass (end: Pass | Ended): end is Pass {
  return Object.hasOwn(end, 'policy')
}

/** Shows a pass in `request.auth` and `request.principal`, and removes the headers of another guard's refusal. */
function setPass (pass: Pass, reply: FastifyReply, state: RequestState): void {
  state.undo?.run()
  state.undo = null
  if (isObserved('authenticated')) publishIdentities(pass, state)
  state.pass = pass
  state.auth = null
  if (pass.identities.length > 0) restrictCaching(reply, cacheControlOf(pass.identities))
}

/** Matches directives that let shared caches store a response, also one to `Authorization` (RFC 9111, 3.5). */
const forSharedCaches = /^(?:public|s-maxage)\b/i

/**
 * Restricts the caching of a response to an authenticated caller. A `Cache-Control` that is already there was set
 * before the caller was known, such as by an `onRequest` hook of all routes, so directives that allow shared caches to
 * store the response are removed.
 * @param needed the `Cache-Control` that the credentials require; `undefined` if shared caches recognise them.
 */
function restrictCaching (reply: FastifyReply, needed: string | undefined): void {
  const earlier = reply.getHeader('cache-control')
  if (earlier === undefined) {
    if (needed !== undefined) reply.header('cache-control', needed)
    return
  }
  const kept = String(earlier).split(',').map(each => each.trim()).filter(each => !forSharedCaches.test(each))
  if (kept.includes('no-store')) return
  reply.header('cache-control', [...new Set([...kept, ...(needed ?? 'private').split(', ')])].join(', '))
}

/** Publishes an event for each credential that no other guard of the request has accepted before. */
function publishIdentities ({ identities }: Pass, { pass: previous, request }: RequestState): void {
  for (const { bound, outcome: { principal: { realm, id } } } of identities) {
    if (previous?.identities.some(known => known.bound === bound) === true) continue
    const { requestId, method, route } = requestFields(request)
    publishFor(request, 'authenticated', { requestId, method, route, scheme: bound.name, realm, id })
  }
}

/** Sets the pass of a route's own guard, which the second stage requires. Returns a refusal as it is. */
function setRoutePass (end: Pass | Ended, reply: FastifyReply, state: RequestState): Ended | null {
  if (!isPass(end)) return end
  setPass(end, reply, state)
  state.routePass = end
  return null
}

async function setRoutePassLater (
  end: Promise<Pass | Ended>, reply: FastifyReply, state: RequestState
): Promise<Ended | null> {
  return setRoutePass(await end, reply, state)
}

/** Returns the strictest `Cache-Control` of several credentials. */
function cacheControlOf (identities: readonly Identity[]): string | undefined {
  let strictest: string | undefined
  for (const { bound } of identities) {
    const next = property(bound.scheme, 'cacheControl') as string | undefined
    if (next !== undefined && strictest?.includes('no-store') !== true) strictest = next
  }
  return strictest
}

/** Returns true for an invalid credential in mode `try`, which refuses all other failures. */
function isForgiven ({ access }: Policy, { code }: AuthFailure): boolean {
  return access === 'try' && (code === 'AUTH_INVALID_CREDENTIALS' || code === 'AUTH_TOKEN_EXPIRED')
}

/** Returns true for a credential that browsers send by themselves, by its outcome or else by its scheme. */
function isAmbient ({ bound, outcome }: Identity): boolean {
  return isSet(outcome.ambient ?? bound.ambient)
}

/** Returns the connection after an upgrade, otherwise the response. */
function carrierOf ({ request: { raw }, raw: response }: FastifyReply): Carrier {
  // `upgrade` is false if nobody listens for upgrades: such a request ends with its response
  const isUpgraded = ownField(raw.headers, 'upgrade') !== undefined && !('upgrade' in raw && raw.upgrade === false)
  // a request that another plugin has created (an injected WebSocket) has no connection
  return isUpgraded ? raw.socket as Carrier | undefined ?? response : response
}

/**
 * Returns true if the first stage has to be repeated: a credential expired while the body was received, or may have
 * been revoked since.
 */
function isDue ({ identities }: Pass, state: RequestState): boolean {
  for (const { bound } of identities) if (state.isDue(bound)) return true
  return false
}

function hasOwnLimit (identities: readonly Identity[]): boolean {
  for (const { outcome } of identities) if (outcome.rateLimit != null) return true
  return false
}
