import t, { type Test } from 'tap'
import { recordEvents } from '../fixtures/events.js'
import { until } from '../fixtures/time-limit.js'
import { clock } from '../jose/remote-app.js'
import { Browser, loginApp, optionsFor, type Page } from './app.js'
import { begin, hostileProvider, html, json } from './hostile.js'
import { clientSecret, openIdProvider } from './provider.js'

interface Line { readonly msg: string, readonly level: number, readonly login?: { reason: string, status: number } }

/** Creates an application with a login at this provider, and records the reasons that it logs. */
async function failing (t: Test, issuer: string, options: object = {}) {
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const app = await loginApp(t, [optionsFor(issuer, options)], { fastify: { logger: { stream } } })
  const last = () => lines.map(line => JSON.parse(line) as Line).filter(({ login }) => login !== undefined).at(-1)
  return { app, browser: new Browser(app), lines, last, reason: () => last()?.login?.reason ?? '' }
}

/** Checks that a page offers to start again, and reveals nothing else. */
function isAgain (t: Test, page: Page, status = 400): void {
  t.equal(page.status, status)
  t.match(page.headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': /^default-src 'none'/
  })
  t.match(page.body, status === 403 ? /No access/ : /<a href="\/login\/idp">Begin again/)
}

t.test('a state that this browser did not get is 400', async t => {
  const { issuer, requests } = await hostileProvider(t)
  const { app, browser, reason } = await failing(t, issuer)
  const { back, state } = await begin(browser)
  const count = requests.length
  const wrong = [{ state: '' }, { state: 'x' }, { state: `${state.slice(0, -1)}_` }, { state: `${state}x` }]
  for (const fields of wrong) {
    isAgain(t, await back(fields))
    t.match(reason(), /this browser began no login with this state/)
  }
  isAgain(t, await browser.send('/login/idp/callback'))
  isAgain(t, await browser.send(`/login/idp/callback?code=x&state=${state}&state=${state}`))
  t.match(reason(), /this browser began no login with this state/)
  isAgain(t, await new Browser(app).send(`/login/idp/callback?code=x&state=${state}`))
  t.equal(requests.length, count, 'the provider is not asked')
})

t.test('a state is good for ten minutes', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const { browser, reason } = await failing(t, issuer)
  const time = clock(t)
  const { back, nonce } = await begin(browser)
  time.advance(601)
  // the ID token is new: only the login is too old
  await grant({ nonce })
  isAgain(t, await back())
  t.match(reason(), /this browser began no login with this state in the last ten minutes/)
  const again = await begin(browser)
  t.equal(browser.names().length, 1, 'the old try is gone')
  time.advance(599)
  await grant({ nonce: again.nonce })
  t.equal((await again.back()).status, 303)
})

t.test('a person who refuses gets a page that says to begin again', async t => {
  const { issuer, person } = await openIdProvider(t)
  const { browser, reason } = await failing(t, issuer)
  person.denies = true
  isAgain(t, await browser.visit('/me'))
  t.equal(reason(), 'the provider answered access_denied: not today')
  t.same(browser.names(), [])
  person.denies = false
  t.equal((await browser.visit('/me')).status, 200)
})

t.test('somebody without an account is 403, however the application says so', async t => {
  const { issuer } = await openIdProvider(t)
  for (const no of [null, undefined, false, { valid: false }]) {
    const { browser, reason } = await failing(t, issuer, { person: async () => no })
    const denied = recordEvents(t, 'denied')
    isAgain(t, await browser.visit('/me'), 403)
    t.match(reason(), /the function person knows no account/)
    t.match(denied, [{ code: 'AUTH_ACCESS_DENIED', scheme: 'web' }])
    t.same(browser.names(), [], 'there is no session')
  }
})

t.test('errors of the application are 500, and show nothing', async t => {
  const { issuer } = await openIdProvider(t)
  const nothing: unknown = null
  const notFound = Object.assign(new Error('no row of ann@example.com'), { statusCode: 404 })
  for (const person of [
    () => { throw new Error('a bug') },
    () => { throw notFound },
    () => { throw nothing },
    () => ({ name: 'no id' })
  ]) {
    const { browser } = await failing(t, issuer, { person })
    const { status, body } = await browser.visit('/me')
    t.equal(status, 500)
    t.match(JSON.parse(body), { code: 'AUTH_FAULT', message: 'Internal Server Error' })
    t.same(browser.names(), [])
  }
})

t.test('a bad code is 400, and what is quoted of the provider is short and without secrets', async t => {
  const { issuer, answers } = await hostileProvider(t)
  const { browser, reason, lines } = await failing(t, issuer)
  const cases = [
    [json({ error: 'invalid_grant', error_description: `no ${clientSecret} a-code ${'x'.repeat(5_000)}` }, 400), 400],
    [json({ error: 'bad_verification_code' }), 400],
    [json({ error: 'invalid_client' }, 401), 503],
    [json({ error: 'temporarily_unavailable' }, 400), 503]
  ] as const
  for (const [answer, status] of cases) {
    const { back } = await begin(browser)
    answers['/token'] = answer
    isAgain(t, await back(), status)
    t.ok(reason().length < 260)
  }
  t.notOk(lines.some(line => line.includes(clientSecret) || line.includes('a-code')))
  t.match(lines.find(line => line.includes('invalid_grant')), /no … … xxx/)
  const levels = lines.map(line => JSON.parse(line) as Line).filter(({ login }) => login !== undefined)
  t.same(levels.map(({ level, login }) => [level, login?.status]), [[30, 400], [30, 400], [50, 503], [40, 503]])
})

t.test('a wrong client secret is 503, and an error in the log that says what to check', async t => {
  const { issuer } = await openIdProvider(t)
  const { browser, last } = await failing(t, issuer, { clientSecret: 'a wrong secret of the client' })
  isAgain(t, await browser.visit('/me'), 503)
  t.match(last(), { level: 50, login: { reason: /invalid_client: .*Check clientId, clientSecret/ } })
})

t.test('a provider that is down, hangs or talks nonsense is 503 at the first step', async t => {
  const { issuer, answers, requests } = await hostileProvider(t)
  const place = '/.well-known/openid-configuration'
  const metadata = {
    issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, jwks_uri: `${issuer}/j`
  }
  const cases = [
    [html(), /not JSON by its content type/],
    [html(502), /status 502/],
    [json({}, 404), /status 404/],
    [json([]), /metadata/],
    [json({ ...metadata, issuer: 'https://other.example.com' }), /does not match the expected issuer/],
    [json({ ...metadata, authorization_endpoint: undefined }), /authorization_endpoint is missing/],
    [json({ ...metadata, token_endpoint: 'http://169.254.169.254/token' }), /token_endpoint must be an https URL/],
    [json({ ...metadata, jwks_uri: 'file:///etc/passwd' }), /jwks_uri must be an https URL/],
    [json('x'.repeat(300_000)), /longer than 262144 bytes/],
    [(_: unknown, response: { destroy (): void }) => { response.destroy() }, /the connection failed/],
    [(_: unknown, response: { writeHead: (status: number, headers: object) => { end (): void } }) => {
      response.writeHead(302, { location: 'http://169.254.169.254/' }).end()
    }, /status 302/]
  ] as const
  for (const [answer, expected] of cases) {
    answers[place] = answer as typeof answers[string]
    const { browser, reason } = await failing(t, issuer)
    const page = await browser.visit('/me')
    isAgain(t, page, 503)
    t.equal(page.headers['retry-after'], '1')
    t.match(reason(), expected)
  }
  t.notOk(requests.some(({ path }) => path !== place))
})

t.test('a discovery that failed is tried again after a pause, which grows', async t => {
  const { issuer, answers, requests } = await hostileProvider(t)
  const place = '/.well-known/openid-configuration'
  const good = answers[place]
  answers[place] = html(503)
  const { browser, reason } = await failing(t, issuer)
  const unavailable = recordEvents(t, 'unavailable')
  const time = clock(t)
  const all = await Promise.all(Array.from({ length: 20 }, async () => await browser.send('/login/idp')))
  t.ok(all.every(({ status }) => status === 503))
  t.equal(requests.length, 1, 'one discovery at a time')
  const page = await browser.send('/login/idp')
  t.match(page, { status: 503, headers: { 'retry-after': String(1) } })
  t.match(reason(), /could not be fetched a moment ago/)
  t.equal(requests.length, 1)
  t.match(unavailable[0], { code: 'AUTH_UNAVAILABLE', retryAfter: 1 })
  for (const [seconds, retryAfter] of [[1, 2], [2, 4], [4, 8], [8, 16], [16, 30], [30, 30]] as const) {
    time.advance(seconds)
    t.match(await browser.send('/login/idp'), { status: 503, headers: { 'retry-after': String(retryAfter) } })
  }
  t.equal(requests.length, 7)
  time.advance(30)
  answers[place] = good as NonNullable<typeof good>
  t.equal((await browser.send('/login/idp')).status, 302)
})

t.test('logins go on with known metadata while it is fetched again', async t => {
  const { issuer, answers, requests } = await hostileProvider(t)
  const place = '/.well-known/openid-configuration'
  const { browser } = await failing(t, issuer)
  const time = clock(t)
  const count = () => requests.filter(({ path }) => path === place).length
  t.equal((await browser.send('/login/idp')).status, 302)
  time.advance(3_599)
  t.equal((await browser.send('/login/idp')).status, 302)
  t.equal(count(), 1)
  answers[place] = html(500)
  time.advance(1)
  t.equal((await browser.send('/login/idp')).status, 302, 'nobody has to wait')
  t.ok(await until(() => count() > 1))
  t.equal((await browser.send('/login/idp')).status, 302, 'the failure disturbs nobody')
})

t.test('a provider that does not answer at the second step is 503, and the page can be loaded again', async t => {
  const { issuer, answers, grant } = await hostileProvider(t)
  for (const [place, answer] of [
    ['/token', html(502)], ['/token', html(400)], ['/token', json({ a: 1 }, 400)],
    ['/token', json({ error: 'x' }, 500)], ['/jwks', html(502)], ['/jwks', json({}, 404)]
  ] as const) {
    const { browser, reason } = await failing(t, issuer)
    const { back, nonce } = await begin(browser)
    await grant({ nonce })
    const good = answers[place] as NonNullable<typeof answers[string]>
    answers[place] = answer
    const page = await back()
    isAgain(t, page, 503)
    t.equal(page.headers['retry-after'], '5')
    t.match(reason(), new RegExp(place))
    answers[place] = good
    t.equal((await back()).status, 303, 'the same page again')
  }
})

t.test('errors of a provider that is overloaded are 503', async t => {
  const { issuer } = await hostileProvider(t)
  const { browser } = await failing(t, issuer)
  for (const error of ['server_error', 'temporarily_unavailable']) {
    const { state } = await begin(browser)
    isAgain(t, await browser.send(`/login/idp/callback?error=${error}&state=${state}`), 503)
  }
})

t.test('a store that does not answer is 503 with a page', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const { AuthError } = await import('../../lib/index.js')
  const app = await loginApp(t, [optionsFor(issuer, {
    person: () => { throw new AuthError('AUTH_UNAVAILABLE', 'the database of people does not answer') }
  })])
  const browser = new Browser(app)
  const { back, nonce } = await begin(browser)
  await grant({ nonce })
  isAgain(t, await back(), 503)
})

t.test('requests to a provider that hangs end with the application', async t => {
  const { issuer, answers, requests } = await hostileProvider(t)
  answers['/.well-known/openid-configuration'] = () => {}
  const { app, browser } = await failing(t, issuer)
  const page = browser.send('/login/idp')
  t.ok(await until(() => requests.length > 0))
  await app.close()
  t.equal((await page).status, 503)
})
