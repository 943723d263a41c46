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
import { describe, expect, test } from 'tstyche'
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
    expect<Entries['keys']['credential']>().type.toBe<ApiKeyCredential>()
    expect<Entries['loaded']['principal']['team']>().type.toBe<number>()
    expect<SchemesOf<{ given: ReturnType<typeof given> }>['given']['credential']>().type.toBe<null>()
  })

  test('take neither keys, verify nor a prefix of their own', () => {
    expect(apiKey).type.not.toBeCallableWith({ managed: { prefix: 'acme' }, keys: {} })
    expect(apiKey).type.not.toBeCallableWith({ managed: { prefix: 'acme' }, verify: () => null })
    expect(apiKey).type.not.toBeCallableWith({ managed: { prefix: 'acme' }, prefix: 'acme' })
    expect(apiKey).type.not.toBeCallableWith({ managed: {} })
    expect(apiKey).type.not.toBeCallableWith({ managed: { prefix: 'acme', stale: 5 } })
  })

  test('are made, changed and rotated with what they are made of', () => {
    const { apiKeys } = app.gatehouse
    const keys = apiKeys.of(owner)
    expect(keys.create({ name: 'a' })).type.toBe<Promise<NewApiKey>>()
    expect(keys.create).type.toBeCallableWith(
      { name: 'a', scopes: ['x'], expiresAt: new Date(), rateLimit: { max: 1, window: '1m' } },
      { within: principal, maxKeys: 5 }
    )
    expect(keys.list()).type.toBe<Promise<readonly ApiKeyRecord[]>>()
    expect(keys.get('id')).type.toBe<Promise<ApiKeyRecord | null>>()
    expect(keys.rotate('id', { overlap: '1d', within: principal })).type.toBe<Promise<NewApiKey | null>>()
    expect(apiKeys.of(principal, { scheme: 'service' }).revoke('id')).type.toBe<Promise<boolean>>()
    expect(apiKeys.ofAnyOwner({ scheme: 'service' }).revoke('id')).type.toBe<Promise<boolean>>()
    expect(apiKeys.revokeLeaked).type.toBeCallableWith('key', { scheme: 'service' })
    expect(keys.create).type.not.toBeCallableWith({})
    expect(keys.create).type.not.toBeCallableWith({ name: 'a', owner })
    expect(keys.create).type.not.toBeCallableWith({ name: 'a', expires: new Date() })
    expect(keys.create).type.not.toBeCallableWith({ name: 'a', expiresAt: '2030-01-01' })
    expect(keys.create).type.not.toBeCallableWith({ name: 'a' }, { within: owner })
    expect(keys.update).type.not.toBeCallableWith('id', { owner })
    expect(keys.rotate).type.not.toBeCallableWith('id', {})
    expect(keys.rotate).type.not.toBeCallableWith('id', { overlap: 'a day' })
  })

  test('are those of an owner, unless the call says that they are anybody\'s', () => {
    const { apiKeys } = app.gatehouse
    expect(apiKeys.of).type.not.toBeCallableWith(undefined)
    expect(apiKeys.of).type.not.toBeCallableWith(null)
    expect(apiKeys.of).type.not.toBeCallableWith()
    expect(apiKeys.of).type.not.toBeCallableWith(owner, { scheme: 'servcie' })
    expect(apiKeys).type.not.toHaveProperty('create')
    expect(apiKeys).type.not.toHaveProperty('revoke')
    expect(apiKeys.ofAnyOwner()).type.not.toHaveProperty('create')
    expect(apiKeys.ofAnyOwner()).type.not.toHaveProperty('list')
  })

  test('have routes whose options are known', () => {
    expect(app.register).type.toBeCallableWith(
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
    expect(app.register).type.toBeCallableWith(
      apiKeyRoutes, { leaks: { publicKeys: async () => null, bodyLimit: 1024 } }
    )
    expect(app.register).type.not.toBeCallableWith(apiKeyRoutes, { scheme: 'wob' })
    expect(app.register).type.not.toBeCallableWith(apiKeyRoutes, { maxAge: 'soon' })
    expect(app.register).type.not.toBeCallableWith(apiKeyRoutes, { leaks: {} })
    expect(app.register).type.not.toBeCallableWith(apiKeyRoutes, { maxkeys: 5 })
  })
})

describe('sessions and guesses', () => {
  test('are listed and ended by their owner', () => {
    const { sessions } = app.gatehouse
    expect(sessions.of(owner).list()).type.toBe<Promise<readonly SessionRecord[]>>()
    expect(sessions.of).type.toBeCallableWith(principal, { scheme: 'web' })
    expect(sessions.of(owner).revoke('id')).type.toBe<Promise<boolean>>()
    expect(sessions.ofAnyOwner().revoke('id')).type.toBe<Promise<boolean>>()
    expect(sessions.of(owner).revokeAll).type.toBeCallableWith({ except: 'id' })
    expect(sessions.of(owner).revokeAll).type.not.toBeCallableWith({ exept: 'id' })
    expect(sessions.of).type.not.toBeCallableWith('alice')
    expect(sessions.of).type.not.toBeCallableWith(undefined)
    expect(sessions.ofAnyOwner()).type.not.toHaveProperty('revokeAll')
  })

  test('give back what the check returned, and null for every answer that says no', () => {
    const { attempt } = app.gatehouse.guesses
    expect(attempt(reply, 'alice', async () => 7 as const, { realm: 'partners' })).type.toBe<Promise<7 | null>>()
    expect(attempt(reply, 'alice', () => verifyPassword('a', null))).type.toBe<Promise<PasswordCheck | null>>()
    expect(attempt(reply, 'alice', async (): Promise<boolean> => true)).type.toBe<Promise<true | null>>()
    expect(
      attempt(reply, 'alice', (): { id: string } | undefined => undefined)
    ).type.toBe<Promise<{ id: string } | null>>()
    expect(
      attempt(reply, 'alice', (): { valid: true, id: string } | { valid: false } => ({ valid: false }))
    ).type.toBe<Promise<{ valid: true, id: string } | null>>()
    expect(app.gatehouse.guesses.attempt).type.not.toBeCallableWith(reply, 'alice', () => true, { relm: 'partners' })
    expect(app.gatehouse.guesses.attempt).type.not.toBeCallableWith(reply, 7, () => true)
  })
})

describe('the options of what is kept', () => {
  test('take a store and limits', () => {
    expect(register).type.toBeCallableWith({ schemes, store: memoryStore() })
    expect<GatehouseOptions['store']>().type.toBe<Store | undefined>()
    expect(register).type.toBeCallableWith({ schemes, limits: { guesses: false, requests: { max: 5, window: '1m' } } })
    expect(register).type.toBeCallableWith({
      schemes,
      limits: {
        guesses: {
          perAccount: 5, perAddress: 20, window: 60, longestWindow: '1h', deviceSecret: process.env['DEVICE_SECRET']
        }
      }
    })
    expect(register).type.not.toBeCallableWith({ schemes, store: {} })
    expect(register).type.not.toBeCallableWith({ schemes, limits: { guesses: true } })
    expect(register).type.not.toBeCallableWith({ schemes, limits: { requests: { max: 5 } } })
    expect(register).type.not.toBeCallableWith({ schemes, limits: { requests: null } })
  })
})

describe('redactRequest', () => {
  const redact = redactRequest({ query: ['key'] })

  test('is a serializer for requests, errors and messages of Fastify\'s logger', () => {
    expect(Fastify).type.toBeCallableWith({ logger: { serializers: { req: redact, err: redact, msg: redact } } })
    expect(redact('/?key=a')).type.toBe<string>()
  })

  test('takes the names of parameters', () => {
    expect(redactRequest).type.not.toBeCallableWith({ query: 'key' })
    expect(redactRequest).type.not.toBeCallableWith({})
    expect(redactRequest).type.not.toBeCallableWith({ query: ['key'], header: ['x-api-key'] })
  })
})

describe('secrets and passwords', () => {
  test('are texts under the names of their variables, and lists where they rotate', () => {
    const secrets = secretsFromEnvironment({
      SESSION_SECRET: 'session', DEVICE_SECRET: 'device', JWT_SECRET: 'jwt', OPS_PASSWORD: 'password'
    })
    expect(secrets.SESSION_SECRET).type.toBe<readonly [string, ...string[]]>()
    expect(secrets.DEVICE_SECRET).type.toBe<readonly [string, ...string[]]>()
    expect(secrets.JWT_SECRET).type.toBe<string>()
    expect(secrets).type.not.toHaveProperty('JWT_SECRETS')
    expect(secretsFromEnvironment).type.not.toBeCallableWith({ SESSION_SECRET: 'sesion' })
    expect(secretsFromEnvironment).type.not.toBeCallableWith(['SESSION_SECRET'])
  })

  test('are hashed, verified and judged', () => {
    expect(hashPassword('a', { algorithm: 'scrypt', cost: 131_072 })).type.toBe<Promise<string>>()
    expect(verifyPassword('a', null)).type.toBe<Promise<{ readonly valid: boolean, readonly needsRehash: boolean }>>()
    expect(verifyPassword).type.toBeCallableWith('a', undefined)
    expect(passwordProblem('a')).type.toBe<PasswordProblem | null>()
    expect(passwords).type.toBeCallableWith({
      hash: { memorySize: 65_536 },
      legacy: [{ algorithm: 'bcrypt', cost: 12 }],
      pepper: { id: 'a', secret: 'x' },
      maxWait: '5s'
    })
    expect(passwords).type.not.toBeCallableWith({ hsah: {} })
    expect(hashPassword).type.not.toBeCallableWith('a', { algorithm: 'md5' })
    expect(hashPassword).type.not.toBeCallableWith('a', { algorithm: 'bcrypt', memorySize: 1 })
  })
})

describe('a credential in a message', () => {
  test('has the outcome of the scheme that is named', async () => {
    const caller = await app.gatehouse.authenticate('web', 'token', { request })
    if (caller.kind !== 'authenticated') {
      expect(caller.kind).type.toBe<'absent' | 'foreign' | 'invalid' | 'unavailable' | 'limited' | 'cross-site'>()
      return
    }
    expect(caller.principal).type.toBe<WebPrincipal>()
    expect(caller.credential).type.toBe<null>()
    expect(caller.signal).type.toBe<AbortSignal>()
    expect(caller.allows).type.not.toBeCallableWith({ scopes: 'order:read' })
    expect(app.gatehouse.authenticate).type.toBeCallableWith('user', undefined, { request })
    expect(app.gatehouse.authenticate).type.not.toBeCallableWith('usr', 'token', { request })
    expect(app.gatehouse.authenticate).type.not.toBeCallableWith('user', 'token')
    expect(app.gatehouse.authenticate).type.not.toBeCallableWith('user', 'token', { request: request.raw })
  })
})

function given () {
  return apiKey({ verify: () => null as { id: string } | null })
}
