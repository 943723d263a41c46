import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import {
  apiKey,
  apiKeyRoutes,
  memoryStore,
  redactRequest,
  secretsFromEnvironment,
  type ApiKeyCredential,
  type ApiKeyRecord,
  type GatehouseOptions,
  type NewApiKey,
  type Principal,
  type SchemesOf,
  type SessionRecord,
  type Store
} from 'fastify-gatehouse'
import {
  hashPassword, passwordProblem, passwords, verifyPassword, type PasswordCheck, type PasswordProblem
} from 'fastify-gatehouse/passwords'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import { schemes, type WebPrincipal } from './application.js'
import './library.js'

const app = Fastify()
const owner = { realm: 'web', id: 'alice' }
declare const principal: Principal
declare const reply: FastifyReply
declare const request: FastifyRequest
declare function register<O extends GatehouseOptions> (options: O): void

describe('managed keys', () => {
  test('make a scheme whose credential says which key it is', () => {
    const managed = {
      keys: apiKey({ managed: { prefix: 'acme', staleness: '5s' } }),
      loaded: apiKey<{
        id: string, team: number
      }>({ managed: { prefix: 'acme' }, from: 'bearer', load: async () => ({ id: 'a', team: 7 }) })
    }
    type Entries = SchemesOf<typeof managed>
    expectTypeOf<Entries['keys']['credential']>().toEqualTypeOf<ApiKeyCredential>()
    expectTypeOf<Entries['loaded']['principal']['team']>().toEqualTypeOf<number>()
    expectTypeOf<SchemesOf<{ given: ReturnType<typeof given> }>['given']['credential']>().toEqualTypeOf<null>()
  })

  test('take neither keys, verify nor a prefix of their own', () => {
    // @ts-expect-error
    apiKey({ managed: { prefix: 'acme' }, keys: {} })
    // @ts-expect-error
    apiKey({ managed: { prefix: 'acme' }, verify: () => null })
    // @ts-expect-error
    apiKey({ managed: { prefix: 'acme' }, prefix: 'acme' })
    // @ts-expect-error
    apiKey({ managed: {} })
    // @ts-expect-error
    apiKey({ managed: { prefix: 'acme', stale: 5 } })
  })

  test('are created, changed and rotated with the types of their fields', () => {
    const { apiKeys } = app.gatehouse
    const keys = apiKeys.of(owner)
    expectTypeOf(keys.create({ name: 'a' })).toEqualTypeOf<Promise<NewApiKey>>()
    keys.create(
      { name: 'a', scopes: ['x'], expiresAt: new Date(), rateLimit: { max: 1, window: '1m' } },
      { within: principal, maxKeys: 5 }
    )
    expectTypeOf(keys.list()).toEqualTypeOf<Promise<readonly ApiKeyRecord[]>>()
    expectTypeOf(keys.get('id')).toEqualTypeOf<Promise<ApiKeyRecord | null>>()
    expectTypeOf(keys.rotate('id', { overlap: '1d', within: principal })).toEqualTypeOf<Promise<NewApiKey | null>>()
    expectTypeOf(apiKeys.of(principal, { scheme: 'service' }).revoke('id')).toEqualTypeOf<Promise<boolean>>()
    expectTypeOf(apiKeys.ofAnyOwner({ scheme: 'service' }).revoke('id')).toEqualTypeOf<Promise<boolean>>()
    apiKeys.revokeLeaked('key', { scheme: 'service' })
    // @ts-expect-error
    keys.create({})
    // @ts-expect-error
    keys.create({ name: 'a', owner })
    // @ts-expect-error
    keys.create({ name: 'a', expires: new Date() })
    // @ts-expect-error
    keys.create({ name: 'a', expiresAt: '2030-01-01' })
    // @ts-expect-error
    keys.create({ name: 'a' }, { within: owner })
    // @ts-expect-error
    keys.update('id', { owner })
    // @ts-expect-error
    keys.rotate('id', {})
    // @ts-expect-error
    keys.rotate('id', { overlap: 'a day' })
  })

  test('are those of an owner, unless the call says that they are anybody\'s', () => {
    const { apiKeys } = app.gatehouse
    // @ts-expect-error
    apiKeys.of(undefined)
    // @ts-expect-error
    apiKeys.of(null)
    // @ts-expect-error
    apiKeys.of()
    // @ts-expect-error
    apiKeys.of(owner, { scheme: 'servcie' })
    expectTypeOf(apiKeys).not.toHaveProperty('create')
    expectTypeOf(apiKeys).not.toHaveProperty('revoke')
    expectTypeOf(apiKeys.ofAnyOwner()).not.toHaveProperty('create')
    expectTypeOf(apiKeys.ofAnyOwner()).not.toHaveProperty('list')
  })

  test('have routes whose options are known', () => {
    app.register(
      apiKeyRoutes,
      {
        prefix: '/keys',
        scheme: 'web',
        keys: 'service',
        maxAge: '15m',
        maxKeys: 5,
        maxOverlap: '1d',
        rateLimit: { max: 5, window: 60 },
        leaks: { publicKeys: { one: 'pem' } }
      }
    )
    app.register(
      apiKeyRoutes, { leaks: { publicKeys: async () => null, bodyLimit: 1024 } }
    )
    // @ts-expect-error
    app.register(apiKeyRoutes, { scheme: 'wob' })
    // @ts-expect-error
    app.register(apiKeyRoutes, { maxAge: 'soon' })
    // @ts-expect-error
    app.register(apiKeyRoutes, { leaks: {} })
    // @ts-expect-error
    app.register(apiKeyRoutes, { maxkeys: 5 })
  })
})

describe('sessions and guesses', () => {
  test('are listed and ended by their owner', () => {
    const { sessions } = app.gatehouse
    expectTypeOf(sessions.of(owner).list()).toEqualTypeOf<Promise<readonly SessionRecord[]>>()
    sessions.of(principal, { scheme: 'web' })
    expectTypeOf(sessions.of(owner).revoke('id')).toEqualTypeOf<Promise<boolean>>()
    expectTypeOf(sessions.ofAnyOwner().revoke('id')).toEqualTypeOf<Promise<boolean>>()
    sessions.of(owner).revokeAll({ except: 'id' })
    // @ts-expect-error
    sessions.of(owner).revokeAll({ exept: 'id' })
    // @ts-expect-error
    sessions.of('alice')
    // @ts-expect-error
    sessions.of(undefined)
    expectTypeOf(sessions.ofAnyOwner()).not.toHaveProperty('revokeAll')
  })

  test('give back what the check returned, and null for every answer that says no', () => {
    const { attempt } = app.gatehouse.guesses
    expectTypeOf(attempt(reply, 'alice', async () => 7 as const, { realm: 'partners' }))
      .toEqualTypeOf<Promise<7 | null>>()
    expectTypeOf(attempt(reply, 'alice', () => verifyPassword('a', null)))
      .toEqualTypeOf<Promise<PasswordCheck | null>>()
    expectTypeOf(attempt(reply, 'alice', async (): Promise<boolean> => true)).toEqualTypeOf<Promise<true | null>>()
    expectTypeOf(
      attempt(reply, 'alice', (): { id: string } | undefined => undefined)
    ).toEqualTypeOf<Promise<{ id: string } | null>>()
    expectTypeOf(
      attempt(reply, 'alice', (): { valid: true, id: string } | { valid: false } => ({ valid: false }))
    ).toEqualTypeOf<Promise<{ valid: true, id: string } | null>>()
    // @ts-expect-error
    app.gatehouse.guesses.attempt(reply, 'alice', () => true, { relm: 'partners' })
    // @ts-expect-error
    app.gatehouse.guesses.attempt(reply, 7, () => true)
  })
})

describe('the options of what is kept', () => {
  test('take a store and limits', () => {
    register({ schemes, store: memoryStore() })
    expectTypeOf<GatehouseOptions['store']>().toEqualTypeOf<Store | undefined>()
    register({ schemes, limits: { guesses: false, requests: { max: 5, window: '1m' } } })
    register({
      schemes,
      limits: {
        guesses: {
          perAccount: 5, perAddress: 20, window: 60, longestWindow: '1h', deviceSecret: process.env['DEVICE_SECRET']
        }
      }
    })
    // @ts-expect-error
    register({ schemes, store: {} })
    // @ts-expect-error
    register({ schemes, limits: { guesses: true } })
    // @ts-expect-error
    register({ schemes, limits: { requests: { max: 5 } } })
    // @ts-expect-error
    register({ schemes, limits: { requests: null } })
  })
})

describe('redactRequest', () => {
  const redact = redactRequest({ query: ['key'] })

  test('is a serializer for requests, errors and messages of Fastify\'s logger', () => {
    Fastify({ logger: { serializers: { req: redact, err: redact, msg: redact } } })
    expectTypeOf(redact('/?key=a')).toEqualTypeOf<string>()
  })

  test('takes the names of parameters', () => {
    // @ts-expect-error
    redactRequest({ query: 'key' })
    // @ts-expect-error
    redactRequest({})
    // @ts-expect-error
    redactRequest({ query: ['key'], header: ['x-api-key'] })
  })
})

describe('secrets and passwords', () => {
  test('are texts under the names of their variables, and lists where they rotate', () => {
    const secrets = secretsFromEnvironment({
      SESSION_SECRET: 'session', DEVICE_SECRET: 'device', JWT_SECRET: 'jwt', OPS_PASSWORD: 'password'
    })
    expectTypeOf(secrets.SESSION_SECRET).toEqualTypeOf<readonly [string, ...string[]]>()
    expectTypeOf(secrets.DEVICE_SECRET).toEqualTypeOf<readonly [string, ...string[]]>()
    expectTypeOf(secrets.JWT_SECRET).toEqualTypeOf<string>()
    expectTypeOf(secrets).not.toHaveProperty('JWT_SECRETS')
    // @ts-expect-error
    secretsFromEnvironment({ SESSION_SECRET: 'sesion' })
    // @ts-expect-error
    secretsFromEnvironment(['SESSION_SECRET'])
  })

  test('are hashed, verified and judged', () => {
    expectTypeOf(hashPassword('a', { algorithm: 'scrypt', cost: 131_072 })).toEqualTypeOf<Promise<string>>()
    expectTypeOf(verifyPassword('a', null))
      .toEqualTypeOf<Promise<{ readonly valid: boolean, readonly needsRehash: boolean }>>()
    verifyPassword('a', undefined)
    expectTypeOf(passwordProblem('a')).toEqualTypeOf<PasswordProblem | null>()
    passwords({
      hash: { memorySize: 65_536 },
      legacy: [{ algorithm: 'bcrypt', cost: 12 }],
      pepper: { id: 'a', secret: 'x' },
      maxWait: '5s'
    })
    // @ts-expect-error
    passwords({ hsah: {} })
    // @ts-expect-error
    hashPassword('a', { algorithm: 'md5' })
    // @ts-expect-error
    hashPassword('a', { algorithm: 'bcrypt', memorySize: 1 })
  })
})

describe('a credential in a message', () => {
  test('has the outcome of the scheme that is named', async () => {
    const caller = await app.gatehouse.authenticate('web', 'token', { request })
    if (caller.kind !== 'authenticated') {
      expectTypeOf(caller.kind)
        .toEqualTypeOf<'absent' | 'foreign' | 'invalid' | 'unavailable' | 'limited' | 'cross-site'>()
      return
    }
    expectTypeOf(caller.principal).toEqualTypeOf<WebPrincipal>()
    expectTypeOf(caller.credential).toEqualTypeOf<null>()
    expectTypeOf(caller.signal).toEqualTypeOf<AbortSignal>()
    // @ts-expect-error
    caller.allows({ scopes: 'order:read' })
    app.gatehouse.authenticate('user', undefined, { request })
    // @ts-expect-error
    app.gatehouse.authenticate('usr', 'token', { request })
    // @ts-expect-error
    app.gatehouse.authenticate('user', 'token')
    // @ts-expect-error
    app.gatehouse.authenticate('user', 'token', { request: request.raw })
  })
})

function given () {
  return apiKey({ verify: () => null as { id: string } | null })
}
