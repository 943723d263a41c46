import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { absent, authenticated, expired, foreign, invalid, plugin, unavailable, AuthError, type GatehouseOptions, type Scheme } from '../../lib/index.js'

/** Whom a test's header says that it is; `age` is the seconds since the person authenticated. */
export interface Sent { readonly id?: string, readonly scopes?: readonly string[], readonly roles?: readonly string[], readonly age?: number, readonly realm?: string }

/** A scheme that believes the header of its own name, and keeps count of how often it was asked. */
export function believer (name: string, more: Partial<Scheme> = {}) {
  const asked = { count: 0 }
  const scheme: Scheme = {
    openapi: { type: 'apiKey', in: 'header', name: `x-${name}` },
    challenge: () => ({ scheme: 'Believer', params: { realm: name } }),
    ...more,
    authenticate (request) {
      asked.count++
      const value = request.headers[`x-${name}`]
      if (typeof value !== 'string') return absent
      switch (value) {
        case 'bad': return invalid('the test says so')
        case 'expired': return expired('the test says so')
        case 'foreign': return foreign
        case 'down': return unavailable('the test says so')
      }
      const { age, ...principal } = { id: 'ann', ...JSON.parse(value) as Sent }
      return authenticated(principal, { credential: null, authenticatedAt: age === undefined ? null : new Date(Date.now() - age * 1000) })
    }
  }
  return Object.assign(scheme, { asked })
}

/** The header that {@link believer} believes. */
export function as (principal: Sent = {}, name = 'user'): Record<string, string> {
  return { [`x-${name}`]: JSON.stringify(principal) }
}

/** Three schemes; `user` and `web` can say when somebody authenticated. */
export function trio () {
  return { user: believer('user', { dated: true }), web: believer('web', { dated: true }), service: believer('service') }
}

type Declare = (app: FastifyInstance) => unknown

export interface Setting {
  readonly options?: Record<string, unknown>
  readonly fastify?: FastifyServerOptions
  /** Before the plugin. */
  readonly before?: Declare
}

/** An application with the plugin; where the options name no schemes, there are three, and the default is `user`. */
export async function build (declare: Declare, { options = {}, fastify = {}, before }: Setting = {}): Promise<FastifyInstance> {
  const app = Fastify(fastify as object) as unknown as FastifyInstance
  await before?.(app)
  const complete: unknown = 'schemes' in options ? options : { schemes: trio(), default: 'user', ...options }
  await app.register(plugin, complete as GatehouseOptions)
  await declare(app)
  return app
}

/** An application that is ready, and closed when the test ends. `ran` lists the routes whose handlers ran. */
export async function boot (t: Test, declare: (app: FastifyInstance, ran: string[]) => unknown, setting?: Setting) {
  const ran: string[] = []
  const app = await build(app => declare(app, ran), setting)
  t.teardown(() => app.close())
  await app.ready()
  const ask = async (url: string, headers: Record<string, string> = {}, more: InjectOptions = {}) => {
    const response = await app.inject({ url, headers, ...more })
    return { status: response.statusCode, code: codeOf(response.body), headers: response.headers, body: response.body }
  }
  return { app, ran, ask }
}

function codeOf (body: string): string | null {
  try {
    return (JSON.parse(body) as { code?: string }).code ?? null
  } catch {
    return null
  }
}

/** `config`, whatever stands in it: what the types would not let through as well. */
export function says (auth: unknown): { config: object } {
  return { config: { auth } }
}

/** What a group of routes says, likewise. */
export function group (app: FastifyInstance, auth: unknown): void {
  app.gatehouse.default(auth as 'user')
}

/** A route that says `auth`; without it, nothing. */
export function route (app: FastifyInstance, ran: string[], url: string, ...[auth]: [unknown?] | []): void {
  app.get(url, auth === undefined ? {} : says(auth), async () => {
    ran.push(url)
    return { url }
  })
}

/** Asserts that an application does not boot, and that the sentence says all of what is asked: the route, and the mend. */
export async function stops (t: Test, declare: Declare, sentence: readonly (string | RegExp)[], setting?: Setting): Promise<void> {
  const error = await mistake(declare, setting)
  if (!(error instanceof AuthError)) return t.fail(`the boot was not stopped by this plugin, where it should say ${sentence.join()}`, { error }) as unknown as undefined
  t.equal(error.code, 'AUTH_MISCONFIGURED')
  for (const part of sentence) {
    if (typeof part === 'string') t.ok(error.message.includes(part), `${JSON.stringify(error.message)} has ${JSON.stringify(part)}`)
    else t.match(error.message, part)
  }
}

/** What stops the boot, or `null`. */
export async function mistake (declare: Declare, setting?: Setting): Promise<unknown> {
  let app: FastifyInstance | undefined
  try {
    app = await build(async made => { app = made; await declare(made) }, setting)
    await app.ready()
    return null
  } catch (error) {
    return error
  } finally {
    await app?.close().catch(() => {})
  }
}
