import t, { type Test } from 'tap'
import { recordEvents } from '../fixtures/events.js'
import { Browser, loginApp, optionsFor, origin, type Page } from './app.js'
import { begin, hostileProvider, html, json } from './hostile.js'
import { openIdProvider } from './provider.js'

/** Returns the URL to which a logout leads. */
function onward ({ status, body }: Page): URL {
  const [, url = ''] = /content="0;url=([^"]*)"/.exec(body) ?? []
  return new URL(status === 200 ? url.replaceAll('&#38;', '&') : 'http://nowhere')
}

/** Logs a browser in at a provider whose responses the test decides. */
async function loggedIn (t: Test, logout: unknown = true, claims: object = {}) {
  const provider = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(provider.issuer, { logout })])
  const browser = new Browser(app)
  const { back, nonce } = await begin(browser)
  const token = await provider.grant({ nonce, ...claims })
  t.equal((await back()).status, 303)
  return { ...provider, app, browser, token }
}

t.test('ends the session here and at the provider', async t => {
  const { issuer, person } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer, { logout: true })])
  const browser = new Browser(app)
  const logouts = recordEvents(t, 'logout')
  await browser.visit('/me')
  const asks = await browser.visit('/logout', { method: 'POST', form: {} })
  t.match(asks.url, `${issuer}/session/end`, 'the browser is sent to the provider')
  t.match(logouts, [{ scheme: 'web', id: 'ann' }])
  const [, xsrf = ''] = /name="xsrf" value="([^"]*)"/.exec(asks.body) ?? []
  const ended = await browser.visit(`${issuer}/session/end/confirm`, { method: 'POST', form: { xsrf, logout: 'yes' } })
  t.match(ended, { url: `${origin}/`, body: 'home' })
  person.id = 'bob'
  t.match(JSON.parse((await browser.visit('/me')).body), { id: 'bob' }, 'the provider asks for a login')
})

t.test('sends the provider the ID token, the client and the return URL', async t => {
  const { browser, issuer, token } = await loggedIn(t, { path: '/bye', redirectUri: `${origin}/gone` })
  const page = await browser.send('/bye', { method: 'POST', form: { anything: 'x' } })
  const url = onward(page)
  t.equal(`${url.origin}${url.pathname}`, `${issuer}/logout`)
  t.same(Object.fromEntries(url.searchParams), {
    id_token_hint: token, client_id: 'app', post_logout_redirect_uri: `${origin}/gone`
  })
  t.match(page.headers, { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  t.same(browser.names(), [])
  t.equal(onward(await browser.send('/bye', { method: 'POST' })).href, `${origin}/gone`, 'without a session')
})

t.test('keeps the ID token only for a logout, and only if it fits', async t => {
  const { browser, token } = await loggedIn(t)
  const short = browser.cookies().length
  const without = await loggedIn(t, { path: '/bye' }, { padding: 'x'.repeat(4_000) })
  t.ok(without.browser.cookies().length < short - token.length, 'a large one is left out of the cookie')
  const url = onward(await without.browser.send('/bye', { method: 'POST' }))
  t.same([...url.searchParams.keys()], ['post_logout_redirect_uri', 'client_id'])
  const { issuer, grant } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const plain = new Browser(app)
  const { back, nonce } = await begin(plain)
  await grant({ nonce })
  await back()
  t.ok(plain.cookies().length < short - token.length, 'without logout, nothing is kept')
  t.equal((await plain.send('/logout', { method: 'POST' })).status, 404)
})

t.test('leaves the ID token out of a URL that is too long for servers', async t => {
  const { browser, issuer, answers, app } = await loggedIn(t, true, { padding: 'x'.repeat(700) })
  await app.close()
  const metadata = {
    issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, jwks_uri: `${issuer}/j`
  }
  const hint = async (endpoint: string) => {
    answers['/.well-known/openid-configuration'] = json({ ...metadata, end_session_endpoint: endpoint })
    const other = new Browser(await loginApp(t, [optionsFor(issuer, { logout: true })]))
    other.take(browser)
    return onward(await other.send('/logout', { method: 'POST' })).searchParams.has('id_token_hint')
  }
  t.equal(await hint(`${issuer}/logout`), true)
  t.equal(await hint(`${issuer}/logout?tenant=${'x'.repeat(3_000)}`), false)
})

t.test('the session ends here, whatever the provider does', async t => {
  const cases = [
    html(500),
    json({ issuer: 'https://other.example.com' }),
    (issuer: string) => json({ issuer, authorization_endpoint: issuer, token_endpoint: issuer, jwks_uri: issuer }),
    (issuer: string) => json({
      issuer,
      authorization_endpoint: issuer,
      token_endpoint: issuer,
      jwks_uri: issuer,
      end_session_endpoint: 'javascript:alert(1)'
    })
  ]
  for (const made of cases) {
    const { browser, issuer, answers } = await loggedIn(t)
    const answer = made.length === 1 ? (made as (issuer: string) => typeof answers[string])(issuer) : made
    answers['/.well-known/openid-configuration'] = answer as NonNullable<typeof answers[string]>
    const other = new Browser(await loginApp(t, [optionsFor(issuer, { logout: true })]))
    other.take(browser)
    t.equal(onward(await other.send('/logout', { method: 'POST' })).href, `${origin}/`)
    t.same(other.names(), [])
  }
})

t.test('one route ends the sessions of several providers, each at its own', async t => {
  const [one, two] = await Promise.all([hostileProvider(t), hostileProvider(t)])
  const gone = `${origin}/gone`
  const app = await loginApp(t, [
    optionsFor(one.issuer, { logout: true }),
    optionsFor(two.issuer, { logout: { redirectUri: gone }, redirectUri: `${origin}/login/other/callback` }),
    optionsFor(two.issuer, { redirectUri: `${origin}/login/third/callback` })
  ])
  const browser = new Browser(app)
  for (const [provider, name, target] of [
    [one, 'idp', `${one.issuer}/logout`], [two, 'other', `${two.issuer}/logout`], [two, 'third', `${origin}/`]
  ] as const) {
    const { back, nonce } = await begin(browser, `/login/${name}`)
    await provider.grant({ nonce })
    await back({}, `/login/${name}/callback`)
    const url = onward(await browser.send('/logout', { method: 'POST' }))
    t.equal(`${url.origin}${url.pathname}`, target)
    if (name === 'other') t.equal(url.searchParams.get('post_logout_redirect_uri'), gone)
  }
  await browser.send('/password', { method: 'POST' })
  t.equal(onward(await browser.send('/logout', { method: 'POST' })).href, `${origin}/`, 'a login by password')
})

t.test('a renewed session still knows its provider', async t => {
  const { browser, token } = await loggedIn(t)
  t.equal((await browser.send('/renew', { method: 'POST' })).status, 200)
  const url = onward(await browser.send('/logout', { method: 'POST' }))
  t.equal(url.searchParams.get('id_token_hint'), token)
})

t.test('another site cannot log a person out', async t => {
  const { browser } = await loggedIn(t)
  const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example.com' }
  t.equal((await browser.send('/logout', { method: 'POST', form: {}, headers })).status, 403)
  t.equal((await browser.send('/logout')).status, 404, 'nor by a link')
  t.equal((await browser.send('/me')).status, 200)
})
