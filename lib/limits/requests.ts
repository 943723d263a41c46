import rateLimit, { type CreateRateLimitOptions } from '@fastify/rate-limit'
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

type Check = (request: FastifyRequest) => Promise<{ isAllowed: boolean, isExceeded?: boolean, ttlInSeconds?: number }>

/** Requests per principal and route, by `@fastify/rate-limit` in a child of its own, where its hooks and decorators meet nobody. */
export async function requestLimiter (app: FastifyInstance): Promise<RequestLimiter> {
  const keys = new WeakMap<FastifyRequest, string>()
  let create: ((options: CreateRateLimitOptions) => unknown) | undefined
  await app.register(async child => {
    await child.register(rateLimit, { global: false, cache: 100_000 })
    create = options => child.createRateLimit(options)
  })
  const checks = new WeakMap<Limit, Check>()
  return async (request, limit, principal) => {
    const check = checks.get(limit) ?? create?.({
      max: limit.max,
      timeWindow: limit.window * 1000,
      allowList: [],
      keyGenerator: (counted: FastifyRequest) => keys.get(counted) ?? ''
    }) as Check
    checks.set(limit, check)
    const { url } = request.routeOptions
    keys.set(request, JSON.stringify(['gatehouse', principal.realm, principal.id, request.method === 'HEAD' ? 'GET' : request.method, url]))
    const { isAllowed, isExceeded, ttlInSeconds } = await check(request)
    return !isAllowed && isExceeded === true ? Math.max(1, ttlInSeconds ?? 1) : null
  }
}
