import type { EventEmitter } from 'node:events'
import type { FastifyRequest } from 'fastify'
import type { Authenticated, Outcome } from '../../types/outcome.js'
import { AuthError } from '../errors.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import type { Policies } from '../policy/resolve.js'
import { policyOf } from '../policy/route-policy.js'
import { createPrivateSlot } from '../util/private-slot.js'

/** The outcome of a scheme that threw: its place in the list of outcomes is taken, so that it is not asked again. */
export interface Faulty { readonly kind: 'faulty', readonly detail: string, readonly cause: unknown }

type Answered = Outcome | Faulty | Promise<Outcome | Faulty>

/** One scheme's principal on this request. */
export interface Identity {
  readonly bound: BoundScheme
  readonly outcome: Authenticated
}

/** A caller whom a guard let in, under one policy. */
export interface Pass {
  readonly policy: Policy
  /** The identities that the request acts with, the acting principal first; empty for anonymous callers. */
  readonly identities: readonly Identity[]
  /** Why a `try` route has an anonymous caller. */
  readonly error: AuthError | null
  /** What the use of the credential ends with: the response, or the connection after an upgrade. */
  readonly carrier: Carrier
}

/**
 * A response or a connection, as far as its end is concerned. A response of HTTP/2 has the end of its stream and none
 * of its own.
 */
export type Carrier = EventEmitter & Ending & { readonly stream?: Ending }

interface Ending { readonly closed?: boolean, readonly destroyed?: boolean }

/** Returns whether a carrier has ended: its `close` was emitted, or is about to be, and is emitted no more. */
export function isOver ({ closed, destroyed, stream }: Carrier): boolean {
  return closed === true || destroyed === true || stream?.closed === true || stream?.destroyed === true
}

/**
 * Milliseconds for which a request counts as under way: what happens to its credential in so short a time need not be
 * seen.
 */
const underWay = 100

/** Returns whether a credential has ended by its own time. */
export function isExpired ({ expiresAt }: Authenticated): boolean {
  return expiresAt !== null && expiresAt.getTime() <= Date.now()
}

/**
 * What the guard knows of one request. Private: nothing of it is reachable from `request` but through `request.auth`
 * and `request.principal`.
 */
export class GuardState {
  readonly request: FastifyRequest
  /**
   * The schemes that were asked, and what each said at the same place: a scheme is asked once per request. Kept by the
   * scheme itself, because its name may be another's in a second registration.
   */
  readonly #asked: BoundScheme[] = []
  readonly #answers: Answered[] = []
  /** When each said it, in milliseconds since 1970. */
  readonly #times: number[] = []
  /** The pass of the newest guard: what the request shows. */
  pass: Pass | null = null
  /** The pass of the route's own guard: what the seal asks for. */
  seal: Pass | null = null
  /** `request.auth`, made when it is first read. */
  auth: object | null = null
  /** Takes back what a refusal wrote on the reply, should another guard of this request let the caller in. */
  undo: (() => void) | null = null
  /** A refusal was sent, not handed to Fastify: hooks that run for it have nothing more to guard. */
  replied = false

  constructor (request: FastifyRequest) {
    this.request = request
  }

  /** What a scheme said, or is about to say; `undefined` when it was not asked. */
  answerOf (bound: BoundScheme): Answered | undefined {
    const at = this.#asked.indexOf(bound)
    return at === -1 ? undefined : this.#answers[at]
  }

  /**
   * Returns whether a scheme has to say again whose the credential is: it expired, or was looked at before a slow body
   * came and may have been revoked since.
   */
  isDue (bound: BoundScheme): boolean {
    const at = this.#asked.indexOf(bound)
    const answer = this.#answers[at]
    if (answer === undefined || answer instanceof Promise || answer.kind !== 'authenticated') return false
    const age = Date.now() - Number(this.#times[at])
    return isExpired(answer) || (answer.recheck != null && (age < 0 || age > underWay))
  }

  /** Keeps what a scheme said. */
  answered<A extends Answered> (bound: BoundScheme, answer: A): A {
    const at = this.#asked.indexOf(bound)
    if (at === -1) {
      this.#asked.push(bound)
      this.#answers.push(answer)
      this.#times.push(Date.now())
    } else {
      this.#answers[at] = answer
      this.#times[at] = Date.now()
    }
    return answer
  }
}

const slot = createPrivateSlot<FastifyRequest, GuardState>()

/** The state of a request, or `undefined` before any guard ran. */
export function stateOf (request: FastifyRequest): GuardState | undefined {
  return slot.get(request)
}

/** The state of a request, made when there is none. */
export function openState (request: FastifyRequest): GuardState {
  const known = slot.get(request)
  if (known !== undefined) return known
  const state = new GuardState(request)
  slot.set(request, state)
  return state
}

/**
 * Returns the policy that a caller would have to meet, whose challenges a 401 has that no guard wrote: that of the
 * guard which let the request in, else the route's, and where that is public or none, the default of its context.
 */
export function policyToMeet (request: FastifyRequest, key: symbol, policies: Policies): Policy {
  const pass = stateOf(request)?.pass
  if (pass != null) return pass.policy
  const policy = policyOf(request, key)
  const isOpen = policy instanceof AuthError || policy.access === 'public'
  return isOpen ? policies.resolve(request.server, true, 'the default of a context') : policy
}
