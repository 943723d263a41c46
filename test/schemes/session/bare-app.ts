import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { session, type SessionCredential, type SessionOptions } from '../../../lib/schemes/session/scheme.js'
import type { Outcome } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { SessionFeature } from '../../../types/sessions.js'
import type { Store } from '../../../types/store.js'
import { createScheme } from '../../fixtures/schemes.js'

type Made = Awaited<ReturnType<typeof createScheme>>

export const secret = (): string => randomBytes(32).toString('base64url')

export const alice = { id: 'alice', scopes: ['orders:read'], roles: ['clerk'], name: 'Alice' }

type Before = (app: FastifyInstance) => Promise<unknown>

/** Creates a bare application whose routes call one session scheme directly, with a clock of its own. */
export async function bareApp (
  options: Partial<SessionOptions> = {},
  more: { name?: string; before?: Before; after?: Before; store?: Store } = {}
) {
  const app = Fastify()
  await more.before?.(app)
  const name = more.name ?? 'web'
  const complete = { secret: secret(), ...options }
  const made = await createScheme(session(complete), app, name, more.store)
  await more.after?.(app)
  addRoutes(app, made)
  return { app, scheme: made.scheme, sessions: made.features.sessions, ask: requester(app) }
}

/** Adds the routes of one scheme, below a prefix. */
export function addRoutes (app: FastifyInstance, { scheme, features: { sessions } }: Made, prefix = ''): void {
  app.get(`${prefix}/me`, async request => show(await scheme.authenticate(request)))
  app.post(`${prefix}/login`, async (request, reply) => {
    const { principal = alice, data } = (request.body ?? {}) as {
      principal?: PrincipalInput
      data?: Record<string, unknown>
    }
    await login(sessions, request, reply, principal, data)
    return { returnTo: sessions?.returnTo?.(request, '/home') }
  })
  app.post(`${prefix}/logout`, async (request, reply) => {
    await sessions?.logout(request, reply)
    return {}
  })
  app.post(`${prefix}/data`, async request => {
    const outcome = await scheme.authenticate(request)
    const credential = credentialOf(outcome)
    credential.update(request.body as Record<string, unknown>)
    return { data: credential.data }
  })
}

export async function login (
  sessions: SessionFeature | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
  principal: PrincipalInput,
  data?: Record<string, unknown>
): Promise<void> {
  await sessions?.login(request, reply, principal, data === undefined ? {} : { data })
}

export function credentialOf (outcome: Outcome<Principal>): SessionCredential {
  if (outcome.kind !== 'authenticated') throw new Error(`not authenticated but ${outcome.kind}`)
  return outcome.credential as SessionCredential
}

function show (outcome: Outcome<Principal>) {
  if (outcome.kind !== 'authenticated') return { kind: outcome.kind }
  const { id, data } = credentialOf(outcome)
  return { ...outcome, credential: { id, data } }
}

export interface Ask { method?: 'GET' | 'POST', cookie?: string, headers?: Record<string, string>, body?: object }

/** Returns a function that sends one request, and returns the response with the cookies that it sets. */
export function requester (app: FastifyInstance) {
  return async (url: string, { method = 'POST', cookie, headers = {}, body }: Ask = {}) => {
    const answer = await app.inject({
      method,
      url,
      headers: cookie === undefined ? headers : { ...headers, cookie },
      ...(body === undefined ? {} : { payload: body })
    })
    const setCookies = [answer.headers['set-cookie'] ?? []].flat()
    return {
      status: answer.statusCode,
      headers: answer.headers,
      body: String(answer.headers['content-type']).startsWith('application/json') ? answer.json() : answer.body,
      setCookies,
      /** `name=value` of the first cookie that was set. */
      cookie: setCookies[0]?.split(';')[0] ?? ''
    }
  }
}

/** Stops `Date.now` until the test ends; only the test moves it. */
export function clock (t: Test, from = 1_700_000_000_000) {
  const real = Date.now
  let now = from
  Date.now = () => now
  t.teardown(() => { Date.now = real })
  return { advance: (seconds: number) => { now += seconds * 1000 }, now: () => now }
}
