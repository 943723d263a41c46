import t, { type Test } from 'tap'
import type { OAuthLoginOptions } from '../../lib/oidc/index.js'
import { Browser, loginApp, origin } from './app.js'
import { begin, hostileProvider, json } from './hostile.js'
import { clientId, clientSecret } from './provider.js'

/** Creates an application with an OAuth 2.0 login without OpenID, as GitHub and Discord offer it. */
async function withEndpoints (t: Test, options: Partial<OAuthLoginOptions> = {}) {
  const provider = await hostileProvider(t)
  provider.answers['/token'] = json({ access_token: 'gho_1', token_type: 'bearer', scope: 'read:user' })
  const login: OAuthLoginOptions = {
    redirectUri: `${origin}/login/idp/callback`,
    endpoints: { authorize: `${provider.issuer}/authorize`, token: `${provider.issuer}/token` },
    clientId,
    clientSecret,
    session: 'web',
    scopes: ['read:user'],
    profile: async accessToken => ({ id: 7, login: 'ann', token: accessToken }),
    person: async ({ claims, tokens }) => ({ id: `github ${String(claims['id'])}`, name: tokens.access_token }),
    ...options
  }
  const app = await loginApp(t, [login])
  return { ...provider, app, browser: new Browser(app) }
}

t.test('logs in by the profile that the application asks for', async t => {
  const { browser, requests } = await withEndpoints(t)
  const { params, back } = await begin(browser, (await browser.send('/me')).location ?? '')
  t.same([...params.keys()].sort(), [
    'client_id', 'code_challenge', 'code_challenge_method', 'redirect_uri', 'response_type', 'scope', 'state'
  ])
  t.equal(params.get('scope'), 'read:user')
  // an unknown issuer is not checked: the redirect URI distinguishes the providers
  t.match(await back({ iss: 'https://github.com/login/oauth' }), { status: 303, location: '/me' })
  t.match(JSON.parse((await browser.send('/me')).body), { id: 'github 7', authenticatedAt: null })
  const [token, ...others] = requests
  t.same(others, [], 'there is no discovery')
  const form = new URLSearchParams(token?.body)
  t.equal(form.get('client_secret'), clientSecret, 'in the form, where GitHub expects it')
  t.match(form.get('code_verifier'), /^[\w-]{43}$/)
  t.equal(token?.headers['accept'], 'application/json')
})

t.test('a browser without any cookie can begin', async t => {
  const { app } = await withEndpoints(t)
  const { statusCode, cookies } = await app.inject('/login/idp')
  t.equal(statusCode, 302)
  t.match(cookies, [{ secure: true, httpOnly: true, path: '/' }])
})

t.test('no scope is asked for unless it is named', async t => {
  const { browser } = await withEndpoints(t, { scopes: [], clientAuthentication: 'basic' })
  t.notOk((await begin(browser)).params.has('scope'))
})

t.test('a profile that returns null is 403, and one that fails is 503', async t => {
  for (const [profile, status] of [
    [async () => null, 403],
    [async () => { throw new TypeError('fetch failed with gho_1') }, 503],
    [async () => 'ann' as never, 500],
    [async () => (() => ({ id: 7 })) as never, 500],
    [async () => new Map([['id', 7]]), 500],
    [async () => new Error('fetch failed with gho_1'), 500]
  ] as const) {
    const { browser } = await withEndpoints(t, { profile })
    const page = await (await begin(browser)).back()
    t.equal(page.status, status)
    t.notOk(page.body.includes('gho_1'))
    t.equal((await browser.send('/me')).location?.startsWith('/login/idp'), true)
  }
})

t.test('cannot serve a route that needs a recent login, and says so before anybody logs in', async t => {
  const { browser, requests } = await withEndpoints(t)
  await (await begin(browser)).back()
  const before = requests.length
  const page = await browser.visit('/danger')
  t.equal(page.status, 403)
  t.equal(requests.length, before)
})
