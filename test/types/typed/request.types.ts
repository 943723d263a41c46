import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import type { AuditRow, GrantRecord, PrincipalOf, RequestAuth, RouteAuth } from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import type { AuthError } from '../../../lib/errors.js'
import type { PrincipalFor } from '../../../types/request-auth.js'
import type { WebPrincipal } from './application.js'

const app = Fastify()
const box = app.withTypeProvider<TypeBoxTypeProvider>()

type User = PrincipalOf<'user'>
type Service = PrincipalOf<'service'>
type Anybody = User | WebPrincipal | Service

declare function helper (request: FastifyRequest): string

describe('request.principal', () => {
  test('is the principal of the scheme that the route names', () => {
    app.get('/', { config: { auth: 'user' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
    })
    app.get(
      '/',
      { config: { auth: { schemes: 'web' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: { inherit: false, schemes: 'service' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<Service>() }
    )
    app.route({
      method: 'POST',
      url: '/',
      config: { auth: { schemes: 'web', roles: 'admin' } },
      handler: async request => { expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal>() }
    })
  })

  test('is one of several schemes\' principals', () => {
    app.get(
      '/',
      { config: { auth: ['user', 'web'] } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User | WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: { schemes: ['web', 'service'], mode: 'required' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal | Service>() }
    )
  })

  test('is the first one\'s where all of several schemes are asked', () => {
    app.get(
      '/',
      { config: { auth: { schemes: { all: ['web', 'service'] } } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: [{ all: ['web', 'service'] }, 'user'] } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal | User>() }
    )
  })

  test('is any scheme\'s where the route asks for something and names no scheme', () => {
    app.get('/', { config: { auth: true } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Anybody>()
    })
    app.get(
      '/',
      { config: { auth: { scopes: 'orders:read' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<Anybody>() }
    )
  })

  test('may be null where anonymous callers enter', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', mode: 'optional' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User | null>() }
    )
    app.get(
      '/',
      { config: { auth: { mode: 'try' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>() }
    )
  })

  test('may be null where the mode is known at run time only', () => {
    expectTypeOf<PrincipalFor<{ auth: { schemes: 'user', mode: 'optional' | 'required' } }>>()
      .toEqualTypeOf<User | null>()
    expectTypeOf<PrincipalFor<{ auth: { schemes: 'user', mode?: 'optional' } }>>().toEqualTypeOf<User | null>()
    expectTypeOf<PrincipalFor<{ auth: boolean }>>().toEqualTypeOf<Anybody | null>()
    expectTypeOf<PrincipalFor<{ auth: RouteAuth }>>().toEqualTypeOf<Anybody | null>()
  })

  test('follows a constant of the type RouteAuth, as far as the compiler knows its value', () => {
    const user: RouteAuth = 'user'
    app.get('/', { config: { auth: user } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.auth.scheme).toEqualTypeOf<'user'>()
    })
    const nobody: RouteAuth = false
    app.get('/', { config: { auth: nobody } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<null>()
    })
  })

  test('is null on a public route', () => {
    app.get('/', { config: { auth: false } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<null>()
    })
    app.get(
      '/', { config: { auth: { public: 'probe' } } }, async request => {
        expectTypeOf(request.principal).toEqualTypeOf<null>()
      }
    )
  })

  test('is anybody or nobody where nothing was written', () => {
    app.get('/', async request => { expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>() })
    app.get(
      '/', { config: { team: 'orders' } }, async request => {
        expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>()
      }
    )
    expectTypeOf<FastifyRequest['principal']>().toEqualTypeOf<Anybody | null>()
  })

  test('follows a route that has functions', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', when: (principal, request) => principal.id === request.ip } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() }
    )
    app.get(
      '/',
      { config: { auth: { schemes: 'user', when (principal: User) { return principal.tenant === '' } } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() }
    )
    app.get(
      '/',
      {
        config: {
          auth: {
            schemes: 'user',
            scopes: (request: FastifyRequest<{ Params: { id: string } }>) => request.params.id === ''
              ? 'orders:read'
              : { all: ['orders:write'] }
          }
        }
      },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() }
    )
  })

  test('cannot be assigned', () => {
    app.get('/', { config: { auth: 'web' } }, async (request, reply) => {
      reply.login({ id: 'alice' })
      // @ts-expect-error Cannot assign to 'principal' because it is a read-only property.
      request.principal = { realm: 'x', id: 'x', scopes: [], roles: [], email: 'x' }
    })
  })
})

describe('a request', () => {
  test('passes into a helper that takes any request', () => {
    app.get('/', { config: { auth: 'user' } }, async request => { helper(request) })
    app.get(
      '/',
      { config: { auth: { schemes: 'web', mode: 'optional' } } },
      async request => { helper(request) }
    )
    app.get('/', { config: { auth: false } }, async request => { helper(request) })
    app.get<{ Params: { id: string } }>(
      '/:id', { config: { auth: 'user' } }, async request => { helper(request) }
    )
    app.get('/', async request => { helper(request) })
  })

  test('keeps its types with the TypeBox provider', () => {
    box.get('/:id', {
      schema: { params: Type.Object({ id: Type.Number() }) }, config: { auth: 'user' }
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<{ id: number }>()
      helper(request)
    })
    box.get('/:id', { schema: { params: Type.Object({ id: Type.Number() }) } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Anybody | null>()
      expectTypeOf(request.params).toEqualTypeOf<{ id: number }>()
    })
  })

  test('keeps its types beside a guard as a hook', () => {
    const guard = app.gatehouse.guard({ schemes: 'web', roles: 'admin' })
    app.get(
      '/',
      { config: { auth: 'user' }, onRequest: guard, preParsing: [guard], preValidation: guard, preHandler: [guard] },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() }
    )
    box.get('/:id', {
      schema: { params: Type.Object({ id: Type.Number() }) }, config: { auth: 'user' }, preHandler: guard
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<{ id: number }>()
    })
  })

  test('keeps its types beside a hook that says the type of its request', () => {
    app.get(
      '/',
      { config: { auth: 'user' }, preHandler: async request => { helper(request) } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() }
    )
  })
})

describe('request.auth', () => {
  test('is the part of the scheme that the route names', () => {
    app.get('/', { config: { auth: 'web' } }, async ({ auth }) => {
      expectTypeOf(auth.scheme).toEqualTypeOf<'web'>()
      expectTypeOf(auth.principal).toEqualTypeOf<WebPrincipal>()
      expectTypeOf(auth.signal).toEqualTypeOf<AbortSignal>()
    })
    app.get<{ Params: { id: string } }, { auth: 'web' }>('/:id', {
      config: { auth: 'web' }
    }, async ({ auth, params }) => {
      expectTypeOf(auth.scheme).toEqualTypeOf<'web'>()
      expectTypeOf(params.id).toEqualTypeOf<string>()
    })
    app.get(
      '/',
      { config: { auth: { schemes: ['user', 'web'] } } },
      async ({ auth }) => { expectTypeOf(auth.scheme).toEqualTypeOf<'user' | 'web'>() }
    )
  })

  test('may be null where anonymous callers enter, and any scheme on a public route', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', mode: 'optional' } } },
      async ({ auth }) => { expectTypeOf(auth.scheme).toEqualTypeOf<'user' | null>() }
    )
    app.get(
      '/',
      { config: { auth: { public: 'guarded by its own hook' } } },
      async ({ auth }) => { expectTypeOf(auth).toEqualTypeOf<RequestAuth>() }
    )
    app.get('/', async ({ auth }) => { expectTypeOf(auth).toEqualTypeOf<RequestAuth>() })
  })

  test('narrows principal and credential by scheme', () => {
    app.get('/', async ({ auth }) => {
      if (auth.scheme === 'user') {
        expectTypeOf(auth.principal).toEqualTypeOf<User>()
        expectTypeOf(auth.credential).toEqualTypeOf<{ claims: Record<string, unknown> }>()
        expectTypeOf(auth.principal.tenant).toEqualTypeOf<string>()
      }
      if (auth.scheme === 'service') {
        expectTypeOf(auth.principal.team).toEqualTypeOf<number>()
        expectTypeOf(auth.credential).toEqualTypeOf<{ keyId: string }>()
      }
      if (auth.scheme === 'web') expectTypeOf(auth.principal).toEqualTypeOf<WebPrincipal>()
    })
  })

  test('narrows by authenticated', () => {
    app.get('/', async ({ auth }) => {
      if (auth.authenticated) {
        expectTypeOf(auth.principal).toEqualTypeOf<Anybody>()
        expectTypeOf(auth.scheme).toEqualTypeOf<'user' | 'web' | 'service'>()
        expectTypeOf(auth.error).toEqualTypeOf<null>()
        expectTypeOf(auth.authenticatedAt).toEqualTypeOf<string | null>()
        expectTypeOf(auth.expiresAt).toEqualTypeOf<string | null>()
      } else {
        expectTypeOf(auth.principal).toEqualTypeOf<null>()
        expectTypeOf(auth.scheme).toEqualTypeOf<null>()
        expectTypeOf(auth.credential).toEqualTypeOf<null>()
        expectTypeOf<AuthError | null>().toExtend<typeof auth.error>()
      }
    })
  })

  test('has every satisfied scheme under its name', () => {
    app.get('/', async ({ auth }) => {
      if (!auth.authenticated) return
      expectTypeOf(auth.all.service).toEqualTypeOf<{
        readonly principal: Service
        readonly credential: { keyId: string }
        readonly authenticatedAt: string | null
        readonly expiresAt: string | null
      } | undefined>()
      expectTypeOf(auth.all).not.toHaveProperty('usr')
    })
  })

  test('refuses a comparison with an unknown scheme', () => {
    // @ts-expect-error This comparison appears to be unintentional
    app.get('/', async ({ auth }) => auth.scheme === 'usr')
  })

  test('asks for known scopes and roles', () => {
    const auth = null as never as FastifyRequest['auth']
    auth.allows({ scopes: 'orders:read' })
    auth.allows({ roles: { any: ['admin', 'clerk'] } })
    expectTypeOf(auth.allows({ roles: 'admin' })).toEqualTypeOf<boolean>()
    // @ts-expect-error
    auth.allows({ scopes: 'order:read' })
    // @ts-expect-error
    auth.allows({ scopes: ['orders:read'] })
    // @ts-expect-error
    auth.allows({ scope: 'orders:read' })
    // @ts-expect-error
    auth.allows({ scopes: 'orders:read', role: 'admin' })
    // @ts-expect-error
    auth.allows({})
    // @ts-expect-error
    auth.allows('orders:read')
    // @ts-expect-error
    auth.allows({ scopes: () => 'orders:read' })
  })
})

describe('reply', () => {
  test('ends a request as the guard does', () => {
    app.get('/', { config: { auth: 'user' } }, async (_request, reply) => {
      expectTypeOf(reply.challenge()).toEqualTypeOf<FastifyReply>()
      expectTypeOf(reply.forbid()).toEqualTypeOf<FastifyReply>()
      return reply.forbid()
    })
  })

  test('logs in and out', () => {
    const reply = null as never as FastifyReply
    reply.login(
      { id: 'alice', email: 'a@example.com' }, { scheme: 'web', data: { theme: 'dark' } }
    )
    expectTypeOf(reply.login({ id: 'alice' })).toEqualTypeOf<Promise<void>>()
    reply.logout()
    reply.logout({ scheme: 'web' })
    // @ts-expect-error
    reply.login({ id: 'alice' }, { scheme: 'wbe' })
    // @ts-expect-error
    reply.logout({ scheme: 'wbe' })
    // @ts-expect-error
    app.gatehouse.tokens.issue({ id: 'alice' }, { scheme: 'usr' })
    // @ts-expect-error
    reply.login()
    // @ts-expect-error
    reply.login('alice')
    // @ts-expect-error
    reply.login({ email: 'a@example.com' })
    // @ts-expect-error
    reply.logout({})
    // @ts-expect-error
    reply.logout({ schemes: 'web' })
  })
})

describe('app.gatehouse', () => {
  test('gives a guard for any hook', () => {
    const guard = app.gatehouse.guard('web')
    app.addHook('onRequest', guard)
    app.addHook('preParsing', guard)
    app.addHook('preHandler', guard)
    app.setNotFoundHandler({ preHandler: guard }, async () => 'no')
    Fastify({ http2: true }).addHook('preHandler', guard)
    // @ts-expect-error
    app.gatehouse.guard('usr')
    // @ts-expect-error
    app.gatehouse.guard(false)
    // @ts-expect-error
    app.gatehouse.guard({ public: 'probe' })
    // @ts-expect-error
    app.gatehouse.guard({ role: 'admin' })
  })

  test('audits, issues tokens and knows where a person was going', () => {
    expectTypeOf(app.gatehouse.audit()).toEqualTypeOf<readonly AuditRow[]>()
    expectTypeOf(
      app.gatehouse.tokens.issue({ id: 'alice', scopes: ['orders:read'] }, { scheme: 'user', expiresIn: '15m' })
    ).toEqualTypeOf<Promise<string>>()
    expectTypeOf(app.gatehouse.tokens.revoke('rt_x')).toEqualTypeOf<Promise<void>>()
    expectTypeOf(app.gatehouse.tokens.of({ realm: 'web', id: 'alice' }).list())
      .toEqualTypeOf<Promise<readonly GrantRecord[]>>()
    // @ts-expect-error
    app.gatehouse.tokens.of({ id: 'alice' })
    app.gatehouse.tokens.jwks({ scheme: 'user' })
    // @ts-expect-error
    app.gatehouse.tokens.jwks({ scheme: 'usr' })
    app.get('/', async request => {
      expectTypeOf(app.gatehouse.sessions.returnTo(request, '/home')).toEqualTypeOf<string>()
    })
    app.get(
      '/',
      { config: { auth: 'web' } },
      async request => { expectTypeOf(app.gatehouse.sessions.returnTo(request)).toEqualTypeOf<string>() }
    )
  })
})

declare module 'fastify' {
  interface FastifyRequest { account: PrincipalOf<'user'> | null }
}

describe('a decorator of a scheme', () => {
  test('has the type that the registry knows', () => {
    app.get('/', { config: { auth: 'web' } }, async request => {
      expectTypeOf(request.account).toEqualTypeOf<User | null>()
    })
  })
})
