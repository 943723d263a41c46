import Fastify, { type FastifyInstance } from 'fastify'
import gatehouse, {
  session,
  type GatehouseOptions,
  type SessionOptions,
  type Store,
  type StoreOwner
} from '../../../lib/index.js'
import type { LoginOptions } from '../../../types/sessions.js'
import { requester, secret } from './bare-app.js'

export const alice: StoreOwner = { realm: 'web', id: 'alice' }

interface LoginBody extends LoginOptions { readonly id?: string, readonly realm?: string }

/**
 * Creates an instance of an application: the plugin with one session scheme, and routes whose bodies say what to do.
 */
export async function createInstance (
  options: {
    readonly session?: Partial<SessionOptions>
    readonly loads?: false
    readonly store?: Store
    readonly after?: (app: FastifyInstance) => Promise<unknown>
    readonly gatehouse?: Partial<GatehouseOptions>
    readonly logger?: object
  } = {}
) {
  const app = Fastify({ logger: options.logger ?? false })
  const schemes = {
    web: session({
      secret: secret(),
      ...(options.loads === false ? {} : { load: principal => principal }),
      ...options.session
    })
  }
  await app.register(gatehouse, {
    schemes,
    ...(options.store === undefined ? {} : { store: options.store }),
    ...options.gatehouse
  })
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/me', async ({ auth }) => ({
    id: auth.principal?.id,
    session: (auth.credential as { id: string }).id,
    expiresAt: auth.expiresAt,
    authenticatedAt: auth.authenticatedAt,
    data: (auth.credential as { data: object }).data
  }))
  app.post('/login', open, async (request, reply) => {
    const { id = 'alice', realm, ...how } = (request.body ?? {}) as LoginBody
    await reply.login({ id, realm }, how)
    return {}
  })
  app.post('/logout', open, async (_request, reply) => {
    await reply.logout()
    return {}
  })
  await options.after?.(app)
  const ask = requester(app)
  return {
    app,
    ask,
    sessions: app.gatehouse.sessions,
    /** Logs in. Returns the cookie and the id of the session. */
    async enter (body: LoginBody = {}, headers: Record<string, string> = {}) {
      const answer = await ask('/login', { body, headers })
      const { body: { session: id } } = await ask('/me', { method: 'GET', cookie: answer.cookie })
      return { cookie: answer.cookie, id: id as string, setCookie: answer.setCookies[0] ?? '' }
    },
    /** Returns the status of a protected route. */
    async status (cookie: string): Promise<number> {
      return (await ask('/me', { method: 'GET', cookie })).status
    }
  }
}
