import Fastify, { type FastifyRequest } from 'fastify'
import type { GatehouseOptions, GroupAuth, PrincipalOf, RouteAuth } from 'fastify-gatehouse'
import { describe, expect, test } from 'tstyche'
import type { WebPrincipal } from './application.js'
import './library.js'

const app = Fastify()
const handler = async () => 'ok'
type OrderRequest = FastifyRequest<{ Params: { id: string } }>

/** Takes a declaration like a route: the type of the config is inferred, so that an excess key alone is no error. */
declare function route<C> (config: { auth: RouteAuth } & C): C

describe('config.auth', () => {
  test('takes every form of the grammar', () => {
    expect<RouteAuth>().type.toBeAssignableFrom(true)
    expect<RouteAuth>().type.toBeAssignableFrom(false)
    expect<RouteAuth>().type.toBeAssignableFrom('user' as const)
    expect(route).type.toBeCallableWith({ auth: ['user', 'web'] })
    expect(route).type.toBeCallableWith({ auth: ['user', { all: ['web', 'service'] }] })
    expect(route).type.toBeCallableWith({ auth: { schemes: 'user' } })
    expect(route).type.toBeCallableWith({ auth: { schemes: ['user', { all: ['web', 'service'] }] } })
    expect(route).type.toBeCallableWith({ auth: { schemes: { all: ['web', 'service'] } } })
    expect(route).type.toBeCallableWith({ auth: { mode: 'try' } })
    expect(route).type.toBeCallableWith({ auth: { scopes: 'orders:read' } })
    expect(route).type.toBeCallableWith({
      auth: {
        scopes: { all: ['orders:read'], any: ['orders:write'], none: ['reports:read'] }, roles: { none: ['clerk'] }
      }
    })
    expect(route).type.toBeCallableWith({ auth: { maxAge: '15m', rateLimit: { max: 10, window: 60 } } })
    expect(route).type.toBeCallableWith({ auth: { rateLimit: [{ max: 1, window: 1 }, { max: 9, window: '1d' }] } })
    expect(route).type.toBeCallableWith({ auth: { rateLimit: 'free' } })
    const planOf = ({ email }: WebPrincipal) => email.endsWith('@example.com') ? 'pro' as const : 'free' as const
    expect(route).type.toBeCallableWith({ auth: { schemes: 'web', rateLimit: planOf } })
    expect(route).type.toBeCallableWith({ auth: { public: 'load balancer probe' } })
    expect(route).type.toBeCallableWith({ auth: { inherit: false, schemes: 'service', scopes: 'orders:read' } })
    expect(route).type.toBeCallableWith({
      auth: {
        anyOf: [
          { scopes: 'orders:write' }, { schemes: 'web', roles: 'clerk' }, { schemes: ['user', 'web'], when: () => true }
        ]
      }
    })
  })

  test('takes a constant, and one of type RouteAuth', () => {
    const written = {
      schemes: ['user', 'web'], scopes: { any: ['orders:read', 'orders:write'] }
    } as const satisfies RouteAuth
    const named: RouteAuth = { schemes: 'user', mode: 'optional' }
    expect(app.get).type.toBeCallableWith('/', { config: { auth: written } }, handler)
    expect(app.get).type.toBeCallableWith('/', { config: { auth: named } }, handler)
  })

  test('stands in app.get, app.route and beside another plugin\'s config', () => {
    expect(app.get).type.toBeCallableWith('/', { config: { auth: 'user', team: 'orders' } }, handler)
    expect(app.route).type.toBeCallableWith({
      method: 'GET', url: '/', config: { auth: { schemes: 'user', roles: 'admin' } }, handler
    })
  })

  test('gives functions every principal and any request', () => {
    route({
      auth: {
        when: (principal, request) => {
          expect(principal).type.toBe<PrincipalOf<'user'> | PrincipalOf<'web'> | PrincipalOf<'service'>>()
          expect(request).type.toBe<FastifyRequest>()
          return true
        }
      }
    })
  })

  test('takes functions that ask for one principal and a typed request', () => {
    const owns = async (principal: PrincipalOf<'user'>, request: OrderRequest) => principal.tenant === request.params.id
    const needed = (request: OrderRequest) => request.params.id === ''
      ? 'orders:read' as const
      : { any: ['orders:read', 'orders:write'] as const }
    expect(route).type.toBeCallableWith({ auth: { schemes: 'user', when: owns, scopes: needed } })
    expect(route).type.toBeCallableWith({ auth: { anyOf: [{ schemes: 'user', when: owns }] } })
    expect(app.get<{ Params: { id: string } }>).type.toBeCallableWith(
      '/:id', { config: { auth: { when: owns } } }, handler
    )
  })
})

describe('config.auth refuses', () => {
  test('an unknown scheme', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: 'usr' } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: ['user', 'usr'] } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { schemes: 'usr' } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { schemes: { all: ['web', 'usr'] } } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { anyOf: [{ schemes: 'usr' }] } } }, handler)
    expect(app.route).type.not.toBeCallableWith({ method: 'GET', url: '/', config: { auth: 'usr' }, handler })
  })

  test('an unknown scope or role', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { scopes: 'order:read' } } }, handler)
    expect(app.get).type.not.toBeCallableWith(
      '/', { config: { auth: { scopes: { any: ['orders:read', 'orders:wirte'] } } } }, handler
    )
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { roles: 'amdin' } } }, handler)
    expect(app.get).type.not.toBeCallableWith(
      '/', { config: { auth: { anyOf: [{ roles: { all: ['amdin'] } }] } } }, handler
    )
  })

  test('an unknown scope that a function returns', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { scopes: () => 'order:read' } } }, handler)
  })

  test('a bare list of scopes or roles, whose quantifier nobody can see', () => {
    expect(route).type.not.toBeCallableWith({ auth: { scopes: ['orders:read'] } })
    expect(route).type.not.toBeCallableWith({ auth: { roles: ['admin'] } })
  })

  test('a key that is nearly one of the grammar', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { scope: 'orders:read' } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { role: 'admin' } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { scheme: 'user' } } }, handler)
    expect(app.get).type.not.toBeCallableWith(
      '/', { config: { auth: { schemes: 'user', scope: 'orders:read' } } }, handler
    )
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { schemes: 'user', role: 'admin' } } }, handler)
    expect(app.get).type.not.toBeCallableWith(
      '/', { config: { auth: { scopes: { any: ['orders:read'], allOf: ['orders:write'] } } } }, handler
    )
    expect(app.get).type.not.toBeCallableWith(
      '/', { config: { auth: { anyOf: [{ scopes: 'orders:read', role: 'admin' }] } } }, handler
    )
  })

  test('an object with only unknown keys, and an empty one', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { protected: true } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: {} } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { scopes: {} } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { anyOf: [{}] } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { rateLimit: { max: 10 } } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { rateLimit: 'gold' } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { rateLimit: () => 'gold' } } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { auth: { rateLimit: async () => 'free' } } }, handler)
  })

  test('an unknown mode, duration or value', () => {
    expect(route).type.not.toBeCallableWith({ auth: { mode: 'none' } })
    expect(route).type.not.toBeCallableWith({ auth: { maxAge: '15 minutes' } })
    expect(route).type.not.toBeCallableWith({ auth: { maxAge: '15min' } })
    expect(route).type.not.toBeCallableWith({ auth: null })
    expect(route).type.not.toBeCallableWith({ auth: 1 })
  })

  test('public with anything beside it, or without a reason', () => {
    expect(route).type.not.toBeCallableWith({ auth: { public: true } })
    expect(route).type.not.toBeCallableWith({ auth: { public: 'probe', scopes: 'orders:read' } })
    expect(route).type.not.toBeCallableWith({ auth: { public: 'probe', mode: 'optional' } })
    expect(route).type.not.toBeCallableWith({ auth: { public: 'probe', inherit: false, schemes: 'user' } })
  })

  test('inherit without schemes, and inherit: true', () => {
    expect(route).type.not.toBeCallableWith({ auth: { inherit: false } })
    expect(route).type.not.toBeCallableWith({ auth: { inherit: false, roles: 'admin' } })
    expect(route).type.not.toBeCallableWith({ auth: { inherit: true, schemes: 'user' } })
  })

  test('auth written beside config instead of in it', () => {
    expect(app.get).type.not.toBeCallableWith('/', { auth: 'user' }, handler)
    expect(app.route).type.not.toBeCallableWith({ method: 'GET', url: '/', auth: 'user', handler })
  })

  test('a misspelt auth', () => {
    expect(app.get).type.not.toBeCallableWith('/', { config: { auht: 'user' } }, handler)
    expect(app.get).type.not.toBeCallableWith('/', { config: { Auth: { roles: 'admin' } } }, handler)
  })

  test('a function for when that answers no boolean', () => {
    expect(route).type.not.toBeCallableWith({ auth: { when: () => 'yes' } })
    expect(route).type.not.toBeCallableWith({ auth: { when: async () => undefined } })
  })
})

describe('an error about config.auth', () => {
  test('is at the name that is wrong, and shows it', () => {
    app.get('/', {
      config: {
        auth: {
          schemes: 'user',
          // @ts-expect-error Type '"item:read"' is not assignable
          scopes: 'item:read'
        }
      }
    }, handler)
    app.get('/', {
      config: {
        auth: {
          // @ts-expect-error Type '"usr"' is not assignable
          schemes: 'usr'
        }
      }
    }, handler)
    app.get('/', {
      config: {
        auth: {
          roles: {
            // @ts-expect-error Type '"boss"' is not assignable to type '"clerk"'.
            any: ['clerk', 'boss']
          }
        }
      }
    }, handler)
    app.get('/', {
      config: {
        auth: {
          anyOf: [
            { scopes: 'orders:read' },
            // @ts-expect-error Type '"boss"' is not assignable
            { roles: 'boss' }
          ]
        }
      }
    }, handler)
  })

  test('is at a key that is nearly right, and shows the right one', () => {
    app.get('/', {
      config: {
        auth: {
          // @ts-expect-error Type 'string' is not assignable to type 'DidYouMean<"scopes"> & string'.
          scope: 'orders:read'
        }
      }
    }, handler)
    const options: GatehouseOptions = {
      schemes: {},
      // @ts-expect-error but required in type 'DidYouMean<"publicPaths">'
      publicPath: ['/login']
    }
    expect(options).type.toBe<GatehouseOptions>()
  })

  test('is at the duration that is wrong', () => {
    app.get('/', {
      config: {
        auth: {
          // @ts-expect-error Type 'string' is not assignable
          maxAge: '15 minutes'
        }
      }
    }, handler)
  })
})

describe('a group default', () => {
  test('takes schemes, mode and rules', () => {
    expect<GroupAuth>().type.toBeAssignableFrom('web' as const)
    expect(app.gatehouse.default).type.toBeCallableWith({ schemes: 'web', roles: 'admin' })
    expect(app.gatehouse.default).type.toBeCallableWith(['web', { all: ['user', 'service'] }])
  })

  test('takes a public default with its reason', () => {
    expect(app.gatehouse.default).type.toBeCallableWith({ public: 'the browser application' })
  })

  test('refuses what only a route may say', () => {
    expect(app.gatehouse.default).type.not.toBeCallableWith({ inherit: false, schemes: 'web' })
    expect(app.gatehouse.default).type.not.toBeCallableWith(false)
    expect(app.gatehouse.default).type.not.toBeCallableWith({ scope: 'orders:read' })
    expect(app.gatehouse.default).type.not.toBeCallableWith('usr')
  })
})
