import Fastify, { type FastifyRequest } from 'fastify'
import authPlugin, {
  type Principal, type RoleName, type Scheme, type SchemeFactory, type SchemeName, type ScopeName
} from 'fastify-gatehouse'
import { describe, expect, test } from '../expect.js'

const app = Fastify()
const handler = async () => 'ok'
declare const user: SchemeFactory<Principal & { readonly tenant: string }, null>
declare const web: Scheme

describe('without registries', () => {
  test('every name is a string', () => {
    expect<SchemeName>().type.toBe<string>()
    expect<ScopeName>().type.toBe<string>()
    expect<RoleName>().type.toBe<string>()
    app.register(
      authPlugin, { schemes: { user, web }, default: ['user', 'web'], roles: { admin: { scopes: ['x'] } } }
    )
    app.get(
      '/', { config: { auth: { schemes: 'anything', scopes: { any: ['a', 'b'] }, rateLimit: 'free' } } }, handler
    )
  })

  test('every principal is a Principal', () => {
    app.get('/', { config: { auth: 'user' } }, async request => { expect(request.principal).type.toBe<Principal>() })
    app.get(
      '/',
      { config: { auth: { schemes: { all: ['a', 'b'] }, mode: 'try' } } },
      async request => { expect(request.principal).type.toBe<Principal | null>() }
    )
    app.get('/', { config: { auth: false } }, async request => { expect(request.principal).type.toBe<null>() })
    app.get('/', async request => { expect(request.principal).type.toBe<Principal | null>() })
  })

  test('request.auth is known to be somebody\'s on a route that names its schemes', () => {
    app.get('/', { config: { auth: 'user' } }, async ({ auth }) => {
      expect(auth.principal).type.toBe<Principal>()
      expect(auth.signal).type.toBe<AbortSignal>()
    })
  })

  test('request.auth narrows by authenticated', () => {
    const { auth } = null as never as FastifyRequest
    if (auth.authenticated) {
      expect(auth.principal).type.toBe<Principal>()
      expect(auth.scheme).type.toBe<string>()
      expect(auth.credential).type.toBe<unknown>()
    } else {
      expect(auth.principal).type.toBe<null>()
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
