import type { InjectOptions } from 'fastify'
import { constraintsAsText, fileInPackage } from '../audit/rows.js'
import { routeInWords } from '../audit/snapshot.js'
import { misconfigured } from '../errors.js'
import type { Parts } from '../plugin/internals.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { describeValue } from '../util/describe.js'
import { isObject, isPlainObject } from '../util/objects.js'
import { functionOf, listOf, object, oneOf, optional, string } from '../util/options.js'
import { type AccessCase, constraintHeaders, type ParameterExamples, policyCases, sampleUrl } from './access-cases.js'
import { checkUse, outcomesByName, registrationsOf, runInjection, type Injected, type TestedApp } from './inject-as.js'

/** Registers a test: `test` of node:test, tap or vitest, or `it` of other runners. */
export type RegisterTest = (title: string, run: () => Promise<void>) => unknown

/** Options of {@link testAccess}. */
export interface TestAccessOptions {
  /**
   * Values of path parameters, by the pattern of the route: `{ '/orders/:id': { id: 7 } }`; `'*'` names a wildcard.
   * Default: what the schema of the parameters gives, or a made-up value.
   */
  readonly examples?: Readonly<Record<string, ParameterExamples>>
  /** `true` calls the handlers of callers who are let in. Default `false`: these requests end before the handler. */
  readonly reach?: boolean
  /** Beginnings of further URLs to which callers may be redirected. Default: the login pages of the sessions. */
  readonly loginPages?: readonly string[]
}

/** The result of {@link testAccess}. */
export interface AccessReport {
  /** The number of tests. */
  readonly tests: number
  /**
   * Lists the rules and routes that the tests cannot check: rules with functions, and routes for which no URL can be
   * made up.
   */
  readonly unproven: readonly string[]
}

const call = 'testAccess()'

/**
 * Registers a test for each route that is not public. It sends requests without a credential, with bad ones, as
 * principals that have just not enough, and as principals that have everything, and compares the answers with the
 * policy.
 *
 * @example
 * import { test } from 'node:test'
 * import { testAccess } from 'fastify-gatehouse/testing'
 *
 * await testAccess(app, test, { examples: { '/orders/:id': { id: 7 } } })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong argument, with `NODE_ENV=production`, and once the server
 * listens.
 */
export async function testAccess (
  app: TestedApp, test: RegisterTest, options: TestAccessOptions = {}
): Promise<AccessReport> {
  checkUse(app, call)
  const register = functionOf<RegisterTest>('that registers a test')(test, `The argument test of ${call}`)
  const settings = parse(options, `The options of ${call}`)
  await app.ready()
  const registrations = registrationsOf(app, call)
  const routes = registrations.flatMap(parts => routesOf(parts).map(route => new TestedRoute(app, parts, route)))
  checkExamples(routes, settings.examples)
  const plans = routes.map(route => ({ route, ...route.plan(settings) }))
  const unproven = plans.flatMap(({ route, open }) => open.map(what => `${route.title}: ${what}`))
  const tested = plans.filter(({ run }) => run !== null)
  // Waits for each test, where the runner returns a promise.
  for (const { route, run } of tested) {
    await register(`${route.title} lets in exactly whom its policy names`, run as () => Promise<void>)
  }
  if (unproven.length > 0) await register(inWords(unproven), async () => {})
  return Object.freeze({ tests: tested.length, unproven: Object.freeze(unproven) })
}

function inWords (unproven: readonly string[]): string {
  return `not proven by testAccess, ${unproven.length} in all: ${unproven.join('; ')}`
}

const noExamples: Readonly<Record<string, ParameterExamples>> = {}

const parse = object({
  examples: optional(parseExamples, noExamples),
  reach: optional(oneOf(true, false), false),
  loginPages: optional(listOf(string), [])
})

type Settings = ReturnType<typeof parse>

function parseExamples (value: unknown, option: string): Readonly<Record<string, ParameterExamples>> {
  const isExample = (each: unknown): boolean =>
    isObject(each) && Object.values(each).every(text => typeof text === 'string' || typeof text === 'number')
  if (isPlainObject(value) && Object.values(value).every(isExample)) return value as Record<string, ParameterExamples>
  throw misconfigured(`${option} must be an object of values by pattern and parameter, such as ` +
    `{ '/orders/:id': { id: 7 } }. Got ${describeValue(value)}.`)
}

function checkExamples (routes: readonly TestedRoute[], examples: Settings['examples']): void {
  const known = new Set(routes.map(({ route }) => route.url))
  const unknown = Object.keys(examples).find(url => !known.has(url))
  if (unknown === undefined) return
  throw misconfigured(`The option ${call}.examples has the pattern ${describeValue(unknown)}, which no protected ` +
    'route has. Write the whole pattern, with the prefixes of its contexts.')
}

/** Returns the routes that have a test: neither public, nor the HEAD of a GET, nor the preflight route of a plugin. */
function routesOf ({ registry }: Parts): readonly RoutePolicy[] {
  return registry.routes.filter(route => route.policy.access !== 'public' && !route.preflight &&
    !(route.methods === 'HEAD' && registry.routes.some(each => each.methods === 'GET' && isTwin(each, route))))
}

function isTwin (one: RoutePolicy, other: RoutePolicy): boolean {
  return one.url === other.url && one.policy === other.policy && one.constraints === other.constraints
}

let sent = 0

class TestedRoute {
  readonly route: RoutePolicy
  readonly #app: TestedApp
  readonly #parts: Parts
  readonly #methods: readonly string[]
  /** The methods, with that of the HEAD that Fastify added for a GET. */
  readonly #allMethods: readonly string[]

  constructor (app: TestedApp, parts: Parts, route: RoutePolicy) {
    this.#app = app
    this.#parts = parts
    this.route = route
    const hasHead = parts.registry.routes.some(each => each.methods === 'HEAD' && isTwin(each, route))
    this.#methods = [route.method].flat()
    this.#allMethods = [...this.#methods, ...route.methods === 'GET' && hasHead ? ['HEAD'] : []]
  }

  get title (): string {
    const { methods: method, url, constraints } = this.route
    return routeInWords({ method, url, constraints: constraintsAsText(constraints) })
  }

  /** Returns the test, `null` if no URL of the route is known, and what cannot be proven. */
  plan (settings: Settings): { readonly run: (() => Promise<void>) | null, readonly open: readonly string[] } {
    const url = sampleUrl(this.route, settings.examples[this.route.url] ?? {})
    const headers = constraintHeaders(this.route)
    if (url === null) return { run: null, open: ['its URL cannot be made up; write examples'] }
    if (headers === null) return { run: null, open: ['its constraints cannot be met'] }
    const { cases, unproven } = policyCases(this.route.policy)
    return { run: async () => { await this.#test(cases, { url, headers }, settings) }, open: unproven }
  }

  async #test (cases: readonly AccessCase[], base: InjectOptions, settings: Settings): Promise<void> {
    const findings: string[] = []
    for (const each of cases) {
      // A HEAD is answered by the same guard as its GET, but a cache in front of the guard may differ.
      for (const method of each.outcomes === null ? this.#allMethods : this.#methods) {
        const finding = await this.#send(each, { ...base, method: method as 'GET' }, settings)
        if (finding !== null) findings.push(`- ${each.caller}, ${method}: ${finding}`)
      }
    }
    if (findings.length === 0) return
    const { file } = this.route
    throw new Error(`${this.title}${file === null ? '' : ` (${fileInPackage(file)})`} does not keep to its policy:\n` +
      findings.join('\n'))
  }

  async #send (access: AccessCase, base: InjectOptions, settings: Settings): Promise<string | null> {
    const n = ++sent
    const { expects, outcomes, request } = access
    const options: InjectOptions = {
      ...base,
      ...request,
      headers: { ...base.headers, ...request.headers },
      // Each request has an address of its own, because the limits are not what is tested.
      remoteAddress: `10.${n >> 16 & 255}.${n >> 8 & 255}.${n & 255}`
    }
    const injected = await runInjection(this.#app, options, {
      outcomeOf: outcomes === null ? null : outcomesByName(outcomes(`test-access-${n}`)), stubbed: !settings.reach
    })
    return this.#otherRoute(injected) ?? this.#judge(expects, injected, settings)
  }

  #otherRoute ({ response, config }: Injected): string | null {
    const { key } = this.#parts
    const reached = config === null ? undefined : (config as Record<symbol, RoutePolicy | undefined>)[key]
    if (config === null && response.statusCode !== 404) return null
    if (reached !== undefined && isTwin(reached, this.route)) return null
    const where = reached === undefined ? 'no route' : `the route ${reached.url}`
    return `${String(response.raw.req.url)} leads to ${where}; write examples for ${this.route.url}`
  }

  #judge (expects: AccessCase['expects'], { response, handled }: Injected, settings: Settings): string | null {
    const { statusCode: status, headers } = response
    const answer = `answered ${status}${headers.location === undefined ? '' : ` to ${headers.location}`}`
    if (expects === 'entry') return status === 401 || status === 403 ? `refused, ${answer}` : null
    if (handled) return `reached the handler, ${answer}`
    const isRedirect = status >= 300 && status < 400
    const toLogin = isRedirect && this.#isLoginPage(String(headers.location), settings.loginPages)
    if (expects === 'no entry') return (status >= 400 && status !== 500) || toLogin ? null : answer
    // The body is validated before a guard in preHandler.
    const isInvalid = this.#parts.stage === 'preHandler' && [400, 413, 415].includes(status)
    return status === 401 || status === 403 || toLogin || isInvalid ? null : answer
  }

  #isLoginPage (location: string, loginPages: readonly string[]): boolean {
    const own = [...this.#parts.schemes.values()].flatMap(({ features }) => features.sessions?.loginPath ?? [])
    return own.some(path => location === path || location.startsWith(`${path}?`)) ||
      loginPages.some(start => location.startsWith(start))
  }
}
