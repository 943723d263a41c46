import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import type { AuditRow, GrantRecord, PrincipalOf, RequestAuth, RouteAuth } from 'fastify-gatehouse'
import { describe, expect, test } from '../expect.js'
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
    app.get('/', { config: { auth: 'user' } }, async request => { expect(request.principal).type.toBe<User>() })
    app.get(
      '/',
      { config: { auth: { schemes: 'web' } } },
      async request => { expect(request.principal).type.toBe<WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: { inherit: false, schemes: 'service' } } },
      async request => { expect(request.principal).type.toBe<Service>() }
    )
    app.route({
      method: 'POST',
      url: '/',
      config: { auth: { schemes: 'web', roles: 'admin' } },
      handler: async request => { expect(request.principal).type.toBe<WebPrincipal>() }
    })
  })

  test('is one of several schemes\' principals', () => {
    app.get(
      '/',
      { config: { auth: ['user', 'web'] } },
      async request => { expect(request.principal).type.toBe<User | WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: { schemes: ['web', 'service'], mode: 'required' } } },
      async request => { expect(request.principal).type.toBe<WebPrincipal | Service>() }
    )
  })

  test('is the first one\'s where all of several schemes are asked', () => {
    app.get(
      '/',
      { config: { auth: { schemes: { all: ['web', 'service'] } } } },
      async request => { expect(request.principal).type.toBe<WebPrincipal>() }
    )
    app.get(
      '/',
      { config: { auth: [{ all: ['web', 'service'] }, 'user'] } },
      async request => { expect(request.principal).type.toBe<WebPrincipal | User>() }
    )
  })

  test('is any scheme\'s where the route asks for something and names no scheme', () => {
    app.get('/', { config: { auth: true } }, async request => { expect(request.principal).type.toBe<Anybody>() })
    app.get(
      '/',
      { config: { auth: { scopes: 'orders:read' } } },
      async request => { expect(request.principal).type.toBe<Anybody>() }
    )
  })

  test('may be null where anonymous callers enter', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', mode: 'optional' } } },
      async request => { expect(request.principal).type.toBe<User | null>() }
    )
    app.get(
      '/',
      { config: { auth: { mode: 'try' } } },
      async request => { expect(request.principal).type.toBe<Anybody | null>() }
    )
  })

  test('may be null where the mode is known at run time only', () => {
    expect<PrincipalFor<{ auth: { schemes: 'user', mode: 'optional' | 'required' } }>>().type.toBe<User | null>()
    expect<PrincipalFor<{ auth: { schemes: 'user', mode?: 'optional' } }>>().type.toBe<User | null>()
    expect<PrincipalFor<{ auth: boolean }>>().type.toBe<Anybody | null>()
    expect<PrincipalFor<{ auth: RouteAuth }>>().type.toBe<Anybody | null>()
  })

  test('is null on a public route', () => {
    app.get('/', { config: { auth: false } }, async request => { expect(request.principal).type.toBe<null>() })
    app.get(
      '/', { config: { auth: { public: 'probe' } } }, async request => { expect(request.principal).type.toBe<null>() }
    )
  })

  test('is anybody or nobody where nothing was written', () => {
    app.get('/', async request => { expect(request.principal).type.toBe<Anybody | null>() })
    app.get(
      '/', { config: { team: 'orders' } }, async request => { expect(request.principal).type.toBe<Anybody | null>() }
    )
    expect<FastifyRequest['principal']>().type.toBe<Anybody | null>()
  })

  test('follows a route that has functions', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', when: (principal, request) => principal.id === request.ip } } },
      async request => { expect(request.principal).type.toBe<User>() }
    )
    app.get(
      '/',
      { config: { auth: { schemes: 'user', when (principal: User) { return principal.tenant === '' } } } },
      async request => { expect(request.principal).type.toBe<User>() }
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
      async request => { expect(request.principal).type.toBe<User>() }
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
      expect(request.principal).type.toBe<User>()
      expect(request.params).type.toBe<{ id: number }>()
      helper(request)
    })
    box.get('/:id', { schema: { params: Type.Object({ id: Type.Number() }) } }, async request => {
      expect(request.principal).type.toBe<Anybody | null>()
      expect(request.params).type.toBe<{ id: number }>()
    })
  })

  test('keeps its types beside a guard as a hook', () => {
    const guard = app.gatehouse.guard({ schemes: 'web', roles: 'admin' })
    app.get(
      '/',
      { config: { auth: 'user' }, onRequest: guard, preParsing: [guard], preValidation: guard, preHandler: [guard] },
      async request => { expect(request.principal).type.toBe<User>() }
    )
    box.get('/:id', {
      schema: { params: Type.Object({ id: Type.Number() }) }, config: { auth: 'user' }, preHandler: guard
    }, async request => {
      expect(request.principal).type.toBe<User>()
      expect(request.params).type.toBe<{ id: number }>()
    })
  })

  test('keeps its types beside a hook that says the type of its request', () => {
    app.get(
      '/',
      { config: { auth: 'user' }, preHandler: async request => { helper(request) } },
      async request => { expect(request.principal).type.toBe<User>() }
    )
  })
})

describe('request.auth', () => {
  test('is the part of the scheme that the route names', () => {
    app.get('/', { config: { auth: 'web' } }, async ({ auth }) => {
      expect(auth.scheme).type.toBe<'web'>()
      expect(auth.principal).type.toBe<WebPrincipal>()
      expect(auth.signal).type.toBe<AbortSignal>()
    })
    app.get<{ Params: { id: string } }, { auth: 'web' }>('/:id', {
      config: { auth: 'web' }
    }, async ({ auth, params }) => {
      expect(auth.scheme).type.toBe<'web'>()
      expect(params.id).type.toBe<string>()
    })
    app.get(
      '/',
      { config: { auth: { schemes: ['user', 'web'] } } },
      async ({ auth }) => { expect(auth.scheme).type.toBe<'user' | 'web'>() }
    )
  })

  test('may be null where anonymous callers enter, and any scheme on a public route', () => {
    app.get(
      '/',
      { config: { auth: { schemes: 'user', mode: 'optional' } } },
      async ({ auth }) => { expect(auth.scheme).type.toBe<'user' | null>() }
    )
    app.get(
      '/',
      { config: { auth: { public: 'guarded by its own hook' } } },
      async ({ auth }) => { expect(auth).type.toBe<RequestAuth>() }
    )
    app.get('/', async ({ auth }) => { expect(auth).type.toBe<RequestAuth>() })
  })

  test('narrows principal and credential by scheme', () => {
    app.get('/', async ({ auth }) => {
      if (auth.scheme === 'user') {
        expect(auth.principal).type.toBe<User>()
        expect(auth.credential).type.toBe<{ claims: Record<string, unknown> }>()
        expect(auth.principal.tenant).type.toBe<string>()
      }
      if (auth.scheme === 'service') {
        expect(auth.principal.team).type.toBe<number>()
        expect(auth.credential).type.toBe<{ keyId: string }>()
      }
      if (auth.scheme === 'web') expect(auth.principal).type.toBe<WebPrincipal>()
    })
  })

  test('narrows by authenticated', () => {
    app.get('/', async ({ auth }) => {
      if (auth.authenticated) {
        expect(auth.principal).type.toBe<Anybody>()
        expect(auth.scheme).type.toBe<'user' | 'web' | 'service'>()
        expect(auth.error).type.toBe<null>()
        expect(auth.authenticatedAt).type.toBe<string | null>()
        expect(auth.expiresAt).type.toBe<string | null>()
      } else {
        expect(auth.principal).type.toBe<null>()
        expect(auth.scheme).type.toBe<null>()
        expect(auth.credential).type.toBe<null>()
        expect<AuthError | null>().type.toBeAssignableTo<typeof auth.error>()
      }
    })
  })

  test('has every satisfied scheme under its name', () => {
    app.get('/', async ({ auth }) => {
      if (!auth.authenticated) return
      expect(auth.all.service).type.toBe<{
        readonly principal: Service
        readonly credential: { keyId: string }
        readonly authenticatedAt: string | null
        readonly expiresAt: string | null
      } | undefined>()
      expect(auth.all).type.not.toHaveProperty('usr')
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
    expect(auth.allows({ roles: 'admin' })).type.toBe<boolean>()
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
      expect(reply.challenge()).type.toBe<FastifyReply>()
      expect(reply.forbid()).type.toBe<FastifyReply>()
      return reply.forbid()
    })
  })

  test('logs in and out', () => {
    const reply = null as never as FastifyReply
    reply.login(
      { id: 'alice', email: 'a@example.com' }, { scheme: 'web', data: { theme: 'dark' } }
    )
    expect(reply.login({ id: 'alice' })).type.toBe<Promise<void>>()
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
    expect(app.gatehouse.audit()).type.toBe<readonly AuditRow[]>()
    expect(
      app.gatehouse.tokens.issue({ id: 'alice', scopes: ['orders:read'] }, { scheme: 'user', expiresIn: '15m' })
    ).type.toBe<Promise<string>>()
    expect(app.gatehouse.tokens.revoke('rt_x')).type.toBe<Promise<void>>()
    expect(app.gatehouse.tokens.of({ realm: 'web', id: 'alice' }).list()).type.toBe<Promise<readonly GrantRecord[]>>()
    // @ts-expect-error
    app.gatehouse.tokens.of({ id: 'alice' })
    app.gatehouse.tokens.jwks({ scheme: 'user' })
    // @ts-expect-error
    app.gatehouse.tokens.jwks({ scheme: 'usr' })
    app.get('/', async request => { expect(app.gatehouse.sessions.returnTo(request, '/home')).type.toBe<string>() })
    app.get(
      '/',
      { config: { auth: 'web' } },
      async request => { expect(app.gatehouse.sessions.returnTo(request)).type.toBe<string>() }
    )
  })
})

declare module 'fastify' {
  interface FastifyRequest { account: PrincipalOf<'user'> | null }
}

describe('a decorator of a scheme', () => {
  test('has the type that the registry knows', () => {
    app.get('/', { config: { auth: 'web' } }, async request => { expect(request.account).type.toBe<User | null>() })
  })
})
