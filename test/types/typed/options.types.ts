import Fastify from 'fastify'
import authPlugin, {
  apiKey,
  basic,
  jwt,
  type GatehouseOptions,
  type Principal,
  type PrincipalInput,
  type RoleName,
  type SchemeName,
  type SchemesOf,
  type ScopeName
} from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import { absent, authenticated, invalid } from '../../../lib/kit/outcome.js'
import { schemes, type WebPrincipal } from './application.js'
import './library.js'

const app = Fastify()

/** Accepts options as `app.register` does, where excess keys alone are not an error. */
declare function register<O extends GatehouseOptions> (options: O): void

describe('the options', () => {
  test('need schemes and nothing else', () => {
    app.register(authPlugin, { schemes })
    app.register(authPlugin, { schemes, prefix: '/api' })
  })

  test('take what the plugin offers', () => {
    expectTypeOf({
      schemes,
      default: ['user', { all: ['web', 'service'] }] as const,
      publicPaths: [
        '/login', { path: '/docs/*', reason: 'documentation', method: 'GET' }, { path: '/hook', method: ['POST'] }
      ],
      scopes: { 'orders:read': 'Read orders', 'orders:write': 'Write orders', 'reports:read': 'Read reports' },
      roles: {
        admin: { roles: ['clerk' as const], scopes: ['orders:write' as const] }, clerk: {}
      },
      load: async (principal: Principal) => principal.id === '' ? null : { ...principal, roles: ['clerk'] },
      stage: 'preHandler' as const,
      errors: 'problem' as const,
      limits: {
        requests: (principal: Principal) => principal.roles.includes('admin') ? 'pro' as const : 'free' as const,
        plans: { free: { max: 100, window: '1h' }, pro: [{ max: 9, window: 1 }, { max: 1_000, window: '1d' }] }
      } as const,
      origins: ['https://app.example.com'],
      outside: 'allow' as const
    }).toExtend<GatehouseOptions>()
  })

  test('take a load function that asks for one principal, and an error function', () => {
    register({
      schemes, load: (principal: WebPrincipal): PrincipalInput => ({ ...principal, id: principal.email })
    })
    const options: GatehouseOptions = {
      schemes,
      errors: (error, _request, reply) => ({ title: error.message, code: error.code, status: reply.statusCode })
    }
    register(options)
  })

  test('take a load function that only returns the fields to add', () => {
    register({ schemes, load: ({ id }: Principal) => ({ scopes: [`of:${id}`] }) })
    jwt({ issuer: 'https://id.example.com', audience: 'api', load: async () => ({ roles: ['clerk'] }) })
    // @ts-expect-error
    register({ schemes, load: () => ({ scopes: 'orders:read' }) })
  })

  test('take further fields of users if their type is named', () => {
    const ops = basic<{ id: string, desk: number }>({ users: { ada: { password: 'correct horse battery', desk: 4 } } })
    expectTypeOf<SchemesOf<{ ops: typeof ops }>['ops']['principal']['desk']>().toEqualTypeOf<number>()
    // @ts-expect-error
    basic<{ id: string, desk: number }>({ users: { ada: { password: 'correct horse battery' } } })
    // @ts-expect-error
    basic({ users: { ada: { password: 'correct horse battery', role: 'clerk' } } })
  })

  test('take every no that a function may answer', () => {
    register({ schemes, load: () => undefined })
    register({
      schemes, load: async (principal: Principal) => principal.id === '' && principal
    })
    apiKey({ verify: (key: string) => [{ id: 'a' }].find(each => each.id === key) })
    basic({
      find: async (name: string) => [{ hash: 'x', principal: { id: name } }].find(each => each.hash === name)
    })
    // @ts-expect-error
    register({ schemes, load: () => true })
    // @ts-expect-error
    apiKey({ verify: () => ({ valid: true }) })
    const service = apiKey({
      verify: async (key): Promise<{ id: string, team: number } | undefined> => key === ''
        ? undefined
        : { id: key, team: 7 }
    })
    type Entries = SchemesOf<{ service: typeof service }>
    expectTypeOf<Entries['service']['principal']['team']>().toEqualTypeOf<number>()
  })

  test('refuse an object with only unknown keys', () => {
    // @ts-expect-error
    app.register(authPlugin, { secret: 'x' })
    // @ts-expect-error
    app.register(authPlugin, {})
    // @ts-expect-error
    register({})
  })

  test('refuse scheme for schemes, and other near misses', () => {
    // @ts-expect-error
    app.register(authPlugin, { scheme: schemes })
    // @ts-expect-error
    app.register(authPlugin, { schemes, publicPath: ['/login'] })
    // @ts-expect-error
    register({ schemes, scheme: 'user' })
    // @ts-expect-error
    register({ schemes, publicPath: ['/login'] })
    // @ts-expect-error
    register({ schemes, origin: 'https://app.example.com' })
    // @ts-expect-error
    register({ schemes, publicPaths: [{ url: '/login' }] })
  })

  test('refuse an unknown scheme, scope or role', () => {
    // @ts-expect-error
    app.register(authPlugin, { schemes, default: 'usr' })
    // @ts-expect-error
    register({ schemes, default: { roles: 'amdin' } })
    // @ts-expect-error
    register({ schemes, roles: { admin: { scopes: ['order:read'] } } })
    expectTypeOf({ 'order:read': 1 }).not.toExtend<GatehouseOptions['scopes']>()
  })

  test('refuse a public or detached default, an unknown stage and an unknown error form', () => {
    // @ts-expect-error
    register({ schemes, default: false })
    // @ts-expect-error
    register({ schemes, default: { public: 'all of it' } })
    // @ts-expect-error
    register({ schemes, default: { inherit: false, schemes: 'user' } })
    // @ts-expect-error
    register({ schemes, stage: 'onRequest' })
    // @ts-expect-error
    register({ schemes, errors: 'json' })
    // @ts-expect-error
    register({ schemes, outside: true })
  })

  test('refuse what is not a scheme', () => {
    // @ts-expect-error
    register({ schemes: { user: { secret: 'x' } } })
    // @ts-expect-error
    register({ schemes: { user: () => 'x' } })
    // @ts-expect-error
    register({ schemes: ['user'] })
  })
})

describe('the registries', () => {
  test('name what the application registered', () => {
    expectTypeOf<SchemeName>().toEqualTypeOf<'user' | 'web' | 'service'>()
    expectTypeOf<RoleName>().toEqualTypeOf<'admin' | 'clerk'>()
  })

  test('merge what two packages say', () => {
    expectTypeOf<ScopeName>().toEqualTypeOf<'orders:read' | 'orders:write' | 'reports:read'>()
  })

  test('know a plain scheme that nobody annotated', () => {
    const plain = {
      authenticate: (request: { id: string }) => request.id === ''
        ? absent
        : request.id === 'x' ? invalid('x') : authenticated({ id: 'alice', team: 7 }, { credential: { kid: 'a' } }),
      openapi: { type: 'http', scheme: 'bearer' }
    }
    type Entries = SchemesOf<{ plain: typeof plain }>
    expectTypeOf<Entries['plain']['principal']['team']>().toEqualTypeOf<number>()
    expectTypeOf<Entries['plain']['principal']['realm']>().toEqualTypeOf<string>()
    expectTypeOf<Entries['plain']['credential']>().toEqualTypeOf<{ kid: string }>()
  })
})
