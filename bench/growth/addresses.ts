import Fastify from 'fastify'
import authPlugin, { basic } from '../../lib/index.js'
import type { LimitsOptions } from '../../types/limits.js'
import type { Flood, Section } from './flood.js'

/** Returns an address for each number; every second one is an IPv6 /64. */
function addressOf (i: number): string {
  return i % 2 === 0
    ? [i >>> 24, i >> 16, i >> 8, i].map(byte => byte & 255).join('.')
    : `2001:db8:${(i >>> 16).toString(16)}:${(i & 65_535).toString(16)}::1`
}

/**
 * Creates a flood of wrong passwords of new accounts from new addresses: half with Basic, half with a login of the
 * application.
 */
async function guesses (limits?: LimitsOptions): Promise<Flood> {
  const app = Fastify()
  const verify = async (): Promise<null> => null
  await app.register(
    authPlugin,
    { schemes: { ops: basic({ verify }) }, publicPaths: ['/login'], ...limits === undefined ? {} : { limits } }
  )
  app.get('/', async () => ({}))
  app.post<{ Querystring: { user: string } }>('/login', async (request, reply) => {
    await app.gatehouse.guesses.attempt(reply, request.query.user, verify)
    return reply.code(401).send()
  })
  await app.ready()
  const send = async (i: number): Promise<number> => {
    const remoteAddress = addressOf(i)
    const answer = i % 4 < 2
      ? await app.inject({
          url: '/',
          remoteAddress,
          headers: { authorization: `Basic ${Buffer.from(`user-${i}:wrong`).toString('base64')}` }
        })
      : await app.inject({ method: 'POST', url: `/login?user=user-${i}`, remoteAddress })
    return answer.statusCode
  }
  // beyond the counters in memory, the sketch refuses some names that collide
  return { app, statuses: [401, 429], send }
}

/**
 * Creates a flood of requests of many different principals under a limit, of which @fastify/rate-limit keeps 100,000.
 */
async function principals (): Promise<Flood> {
  const app = Fastify()
  await app.register(
    authPlugin,
    {
      schemes: { ops: basic({ verify: username => ({ id: username }) }) },
      limits: { guesses: false, requests: { max: 10, window: '1h' } }
    }
  )
  app.get('/', async () => ({}))
  await app.ready()
  const send = async (i: number): Promise<number> =>
    (
      await app.inject({
        url: '/', headers: { authorization: `Basic ${Buffer.from(`user-${i}:right`).toString('base64')}` }
      })
    ).statusCode
  return { app, statuses: [200], send }
}

export const addresses: readonly Section[] = [
  { name: 'addresses: wrong passwords of as many accounts', full: 60_000, make: async () => guesses() },
  {
    name: 'addresses: the same, each guess locking its account and address',
    full: 60_000,
    make: async () => guesses({ guesses: { perAccount: 1, perAddress: 1 } })
  },
  { name: 'principals: under a limit of requests, up to its 100,000', full: 110_000, make: principals }
]
