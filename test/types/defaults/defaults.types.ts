import Fastify, { type FastifyRequest } from 'fastify'
import authPlugin, { type GroupAuth, type PrincipalOf, type Scheme, type SchemesOf } from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import type { PrincipalFor } from '../../../types/request-auth.js'

interface Person {
  readonly realm: string
  readonly id: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly email: string
}
declare const web: Scheme<Person, null>
declare const service: Scheme
declare const partner: Scheme
const schemes = { web, service, partner }
const everybody = ['web', 'service'] as const satisfies GroupAuth
const admins = { schemes: 'web', roles: 'admin' } as const satisfies GroupAuth

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Defaults { plugin: typeof everybody, admins: typeof admins }
}

const app = Fastify()
type Anybody = PrincipalOf<'web'> | PrincipalOf<'service'>

describe('a declared default', () => {
  test('is whom a route without config.auth lets in', () => {
    app.get('/', async request => { expectTypeOf(request.principal).toEqualTypeOf<Anybody>() })
    app.get('/', async ({ auth }) => {
      expectTypeOf(auth.authenticated).toEqualTypeOf<true>()
      expectTypeOf(auth.signal).toEqualTypeOf<AbortSignal>()
    })
    app.get('/', { config: { team: 'orders' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Anybody>()
    })
  })

  test('has the schemes of a route that names none', () => {
    app.get('/', { config: { auth: true } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Anybody>()
    })
    app.get(
      '/', { config: { auth: { roles: 'a', mode: 'optional' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>() }
    )
  })

  test('gives way to what a route says', () => {
    app.get('/', { config: { auth: 'web' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Person>()
    })
    app.get('/', { config: { auth: false } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<null>()
    })
    expectTypeOf<PrincipalFor<{ auth: 'partner' }>>().toEqualTypeOf<PrincipalOf<'partner'>>()
  })

  test('is the only one that compiles', () => {
    app.register(authPlugin, { schemes, default: everybody })
    app.register(authPlugin, { schemes, default: ['web', 'service'] as const })
    // @ts-expect-error
    app.register(authPlugin, { schemes, default: 'partner' })
    app.gatehouse.default({ schemes: 'web', roles: 'admin' })
    // @ts-expect-error
    app.gatehouse.default({ schemes: 'partner' })
    // @ts-expect-error
    app.gatehouse.default({ public: 'the browser application' })
  })

  test('is that of a plain request, which every route still passes to functions', () => {
    expectTypeOf<FastifyRequest['principal']>().toEqualTypeOf<Anybody>()
    const helper = (request: FastifyRequest): string => request.principal.id
    app.get('/', async request => helper(request))
    app.get('/', { config: { auth: { mode: 'optional' } } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>()
      return helper(request)
    })
  })
})
