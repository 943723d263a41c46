import rateLimit, { type RateLimitOptions, type RateLimitPluginOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'

/** A limit as a policy states it. */
interface Limit {
  /** Requests per window. */
  readonly max: number
  /** Seconds. */
  readonly window: number
}

/** Counts one request of a principal on its route. Resolves to the seconds to wait when it is over the limit, else `null`; rejects when the counter does not answer. */
export type RequestLimiter = (request: FastifyRequest, limit: Limit, principal: Principal) => Promise<number | null>

/** Nobody is on an allow list of ours, so these are always there. */
type Check = (request: FastifyRequest) => Promise<{ isExceeded: boolean, ttlInSeconds: number }>

type Create = (options: RateLimitOptions) => Check

/** How many principals a policy counts at a time. Its own default forgets a counter after 5,000 others. */
const cache = 100_000

/** Requests per principal and route, by `@fastify/rate-limit`. */
export async function requestLimiter (app: FastifyInstance): Promise<RequestLimiter> {
  const keys = new WeakMap<FastifyRequest, string>()
  const checks = new WeakMap<Limit, Check>()
  const create = await limiterFactory(app)
  return async (request, limit, principal) => {
    const check = checks.get(limit) ?? create({
      max: limit.max,
      timeWindow: limit.window * 1000,
      cache,
      keyGenerator: counted => String(keys.get(counted))
    })
    checks.set(limit, check)
    keys.set(request, JSON.stringify([principal.realm, principal.id, methodOf(request), request.routeOptions.url]))
    const { isExceeded, ttlInSeconds } = await check(request)
    return isExceeded ? Math.max(1, ttlInSeconds) : null
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
async function limiterFactory (app: FastifyInstance): Promise<Create> {
  const taken = new Map<string, unknown>()
  await app.register(async child => {
    const own = Object.create(child, {
      hasDecorator: { value: () => false },
      decorate: { value: (name: string, value: unknown) => { taken.set(name, value) } }
    })
    const run = rateLimit as unknown as (instance: FastifyInstance, options: RateLimitPluginOptions) => Promise<void>
    await run(own, { global: false })
  })
  return taken.get('createRateLimit') as Create
}
