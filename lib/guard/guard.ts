import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure } from '../../types/error.js'
import { AuthError, authFailure, internalError, redactError, refusal } from '../errors.js'
import type { RateLimit } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import { ownField, property } from '../util/objects.js'
import { noteReply } from '../util/response.js'
import { authenticate, type Verdict } from './authenticate.js'
import { checkFunctions, checkStatic } from './authorize.js'
import { changesState, otherSite } from './cross-site.js'
import { refuse, sendInternalError, type ErrorForm } from './refuse.js'
import { openState, type GuardState, type Identity, type Pass } from './request-state.js'

/** What a guard works with: made once, at registration. */
export interface Gate {
  readonly permissions: Permissions
  readonly origins: ReadonlySet<string>
  readonly form: ErrorForm
  /** Counts one request under the policy's limit and the credentials' own, and says on the reply what is left; seconds to wait when it is over one of them. */
  readonly limit: (reply: FastifyReply, limit: RateLimit | null, identities: readonly Identity[]) => Promise<number | null>
}

/** How the guard ended for a caller whom it refused: a reply that is already sent, or an error for Fastify. */
export type Refused = 'replied' | { readonly error: unknown }

/** How the first stage ended: the pass, which counts for nothing until somebody publishes it, or a refusal. */
export type End = Pass | Refused

/** Whether the first stage let the caller in. */
export function isPass (end: End): end is Pass {
  return typeof end === 'object' && Object.hasOwn(end, 'policy')
}

/** How the second stage ended: `null`, nothing stands against the pass. */
export type LateEnd = Refused | null

/**
 * The first stage: who is calling, cross-site, and what is static of the rules.
 * Returns, never throws; a promise only where a scheme returned one.
 */
export function enter (gate: Gate, policy: Policy, request: FastifyRequest, reply: FastifyReply): End | Promise<End> {
  const failed = (cause: unknown): Refused => end(sendInternalError(request, reply, internalError('the guard failed', cause), gate.form))
  try {
    const state = openState(request)
    noteReply(request, reply)
    const verdict = authenticate(policy, state)
    return verdict instanceof Promise
      ? verdict.then(settled => conclude(gate, policy, state, settled, reply)).catch(failed)
      : conclude(gate, policy, state, verdict, reply)
  } catch (cause) {
    return failed(cause)
  }
}

function conclude (gate: Gate, policy: Policy, state: GuardState, verdict: Verdict, reply: FastifyReply): End {
  const { request } = state
  if (verdict.failure !== null) return concludeRefused(gate, policy, state, verdict, verdict.failure, reply)
  const [acting] = verdict.identities
  if (acting !== undefined) {
    for (const { outcome } of verdict.identities) if (outcome.headers != null) reply.headers(outcome.headers)
    const other = verdict.identities.some(isAmbient) && changesState(request) ? otherSite(request, gate.origins) : null
    if (other !== null) {
      return end(refuse(request, reply, policy, authFailure('AUTH_CROSS_SITE', acting.bound.name, `a browser says that another site sent this: ${other}`), gate.form))
    }
    const refused = checkStatic(policy, acting)
    if (refused !== null) return end(refuse(request, reply, policy, refused, gate.form))
  }
  return admit(state, reply, policy, verdict.identities, null)
}

/** Returns true for a credential that browsers send by themselves: its own outcome says so, else its scheme. */
function isAmbient ({ bound, outcome }: Identity): boolean {
  return outcome.ambient == null ? bound.scheme.ambient === true : outcome.ambient !== false
}

/** A caller whom the schemes refused. Mode `try` forgives an invalid credential, and only that. */
function concludeRefused (gate: Gate, policy: Policy, state: GuardState, verdict: Verdict, refused: AuthFailure, reply: FastifyReply): End {
  if (refused.code === 'AUTH_FAULT') {
    return end(sendInternalError(state.request, reply, internalError(refused.detail, verdict.cause), gate.form))
  }
  const forgiven = policy.access === 'try' && (refused.code === 'AUTH_INVALID_CREDENTIALS' || refused.code === 'AUTH_TOKEN_EXPIRED')
  return forgiven ? admit(state, reply, policy, [], refusal(refused)) : end(refuse(state.request, reply, policy, refused, gate.form))
}

/** Of several credentials, the one that caches must know least of. */
function cacheControlOf (identities: readonly Identity[]): string | undefined {
  let kept: string | undefined
  for (const { bound } of identities) {
    const next = property(bound.scheme, 'cacheControl') as string | undefined
    if (next !== undefined && kept?.includes('no-store') !== true) kept = next
  }
  return kept
}

function admit ({ request }: GuardState, reply: FastifyReply, policy: Policy, identities: readonly Identity[], error: AuthError | null): Pass {
  return { policy, identities, error, carrier: isUpgraded(request) ? request.raw.socket : reply.raw }
}

/** Whether the connection goes over to another protocol. Node says `false` where nobody listens for that: such a request ends with its response, and another may follow. */
function isUpgraded ({ raw }: FastifyRequest): boolean {
  return ownField(raw.headers, 'upgrade') !== undefined && !('upgrade' in raw && raw.upgrade === false)
}

/** Lets a pass count: `request.auth` and `request.principal` show it, and nothing of a refusal by another guard is left on the reply. */
export function publish (state: GuardState, pass: Pass, reply: FastifyReply): void {
  state.undo?.()
  state.undo = null
  state.pass = pass
  state.view = null
  const cacheControl = cacheControlOf(pass.identities)
  if (cacheControl !== undefined && !reply.hasHeader('cache-control')) reply.header('cache-control', cacheControl)
}

/**
 * The second stage, in `preHandler`: the principal's rate limit, then functions. The limit comes first, so that a function which asks a database is behind it.
 * What an application's function throws is handed on unchanged, for the application's error handler.
 */
export async function finishLate (gate: Gate, { policy, identities }: Pass, request: FastifyRequest, reply: FastifyReply): Promise<LateEnd> {
  const [acting] = identities
  if (acting === undefined) return null
  const refused = await overLimit(gate, policy, acting, identities, reply) ?? await askFunctions(gate, policy, acting, request)
  if (refused === null) return null
  if (refused instanceof AuthError) return end(sendInternalError(request, reply, refused, gate.form))
  return isThrown(refused) ? refused : end(refuse(request, reply, policy, refused, gate.form))
}

/**
 * Returns whether the first stage has to be gone through again: a credential expired while the body was received, or so long ago was it looked at that it may have been
 * revoked since.
 */
export function isDue (pass: Pass, state: GuardState): boolean {
  return pass.identities.some(({ bound }) => state.isDue(bound))
}

/** Whether anything is left to ask in the second stage. */
export function isLate ({ policy, identities }: Pass): boolean {
  return policy.late || hasOwnLimit(identities)
}

function hasOwnLimit (identities: readonly Identity[]): boolean {
  return identities.some(({ outcome }) => outcome.rateLimit != null)
}

async function overLimit (
  gate: Gate, { rateLimit }: Policy, acting: Identity, identities: readonly Identity[], reply: FastifyReply
): Promise<AuthFailure | null> {
  if (rateLimit === null && !hasOwnLimit(identities)) return null
  const scheme = acting.bound.name
  try {
    const wait = await gate.limit(reply, rateLimit, identities)
    return wait === null ? null : authFailure('AUTH_RATE_LIMITED', scheme, 'over the limit of the route, or of the credential', { retryAfter: wait })
  } catch (cause) {
    reply.request.log.error({ err: redactError(cause) }, 'the rate limit could not be counted')
    return authFailure('AUTH_UNAVAILABLE', scheme, 'the rate limit could not be counted', { retryAfter: 5 })
  }
}

/** What a function of the application threw. */
interface Thrown { readonly error: unknown }

/** Fastify takes a hook's falsy error for none, so a function that throws nothing in particular is a fault. */
async function askFunctions (gate: Gate, policy: Policy, acting: Identity, request: FastifyRequest): Promise<AuthFailure | AuthError | Thrown | null> {
  try {
    return await checkFunctions(policy, acting, request, gate.permissions)
  } catch (error) {
    if (error instanceof AuthError && error.code === 'AUTH_FAULT') return error
    return error ? { error } : internalError('a function of the route threw something that is no error')
  }
}

function isThrown (refused: AuthFailure | Thrown): refused is Thrown {
  return Object.hasOwn(refused, 'error')
}

function end (error: AuthError | null): Refused {
  return error === null ? 'replied' : { error }
}
