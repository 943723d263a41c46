import { createRequire } from 'node:module'
import type { RateLimitOptions, RateLimitPluginOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { OwnRateLimit } from '../../types/limits.js'
import type { AuthFailure } from '../../types/outcome.js'
import { authFailure, defaultRetryAfter, internalError, redactError } from '../errors.js'
import type { CountRequest } from '../guard/guard.js'
import { RequestSlot, routeConfigOf, type Identity } from '../guard/request-state.js'
import type { Declaration } from '../policy/parse.js'
import type { DeclaredRateLimit, RateLimit, RateLimitWindow } from '../policy/rate-limit.js'
import { getOrCreate } from '../util/objects.js'
import { duration, text, wholeNumber } from '../util/options.js'

const require = createRequire(import.meta.url)

/**
 * Stands in for a request towards `@fastify/rate-limit`: the real request may have a `config.rateLimit` for the
 * application's own registration.
 */
interface CountedRequest {
  readonly routeOptions: { readonly config: object }
  readonly name: string
  readonly max: number
  /** Seconds. */
  readonly window: number
}

/** The result of `@fastify/rate-limit` for a request that is on no allow list. */
interface Count {
  readonly isExceeded: boolean
  readonly remaining: number
  readonly ttlInSeconds: number
}

type Check = (counted: CountedRequest) => Promise<Count>
type Create = (options: RateLimitOptions) => (counted: FastifyRequest) => Promise<Count>

/**
 * Principals that a limit counts at a time. The default of `@fastify/rate-limit` drops a counter after 5,000 others.
 */
const maxPrincipals = 100_000
/** Milliseconds after which a Redis that does not respond is unavailable. */
const redisTimeoutMs = 2_000

/** Counts requests, with a package that is loaded only where something is limited. */
export interface RequestLimiter {
  readonly count: CountRequest
  /** Loads the package, so that no request has to wait for it. */
  load (): Promise<unknown>
}

/**
 * Creates the limiter of requests. A limit that nobody knew of at boot, which an own scheme may return with an outcome,
 * loads the package when it is first counted.
 */
export function createRequestLimiter (app: FastifyInstance, redis: object | null): RequestLimiter {
  let loading: Promise<CountRequest> | null = null
  let loaded: CountRequest | null = null
  const load = async (): Promise<CountRequest> => {
    loading ??= createCounter(app, redis)
    loaded = await loading
    return loaded
  }
  return {
    load,
    count: (reply, limit, identities) => loaded === null
      ? load().then(count => count(reply, limit, identities), cause => uncounted(cause, reply, identities))
      : loaded(reply, limit, identities)
  }
}

/** Counts requests by principal and route, and by credential if that has its own limit, with `@fastify/rate-limit`. */
async function createCounter (app: FastifyInstance, redis: object | null): Promise<CountRequest> {
  const create = await createLimiterFactory(app, redis)
  const counter = new RequestCounter(window => {
    const check = create({
      // not always functions: `@fastify/rate-limit` awaits them for each request
      max: window === null ? request => countedOf(request).max : window.max,
      timeWindow: window === null ? request => countedOf(request).window * 1000 : Math.round(window.window * 1000),
      keyGenerator: request => countedOf(request).name,
      cache: maxPrincipals
    })
    return redis === null ? counted => check(asRequest(counted)) : counted => withTimeout(check(asRequest(counted)))
  })
  return (reply, limit, identities) => counter.count(reply, limit, identities)
}

/** A window of a limit that routes have. */
interface CountedWindow extends RateLimitWindow {
  /** The name of the policy in the headers. */
  readonly label: string
  /** The item of the header `RateLimit-Policy`. */
  readonly policyItem: string
  readonly check: Check
}

class RequestCounter {
  readonly #createCheck: (window: RateLimitWindow | null) => Check
  readonly #windows = new WeakMap<RateLimit, readonly CountedWindow[]>()
  /** The check of limits that credentials have. */
  readonly #ownCheck: Check

  /** @param createCheck creates the check of one window, or for `null` one of any window. */
  constructor (createCheck: (window: RateLimitWindow | null) => Check) {
    this.#createCheck = createCheck
    this.#ownCheck = createCheck(null)
  }

  /**
   * Counts a request, from the shortest window on, and writes the headers of its limits. A request that one window of
   * the route refuses does not use up the longer ones. The loops use indexes: a `for…of` keeps its iterator while it
   * waits, which takes 160 bytes of each request.
   */
  async count (
    reply: FastifyReply, limit: RateLimit | null, identities: readonly Identity[]
  ): Promise<AuthFailure | null> {
    try {
      const { request } = reply
      const acting = identities[0] as Identity
      let policyItems = ''
      let limitItems = ''
      let wait: number | null = null
      if (limit !== null) {
        const windows = this.#windowsOf(limit)
        for (let i = 0; i < windows.length; i++) {
          const window = windows[i] as CountedWindow
          policyItems = append(policyItems, window.policyItem)
          if (wait !== null) continue
          const count = await countOnce(request, window.check, counted(nameOf(request, window, acting), window))
          limitItems = append(limitItems, limitItem(window.label, count))
          wait = waitOf(count, wait)
        }
      }
      for (let i = 0; i < identities.length; i++) {
        const { bound: { name }, outcome: { rateLimit } } = identities[i] as Identity
        if (rateLimit == null) continue
        const rule = parseOwnRule(rateLimit, name)
        const count = await countOnce(request, this.#ownCheck, counted(JSON.stringify([name, rateLimit.id]), rule))
        policyItems = append(policyItems, policyItem(name, rule))
        limitItems = append(limitItems, limitItem(name, count))
        wait = waitOf(count, wait)
      }
      // draft-ietf-httpapi-ratelimit-headers-10
      reply.header('ratelimit-policy', policyItems).header('ratelimit', limitItems)
      return wait === null ? null : exceeded(acting, wait)
    } catch (cause) {
      return uncounted(cause, reply, identities)
    }
  }

  #windowsOf (limit: RateLimit): readonly CountedWindow[] {
    const known = this.#windows.get(limit)
    if (known !== undefined) return known
    const created = limit.windows.map(window => {
      const label = limit.windows.length === 1 ? 'default' : `default-${window.window}`
      return { ...window, label, policyItem: policyItem(label, window), check: this.#createCheck(window) }
    })
    this.#windows.set(limit, created)
    return created
  }
}

function exceeded ({ bound: { name } }: Identity, retryAfter: number): AuthFailure {
  const detail = 'the rate limit of the route or credential is exceeded'
  return { ...authFailure('AUTH_RATE_LIMITED', name, detail), retryAfter }
}

function uncounted (cause: unknown, { request }: FastifyReply, identities: readonly Identity[]): AuthFailure {
  const { bound: { name } } = identities[0] as Identity
  const detail = 'the rate limit could not be counted'
  request.log.error({ err: redactError(cause) }, detail)
  return { ...authFailure('AUTH_UNAVAILABLE', name, detail), retryAfter: defaultRetryAfter }
}

const ownRules = new WeakMap<OwnRateLimit, RateLimitWindow>()

const parseMax = wholeNumber({ min: 0 })
const parseWindow = duration({ positive: true })

/**
 * Parses the limit of a credential, once per object: a scheme that caches keys returns the same one every time.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong limit of an own scheme, which would limit nothing.
 */
function parseOwnRule (limit: OwnRateLimit, scheme: string): RateLimitWindow {
  const known = ownRules.get(limit)
  if (known !== undefined) return known
  const pathOf = (field: string): string => `rateLimit.${field} in an outcome of the scheme '${scheme}'`
  text(limit.id, pathOf('id'))
  const rule = { max: parseMax(limit.max, pathOf('max')), window: parseWindow(limit.window, pathOf('window')) }
  ownRules.set(limit, rule)
  return rule
}

/** Returns the longest wait in seconds, of at least one, or `null` if nothing is exceeded. */
function waitOf (count: Count, before: number | null): number | null {
  return count.isExceeded ? Math.max(1, before ?? 0, count.ttlInSeconds) : before
}

/** A count of a request, and those before it. */
interface NamedCount {
  readonly name: string
  readonly count: Promise<Count>
  readonly previous: NamedCount | undefined
}

const counts = new RequestSlot<NamedCount>()

/** Counts a request once per name, also when several guards have the same limit: the route's and a hook's. */
function countOnce (request: FastifyRequest, check: Check, counted: CountedRequest): Promise<Count> {
  const { name } = counted
  const previous = counts.get(request)
  let known = previous
  while (known !== undefined && known.name !== name) known = known.previous
  if (known !== undefined) return known.count
  const count = check(counted)
  counts.set(request, { name, count, previous })
  return count
}

/** Adds the limit of `limits.requests` to a declaration that is not public and has no limit of its own. */
export function withDefaultRateLimit (declaration: Declaration, rule: DeclaredRateLimit | null): Declaration {
  if (rule === null || declaration.publicReason !== null || declaration.rateLimit !== null) return declaration
  return Object.freeze({ ...declaration, rateLimit: rule })
}

/** Returns the item of the header `RateLimit`. */
function limitItem (label: string, { remaining, ttlInSeconds }: Count): string {
  return `"${label}";r=${remaining};t=${ttlInSeconds}`
}

function append (list: string, item: string): string {
  return list === '' ? item : `${list}, ${item}`
}

/** Returns the item of the header `RateLimit-Policy`. */
function policyItem (label: string, { max, window }: RateLimitWindow): string {
  return `"${label}";q=${max};w=${Math.ceil(window)}`
}

const noOptions: CountedRequest['routeOptions'] = Object.freeze({ config: Object.freeze({}) })

function counted (name: string, { max, window }: { readonly max: number, readonly window: number }): CountedRequest {
  return { routeOptions: noOptions, name, max, window }
}

/** Casts for `@fastify/rate-limit`, which reads only the fields of a request that a {@link CountedRequest} has. */
function asRequest (counted: CountedRequest): FastifyRequest {
  return counted as unknown as FastifyRequest
}

function countedOf (request: FastifyRequest): CountedRequest {
  return request as unknown as CountedRequest
}

/** Rejects after a timeout: a client that queues commands while Redis is down would block the request. */
async function withTimeout (count: Promise<Count>): Promise<Count> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => { reject(internalError(`Redis did not count within ${redisTimeoutMs} ms`)) }, redisTimeoutMs
    )
  })
  try {
    return await Promise.race([count, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The part of a counter's name that belongs to the route, by its config and the window. */
const routeNames = new WeakMap<object, Map<RateLimitWindow, string>>()

/** Returns the name of the counter of a principal on a route. */
function nameOf (
  request: FastifyRequest, window: RateLimitWindow, { outcome: { principal: { realm, id } } }: Identity
): string {
  return `[${quote(realm)},${quote(id)},${routeName(request, window)}`
}

/** Returns the same as `JSON.stringify`, which takes longer for names without special characters. */
function quote (name: string): string {
  return /^[\w.:@|-]*$/.test(name) ? `"${name}"` : JSON.stringify(name)
}

/**
 * Returns the part of a counter's name that identifies the route and the window. A route with GET, alone or with other
 * methods, shares its count with the HEAD route that Fastify adds.
 */
function routeName (request: FastifyRequest, window: RateLimitWindow): string {
  const config = routeConfigOf(request) as FastifyRequest['routeOptions']['config']
  const names = getOrCreate(routeNames, config, () => new Map<RateLimitWindow, string>())
  return getOrCreate(names, window, () => {
    const { method, url } = config
    const methods = [method].flat()
    const isRead = methods.includes('GET') || methods.join() === 'HEAD'
    return JSON.stringify([isRead ? 'GET' : methods.join(' '), url, window.max, window.window]).slice(1)
  })
}

/**
 * Returns the `createRateLimit` of `@fastify/rate-limit`. The package adds its decorators only if no parent has them,
 * so if the application registers it too, we would use the application's store and allow list. It therefore gets a
 * wrapper of the instance that keeps decorators to itself and ignores hooks.
 */
async function createLimiterFactory (app: FastifyInstance, redis: object | null): Promise<Create> {
  const decorators = new Map<string, unknown>()
  const ignore = { value: () => {} }
  const wrapper = Object.create(app, {
    hasDecorator: { value: () => false },
    decorate: { value: (name: string, value: unknown) => { decorators.set(name, value) } },
    decorateRequest: ignore,
    addHook: ignore
  })
  const { default: rateLimit }: typeof import('@fastify/rate-limit') = require('@fastify/rate-limit')
  const run = rateLimit as unknown as (instance: FastifyInstance, options: RateLimitPluginOptions) => Promise<void>
  await run(wrapper, { global: false, ...redis === null ? {} : { redis, nameSpace: 'gatehouse-requests-' } })
  return decorators.get('createRateLimit') as Create
}
