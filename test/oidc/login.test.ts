import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { session } from '../../lib/index.js'
import { oidcLogin, type OidcLogin } from '../../lib/oidc/index.js'
import { recordEvents } from '../fixtures/events.js'
import { secretOf } from '../fixtures/tokens.js'
import { Browser, loginApp, optionsFor, origin, sessionSecret } from './app.js'
import { begin } from './hostile.js'
import { clientSecret, openIdProvider } from './provider.js'

t.test('logs in at a provider, and leads back to where the login was needed', async t => {
  const { issuer } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  const page = await browser.visit('/me?a=b')
  t.equal(page.url, `${origin}/me?a=b`)
  t.same(JSON.parse(page.body), { id: 'ann', realm: 'web', authenticatedAt: null })
  t.same(browser.names(), ['__Host-web'], 'nothing of the login is left')
  t.equal((await new Browser(app).visit('/login/idp')).url, `${origin}/`, 'without a return path')
})

t.test('asks the provider for what the options say, and the application for the person', async t => {
  const { issuer } = await openIdProvider(t, { client: { require_auth_time: true } })
  const logins: OidcLogin[] = []
  const app = await loginApp(t, [optionsFor(issuer, {
    scopes: ['email', 'openid'],
    parameters: { prompt: 'consent', hd: 'example.com' },
    fallback: '/me',
    person: async (login: OidcLogin) => {
      logins.push(login)
      return { id: `${login.claims.iss} ${login.claims.sub}` }
    }
  })])
  const browser = new Browser(app)
  const { params } = await begin(browser)
  t.match(Object.fromEntries(params), {
    client_id: 'app',
    response_type: 'code',
    redirect_uri: `${origin}/login/idp/callback`,
    scope: 'openid email',
    prompt: 'consent',
    hd: 'example.com',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{8}\.[\w-]{43}$/,
    nonce: /^[\w-]{43}$/
  })
  const page = await browser.visit('/login/idp')
  const [login] = logins
  t.equal(page.url, `${origin}/me`, 'the login leads to the fallback')
  t.match(JSON.parse(page.body), { id: `${issuer} ann` })
  t.match(login?.claims, { iss: issuer, sub: 'ann', aud: 'app', email: 'ann@example.com', email_verified: true })
  t.match(login?.tokens, { token_type: 'bearer', scope: 'openid email', access_token: /./, id_token: /^ey/ })
  t.ok(Object.isFrozen(login?.tokens))
  t.equal(login?.request.method, 'GET')
  const at = JSON.parse(page.body).authenticatedAt
  t.equal(at, new Date(Number(login?.claims.auth_time) * 1000).toISOString(), 'the time of the ID token')
})

t.test('authenticates at the token endpoint as the provider accepts it', async t => {
  const post = 'client_secret_post'
  const tried = [
    [{ token_endpoint_auth_method: post }, { clientAuthentication: 'post' }, {}],
    [{ token_endpoint_auth_method: post }, {}, { clientAuthMethods: [post] }],
    [{}, { clientAuthentication: 'basic' }, {}],
    [{ token_endpoint_auth_method: 'none', client_secret: undefined }, { clientSecret: null }, {}]
  ] as const
  for (const [client, options, configuration] of tried) {
    const { issuer } = await openIdProvider(t, { client: client as object, configuration: configuration as object })
    const { clientSecret: secret, ...others } = optionsFor(issuer, options)
    const app = await loginApp(t, [{ ...others, ...secret === null ? {} : { clientSecret } } as typeof others])
    t.equal((await new Browser(app).visit('/me')).status, 200, JSON.stringify(options))
  }
})

t.test('supports two providers in one application', async t => {
  const [one, two] = await Promise.all([openIdProvider(t), openIdProvider(t, { name: 'other' })])
  two.person.id = 'bob'
  const app = await loginApp(t, [
    optionsFor(one.issuer), optionsFor(two.issuer, { redirectUri: `${origin}/login/other/callback` })
  ])
  const browser = new Browser(app)
  const first = await begin(browser)
  t.equal((await browser.visit('/login/other')).body, 'home')
  t.match(JSON.parse((await browser.visit('/me')).body), { id: 'bob' })
  t.equal((await browser.visit(first.page.location ?? '')).status, 200, 'the other login continues')
  t.match(JSON.parse((await browser.visit('/me')).body), { id: 'ann' })
})

t.test('begins and ends sessions of its scheme, if several schemes keep some', async t => {
  const { issuer } = await openIdProvider(t)
  const staff = session({ secret: sessionSecret, loginPath: '/login/idp' })
  const app = await loginApp(t, [optionsFor(issuer, { session: 'staff', logout: true })], {
    plugin: { schemes: { web: session({ secret: sessionSecret }), staff }, default: 'staff' }
  })
  const browser = new Browser(app)
  t.match(JSON.parse((await browser.visit('/me')).body), { id: 'ann', realm: 'staff' })
  t.same(browser.names(), ['__Host-staff'])
  t.equal((await browser.send('/logout', { method: 'POST' })).status, 200)
  t.same(browser.names(), [])
})

t.test('any instance completes a login that another began, even while the secret changes', async t => {
  const { issuer } = await openIdProvider(t)
  const older = await loginApp(t, [optionsFor(issuer)])
  const newer = await loginApp(t, [optionsFor(issuer)], {
    session: { secret: [secretOf(), sessionSecret] }
  })
  const browser = new Browser(older)
  const { page } = await begin(browser)
  const other = new Browser(newer)
  other.take(browser)
  t.equal((await other.visit(page.location ?? '')).body, 'home')
  t.equal((await other.send('/me')).status, 200)
})

t.test('logins in several tabs do not disturb each other', async t => {
  const { issuer } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  const tabs = await Promise.all([begin(browser), begin(browser), begin(browser)])
  t.equal(browser.names().length, 3)
  for (const { page } of tabs) t.equal((await browser.visit(page.location ?? '')).status, 200)
  t.same(browser.names(), ['__Host-web'])
})

t.test('the cookie of a login has the attributes of the session cookie, but Lax for Strict', async t => {
  const { issuer } = await openIdProvider(t)
  const cases = [
    [{}, /^__Host-login~login~idp~[\w-]{8}=\S+; Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=600$/],
    [{ sameSite: 'strict' }, /^__Host-.*; Secure; SameSite=Lax; Max-Age=600$/],
    [{ sameSite: 'none' }, /^__Host-.*; Secure; SameSite=None; Partitioned; Max-Age=600$/],
    [{ secure: false }, /^login~login~idp~[\w-]{8}=\S+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/]
  ] as const
  for (const [options, form] of cases) {
    const app = await loginApp(t, [optionsFor(issuer)], { session: options })
    const browser = new Browser(app)
    const { page } = await begin(browser)
    t.match(String(page.headers['set-cookie']), form)
    t.match(page, { status: 302, headers: { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } })
    const end = await browser.visit(page.location ?? '')
    t.match(end, { url: `${origin}/`, status: 200 })
    t.equal((await browser.send('/me')).status, 200)
  }
})

t.test('a Strict session is reached by a page, as a redirect from another site would not have its cookie', async t => {
  const { issuer } = await openIdProvider(t)
  const pages: Record<string, string> = {}
  for (const sameSite of ['lax', 'strict'] as const) {
    const app = await loginApp(t, [optionsFor(issuer)], { session: { sameSite } })
    const answers: string[] = []
    app.addHook('onResponse', async (request, reply) => {
      answers.push(`${request.url.split('?')[0]} ${reply.statusCode}`)
    })
    await new Browser(app).visit('/me')
    pages[sameSite] = answers.find(each => each.startsWith('/login/idp/callback')) ?? ''
  }
  t.same(pages, { lax: '/login/idp/callback 303', strict: '/login/idp/callback 200' })
})

t.test('publishes the events of a login, and logs neither code nor state', async t => {
  const { issuer } = await openIdProvider(t)
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const app = await loginApp(t, [optionsFor(issuer)], { fastify: { logger: { level: 'trace', stream } } })
  const logins = recordEvents(t, 'login')
  const refusals = recordEvents(t, 'refused')
  const browser = new Browser(app)
  const { state, page, back } = await begin(browser)
  await browser.visit(page.location ?? '')
  await back({ code: 'stolen-code-of-somebody' })
  t.match(logins, [{ scheme: 'web', realm: 'web', id: 'ann', route: '/login/idp/callback' }])
  t.match(refusals, [{ code: 'AUTH_INVALID_CREDENTIALS', scheme: 'web', reason: /began no login/ }])
  const log = lines.join('')
  t.match(log, /"url":"\/login\/idp\/callback\?code=\[hidden\]&state=\[hidden\]/)
  for (const secret of [state, 'stolen-code-of-somebody', clientSecret]) t.notOk(log.includes(secret))
})

t.test('the routes are public with a reason, and not in OpenAPI documents', async t => {
  const { issuer } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer, { logout: true })])
  await app.ready()
  const rows = app.gatehouse.audit().filter(({ url }) => /^\/log/.test(url))
  const host = new URL(issuer).host
  t.match(rows.map(({ method, url, access, reason }) => ({ method, url, access, reason })), [
    { method: 'GET', url: '/login/idp', access: 'public', reason: `begins a login at ${host}` },
    { method: 'GET', url: '/login/idp/callback', access: 'public', reason: /^ends a login at .* in the same browser$/ },
    { method: 'POST', url: '/logout', access: 'public', reason: /^ends the session/ }
  ])
})

t.test('serves its routes below the prefix of its context', async t => {
  const { issuer } = await openIdProvider(t, {
    client: { redirect_uris: ['https://app.example.com/v1/in/back'] }
  })
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { web: session({ secret: sessionSecret }) }, default: 'web' })
  await app.register(async child => {
    await child.register(oidcLogin, optionsFor(issuer, {
      redirectUri: `${origin}/v1/in/back`, path: '/v1/in', fallback: '/v1/me'
    }))
    child.get('/me', async ({ principal }) => principal)
  }, { prefix: '/v1' })
  const page = await new Browser(app).visit('/v1/in')
  t.match(page, { url: `${origin}/v1/me`, status: 200, body: /"ann"/ })
})
