import Fastify, { type FastifyRequest } from 'fastify'
import authPlugin, {
  type Principal, type RoleName, type Scheme, type SchemeFactory, type SchemeName, type ScopeName
} from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'

const app = Fastify()
const handler = async () => 'ok'
declare const user: SchemeFactory<Principal & { readonly tenant: string }, null>
declare const web: Scheme

describe('without registries', () => {
  test('every name is a string', () => {
    expectTypeOf<SchemeName>().toEqualTypeOf<string>()
    expectTypeOf<ScopeName>().toEqualTypeOf<string>()
    expectTypeOf<RoleName>().toEqualTypeOf<string>()
    app.register(
      authPlugin, { schemes: { user, web }, default: ['user', 'web'], roles: { admin: { scopes: ['x'] } } }
    )
    app.get(
      '/', { config: { auth: { schemes: 'anything', scopes: { any: ['a', 'b'] }, rateLimit: 'free' } } }, handler
    )
  })

  test('every principal is a Principal', () => {
    app.get('/', { config: { auth: 'user' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<Principal>()
    })
    app.get(
      '/',
      { config: { auth: { schemes: { all: ['a', 'b'] }, mode: 'try' } } },
      async request => { expectTypeOf(request.principal).toEqualTypeOf<Principal | null>() }
    )
    app.get('/', { config: { auth: false } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<null>()
    })
    app.get('/', async request => { expectTypeOf(request.principal).toEqualTypeOf<Principal | null>() })
  })

  test('request.auth is known to be somebody\'s on a route that names its schemes', () => {
    app.get('/', { config: { auth: 'user' } }, async ({ auth }) => {
      expectTypeOf(auth.principal).toEqualTypeOf<Principal>()
      expectTypeOf(auth.signal).toEqualTypeOf<AbortSignal>()
    })
  })

  test('request.auth narrows by authenticated', () => {
    const { auth } = null as never as FastifyRequest
    if (auth.authenticated) {
      expectTypeOf(auth.principal).toEqualTypeOf<Principal>()
      expectTypeOf(auth.scheme).toEqualTypeOf<string>()
      expectTypeOf(auth.credential).toEqualTypeOf<unknown>()
    } else {
      expectTypeOf(auth.principal).toEqualTypeOf<null>()
    }
  })

  test('a near-miss key is still refused', () => {
    // @ts-expect-error
    app.get('/', { config: { auth: { scope: 'a' } } }, handler)
    // @ts-expect-error
    app.get('/', { config: { auth: { schemes: 'a', role: 'b' } } }, handler)
    // @ts-expect-error
    app.register(authPlugin, { scheme: { user } })
  })
})
