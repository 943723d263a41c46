import { createHmac } from 'node:crypto'
import { exportSPKI, generateKeyPair } from 'jose'
import t from 'tap'
import { secretOf } from '../fixtures/tokens.js'
import { Browser, loginApp, optionsFor, origin } from './app.js'
import { begin, hostileProvider, json, publicKey } from './hostile.js'
import { clientSecret, openIdProvider } from './provider.js'

/** Attacks on logins: by a provider, another site, another person, or somebody who has seen a callback URL. */

t.test('login CSRF: a callback that was begun in another browser logs nobody in', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const attacker = new Browser(app)
  const victim = new Browser(app)
  const { state, nonce } = await begin(attacker)
  await grant({ nonce, sub: 'mallory' })
  const url = `/login/idp/callback?code=a-code&state=${state}`
  t.equal((await victim.send(url)).status, 400)
  await begin(victim)
  t.equal((await victim.send(url)).status, 400, 'nor into a login that is under way')
  t.notOk(victim.names().includes('__Host-web'))
})

t.test('O-SES-001 session fixation: the login begins a new session, and ends the one from before', async t => {
  const { issuer } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  await browser.send('/password', { method: 'POST' })
  const before = new Browser(app)
  before.take(browser)
  await browser.visit('/login/idp')
  t.not(browser.cookies(), before.cookies())
  t.equal((await browser.send('/me')).status, 200)
  t.equal((await before.send('/me')).status, 302)
})

t.test('a used callback is refused, even with the cookies from before', async t => {
  const { issuer } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  const { page } = await begin(browser)
  const thief = new Browser(app)
  thief.take(browser)
  const callback = await callbackOf(browser, page.location ?? '')
  t.equal((await browser.send(callback)).status, 303)
  t.equal((await browser.send(callback)).status, 400, 'the browser has forgotten the login')
  t.equal((await thief.send(callback)).status, 400, 'the provider has spent the code')
  t.notOk(thief.names().includes('__Host-web'))
})

/** Follows the redirects of the provider, and returns the URL of the callback. */
async function callbackOf (browser: Browser, location: string): Promise<string> {
  let url = location
  for (let hop = 0; hop < 10 && !url.startsWith(origin); hop++) {
    url = new URL((await browser.send(url)).location ?? origin, url).href
  }
  return url
}

t.test('code injection: a code of another login does not fit', async t => {
  const { issuer, person } = await openIdProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const victim = new Browser(app)
  const stolen = new URL(await callbackOf(victim, (await begin(victim)).page.location ?? ''))
  person.id = 'mallory'
  const attacker = new Browser(app)
  const { back } = await begin(attacker)
  const page = await back({ code: String(stolen.searchParams.get('code')), iss: issuer })
  t.equal(page.status, 400, 'the verifier is of another login')
  t.notOk(attacker.names().includes('__Host-web'))
})

t.test('mix-up: the answer of one provider is not accepted for another', async t => {
  const [honest, evil] = await Promise.all([hostileProvider(t), hostileProvider(t)])
  for (const each of [honest, evil]) {
    each.answers['/.well-known/openid-configuration'] = json({
      issuer: each.issuer,
      authorization_endpoint: `${each.issuer}/authorize`,
      token_endpoint: `${each.issuer}/token`,
      jwks_uri: `${each.issuer}/jwks`,
      authorization_response_iss_parameter_supported: each === honest
    })
  }
  const other = { redirectUri: `${origin}/login/evil/callback` }
  const app = await loginApp(t, [optionsFor(honest.issuer), optionsFor(evil.issuer, other)])
  const posted = () => [honest, evil].map(({ requests }) => requests.filter(({ path }) => path === '/token').length)
  const browser = new Browser(app)
  const one = await begin(browser, '/login/evil')
  const callbacks = [
    [one, { iss: honest.issuer }, '/login/evil/callback'], [one, { iss: honest.issuer }, '/login/idp/callback'],
    [await begin(browser), { iss: evil.issuer }, '/login/idp/callback'],
    [await begin(browser), {}, '/login/idp/callback'],
    [await begin(browser), { iss: honest.issuer }, '/login/evil/callback']
  ] as const
  for (const [{ back }, fields, path] of callbacks) t.equal((await back(fields, path)).status, 400, path)
  t.same(posted(), [0, 0], 'no code is sent to anybody')
  const { state } = await begin(browser)
  const renamed = browser.cookies().replaceAll('~login~idp~', '~login~evil~')
  const page = await browser.send(`/login/evil/callback?code=x&state=${state}`, { headers: { cookie: renamed } })
  t.equal(page.status, 400, 'a try of one provider is none of another')
})

t.test('O-SES-009 open redirect: a login leads to paths of this application that the scheme has sealed', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const other = await loginApp(t, [optionsFor(issuer)], { session: { secret: secretOf() } })
  const foreign = String((await new Browser(other).send('/me')).location).replace(/^.*returnTo=/, '')
  const own = String((await new Browser(app).send('/me')).location).replace(/^.*returnTo=/, '')
  const targets = [
    'https://evil.example.com/', '//evil.example.com', '/\\evil.example.com', '/me', 'javascript:alert(1)', foreign,
    `${own}x`, `${own.slice(0, -1)}A`
  ]
  for (const target of targets) {
    const browser = new Browser(app)
    const { back, nonce } = await begin(browser, `/login/idp?${new URLSearchParams({ returnTo: target })}`)
    await grant({ nonce })
    const page = await back({ returnTo: target })
    t.match(page, { status: 303, location: '/' }, target)
  }
})

t.test('an ID token that is not for this login is refused', async t => {
  const { issuer, answers, grant, idToken } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const stranger = await generateKeyPair('ES256')
  const now = Math.floor(Date.now() / 1000)
  const answer = (token: unknown) => {
    answers['/token'] = json({ access_token: 'a', token_type: 'Bearer', id_token: token })
  }
  const unsigned = (header: object, claims: object, sign = (_: string) => ''): string => {
    const text = [header, claims].map(each => Buffer.from(JSON.stringify(each)).toString('base64url')).join('.')
    return `${text}.${sign(text)}`
  }
  const pem = await exportSPKI(publicKey)
  const hmac = (key: string) => (text: string) => createHmac('sha256', key).update(text).digest('base64url')
  const claims = (nonce: string) => ({ iss: issuer, sub: 'ann', aud: 'app', iat: now, exp: now + 300, nonce })
  type Attack = (nonce: string) => Promise<unknown>
  const attacks: Readonly<Record<string, Attack>> = {
    'another nonce': async () => await grant({ nonce: 'another' }),
    'no nonce': async () => await grant({}),
    'another audience': async nonce => await grant({ nonce, aud: 'other' }),
    'several audiences, for another': async nonce => await grant({ nonce, aud: ['app', 'other'], azp: 'other' }),
    'another issuer': async nonce => await grant({ nonce, iss: 'https://other.example.com' }),
    'the issuer with a slash': async nonce => await grant({ nonce, iss: `${issuer}/` }),
    'no subject': async nonce => await grant({ nonce, sub: undefined }),
    'an empty subject': async nonce => await grant({ nonce, sub: '' }),
    'a subject that is too long': async nonce => await grant({ nonce, sub: '😀'.repeat(64) }),
    'a subject that no store can hold': async nonce => await grant({ nonce, sub: 'ann\0' }),
    'a subject with a control character inside': async nonce => await grant({ nonce, sub: 'a\0nn' }),
    expired: async nonce => await grant({ nonce, iat: now - 900, exp: now - 300 }),
    'no expiry': async nonce => await grant({ nonce, exp: undefined }),
    'another key': async nonce => await grant({ nonce }, { key: stranger.privateKey }),
    'another kid': async nonce => await grant({ nonce }, { header: { kid: 'two' } }),
    'a kid that is a path': async nonce => await grant({ nonce }, { header: { kid: '../../dev/null' } }),
    'alg none': async nonce => { answer(unsigned({ alg: 'none' }, claims(nonce))) },
    'a MAC with the public key': async nonce => { answer(unsigned({ alg: 'HS256' }, claims(nonce), hmac(pem))) },
    'a MAC with the secret': async nonce => { answer(unsigned({ alg: 'HS256' }, claims(nonce), hmac(clientSecret))) },
    'a changed signature': async nonce => {
      const token = await idToken({ nonce })
      answer(`${token.slice(0, -10)}AAAAAAAAAA`)
    },
    'no ID token': async () => { answer(undefined) },
    'no text': async () => { answer({ sub: 'ann' }) },
    nonsense: async () => { answer('a.b.c') },
    'nothing at all': async () => { answers['/token'] = json({}) },
    null: async () => { answers['/token'] = json(null) },
    'auth_time as text': async nonce => await grant({ nonce, auth_time: 'now' }),
    'an access token as an object': async nonce => {
      answers['/token'] = json({ access_token: {}, token_type: 'Bearer', id_token: await idToken({ nonce }) })
    }
  }
  for (const [name, attack] of Object.entries(attacks)) {
    const browser = new Browser(app)
    const { back, nonce } = await begin(browser)
    await attack(nonce)
    const page = await back()
    t.equal(page.status, 400, name)
    t.same(browser.names(), [], 'no session, and the login is over')
  }
  for (const sub of ['ann', `${'é'.repeat(127)}x`]) {
    const { back, nonce } = await begin(new Browser(app))
    await grant({ nonce, sub })
    t.equal((await back()).status, 303, `the control, with a subject of ${Buffer.byteLength(sub)} bytes`)
  }
})

t.test('an invalid key set of the provider is 400, and no internal error', async t => {
  const { issuer, answers, grant } = await hostileProvider(t)
  for (const set of [{ keys: [null] }, { keys: 'x' }, {}, [], { keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256' }] }]) {
    const browser = new Browser(await loginApp(t, [optionsFor(issuer)]))
    answers['/jwks'] = json(set)
    const { back, nonce } = await begin(browser)
    await grant({ nonce }, { header: { kid: undefined } })
    t.equal((await back()).status, 400, JSON.stringify(set))
  }
})

t.test('an error page shows nothing of the request', async t => {
  const { issuer } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  const { state } = await begin(browser)
  const evil = encodeURIComponent('<script>alert(1)</script>')
  const page = await browser.send(`/login/idp/callback?error=${evil}&error_description=${evil}&state=${state}`)
  t.equal(page.status, 400)
  t.notOk(page.body.includes('alert'))
  const other = await browser.send(`/login/idp/callback?error=${evil}&state=${evil}`)
  t.notOk(other.body.includes('alert'))
})

t.test('a browser has at most five logins in progress, and a new one ends the oldest', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer), optionsFor(issuer, {
    redirectUri: `${origin}/login/idp/more/callback`
  })])
  const browser = new Browser(app)
  const other = await begin(browser, '/login/idp/more')
  const all = []
  for (let i = 0; i < 7; i++) all.push(await begin(browser))
  t.equal(browser.names().length, 6, 'and one of another provider')
  const ended = []
  for (const { back, nonce } of all) {
    await grant({ nonce })
    ended.push((await back()).status)
  }
  t.same(ended.filter(status => status === 303).length, 5)
  t.same(ended.slice(-4), [303, 303, 303, 303])
  await grant({ nonce: other.nonce })
  t.equal((await other.back({}, '/login/idp/more/callback')).status, 303)
})

t.test('cookies of logins stay below what servers accept', async t => {
  const { issuer, grant } = await hostileProvider(t)
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const app = await loginApp(t, [optionsFor(issuer)], { fastify: { logger: { stream } } })
  const browser = new Browser(app)
  const visit = async (length: number, by = browser) => {
    const path = `/me?${'x'.repeat(length)}`
    const { back, nonce } = await begin(by, (await by.send(path)).location ?? '')
    await grant({ nonce })
    return { path, back }
  }
  for (let i = 0; i < 6; i++) {
    await visit(2_000)
    t.ok(browser.cookies().length < 8_000, String(browser.cookies().length))
  }
  const fits = await visit(2_300)
  t.equal((await fits.back()).location, fits.path)
  const long = await visit(3_500, new Browser(app))
  t.equal((await long.back()).location, '/')
  t.ok(lines.some(line => line.includes('is too long for a cookie')))
})

t.test('ignores a cookie that this application did not seal', async t => {
  const { issuer } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  const browser = new Browser(app)
  const { state } = await begin(browser)
  const name = browser.names()[0] ?? ''
  for (const value of ['', 'x', '{}', browser.cookies().split('=')[1]?.slice(0, -1)]) {
    const cookie = `${name}=${value}`
    const page = await browser.send(`/login/idp/callback?code=x&state=${state}`, { headers: { cookie } })
    t.equal(page.status, 400)
    const again = await browser.send('/login/idp', { headers: { cookie } })
    t.ok([again.headers['set-cookie']].flat().some(line => line?.startsWith(`${name}=; `)), 'the cookie is removed')
  }
})

t.test('a HEAD request neither begins nor ends a login', async t => {
  const { issuer } = await hostileProvider(t)
  const app = await loginApp(t, [optionsFor(issuer)])
  for (const url of ['/login/idp', '/login/idp/callback']) {
    t.equal((await app.inject({ method: 'HEAD', url })).statusCode, 404)
  }
})
