import type { EventEmitter } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticated, Outcome } from '../../types/outcome.js'
import { AuthError } from '../errors.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import type { Policies } from '../policy/resolve.js'
import { enforcedPolicy } from '../policy/route-policy.js'
import { GivenObject } from '../util/objects.js'

/** The answer of a scheme that threw. It is kept like an outcome, so that the scheme is not called again. */
export interface Faulty { readonly kind: 'faulty', readonly detail: string, readonly cause: unknown }

type Answer = Outcome | Faulty | Promise<Outcome | Faulty>

/** The principal of one scheme on this request. */
export interface Identity {
  readonly bound: BoundScheme
  readonly outcome: Authenticated
}

/** The result of a guard that let a caller in, under one policy. */
export interface Pass {
  readonly policy: Policy
  /** The identities that the request acts with, the acting principal first; empty for anonymous callers. */
  readonly identities: readonly Identity[]
  /** The reason why the caller of a `try` route is anonymous. */
  readonly error: AuthError | null
  /** The response, or the connection after an upgrade. When it ends, the credential is no longer in use. */
  readonly carrier: Carrier
}

/** A response or a connection. A response of HTTP/2 does not show that it has ended, but its stream does. */
export type Carrier = EventEmitter & Ending & { readonly stream?: Ending }

interface Ending { readonly closed?: boolean, readonly destroyed?: boolean }

/** Returns true if the carrier has emitted `close`, or is about to, so that nobody should wait for it any more. */
export function isClosed ({ closed, destroyed, stream }: Carrier): boolean {
  return closed === true || destroyed === true || stream?.closed === true || stream?.destroyed === true
}

/** Restores the headers and the status that a reply had before a refusal. */
export interface Undo {
  /** Adds headers that the refusal sets. */
  add (names: readonly string[]): void
  run (): void
}

/** Milliseconds for which an answer of a scheme is valid. An older one is checked again after the body is read. */
const maxAnswerAge = 100

/** Returns true if a credential has expired. */
export function isExpired ({ expiresAt }: Authenticated, now: number): boolean {
  return expiresAt !== null && expiresAt.getTime() <= now
}

/** Returns true for a credential that may expire, or that the scheme can check again. */
export function isTimed ({ expiresAt, recheck }: Authenticated): boolean {
  return expiresAt !== null || recheck != null
}

/** A scheme that was called for a request. */
interface Call {
  readonly bound: BoundScheme
  answer: Answer
  /** `checkedAt` of the request when the scheme answered. */
  at: number
  /** The call before this one. */
  readonly previous: Call | null
}

/** A value of a {@link RequestSlot}. */
interface Note {
  readonly slot: RequestSlot<unknown>
  value: unknown
  /** The value of the slot that was set before this one. */
  readonly previous: Note | null
}

/**
 * Holds the state of the guards of one request. It is private: handlers see `request.auth` and `request.principal`, and
 * nothing else of it.
 */
export class RequestState {
  readonly request: FastifyRequest
  /** The reply of the first guard: Fastify has no way from a request to its reply. */
  reply: FastifyReply | null = null
  /**
   * The latest call of a scheme, in a linked list with the earlier ones: each scheme is called once per request. Calls
   * are found by the scheme and not by its name, because a second registration of the plugin may use the same name.
   */
  #latest: Call | null = null
  /** The pass of the latest guard, which `request.auth` shows. */
  pass: Pass | null = null
  /** The passes of guards that the application has called, the latest last. */
  hookPasses: Pass[] | null = null
  /** The pass of the route's own guard, which its second stage requires. */
  routePass: Pass | null = null
  /** The config of the route, read by its first stage. */
  routeConfig: object | null = null
  /**
   * The time of the latest answer that may expire or be checked again, in milliseconds since 1970. The clock is read
   * once for each stage, because that takes as long as finding a token in the cache.
   */
  checkedAt = 0
  /** `request.auth`, created when it is first read. */
  auth: object | null = null
  /** Removes the headers of a refusal from the reply, if another guard of this request lets the caller in. */
  undo: Undo | null = null
  /** The refusal that the plugin sent itself, with the config of the route; `null` if it sent none. */
  refused: { readonly config: object, readonly error: AuthError } | null = null
  /** The value of the latest {@link RequestSlot} that was set. */
  note: Note | null = null

  constructor (request: FastifyRequest) {
    this.request = request
  }

  /** Returns the answer of a scheme, or `undefined` if it was not called. */
  answerOf (bound: BoundScheme): Answer | undefined {
    return this.#callOf(bound)?.answer
  }

  /**
   * Returns true if the credential has to be checked again, because it has expired, or may have been revoked while a
   * slow body was received.
   */
  isDue (bound: BoundScheme): boolean {
    const call = this.#callOf(bound)
    if (call === null || call.answer instanceof Promise || call.answer.kind !== 'authenticated') return false
    if (!isTimed(call.answer)) return false
    const now = Date.now()
    const age = now - call.at
    return isExpired(call.answer, now) || (call.answer.recheck != null && (age < 0 || age > maxAnswerAge))
  }

  /** Stores the answer of a scheme, and returns it. */
  setAnswer<A extends Answer> (bound: BoundScheme, answer: A): A {
    const call = this.#callOf(bound)
    if (call === null) {
      this.#latest = { bound, answer, at: this.checkedAt, previous: this.#latest }
    } else {
      call.answer = answer
      call.at = this.checkedAt
    }
    return answer
  }

  #callOf (bound: BoundScheme): Call | null {
    let call = this.#latest
    while (call !== null && call.bound !== bound) call = call.previous
    return call
  }
}

/** Keeps the state in a private field of the request. */
class StateField extends GivenObject {
  #state: RequestState | undefined

  static get (request: object): RequestState | undefined {
    return #state in request ? request.#state : undefined
  }

  static add (request: FastifyRequest): RequestState {
    const state = new RequestState(request)
    new StateField(request).#state = state
    return state
  }
}

/** Returns the state of a request, or `undefined` before any guard has run. */
export function stateOf (request: FastifyRequest): RequestState | undefined {
  return StateField.get(request)
}

/** Returns the state of a request, and creates it if there is none. */
export function ensureState (request: FastifyRequest): RequestState {
  return StateField.get(request) ?? StateField.add(request)
}

/**
 * Returns the config of the route of a request. The second stage takes the object that the first one has read, because
 * each read of `routeOptions` creates an object of twelve fields. A request keeps its route, unless it is handed to the
 * not-found handler. The contents of the config may change, so only the object is remembered.
 */
export function routeConfigOf (request: FastifyRequest): object {
  const known = stateOf(request)?.routeConfig ?? null
  return known === null || request.is404 ? request.routeOptions.config : known
}

/** Notes the error of a refusal that the plugin itself sends. */
export function noteRefusal (request: FastifyRequest, error: AuthError): void {
  ensureState(request).refused = { config: request.routeOptions.config, error }
}

/**
 * Returns the error of the refusal that the plugin itself sends, or has sent; `null` if there is none. A refusal may
 * also lead to the not-found handler, which is another route, and has guards of its own.
 */
export function sentRefusal (request: FastifyRequest, { refused }: RequestState): AuthError | null {
  return refused !== null && refused.config === request.routeOptions.config ? refused.error : null
}

/**
 * A hidden value of each request. It is kept in the state of the request, because another private field would make each
 * request larger, and cost a quarter of what a session costs.
 */
export class RequestSlot<V> {
  get (request: FastifyRequest): V | undefined {
    return this.#noteOf(stateOf(request))?.value as V | undefined
  }

  set (request: FastifyRequest, value: V): void {
    const state = ensureState(request)
    const note = this.#noteOf(state)
    if (note === null) state.note = { slot: this, value, previous: state.note }
    else note.value = value
  }

  #noteOf (state: RequestState | undefined): Note | null {
    let note = state?.note ?? null
    while (note !== null && note.slot !== this) note = note.previous
    return note
  }
}

/**
 * Returns the policy that decides the challenges of a 401 outside of the guard: that of the guard which let the request
 * in, otherwise the route's, and the default of its context if the route is public or has none.
 */
export function policyToMeet (request: FastifyRequest, key: symbol, policies: Policies): Policy {
  const pass = stateOf(request)?.pass
  if (pass != null) return pass.policy
  const policy = enforcedPolicy(request, key)
  const isPublic = policy instanceof AuthError || policy.access === 'public'
  return isPublic ? policies.defaultOf(request.server) : policy
}
