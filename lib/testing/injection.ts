import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'
import type { FastifyRequest, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import { misconfigured } from '../errors.js'
import { installTestSeam, noteTestKit, testSeam } from '../guard/test-seam.js'
import { absent } from '../kit/outcome.js'
import { type Parts, partsOf } from '../plugin/internals.js'
import type { BoundScheme } from '../policy/policy.js'

noteTestKit()

/** Describes the part of a Fastify application that the test kit needs, whatever its kind of server. */
export interface TestedApp {
  readonly server: { readonly listening: boolean }
  ready (): PromiseLike<unknown>
  inject (options: InjectOptions): PromiseLike<LightMyRequestResponse>
}

/** Tells the guard how to treat one request of a test. */
export interface Injection {
  /** Returns the outcome of a scheme; `null`: the schemes themselves are called. */
  readonly outcomeOf: ((bound: BoundScheme) => Outcome) | null
  /** `true` if the request is answered in place of its handler. */
  readonly stubbed: boolean
}

/** Describes the result of one request of a test. */
export interface Injected {
  readonly response: LightMyRequestResponse
  /** `true` if the handler was called and did not fail. */
  readonly handled: boolean
  /** The config of the route that the router chose; `null` if the request was answered before its guard. */
  readonly config: object | null
}

/** An injection while its request runs. */
interface Running extends Injection {
  readonly server: object
  /** The request of this call, once it is known: those that its handler injects in turn are not of this call. */
  raw: object | null
  config: object | null
  handled: boolean
}

const storage = new AsyncLocalStorage<Running>()

/**
 * Sends one request through `app.inject`. The injection travels in an AsyncLocalStorage around the call and not on the
 * request, so that nothing that a client sends can carry one.
 */
export async function runInjection (
  app: TestedApp, options: InjectOptions, injection: Injection
): Promise<Injected> {
  if (testSeam === null) install()
  const running: Running = { ...injection, server: app.server, raw: null, config: null, handled: false }
  // Awaits inside, because the thenable of inject() begins when it is awaited.
  const response = await storage.run(running, async () => await app.inject(options))
  return { response, handled: running.handled, config: running.config }
}

function install (): void {
  installTestSeam({
    outcomeOf: (bound, request) => runningOf(request)?.outcomeOf?.(bound),
    isStubbed: request => runningOf(request)?.stubbed === true
  })
  // A public route has no guard that would see its request before the handler does.
  const note = (handled: boolean) => (message: unknown) => {
    const running = runningOf((message as { readonly request: FastifyRequest }).request)
    if (running !== undefined) running.handled = handled
  }
  subscribe('tracing:fastify.request.handler:start', note(true))
  // An error of a preHandler hook follows the same start.
  subscribe('tracing:fastify.request.handler:error', note(false))
}

/** Returns the injection of a request, which is the first request of its call and came through no socket. */
function runningOf ({ raw, server, routeOptions }: FastifyRequest): Running | undefined {
  const running = storage.getStore()
  if (running === undefined || running.server !== server.server || raw.socket instanceof Socket) return undefined
  if (running.raw === null) {
    running.raw = raw
    running.config = routeOptions.config
  }
  return running.raw === raw ? running : undefined
}

/**
 * Checks that the test kit may be used.
 * @throws {AuthError} `AUTH_MISCONFIGURED` in production, and once the server listens.
 */
export function checkUse (app: TestedApp, call: string): void {
  if (process.env.NODE_ENV === 'production') {
    throw misconfigured(`${call} is refused, because NODE_ENV is 'production' and it goes past authentication. ` +
      'Import fastify-gatehouse/testing in tests only.')
  }
  if (app.server.listening) {
    throw misconfigured(`${call} is refused, because the server listens and it goes past authentication. Use it with ` +
      'an application that has not called listen().')
  }
}

/**
 * Returns the registrations of the plugin in an application that is ready.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if there are none.
 */
export function registrationsOf (app: TestedApp, call: string): readonly Parts[] {
  const parts = partsOf(app.server)
  if (parts.length > 0) return parts
  throw misconfigured(`${call} got an application without fastify-gatehouse. Register the plugin in it first.`)
}

/** Returns the outcomes of schemes by name, as `outcomeOf`: other schemes have no credential. */
export function outcomesByName (outcomes: ReadonlyMap<string, Outcome>): Injection['outcomeOf'] {
  return bound => outcomes.get(bound.name) ?? absent
}
