import t, { type Test } from 'tap'
import { oidcLogin } from '../../lib/oidc/index.js'
import { authorizePath, origin as oauthOrigin, serverApp as oauthApp, visit } from '../oauth/app.js'
import { Browser, loginApp, optionsFor, origin, type Options } from './app.js'
import { begin, hostileProvider } from './hostile.js'
import { openIdProvider } from './provider.js'

const seconds = (ago: number): number => Math.floor(Date.now() / 1000) - ago

/** Logs a browser in at an application, without a known time of authentication. */
async function loggedIn (t: Test, options: Options = {}) {
  const provider = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(provider.issuer, options)])
  const browser = new Browser(app)
  const { back, nonce } = await begin(browser)
  await provider.grant({ nonce })
  t.equal((await back()).status, 303)
  /** Requests a route that needs a recent login, and follows the redirect to the provider. */
  const stepUp = async (path = '/danger') => await begin(browser, (await browser.send(path)).location ?? '')
  return { ...provider, app, browser, stepUp }
}

t.test('a route that needs a recent login gets one from the provider', async t => {
  const { issuer, requests } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  await browser.visit('/login/idp')
  t.match(JSON.parse((await browser.visit('/me')).body), { authenticatedAt: null })
  const before = requests.length
  const page = await browser.visit('/danger')
  t.match(page, { status: 200, url: `${origin}/danger`, body: 'done' })
  t.ok(requests.length > before)
  t.not(JSON.parse((await browser.visit('/me')).body).authenticatedAt, null)
})

t.test('sends the maximum age of the route, and nothing in other logins', async t => {
  const { browser, stepUp } = await loggedIn(t)
  t.equal((await stepUp()).params.get('max_age'), '300')
  t.equal((await begin(browser)).params.has('max_age'), false)
})

t.test('a first login for such a route is recent enough at once', async t => {
  const { issuer } = await openIdProvider(t)
  const browser = new Browser(await loginApp(t, [optionsFor(issuer)]))
  const { location } = await browser.send('/danger')
  t.equal((await begin(browser, location ?? '')).params.get('max_age'), '300')
  const page = await browser.visit('/danger')
  t.match(page, { status: 200, url: `${origin}/danger`, body: 'done' })
  t.not(JSON.parse((await browser.visit('/me')).body).authenticatedAt, null)
})

t.test('a login that is older than a route allows is 403, so that nothing loops', async t => {
  for (const [authTime, status] of [
    [undefined, 403], [0, 403], [seconds(301), 403], [seconds(3_600), 403], [seconds(200), 303], [seconds(-600), 303]
  ] as const) {
    const { stepUp, grant, browser } = await loggedIn(t)
    const { back, nonce } = await stepUp()
    await grant({ nonce, auth_time: authTime })
    const page = await back()
    t.equal(page.status, status, String(authTime))
    if (status === 403) t.match(page.body, /the provider did not confirm/)
    else t.equal(page.location, '/danger')
    t.equal((await browser.send('/me')).status, 200, 'the session continues')
    t.equal((await browser.send('/danger')).status, status === 303 ? 200 : 302)
  }
})

t.test('an auth_time of 0 says nothing about the time of a login', async t => {
  const provider = await hostileProvider(t)
  const browser = new Browser(await loginApp(t, [optionsFor(provider.issuer)]))
  const { back, nonce } = await begin(browser)
  await provider.grant({ nonce, auth_time: 0 })
  t.equal((await back()).status, 303)
  t.match(JSON.parse((await browser.send('/me')).body), { authenticatedAt: null })
})

t.test('an auth_time in the future counts as now, so that the login does not stay recent for longer', async t => {
  const provider = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(provider.issuer)])
  for (const authTime of [seconds(-1_800), 1e20]) {
    const browser = new Browser(app)
    const { back, nonce } = await begin(browser)
    await provider.grant({ nonce, auth_time: authTime })
    t.equal((await back()).status, 303)
    const { authenticatedAt } = JSON.parse((await browser.send('/me')).body)
    t.ok(new Date(authenticatedAt).getTime() <= Date.now())
  }
})

t.test('a form that needs a recent login asks the provider too', async t => {
  const provider = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(provider.issuer)])
  app.addContentTypeParser('application/x-www-form-urlencoded', (_request, _payload, done) => { done(null) })
  app.post('/form', { config: { auth: { maxAge: '1m' } } }, async () => 'done')
  const browser = new Browser(app)
  const { back, nonce } = await begin(browser)
  await provider.grant({ nonce })
  await back()
  const refused = await browser.send('/form', { method: 'POST', form: { a: 'b' } })
  t.equal(refused.status, 303)
  const { params, back: end, nonce: again } = await begin(browser, refused.location ?? '')
  t.equal(params.get('max_age'), '60')
  await provider.grant({ nonce: again, auth_time: seconds(1) })
  t.equal((await end()).location, '/', 'a form is not sent again')
})

t.test('max_age=0 asks for a login since it was asked for', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  app.get('/again', { config: { auth: { public: 'for tests' } } }, async (request, reply) => {
    const { internalsOf } = await import('../../lib/plugin/internals.js')
    const sessions = internalsOf(app, 'a test').schemes.get('web')?.features.sessions
    sessions?.redirectToLogin?.(request, reply, { path: '/me', maxAge: 0 })
    return reply
  })
  for (const [ago, status] of [[10, 403], [0, 303]] as const) {
    const { params, back, nonce } = await begin(browser, (await browser.send('/again')).location ?? '')
    t.equal(params.get('max_age'), '0')
    await grant({ nonce, auth_time: seconds(ago) })
    t.equal((await back()).status, status)
  }
})

t.test('a login for a client of the authorization server is as recent as the client asks', async t => {
  const { issuer } = await hostileProvider(t)
  const app = await oauthApp(t, { session: { loginPath: '/login/idp' } })
  await app.register(oidcLogin, optionsFor(issuer, { redirectUri: `${oauthOrigin}/login/idp/callback` }))
  const requests = [
    [{ prompt: 'login' }, '0'], [{ prompt: 'login', max_age: '60' }, '0'], [{ max_age: '60' }, '60'], [{}, null]
  ] as const
  for (const [fields, maxAge] of requests) {
    const { location } = await visit(app, authorizePath(fields))
    const atProvider = await visit(app, String(location))
    t.equal(new URL(String(atProvider.location)).searchParams.get('max_age'), maxAge, JSON.stringify(fields))
  }
})
