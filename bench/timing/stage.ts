import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import authPlugin, { type Outcome, type Principal, type Scheme, type SchemeFactory } from '../../lib/index.js'
import type { Kind } from './question.js'

/**
 * An application with one scheme, and that scheme itself: a closer place to listen at, without what an application does
 * around it.
 */
export interface Stage {
  readonly app: FastifyInstance
  /** Asks through the whole application. */
  readonly send: (headers: Headers) => () => Promise<void>
  /** Asks the scheme alone. */
  readonly call: (headers: Headers, kind?: Outcome['kind']) => () => unknown
}

type Headers = Readonly<Record<string, string>>

/** Every answer must be a refusal: whoever measures something else learns nothing. */
export async function stage (factory: SchemeFactory<Principal>): Promise<Stage> {
  const app = Fastify()
  const made: Scheme[] = []
  const spied: SchemeFactory<Principal> = async (...about) => {
    const each = await factory(...about)
    made.push('scheme' in each ? each.scheme : each)
    return each
  }
  await app.register(
    authPlugin, { schemes: { one: spied }, publicPaths: ['/login', '/logout'], limits: { guesses: false } }
  )
  app.get('/', async () => 'never')
  const [scheme] = made
  if (scheme === undefined) throw new Error('no scheme was made')
  return {
    app,
    send: headers => async () => {
      const { statusCode } = await app.inject({ url: '/', headers })
      if (statusCode !== 401) throw new Error(`${statusCode} instead of 401`)
    },
    call (headers, kind = 'invalid') {
      const check = (outcome: Outcome): void => {
        if (outcome.kind !== kind) throw new Error(`${outcome.kind} instead of ${kind}`)
      }
      const request = {
        raw: { headers, rawHeaders: Object.entries(headers).flat() }, headers
      } as unknown as FastifyRequest
      return () => {
        const outcome = scheme.authenticate(request)
        return outcome instanceof Promise ? outcome.then(check) : check(outcome)
      }
    }
  }
}

/** The same credential, once more and once more. */
export function always (work: () => unknown): Kind {
  return () => work
}
