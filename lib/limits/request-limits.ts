import rateLimit, { type RateLimitOptions, type RateLimitPluginOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { OwnRateLimit } from '../../types/limits.js'
import { internalError } from '../errors.js'
import type { CountRequest } from '../guard/guard.js'
import type { Identity } from '../guard/request-state.js'
import type { Declaration, RateLimit } from '../policy/parse.js'
import { parseDuration } from '../util/duration.js'
import { privateSlot } from '../util/private-slot.js'
import type { RequestRule } from './options.js'

/** What is counted: in place of the request, whose own `config.rateLimit` is for the application's `@fastify/rate-limit`. */
interface Counted {
  readonly routeOptions: { readonly config: object }
  readonly name: string
  readonly max: number
  /** Seconds. */
  readonly window: number
}

/** Nobody is on an allow list of ours, so these are always there. */
interface Count {
  readonly isExceeded: boolean
  readonly remaining: number
  readonly ttlInSeconds: number
}

type Check = (counted: Counted) => Promise<Count>
type Create = (options: RateLimitOptions) => (counted: FastifyRequest) => Promise<Count>

/** How many principals a policy counts at a time. The default of `@fastify/rate-limit` forgets a counter after 5,000 others. */
const cache = 100_000
/** Milliseconds until a Redis that does not answer counts as down. */
const redisTimeout = 2_000

/** Requests per principal and route, and per credential that has a limit of its own, by `@fastify/rate-limit`. Rejects when the counter does not answer. */
export async function createRequestLimiter (app: FastifyInstance, redis: object | null): Promise<CountRequest> {
  const create = await createLimiterFactory(app, redis)
  const make = (): Check => {
    const check = create({
      max: request => countedOf(request).max,
      timeWindow: request => countedOf(request).window * 1000,
      keyGenerator: request => countedOf(request).name,
      cache
    })
    return redis === null ? counted => check(asRequest(counted)) : counted => within(check(asRequest(counted)))
  }
  const checks = new WeakMap<RateLimit, Check>()
  const own = make()

  const ofRoute = (request: FastifyRequest, limit: RateLimit, { outcome: { principal } }: Identity, once: Once): Promise<Count> => {
    const check = checks.get(limit) ?? make()
    checks.set(limit, check)
    return once(check, counted(JSON.stringify([principal.realm, principal.id, methodOf(request), request.routeOptions.url, limit.max, limit.window]), limit))
  }

  return async (reply, limit, identities) => {
    const [acting] = identities
    const once = onceOf(reply.request)
    const asked = limit === null || acting === undefined ? [] : [{ ...limit, name: 'default', count: await ofRoute(reply.request, limit, acting, once) }]
    for (const { bound, outcome } of identities) {
      if (outcome.rateLimit == null) continue
      const rule = ownRule(outcome.rateLimit)
      asked.push({ ...rule, name: bound.name, count: await once(own, counted(ownName(bound.name, outcome.rateLimit), rule)) })
    }
    announce(reply, asked)
    const waits = asked.filter(({ count }) => count.isExceeded).map(({ count }) => count.ttlInSeconds)
    return waits.length === 0 ? null : Math.max(1, ...waits)
  }
}

const ownRules = new WeakMap<OwnRateLimit, RequestRule>()

/** Parses the limit of a credential once: a scheme that remembers keys returns the same object for each request. */
function ownRule (limit: OwnRateLimit): RequestRule {
  const known = ownRules.get(limit)
  if (known !== undefined) return known
  const rule = { max: limit.max, window: parseDuration(limit.window, 'The window of the limit of a credential') }
  ownRules.set(limit, rule)
  return rule
}

/** Counts, unless this request was counted under the name before. */
type Once = (check: Check, counted: Counted) => Promise<Count>

const counts = privateSlot<FastifyRequest, Map<string, Promise<Count>>>()

/** A request may pass several guards that have one limit: the route's and a hook's. It is one request. */
function onceOf (request: FastifyRequest): Once {
  const known = counts.get(request) ?? new Map<string, Promise<Count>>()
  if (counts.get(request) === undefined) counts.set(request, known)
  return (check, counted) => {
    const count = known.get(counted.name) ?? check(counted)
    known.set(counted.name, count)
    return count
  }
}

/** The plugin's default with the limit of the option `limits.requests`, unless it has one itself. */
export function withDefaultRateLimit (declaration: Declaration, rule: RequestRule | null): Declaration {
  return rule === null || declaration.open !== null || declaration.rateLimit !== null ? declaration : Object.freeze({ ...declaration, rateLimit: rule })
}

/** RateLimit header fields for HTTP (draft-ietf-httpapi-ratelimit-headers-10): what is granted, and what is left of it. */
function announce (reply: FastifyReply, asked: ReadonlyArray<RateLimit & { readonly name: string, readonly count: Count }>): void {
  reply.header('ratelimit-policy', asked.map(({ name, max, window }) => `"${name}";q=${max};w=${Math.ceil(window)}`).join(', '))
  reply.header('ratelimit', asked.map(({ name, count }) => `"${name}";r=${count.remaining};t=${count.ttlInSeconds}`).join(', '))
}

function counted (name: string, { max, window }: { readonly max: number, readonly window: number }): Counted {
  return { routeOptions: { config: {} }, name, max, window }
}

function ownName (scheme: string, { id }: OwnRateLimit): string {
  return JSON.stringify([scheme, id])
}

/** The border to `@fastify/rate-limit`, which looks at nothing else of a request than what a {@link Counted} has. */
function asRequest (counted: Counted): FastifyRequest {
  return counted as unknown as FastifyRequest
}

function countedOf (request: FastifyRequest): Counted {
  return request as unknown as Counted
}

/** A client that queues while its server is away would keep the caller waiting. */
async function within (count: Promise<Count>): Promise<Count> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(internalError(`Redis did not count within ${redisTimeout} ms`)) }, redisTimeout)
  })
  try {
    return await Promise.race([count, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A route of several methods is one route, and so is a GET with the HEAD that Fastify made for it. */
function methodOf ({ routeOptions }: FastifyRequest): string {
  const methods = [routeOptions.method].flat().join(' ')
  return methods === 'HEAD' ? 'GET' : methods
}

/**
 * `@fastify/rate-limit` adds its decorators only where no context above has them: beside the application's own, we would be given the application's,
 * with its store and its allow list. So it runs on an instance of its own, which takes the decorators and passes everything else on to a child.
 */
async function createLimiterFactory (app: FastifyInstance, redis: object | null): Promise<Create> {
  const taken = new Map<string, unknown>()
  await app.register(async child => {
    const own = Object.create(child, {
      hasDecorator: { value: () => false },
      decorate: { value: (name: string, value: unknown) => { taken.set(name, value) } }
    })
    const run = rateLimit as unknown as (instance: FastifyInstance, options: RateLimitPluginOptions) => Promise<void>
    await run(own, { global: false, ...redis === null ? {} : { redis, nameSpace: 'gatehouse-requests-' } })
  })
  return taken.get('createRateLimit') as Create
}
