import Fastify from 'fastify'
import { oidcLogin, type OidcLoginOptions } from 'fastify-gatehouse/oidc'
import { describe, expect, test } from '../expect.js'
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
        expect(claims.iss).type.toBe<string>()
        expect(claims.auth_time).type.toBe<number | undefined>()
        expect(claims['hd']).type.toBe<unknown>()
        expect(tokens.refresh_token).type.toBe<string | undefined>()
        expect(request.ip).type.toBe<string>()
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
        expect(claims['id']).type.toBe<unknown>()
        return { id: String(claims['id']) }
      }
    })
  })

  test('are of one kind', () => {
    const person = () => null
    expect<OidcLoginOptions>().type.not.toBeAssignableFrom({ ...common, person })
    expect<OidcLoginOptions>().type.not.toBeAssignableFrom({ ...common, person, endpoints })
    expect<OidcLoginOptions>().type.not.toBeAssignableFrom({
      ...common, person, endpoints, profile: () => ({}), logout: true as const
    })
    expect<OidcLoginOptions>().type.not.toBeAssignableFrom({ ...common, person, issuer: 'https://x', session: 'wbe' })
  })
})
