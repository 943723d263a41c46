import Fastify from 'fastify'
import { oidcLogin, type OidcLoginOptions } from 'fastify-gatehouse/oidc'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import './application.js'

const app = Fastify()
const common = { redirectUri: 'https://app.example.com/login/x/callback', clientId: 'app', session: 'web' } as const
const endpoints = { authorize: 'https://x.example.com/authorize', token: 'https://x.example.com/token' }
const people = { bySubject: async (issuer: string, subject: string) => ({ id: `${issuer} ${subject}` }) }

describe('the options of oidcLogin', () => {
  test('give an OpenID login the claims of the ID token', () => {
    app.register(oidcLogin, {
      ...common,
      issuer: 'https://id.example.com',
      clientSecret: process.env['CLIENT_SECRET'],
      logout: true,
      person: async ({ claims, tokens, request }) => {
        expectTypeOf(claims.iss).toEqualTypeOf<string>()
        expectTypeOf(claims.auth_time).toEqualTypeOf<number | undefined>()
        expectTypeOf(claims['hd']).toEqualTypeOf<unknown>()
        expectTypeOf(tokens.refresh_token).toEqualTypeOf<string | undefined>()
        expectTypeOf(request.ip).toEqualTypeOf<string>()
        return await people.bySubject(claims.iss, claims.sub)
      }
    })
  })

  test('give any other login what profile returns, as unknown values', () => {
    app.register(oidcLogin, {
      ...common,
      endpoints,
      profile: async accessToken => ({ id: accessToken.length }),
      person: ({ claims }) => {
        expectTypeOf(claims['id']).toEqualTypeOf<unknown>()
        return { id: String(claims['id']) }
      }
    })
  })

  test('are of one kind', () => {
    const person = () => null
    expectTypeOf({ ...common, person }).not.toExtend<OidcLoginOptions>()
    expectTypeOf({ ...common, person, endpoints }).not.toExtend<OidcLoginOptions>()
    expectTypeOf({ ...common, person, endpoints, profile: () => ({}), logout: true as const })
      .not.toExtend<OidcLoginOptions>()
    expectTypeOf({ ...common, person, issuer: 'https://x', session: 'wbe' }).not.toExtend<OidcLoginOptions>()
  })
})
