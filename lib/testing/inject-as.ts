import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'
import type { FastifyRequest, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { PrincipalOf, SchemeName } from '../../types/names.js'
import type { Outcome } from '../../types/outcome.js'
import type { PrincipalInput } from '../../types/principal.js'
import type { SessionCredential } from '../../types/sessions.js'
import { misconfigured } from '../errors.js'
import { installTestSeam, noteTestKit, testSeam } from '../guard/test-seam.js'
import { absent, authenticated } from '../kit/outcome.js'
import { principalAtBoot, principalFrom } from '../kit/principal.js'
import { type Parts, registeredParts } from '../plugin/internals.js'
import type { BoundScheme } from '../policy/policy.js'
import { didYouMean, joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { date, object, optional, text } from '../util/options.js'

/** Options of {@link injectAs}. */
export interface InjectAsOptions<K extends SchemeName = SchemeName> {
  /**
   * The scheme that authenticates the requests; needed only if the application has several. A list for routes that
   * require all of several schemes.
   */
  readonly scheme?: K | readonly K[]
  /**
   * The value of `request.auth.credential` in handlers. Default: an empty session for schemes with sessions, otherwise
   * `null`.
   */
  readonly credential?: unknown
  /** The time at which the person authenticated, for `maxAge`. Default: now, for schemes that report it. */
  readonly authenticatedAt?: Date
}

/** Sends a request as the principal. Takes what `app.inject` takes, and returns its response. */
export type InjectedAs = (request: string | InjectOptions) => Promise<LightMyRequestResponse>

const call = 'injectAs()'

/**
 * Returns a function like `app.inject`, whose requests are authenticated as a principal, without a credential. Only
 * authentication is skipped: rules, limits, `when` and every other part of the guard are those of the application.
 * `load` is not called, so the principal has all the fields that rules and handlers read.
 *
 * @example
 * const ada = injectAs(app, { id: 'ada', roles: ['clerk'] }, { scheme: 'web' })
 * const response = await ada('/orders')
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong argument, with `NODE_ENV=production`, and once the server
 * listens.
 */
export function injectAs<K extends SchemeName, P extends PrincipalInput & Partial<PrincipalOf<K>>> (
  app: TestedApp, principal: P, options: InjectAsOptions<K> = {}
): InjectedAs {
  checkUse(app, call)
  const parsed = parse(options, `The options of ${call}`)
  principalAtBoot(principal, 'test', call)
  return async request => {
    checkUse(app, call)
    await app.ready()
    const outcomes = new Map(
      schemesOf(app, parsed.scheme).map(bound => [bound.name, outcomeOf(bound, principal, parsed)])
    )
    const injection = { outcomeOf: outcomesByName(outcomes), stubbed: false }
    const { response } = await runInjection(app, typeof request === 'string' ? { url: request } : request, injection)
    return response
  }
}

const parse = object({
  scheme: optional(schemeNames, null),
  credential: optional(value => value, null),
  authenticatedAt: optional(date, null)
})

function schemeNames (value: unknown, option: string): readonly string[] {
  const names: readonly unknown[] = Array.isArray(value) ? [...value] : [value]
  if (names.length === 0) throw misconfigured(`${option} must name a scheme, or several in a list.`)
  return names.map((name, i) => text(name, Array.isArray(value) ? `${option}[${i}]` : option))
}

function outcomeOf (
  { name, scheme, features }: BoundScheme, principal: PrincipalInput, options: ReturnType<typeof parse>
): Outcome {
  const now = scheme.reportsAuthTime === true ? new Date() : null
  const authenticatedAt = options.authenticatedAt ?? now
  const credential = options.credential ?? (features.sessions === undefined ? null : emptySession())
  return authenticated(principalFrom(principal, name), { credential, authenticatedAt })
}

/** Returns what handlers see of a session, whose data lasts for one request. */
function emptySession (): SessionCredential {
  let data = Object.freeze({})
  return Object.freeze({
    id: 'test',
    get data () { return data },
    update (next: object) { data = Object.freeze({ ...next }) }
  })
}

/** Returns the named schemes, or the only one. */
function schemesOf (app: TestedApp, names: readonly string[] | null): readonly BoundScheme[] {
  const known = registrationsOf(app, call).flatMap(({ schemes }) => [...schemes.values()])
  const all = known.map(bound => bound.name)
  if (names === null) {
    if (known.length === 1) return known
    throw misconfigured(`${call} needs the option scheme, because the application has several schemes: ` +
      `${joinNames(all, 'and')}.`)
  }
  const unknown = names.find(name => !all.includes(name))
  if (unknown === undefined) return known.filter(bound => names.includes(bound.name))
  throw misconfigured(`The option scheme of ${call} names '${unknown}', which is not among the schemes of the ` +
    `application.${didYouMean(unknown, all)} Known: ${joinNames(all, 'and')}.`)
}

noteTestKit()

/** Describes the part of a Fastify application that the test kit needs, with any kind of server. */
export interface TestedApp {
  readonly server: { readonly listening: boolean }
  ready (): PromiseLike<unknown>
  inject (options: InjectOptions): PromiseLike<LightMyRequestResponse>
}

/** Tells the guard how to treat one request of a test. */
interface Injection {
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
  /** The request of this call, once it is known. Requests that its handler injects do not belong to the call. */
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
  const setHandled = (handled: boolean) => (message: unknown) => {
    const running = runningOf((message as { readonly request: FastifyRequest }).request)
    if (running !== undefined) running.handled = handled
  }
  subscribe('tracing:fastify.request.handler:start', setHandled(true))
  // An error of a preHandler hook follows the same start.
  subscribe('tracing:fastify.request.handler:error', setHandled(false))
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

function isApp (value: unknown): boolean {
  return isObject(value) && isObject(value.server) && typeof value.inject === 'function'
}

/**
 * Checks that the test kit may be used.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for what is not an application, in production, and once the server listens.
 */
export function checkUse (app: TestedApp, call: string): void {
  if (!isApp(app)) throw misconfigured(`${call} needs a Fastify application as its first argument.`)
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
  const parts = registeredParts(app.server)
  if (parts.length > 0) return parts
  throw misconfigured(`${call} got an application without fastify-gatehouse. Register the plugin in it first.`)
}

/** Returns the outcomes of schemes by name, as `outcomeOf`: other schemes have no credential. */
export function outcomesByName (outcomes: ReadonlyMap<string, Outcome>): Injection['outcomeOf'] {
  return bound => outcomes.get(bound.name) ?? absent
}
