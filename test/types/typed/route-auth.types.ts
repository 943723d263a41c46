import Fastify, { type FastifyRequest } from 'fastify'
import type { GatehouseOptions, GroupAuth, PrincipalOf, RouteAuth } from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import type { WebPrincipal } from './application.js'
import './library.js'

const app = Fastify()
const handler = async () => 'ok'
type OrderRequest = FastifyRequest<{ Params: { id: string } }>

/**
 * Accepts a declaration as a route does: the type of the config is inferred, so an excess key alone is not an error.
 */
declare function route<C> (config: { auth: RouteAuth } & C): C

describe('config.auth', () => {
  test('takes every form of the grammar', () => {
    expectTypeOf(true).toExtend<RouteAuth>()
    expectTypeOf(false).toExtend<RouteAuth>()
    expectTypeOf('user' as const).toExtend<RouteAuth>()
    route({ auth: ['user', 'web'] })
    route({ auth: ['user', { all: ['web', 'service'] }] })
    route({ auth: { schemes: 'user' } })
    route({ auth: { schemes: ['user', { all: ['web', 'service'] }] } })
    route({ auth: { schemes: { all: ['web', 'service'] } } })
    route({ auth: { mode: 'try' } })
    route({ auth: { scopes: 'orders:read' } })
    route({
      auth: {
        scopes: { all: ['orders:read'], any: ['orders:write'], none: ['reports:read'] }, roles: { none: ['clerk'] }
      }
    })
    route({ auth: { maxAge: '15m', rateLimit: { max: 10, window: 60 } } })
    route({ auth: { rateLimit: [{ max: 1, window: 1 }, { max: 9, window: '1d' }] } })
    route({ auth: { rateLimit: 'free' } })
    const planOf = ({ email }: WebPrincipal) => email.endsWith('@example.com') ? 'pro' as const : 'free' as const
    route({ auth: { schemes: 'web', rateLimit: planOf } })
    route({ auth: { public: 'load balancer probe' } })
    route({ auth: { inherit: false, schemes: 'service', scopes: 'orders:read' } })
    route({
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
    app.get('/', { config: { auth: written } }, handler)
    app.get('/', { config: { auth: named } }, handler)
  })

  test('stands in app.get, app.route and beside another plugin\'s config', () => {
    app.get('/', { config: { auth: 'user', team: 'orders' } }, handler)
    app.route({
      method: 'GET', url: '/', config: { auth: { schemes: 'user', roles: 'admin' } }, handler
    })
  })

  test('gives functions every principal and any request', () => {
    route({
      auth: {
        when: (principal, request) => {
          expectTypeOf(principal).toEqualTypeOf<PrincipalOf<'user'> | PrincipalOf<'web'> | PrincipalOf<'service'>>()
          expectTypeOf(request).toEqualTypeOf<FastifyRequest>()
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
    route({ auth: { schemes: 'user', when: owns, scopes: needed } })
    route({ auth: { anyOf: [{ schemes: 'user', when: owns }] } })
    app.get<{ Params: { id: string } }>(
      '/:id', { config: { auth: { when: owns } } }, handler
    )
  })
})

describe('config.auth refuses', () => {
  test('an unknown scheme', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: 'usr' } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: ['user', 'usr'] } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { schemes: 'usr' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { schemes: { all: ['web', 'usr'] } } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { anyOf: [{ schemes: 'usr' }] } } }, handler)
    // @ts-expect-error
    app.route({ method: 'GET', url: '/', config: { auth: 'usr' }, handler })
  })

  test('an unknown scope or role', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: { scopes: 'order:read' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { scopes: { any: ['orders:read', 'orders:wirte'] } } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { roles: 'amdin' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { anyOf: [{ roles: { all: ['amdin'] } }] } } }, handler)
  })

  test('an unknown scope that a function returns', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: { scopes: () => 'order:read' } } }, handler)
  })

  test('a bare list of scopes or roles, whose quantifier nobody can see', () => {
    // @ts-expect-error
    route({ auth: { scopes: ['orders:read'] } })
    // @ts-expect-error
    route({ auth: { roles: ['admin'] } })
  })

  test('a key that is nearly one of the grammar', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: { scope: 'orders:read' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { role: 'admin' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { scheme: 'user' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { schemes: 'user', scope: 'orders:read' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { schemes: 'user', role: 'admin' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { scopes: { any: ['orders:read'], allOf: ['orders:write'] } } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { anyOf: [{ scopes: 'orders:read', role: 'admin' }] } } }, handler)
  })

  test('an object with only unknown keys, and an empty one', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: { protected: true } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: {} } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { scopes: {} } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { anyOf: [{}] } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { rateLimit: { max: 10 } } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { rateLimit: 'gold' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { rateLimit: () => 'gold' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { rateLimit: async () => 'free' } } }, handler)
  })

  test('an unknown mode, duration or value', () => {
    // @ts-expect-error
    route({ auth: { mode: 'none' } })
    // @ts-expect-error
    route({ auth: { maxAge: '15 minutes' } })
    // @ts-expect-error
    route({ auth: { maxAge: '15min' } })
    // @ts-expect-error
    route({ auth: null })
    // @ts-expect-error
    route({ auth: 1 })
  })

  test('public with anything beside it, or without a reason', () => {
    // @ts-expect-error
    route({ auth: { public: true } })
    // @ts-expect-error
    route({ auth: { public: 'probe', scopes: 'orders:read' } })
    // @ts-expect-error
    route({ auth: { public: 'probe', mode: 'optional' } })
    // @ts-expect-error
    route({ auth: { public: 'probe', inherit: false, schemes: 'user' } })
  })

  test('inherit without schemes, and inherit: true', () => {
    // @ts-expect-error
    route({ auth: { inherit: false } })
    // @ts-expect-error
    route({ auth: { inherit: false, roles: 'admin' } })
    // @ts-expect-error
    route({ auth: { inherit: true, schemes: 'user' } })
  })

  test('auth written beside config instead of in it', () => {
    // @ts-expect-error
    app.get('/', { auth: 'user' }, handler)
    // @ts-expect-error
    app.route({ method: 'GET', url: '/', auth: 'user', handler })
  })

  test('a misspelt auth', () => {
    // @ts-expect-error
    app.get('/', { config: { auht: 'user' } }, handler)
    // @ts-expect-error
    app.get('/', { config: { Auth: { roles: 'admin' } } }, handler)
  })

  test('a function for when that answers no boolean', () => {
    // @ts-expect-error
    route({ auth: { when: () => 'yes' } })
    // @ts-expect-error
    route({ auth: { when: async () => undefined } })
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
    expectTypeOf(options).toEqualTypeOf<GatehouseOptions>()
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
    expectTypeOf('web' as const).toExtend<GroupAuth>()
    app.gatehouse.default({ schemes: 'web', roles: 'admin' })
    app.gatehouse.default(['web', { all: ['user', 'service'] }])
  })

  test('takes a public default with its reason', () => {
    app.gatehouse.default({ public: 'the browser application' })
  })

  test('refuses what only a route may say', () => {
    // @ts-expect-error
    app.gatehouse.default({ inherit: false, schemes: 'web' })
    // @ts-expect-error
    app.gatehouse.default(false)
    // @ts-expect-error
    app.gatehouse.default({ scope: 'orders:read' })
    // @ts-expect-error
    app.gatehouse.default('usr')
  })
})
