import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import gatehouse, { apiKey, session } from '../../lib/index.js'
import { oidcLogin } from '../../lib/oidc/index.js'
import { tracing } from '../fixtures/secrets.js'
import { secretOf } from '../fixtures/tokens.js'
import { loginApp, optionsFor, origin, sessionSecret } from './app.js'

const issuer = 'https://id.example.com'
const person = () => null

t.test('wrong options stop the boot with an error that names them', async t => {
  const endpoints = { authorize: `${issuer}/authorize`, token: `${issuer}/token` }
  const profile = () => ({})
  const cases: ReadonlyArray<readonly [object, RegExp]> = [
    [{ redirectUri: undefined }, /redirectUri must be a non-empty string/],
    [{ redirectUri: '/login/idp/callback' }, /redirectUri must be an https URL/],
    [
      { redirectUri: 'http://app.example.com/login/idp/callback' },
      /redirectUri must be an https URL: plain http is for loopback hosts only\./
    ],
    [
      { issuer: 'https://id.example.com/.well-known/openid-configuration' },
      /oidcLogin\.issuer must be what its metadata calls issuer, without '\/\.well-known\/…'\. Got /
    ],
    [{ redirectUri: `${origin}/login/idp/callback?a` }, /redirectUri must be a URL in its usual form without a query/],
    [{ redirectUri: `${origin}:443/login/idp/callback` }, /redirectUri must be a URL in its usual form/],
    [{ redirectUri: `${origin}/login/:idp/callback` }, /redirectUri must be a URL in its usual form/],
    [{ redirectUri: `${origin}/login/idp/back` }, /path is missing\. It can be left out if the path of redirectUri/],
    [{ redirectUri: `${origin}/callback` }, /path is missing/],
    [{ path: 'login' }, /oidcLogin\.path must be a path with the prefix/],
    [{ path: '/login/idp/callback' }, /oidcLogin\.path is the path of redirectUri/],
    [{ issuer: undefined }, /'issuer' set to undefined/],
    [{ issuer: 'http://id.example.com' }, /oidcLogin\.issuer must be an https URL/],
    [{ issuer: 'https://id.example.com/?a' }, /oidcLogin\.issuer must not have a query or fragment\. Got/],
    [{ issuer: 'https://id.example.com/#' }, /oidcLogin\.issuer must not have a query or fragment\. Got/],
    [{ endpoints, profile }, /one of issuer, for an OpenID provider, and endpoints, for any other\. There are both/],
    [{ profile }, /profile cannot be combined with issuer/],
    [{ clientId: undefined }, /clientId must be a non-empty string/],
    [{ clientId: 'app\n' }, /oidcLogin\.clientId has white space around it, such as the line break at the end/],
    [{ clientSecret: ' secret' }, /oidcLogin\.clientSecret has white space around it/],
    [{ clientSecret: undefined }, /'clientSecret' set to undefined/],
    [{ clientAuthentication: 'jwt' }, /clientAuthentication must be 'basic' or 'post'/],
    [{ session: 'nobody' }, /session must be a scheme that is made by session\(\): web\. Got 'nobody'/],
    [{ scopes: ['a b'] }, /scopes\[0\] must be the name of a scope\. Got 'a b'/],
    [{ parameters: { prompt: true } }, /parameters must be an object of strings/],
    [{ parameters: { state: 'x' } }, /parameters cannot have 'state', which the protocol sets\. Leave/],
    [{ parameters: { scope: 'x' } }, /parameters cannot have 'scope', which the protocol sets from the option scopes/],
    [{ parameters: { max_age: '0' } }, /cannot have 'max_age'/],
    [{ person: 'ann' }, /person must be a function \(\{ claims, tokens, request \}\) => principal or null/],
    [{ fallback: 'https://evil.example.com/' }, /fallback must be a path of this application/],
    [{ fallback: '//evil.example.com' }, /fallback must be a path of this application/],
    [{ logout: { path: 'x' } }, /logout\.path must be a path/],
    [{ logout: { redirectUri: 'http://app.example.com/' } }, /logout\.redirectUri must be an https URL/],
    [{ insecureHosts: 'keycloak' }, /insecureHosts must be a list of host names/],
    [{ agent: {} }, /agent must be an Agent/],
    [{ unknown: 1 }, /unknown key 'unknown'/]
  ]
  for (const [options, message] of cases) {
    const booted = loginApp(t, [optionsFor(issuer, options)])
    await t.rejects(booted, { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
  const others: ReadonlyArray<readonly [object, RegExp]> = [
    [{}, /one of issuer, .* There is neither/],
    [{ endpoints }, /profile is missing: without an ID token/],
    [{ endpoints, profile, logout: true }, /logout cannot be combined with endpoints/],
    [{ endpoints: { ...endpoints, token: 'http://a.example/' }, profile }, /endpoints\.token must be an https URL/],
    [{ endpoints: { ...endpoints, authorize: 'javascript:1' }, profile }, /endpoints\.authorize must be an https URL/],
    [{ endpoints, profile, clientAuthentication: 'post' }, /clientAuthentication needs clientSecret/]
  ]
  const common = { redirectUri: `${origin}/login/idp/callback`, clientId: 'app', session: 'web', person }
  for (const [options, message] of others) {
    const booted = loginApp(t, [{ ...common, ...options } as never])
    await t.rejects(booted, { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
})

t.test('nothing is fetched at boot', async t => {
  const app = await loginApp(t, [optionsFor('https://127.0.0.1:1', { logout: true, insecureHosts: ['keycloak'] })])
  await t.resolves(async () => { await app.ready() })
})

t.test('the path of redirectUri must be that of the route', async t => {
  const below = (prefix: string, options: object) => async () => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, { schemes: { web: session({ secret: sessionSecret }) }, default: 'web' })
    await app.register(async child => { await child.register(oidcLogin, optionsFor(issuer, options)) }, { prefix })
  }
  await t.rejects(below('/v1', {}), {
    message: /redirectUri has the path \/login\/idp\/callback, but .* with the prefix \/v1, where no such route/
  })
  const redirectUri = `${origin}/v1/login/callback`
  await t.rejects(below('/v1', { redirectUri, path: '/login' }), {
    message: /oidcLogin\.path has the path \/login, but/
  })
  await t.rejects(below('/v1', { redirectUri, logout: { path: '/logout' } }), {
    message: /logout\.path is \/logout, but .* with the prefix \/v1/
  })
  await t.resolves(below('/v1', { redirectUri, logout: true })())
})

t.test('requires the plugin and a session scheme', async t => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(async () => { await bare.register(oidcLogin, optionsFor(issuer)) }, {
    code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED'
  })
  const other = Fastify()
  t.teardown(() => other.close())
  await other.register(fp(async app => { app.decorate('gatehouse', {} as never) }, { name: 'fastify-gatehouse' }))
  await t.rejects(async () => { await other.register(oidcLogin, optionsFor(issuer)) }, { message: /two copies/ })
  const keys = Fastify()
  t.teardown(() => keys.close())
  await keys.register(gatehouse, { schemes: { key: apiKey({ keys: { [secretOf()]: { id: 'a' } } }) } })
  await t.rejects(async () => { await keys.register(oidcLogin, optionsFor(issuer, { session: 'key' })) }, {
    message: /made by session\(\)\. Got 'key'/
  })
})

t.test('two logins may not end sessions of different schemes at one path', async t => {
  const other = { redirectUri: `${origin}/login/other/callback`, logout: true, session: 'staff' }
  const booted = loginApp(t, [optionsFor(issuer, { logout: true }), optionsFor(issuer, other)], {
    plugin: { schemes: { web: session({ secret: sessionSecret }), staff: session({ secret: sessionSecret }) } }
  })
  await t.rejects(booted, { message: /logout\.path is \/logout, which ends sessions of the scheme 'web' already/ })
})

t.test('logLevel and logSerializers hold for every route of a login', async t => {
  const cases = [[{ logSerializers: { req: () => 'own' } }, /"req":"own"/], [{ logLevel: 'silent' }, /^$/]] as const
  for (const [log, message] of cases) {
    const { logger, lines } = tracing()
    const app = await loginApp(t, [optionsFor(issuer, { logout: true, ...log })], { fastify: { logger } })
    await app.ready()
    for (const [method, url] of [['GET', '/login/idp/callback'], ['POST', '/logout']] as const) {
      const before = lines().length
      await app.inject({ method, url })
      t.match(lines().slice(before), message, url)
    }
  }
})
