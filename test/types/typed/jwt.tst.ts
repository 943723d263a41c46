import { webcrypto } from 'node:crypto'
import { Agent } from 'node:https'
import { jwt, unavailable, type GatehouseEvents, type JwtOptions } from 'fastify-gatehouse'
import { fakeIssuer, type FakeIssuer } from 'fastify-gatehouse/testing'
import { describe, expect, test } from 'tstyche'

const issuer = 'https://id.example.com'
const audience = 'https://api.example.com'

/** As an application calls it. */
declare function scheme (options: JwtOptions): void

describe('the options of jwt', () => {
  test('need no keys: they are found by discovery', () => {
    expect(jwt).type.toBeCallableWith({ issuer, audience })
    expect(scheme).type.toBeCallableWith({
      issuers: [{ issuer, audience }, { issuer, audience, keys: 'https://id.example.com/jwks' }]
    })
  })

  test('take a URL of keys, and how they are fetched', () => {
    expect(scheme).type.toBeCallableWith({ issuer, audience, keys: new URL('https://id.example.com/jwks') })
    expect(scheme).type.toBeCallableWith({
      issuer, audience, cooldown: '10s', staleFor: 0, insecureHosts: ['keycloak'], agent: new Agent()
    })
    expect(scheme).type.not.toBeCallableWith({ issuer, audience, insecureHosts: 'keycloak' })
    expect(scheme).type.not.toBeCallableWith({ issuer, audience, agent: 'http://proxy' })
  })

  test('take a function that says which issuers are accepted', () => {
    expect(scheme).type.toBeCallableWith({ issuers: (iss: string) => iss === issuer ? { audience } : null })
    expect(scheme).type.toBeCallableWith({
      issuers: async (iss: string) => iss === issuer
        ? { audience, keys: 'https://id.example.com/jwks', algorithms: ['RS256' as const] }
        : undefined
    })
    expect(scheme).type.toBeCallableWith({ issuers: () => unavailable('the directory is down') })
    expect(scheme).type.not.toBeCallableWith({ issuers: () => ({ keys: 'https://id.example.com/jwks' }) })
    expect(scheme).type.not.toBeCallableWith({ issuers: () => 'https://id.example.com' })
    expect(scheme).type.not.toBeCallableWith({ issuers: () => null, audience })
    expect(scheme).type.not.toBeCallableWith({ issuers: () => null, sign: true })
  })

  test('take a function that finds keys of Web Crypto, or cannot tell', () => {
    expect(scheme).type.toBeCallableWith({
      issuer, audience, keys: async (): Promise<webcrypto.CryptoKey | null> => null
    })
    expect(scheme).type.toBeCallableWith({ issuer, audience, keys: () => unavailable('the vault is down') })
    expect(scheme).type.not.toBeCallableWith({ issuer, audience, keys: () => 7 })
  })
})

describe('events', () => {
  test('have a payload by their name', () => {
    expect<GatehouseEvents['keys-failed']>().type.toBeAssignableTo<{
      readonly issuer: string | null, readonly url: string, readonly reason: string
    }>()
    expect<'token-issued'>().type.toBeAssignableTo<keyof GatehouseEvents>()
    expect<'keys-lost'>().type.not.toBeAssignableTo<keyof GatehouseEvents>()
  })
})

describe('the fake issuer', () => {
  test('is disposed of by await using, and names its bad tokens', () => {
    expect(fakeIssuer).type.toBeCallableWith({ algorithms: ['ES256', 'EdDSA'] })
    expect(fakeIssuer).type.not.toBeCallableWith({ algorithms: ['HS256'] })
    expect<FakeIssuer>().type.toBeAssignableTo<AsyncDisposable>()
    expect<FakeIssuer['bad']>().type.toHaveProperty('expired')
    expect<FakeIssuer['bad']>().type.not.toHaveProperty('good')
    expect<FakeIssuer>().type.toHaveProperty('fail')
  })
})
