import { webcrypto } from 'node:crypto'
import { Agent } from 'node:https'
import { jwt, unavailable, type GatehouseEvents, type JwtOptions } from 'fastify-gatehouse'
import { fakeIssuer, type FakeIssuer } from 'fastify-gatehouse/testing'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'

const issuer = 'https://id.example.com'
const audience = 'https://api.example.com'

/** Accepts options as `jwt` does. */
declare function scheme (options: JwtOptions): void

describe('the options of jwt', () => {
  test('need no keys: they are found by discovery', () => {
    jwt({ issuer, audience })
    scheme({
      issuers: [{ issuer, audience }, { issuer, audience, keys: 'https://id.example.com/jwks' }]
    })
  })

  test('take a URL of keys, and how they are fetched', () => {
    scheme({ issuer, audience, keys: new URL('https://id.example.com/jwks') })
    scheme({
      issuer, audience, cooldown: '10s', staleFor: 0, insecureHosts: ['keycloak'], agent: new Agent()
    })
    // @ts-expect-error
    scheme({ issuer, audience, insecureHosts: 'keycloak' })
    // @ts-expect-error
    scheme({ issuer, audience, agent: 'http://proxy' })
  })

  test('take a function that says which issuers are accepted', () => {
    scheme({ issuers: (iss: string) => iss === issuer ? { audience } : null })
    scheme({
      issuers: async (iss: string) => iss === issuer
        ? { audience, keys: 'https://id.example.com/jwks', algorithms: ['RS256' as const] }
        : undefined
    })
    scheme({ issuers: () => unavailable('the directory is down') })
    // @ts-expect-error
    scheme({ issuers: () => ({ keys: 'https://id.example.com/jwks' }) })
    // @ts-expect-error
    scheme({ issuers: () => 'https://id.example.com' })
    // @ts-expect-error
    scheme({ issuers: () => null, audience })
    // @ts-expect-error
    scheme({ issuers: () => null, sign: true })
  })

  test('take a function that finds keys of Web Crypto, or cannot tell', () => {
    scheme({
      issuer, audience, keys: async (): Promise<webcrypto.CryptoKey | null> => null
    })
    scheme({ issuer, audience, keys: () => unavailable('the vault is down') })
    // @ts-expect-error
    scheme({ issuer, audience, keys: () => 7 })
  })
})

describe('events', () => {
  test('have a payload by their name', () => {
    expectTypeOf<GatehouseEvents['keys-failed']>().toExtend<{
      readonly issuer: string | null, readonly url: string, readonly reason: string
    }>()
    expectTypeOf<'token-issued'>().toExtend<keyof GatehouseEvents>()
    expectTypeOf<'keys-lost'>().not.toExtend<keyof GatehouseEvents>()
  })
})

describe('the fake issuer', () => {
  test('is disposed of by await using, and names its bad tokens', () => {
    fakeIssuer({ algorithms: ['ES256', 'EdDSA'] })
    // @ts-expect-error
    fakeIssuer({ algorithms: ['HS256'] })
    expectTypeOf<FakeIssuer>().toExtend<AsyncDisposable>()
    expectTypeOf<FakeIssuer['bad']>().toHaveProperty('expired')
    expectTypeOf<FakeIssuer['bad']>().not.toHaveProperty('good')
    expectTypeOf<FakeIssuer>().toHaveProperty('fail')
  })
})
