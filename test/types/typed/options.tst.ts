import Fastify from 'fastify'
import authPlugin, {
  apiKey,
  basic,
  type GatehouseOptions,
  type Principal,
  type PrincipalInput,
  type RoleName,
  type SchemeName,
  type SchemesOf,
  type ScopeName
} from 'fastify-gatehouse'
import { describe, expect, test } from 'tstyche'
import { absent, authenticated, invalid } from '../../../lib/kit/outcome.js'
import { schemes, type WebPrincipal } from './application.js'
import './library.js'

const app = Fastify()

/** As `app.register` takes options: excess keys are not an error by themselves. */
declare function register<O extends GatehouseOptions> (options: O): void

describe('the options', () => {
  test('need schemes and nothing else', () => {
    expect(app.register).type.toBeCallableWith(authPlugin, { schemes })
    expect(app.register).type.toBeCallableWith(authPlugin, { schemes, prefix: '/api' })
  })

  test('take what the plugin offers', () => {
    expect<GatehouseOptions>().type.toBeAssignableFrom({
      schemes,
      default: ['user', { all: ['web', 'service'] }] as const,
      publicPaths: [
        '/login', { path: '/docs/*', reason: 'documentation', method: 'GET' }, { path: '/hook', method: ['POST'] }
      ],
      scopes: { 'orders:read': 'Read orders', 'orders:write': 'Write orders', 'reports:read': 'Read reports' },
      roles: {
        admin: { roles: ['clerk' as const], scopes: ['orders:write' as const], description: 'Everything' }, clerk: {}
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
    })
  })

  test('take a load function that asks for one principal, and an error function', () => {
    expect(register).type.toBeCallableWith({
      schemes, load: (principal: WebPrincipal): PrincipalInput => ({ ...principal, id: principal.email })
    })
    const options: GatehouseOptions = {
      schemes,
      errors: (error, _request, reply) => ({ title: error.message, code: error.code, status: reply.statusCode })
    }
    expect(register).type.toBeCallableWith(options)
  })

  test('take every no that a function may answer', () => {
    expect(register).type.toBeCallableWith({ schemes, load: () => undefined })
    expect(register).type.toBeCallableWith({
      schemes, load: async (principal: Principal) => principal.id === '' && principal
    })
    expect(apiKey).type.toBeCallableWith({ verify: (key: string) => [{ id: 'a' }].find(each => each.id === key) })
    expect(basic).type.toBeCallableWith({
      find: async (name: string) => [{ hash: 'x', principal: { id: name } }].find(each => each.hash === name)
    })
    expect(register).type.not.toBeCallableWith({ schemes, load: () => true })
    expect(apiKey).type.not.toBeCallableWith({ verify: () => ({ valid: true }) })
    const service = apiKey({
      verify: async (key): Promise<{ id: string, team: number } | undefined> => key === ''
        ? undefined
        : { id: key, team: 7 }
    })
    type Entries = SchemesOf<{ service: typeof service }>
    expect<Entries['service']['principal']['team']>().type.toBe<number>()
  })

  test('refuse an object with only unknown keys', () => {
    expect(app.register).type.not.toBeCallableWith(authPlugin, { secret: 'x' })
    expect(app.register).type.not.toBeCallableWith(authPlugin, {})
    expect(register).type.not.toBeCallableWith({})
  })

  test('refuse scheme for schemes, and other near misses', () => {
    expect(app.register).type.not.toBeCallableWith(authPlugin, { scheme: schemes })
    expect(app.register).type.not.toBeCallableWith(authPlugin, { schemes, publicPath: ['/login'] })
    expect(register).type.not.toBeCallableWith({ schemes, scheme: 'user' })
    expect(register).type.not.toBeCallableWith({ schemes, publicPath: ['/login'] })
    expect(register).type.not.toBeCallableWith({ schemes, origin: 'https://app.example.com' })
    expect(register).type.not.toBeCallableWith({ schemes, publicPaths: [{ url: '/login' }] })
  })

  test('refuse an unknown scheme, scope or role', () => {
    expect(app.register).type.not.toBeCallableWith(authPlugin, { schemes, default: 'usr' })
    expect(register).type.not.toBeCallableWith({ schemes, default: { roles: 'amdin' } })
    expect(register).type.not.toBeCallableWith({ schemes, roles: { admin: { scopes: ['order:read'] } } })
    expect<GatehouseOptions['scopes']>().type.not.toBeAssignableFrom({ 'order:read': 1 })
  })

  test('refuse a public or detached default, an unknown stage and an unknown error form', () => {
    expect(register).type.not.toBeCallableWith({ schemes, default: false })
    expect(register).type.not.toBeCallableWith({ schemes, default: { public: 'all of it' } })
    expect(register).type.not.toBeCallableWith({ schemes, default: { inherit: false, schemes: 'user' } })
    expect(register).type.not.toBeCallableWith({ schemes, stage: 'onRequest' })
    expect(register).type.not.toBeCallableWith({ schemes, errors: 'json' })
    expect(register).type.not.toBeCallableWith({ schemes, outside: true })
  })

  test('refuse what is no scheme', () => {
    expect(register).type.not.toBeCallableWith({ schemes: { user: { secret: 'x' } } })
    expect(register).type.not.toBeCallableWith({ schemes: { user: () => 'x' } })
    expect(register).type.not.toBeCallableWith({ schemes: ['user'] })
  })
})

describe('the registries', () => {
  test('name what the application registered', () => {
    expect<SchemeName>().type.toBe<'user' | 'web' | 'service'>()
    expect<RoleName>().type.toBe<'admin' | 'clerk'>()
  })

  test('merge what two packages say', () => {
    expect<ScopeName>().type.toBe<'orders:read' | 'orders:write' | 'reports:read'>()
  })

  test('know a plain scheme that nobody annotated', () => {
    const plain = {
      authenticate: (request: { id: string }) => request.id === ''
        ? absent
        : request.id === 'x' ? invalid('x') : authenticated({ id: 'alice', team: 7 }, { credential: { kid: 'a' } }),
      openapi: { type: 'http', scheme: 'bearer' }
    }
    type Entries = SchemesOf<{ plain: typeof plain }>
    expect<Entries['plain']['principal']['team']>().type.toBe<number>()
    expect<Entries['plain']['principal']['realm']>().type.toBe<string>()
    expect<Entries['plain']['credential']>().type.toBe<{ kid: string }>()
  })
})
