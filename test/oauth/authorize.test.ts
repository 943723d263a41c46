import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import type { ConsentRequest } from '../../lib/oauth/index.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { movableClock } from '../fixtures/clock.js'
import {
  authorizePath, clients, decide, fieldsOf, login, origin, parts, people, post, redeem, serverApp, spaUri, visit,
  webSecret
} from './app.js'
import { exactly } from '../fixtures/exactly.js'
import { tracing } from '../fixtures/secrets.js'
import { secretOf } from '../fixtures/tokens.js'

const clock = movableClock(t)

t.test('shows an error, and redirects nowhere, without a known client and one of its redirect URIs', async t => {
  const app = await serverApp(t)
  const wrong = [
    { client_id: 'nobody' }, { client_id: undefined }, { redirect_uri: undefined },
    { redirect_uri: 'https://evil.example.com/cb' }, { redirect_uri: `${spaUri}/` }, { redirect_uri: `${spaUri}?a=b` }
  ]
  for (const fields of wrong) {
    const { status, location, answer } = await visit(app, authorizePath(fields))
    t.same([status, location], [400, undefined], JSON.stringify(fields))
    t.match(answer.headers, {
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'content-security-policy': /^default-src 'none'; .*frame-ancestors 'none'; form-action 'none'$/
    })
  }
  t.match(await visit(app, `${authorizePath()}&client_id=spa`), { status: 400, location: undefined })
  t.match(await visit(app, `${authorizePath()}&redirect_uri=${spaUri}`), { status: 400, location: undefined })
  t.match(await visit(app, '/oauth/authorize'), { status: 400, location: undefined })
})

t.test('sends every other mistake to the client, before anybody has to log in', async t => {
  const app = await serverApp(t)
  const cases: ReadonlyArray<readonly [Record<string, string | undefined>, string]> = [
    [{ response_type: undefined }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ response_mode: 'fragment' }, 'invalid_request'],
    [{ code_challenge: undefined }, 'invalid_request'],
    [{ code_challenge: 'short' }, 'invalid_request'],
    [{ code_challenge: 'a'.repeat(44) }, 'invalid_request'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'],
    [{ code_challenge_method: undefined }, 'invalid_request'],
    [{ request: 'x' }, 'request_not_supported'],
    [{ request_uri: 'https://spa.example.com/r' }, 'request_uri_not_supported'],
    [{ scope: 'unknown' }, 'invalid_scope'],
    [{ scope: 'orders:read "orders:write"' }, 'invalid_scope'],
    [{ resource: 'https://other.example.com' }, 'invalid_target'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ prompt: 'create' }, 'invalid_request'],
    [{ max_age: '-1' }, 'invalid_request'],
    [{ max_age: '60s' }, 'invalid_request'],
    [{ more: 'x'.repeat(4_000) }, 'invalid_request']
  ]
  for (const [fields, error] of cases) {
    const { status, location, params, answer } = await visit(app, authorizePath(fields))
    t.same(
      [status, params['error'], params['state'], params['iss']], [303, error, 'a b', origin], JSON.stringify(fields)
    )
    t.ok(location?.startsWith(spaUri))
    t.match(answer.headers, { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  }
  const repeated = await visit(app, `${authorizePath()}&state=c`)
  t.match(repeated.params, { error: 'invalid_request' })
  t.notOk('state' in repeated.params)
  t.match((await visit(app, `${authorizePath()}&resource=a&resource=b`)).params, { error: 'invalid_target' })
  t.match((await visit(app, `${authorizePath()}&=b`)).params, { error: 'invalid_request' })
})

t.test('returns the state as it was sent', async t => {
  const app = await serverApp(t)
  t.notMatch((await visit(app, authorizePath({ state: '', prompt: 'none' }))).location, 'state')
  for (const raw of ['a%20b+c', '%E2%82%AC', "%22%3C'x", '~a/b?c']) {
    const { location } = await visit(app, `${authorizePath({ state: undefined, prompt: 'none' })}&state=${raw}`)
    t.equal(location?.split('state=')[1], raw.replace("'", '%27'))
  }
})

t.test('accepts another port of a loopback host, and no other difference', async t => {
  const app = await serverApp(t, {
    oauth: { clients: { native: { redirectUris: ['http://localhost/cb', 'http://[::1]:9/', 'app:/cb?a=b'] } } }
  })
  const status = async (uri: string) =>
    (await visit(app, authorizePath({ client_id: 'native', redirect_uri: uri, prompt: 'none' }))).status
  for (const uri of ['http://localhost/cb', 'http://localhost:5000/cb', 'http://[::1]:12/', 'app:/cb?a=b']) {
    t.equal(await status(uri), 303, uri)
  }
  const wrong = [
    'http://localhost:5000/other', 'http://127.0.0.1/cb', 'https://localhost/cb', 'http://localhost:99999/cb',
    'http://localhost@evil.example.com/cb', 'http://localhost:5000/cb#a', 'app:/cb2'
  ]
  for (const uri of wrong) t.equal(await status(uri), 400, uri)
  const query = { client_id: 'native', redirect_uri: 'app:/cb?a=b', prompt: 'none' }
  t.match((await visit(app, authorizePath(query))).location, /^app:\/cb\?a=b&error=login_required/)
})

t.test('prompt=none never asks the person', async t => {
  const app = await serverApp(t)
  t.match((await visit(app, authorizePath({ prompt: 'none' }))).params, { error: 'login_required' })
  const { cookie } = await login(app)
  t.match((await visit(app, authorizePath({ prompt: 'none' }), cookie)).params, { error: 'consent_required' })
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb', prompt: 'none' }
  t.ok((await visit(app, authorizePath(own), cookie)).params['code'])
})

t.test('prompt=none is login_required for a session that is not valid, and shows no login page', async t => {
  const app = await serverApp(t)
  const { cookie } = await login(app)
  const { ann } = people
  t.teardown(() => { Object.assign(people, { ann }) })
  Reflect.deleteProperty(people, 'ann')
  for (const sent of [cookie, '__Host-web=forged']) {
    const { status, params, answer } = await visit(app, authorizePath({ prompt: 'none' }), sent)
    t.match([status, params], [303, { error: 'login_required', state: 'a b', iss: origin }])
    t.notOk('www-authenticate' in answer.headers)
    const page = await visit(app, authorizePath({ prompt: 'none' }), sent, { 'sec-fetch-site': 'same-origin' })
    t.match(
      page, { status: 200, answer: { body: /http-equiv="refresh".*error=login_required/ } },
      'a refusal after a form is sent by a page'
    )
    const unknown = await visit(app, authorizePath({ prompt: 'none', client_id: 'nobody' }), sent)
    t.match(unknown, { status: 400, location: undefined })
    t.match(
      await visit(app, authorizePath(), sent), { status: 302, location: /^\/login\?/ },
      'without prompt=none, the person is sent to the login'
    )
    t.match((await visit(app, authorizePath({ prompt: 'none', scope: 'unknown' }), sent)).params, {
      error: 'invalid_scope'
    })
  }
})

t.test('a login of an unknown time satisfies no max_age, and gives a token without auth_time', async t => {
  const app = await serverApp(t)
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb' }
  const answer = await app.inject({ method: 'POST', url: '/login', payload: { id: 'ann', isOld: true } })
  const cookie = String(answer.headers['set-cookie']).split(';')[0] ?? ''
  t.match(await visit(app, authorizePath({ max_age: '60' }), cookie), { location: /^\/login\?returnTo=/ })
  const { params } = await visit(app, authorizePath(own), cookie)
  const { body } = await redeem(app, String(params['code']), own)
  const claims = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url').toString())
  t.match(claims, { sub: 'ann' })
  t.notOk('auth_time' in claims)
})

t.test('prompt=login and max_age ask for a login once, and accept a later one', async t => {
  const app = await serverApp(t)
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb', state: "it's" }
  for (const fields of [
    { prompt: 'login' }, { prompt: 'select_account' }, { prompt: 'login select_account' }, { max_age: '60' }
  ]) {
    const { cookie } = await login(app)
    clock.offset += 120_000
    const redirect = await visit(app, authorizePath({ ...own, ...fields }), cookie)
    t.match(redirect, { status: 302, location: /^\/login\?returnTo=/ }, JSON.stringify(fields))
    const query = String(redirect.location).replace('/login', '')
    const { returnTo } = await login(app, 'ann', query)
    t.match(
      (await visit(app, returnTo, cookie)).params, { error: 'login_required' },
      'the session from before the request is not enough'
    )
    t.match(
      (await visit(app, returnTo)).params, { error: 'login_required' }, 'a request without a session is refused too'
    )
    clock.offset += 1_000
    const again = await login(app, 'ann', query)
    t.match((await visit(app, again.returnTo, again.cookie)).params, { code: /./, state: "it's" })
    t.match(
      await visit(app, `${authorizePath({ ...own, ...fields })}&gatehouse_login=1.${'a'.repeat(43)}`, cookie),
      { status: 302, location: /^\/login/ },
      'nobody else can write that'
    )
    clock.offset += 3_600_001
    t.notOk(
      (await visit(app, again.returnTo, again.cookie)).params['code'], 'after an hour, the stamp is no longer valid'
    )
  }
  const { cookie } = await login(app)
  t.ok((await visit(app, authorizePath({ ...own, max_age: '60' }), cookie)).params['code'], 'a recent login is enough')
  clock.offset += 120_000
  t.match((await visit(app, authorizePath({ ...own, max_age: '60', prompt: 'none' }), cookie)).params, {
    error: 'login_required'
  })
})

t.test('a request with characters that browsers encode in a redirect continues after a login', async t => {
  const app = await serverApp(t)
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb', prompt: 'login' }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const path = `${authorizePath(own)}&note="<`
  const asking = get({ port, host: '127.0.0.1', path, headers: { accept: 'text/html' }, agent: false })
  const [{ headers: { location } }] = await once(asking, 'response') as [IncomingMessage]
  clock.offset += 1_000
  const { cookie, returnTo } = await login(app, 'ann', String(location).replace('/login', ''))
  // app.inject encodes the path as a browser does
  t.match((await visit(app, returnTo, cookie)).params, { code: /./ })
})

t.test('a request of any length continues after a login, or is refused before it', async t => {
  const app = await serverApp(t)
  const { length } = authorizePath({ state: '' }).replace(/^[^?]*\?/, '')
  const longest = authorizePath({ state: 'x'.repeat(3_800 - length) })
  const { location } = await visit(app, longest)
  const { cookie, returnTo } = await login(app, 'ann', String(location).replace('/login', ''))
  t.ok(returnTo.startsWith(`${longest}&gatehouse_login=`))
  t.match(await visit(app, returnTo, cookie), { status: 200 }, 'the consent page')
  const longer = await visit(app, authorizePath({ state: 'x'.repeat(3_801 - length) }), cookie)
  t.match(longer.params, { error: 'invalid_request', error_description: 'The request is too long' })
})

t.test('prompt=login accepts a login of the same second from a provider that reports whole seconds', async t => {
  const app = await serverApp(t)
  const own = { client_id: 'own', redirect_uri: 'https://own.example.com/cb', prompt: 'login' }
  app.post('/provider', { config: { auth: { public: 'for tests' } } }, async (request, reply) => {
    const { authenticatedAt } = request.body as { authenticatedAt: number }
    await reply.login({ id: 'ann' }, { authenticatedAt: new Date(authenticatedAt) })
    return { returnTo: app.gatehouse.sessions.returnTo(request, '/') }
  })
  clock.offset += 1_100 - Date.now() % 1000
  const second = Math.floor(Date.now() / 1000) * 1000
  const { location } = await visit(app, authorizePath(own))
  const cases = [[second, 'code'], [second - 1000, 'error'], [second + 1, 'error']] as const
  for (const [authenticatedAt, expected] of cases) {
    const url = String(location).replace('/login', '/provider')
    const answer = await app.inject({ method: 'POST', url, payload: { authenticatedAt } })
    const cookie = String([answer.headers['set-cookie']].flat()[0]).split(';')[0]
    t.ok(expected in (await visit(app, answer.json().returnTo, cookie)).params, String(authenticatedAt - second))
  }
})

t.test('programs get 401, HEAD is not answered, and a forged cookie is refused', async t => {
  const app = await serverApp(t)
  t.equal((await app.inject({ url: authorizePath() })).statusCode, 401)
  t.equal((await app.inject({ method: 'HEAD', url: authorizePath() })).statusCode, 404)
  t.match((await visit(app, authorizePath(), '__Host-web=forged')).status, 302)
})

t.test('the consent form belongs to one session and one request', async t => {
  const app = await serverApp(t, { session: { idleTimeout: '2h' } })
  const [ann, other] = [await login(app), await login(app)]
  const { answer: { body: page } } = await visit(app, authorizePath(), ann.cookie)
  const submit = async (fields: Record<string, string>, cookie = ann.cookie, headers = {}) =>
    await post(app, '/oauth/consent', { ...fieldsOf(page), decision: 'allow', ...fields }, { cookie, ...headers })
  t.equal((await submit({}, other.cookie)).status, 400)
  t.equal((await submit({ request: fieldsOf(page)['request']?.replace('a+b', 'c') ?? '' })).status, 400)
  t.match(await submit({ stamp: '' }), { status: 400, body: /<p>The form is not of this session, or is too old\.</ })
  t.equal((await submit({ request: '' })).status, 400)
  t.equal((await submit({}, ann.cookie, { 'sec-fetch-site': 'cross-site' })).status, 403)
  t.equal((await submit({}, '')).status, 401)
  const repeated = `${String(new URLSearchParams(fieldsOf(page)))}&stamp=x`
  t.equal((await post(app, '/oauth/consent', repeated, { cookie: ann.cookie })).status, 400)
  const json = { method: 'POST', url: '/oauth/consent', payload: {}, headers: { cookie: ann.cookie } } as const
  t.equal((await app.inject(json)).statusCode, 415)
  clock.offset = 3_600_001
  t.equal((await submit({})).status, 400, 'after an hour, the stamp is no longer valid')
})

t.test('denied consent is access_denied', async t => {
  const { logger, lines } = tracing()
  const app = await serverApp(t, { fastify: { logger } })
  const { cookie } = await login(app)
  const { answer: { body: page } } = await visit(app, authorizePath(), cookie)
  t.match((await decide(app, page, cookie, 'deny')).params, { error: 'access_denied', state: 'a b', iss: origin })
  t.match(lines(), /"oauth":\{"error":"access_denied","reason":"The person refused"\}.*authorization refused/)
})

t.test('a remembered consent counts for one person and one client', async t => {
  const remembering = Object.entries({ ...clients }).map(([id, client]) => [id, { ...client, consent: 'remember' }])
  const app = await serverApp(t, {
    plugin: { load: person => ({ ...person, scopes: ['orders:read'], roles: [] }) },
    oauth: { clients: Object.fromEntries(remembering) }
  })
  const [ann, bob] = [await login(app), await login(app, 'bob')]
  const web = { client_id: 'web', redirect_uri: 'https://web.example.com/cb' }
  const first = await visit(app, authorizePath(), ann.cookie)
  t.ok((await decide(app, first.answer.body, ann.cookie)).params['code'])
  t.ok((await visit(app, authorizePath(), ann.cookie)).params['code'])
  t.equal((await visit(app, authorizePath(), bob.cookie)).status, 200, 'another person is asked')
  t.equal((await visit(app, authorizePath(web), ann.cookie)).status, 200, 'another client has to ask')
})

t.test('a remembered consent is asked for again for more scopes, prompt=consent and native clients', async t => {
  const native = { client_id: 'native', redirect_uri: 'app:/cb' }
  const app = await serverApp(t, {
    oauth: { consent: 'remember', clients: { ...clients, native: { redirectUris: ['app:/cb'] } } }
  })
  const { cookie } = await login(app)
  const first = await visit(app, authorizePath({ scope: 'orders:read' }), cookie)
  t.ok((await decide(app, first.answer.body, cookie)).params['code'])
  t.ok((await visit(app, authorizePath({ scope: 'orders:read' }), cookie)).params['code'])
  t.equal((await visit(app, authorizePath({ scope: 'orders:read', prompt: 'consent' }), cookie)).status, 200)
  t.equal((await visit(app, authorizePath(), cookie)).status, 200, 'one of the two is not remembered')
  const more = await visit(app, authorizePath({ scope: 'orders:write' }), cookie)
  t.equal(more.status, 200)
  t.ok((await decide(app, more.answer.body, cookie)).params['code'])
  t.ok((await visit(app, authorizePath(), cookie)).params['code'], 'both are remembered')
  const { consents } = app.gatehouse.oauth
  const owner = { realm: 'web', id: 'ann' }
  const scopes = exactly('orders:read', 'orders:write')
  t.match(await consents.of(owner).list(), [{ client: 'spa', scopes, givenAt: /Z$/ }])
  t.equal(await consents.of({ realm: 'web', id: 'bob' }).remove('spa'), false)
  for (const client of [1n, ['spa'], undefined] as never[]) t.equal(await consents.of(owner).remove(client), false)
  t.equal(await consents.of(owner).remove('spa'), true)
  t.equal((await visit(app, authorizePath(), cookie)).status, 200)
  for (let i = 0; i < 2; i++) {
    const page = await visit(app, authorizePath(native), cookie)
    t.equal(page.status, 200)
    t.ok((await decide(app, page.answer.body, cookie)).params['code'])
  }
  const silent = await visit(app, authorizePath({ ...native, prompt: 'none' }), cookie)
  t.match(silent.params, { error: 'consent_required' })
  t.same(await consents.of(owner).list(), [], 'the consent to a native client is not remembered')
})

t.test('a remembered consent does not count once people are asked each time', async t => {
  const store = memoryStore()
  const remembering = await serverApp(t, { store, oauth: { consent: 'remember' } })
  const { cookie } = await login(remembering)
  const { answer } = await visit(remembering, authorizePath(), cookie)
  t.ok((await decide(remembering, answer.body, cookie)).params['code'])
  t.ok((await visit(remembering, authorizePath(), cookie)).params['code'])
  const asking = await serverApp(t, { store })
  t.equal((await visit(asking, authorizePath(), (await login(asking)).cookie)).status, 200)
})

t.test('consent: false does not hold for a native client, whose name any program may use', async t => {
  const confidential = { redirectUris: ['http://127.0.0.1/cb'], secrets: [webSecret], consent: false } as const
  const both = { redirectUris: ['http://127.0.0.1/cb', 'https://both.example.com/cb'], consent: false } as const
  const app = await serverApp(t, { oauth: { clients: { ...clients, confidential, both } } })
  const { cookie } = await login(app)
  const statusOf = async (client_id: string, redirect_uri: string) =>
    (await visit(app, authorizePath({ client_id, redirect_uri, scope: undefined }), cookie)).status
  for (const uri of ['http://127.0.0.1:4000/cb', 'com.example.app:/cb']) {
    t.equal(await statusOf('native', uri), 200, uri)
  }
  t.equal(await statusOf('both', 'http://127.0.0.1:4000/cb'), 200)
  t.equal(
    await statusOf('both', 'https://both.example.com/cb'), 303, 'the host of a redirect URI identifies the client'
  )
  t.equal(await statusOf('confidential', 'http://127.0.0.1:4000/cb'), 303, 'so does a secret')
})

t.test('a page of the application may allow some scopes, and remember them', async t => {
  const app = await serverApp(t, {
    oauth: {
      consent: async (_request, reply, consent) => {
        if (consent.submitted === null) return { ...consent, fields: consent.form.fields }
        const { decision, scope = '' } = consent.submitted
        if (decision === 'deny') return await consent.deny()
        if (decision === 'none') return await consent.approve(undefined as unknown as string[])
        if (decision === 'nothing') return await consent.approve([])
        return await consent.approve(scope.split(' '), decision === 'always' ? { remember: true } : {})
      }
    }
  })
  const { cookie } = await login(app)
  const page = (await visit(app, authorizePath(), cookie)).answer.json()
  t.match(page, {
    client: { id: 'spa', name: 'The <Shop>', isPublic: true },
    redirectUri: spaUri,
    resource: origin,
    person: { id: 'ann' },
    scopes: [{ name: 'orders:read', description: 'Read your orders' }, { name: 'orders:write', description: null }],
    form: { action: '/oauth/consent' }
  })
  const submit = async (fields: Record<string, string>) => {
    const { body } = await post(app, '/oauth/consent', { ...page.fields, ...fields }, { cookie })
    return parts(/content="0;url=([^"]*)"/.exec(String(body))?.[1]?.replaceAll('&#38;', '&')).params
  }
  t.match(await submit({ decision: 'deny' }), { error: 'access_denied' })
  t.match(await submit({ decision: 'allow', scope: 'admin' }), { error: 'server_error' })
  t.match(
    await submit({ decision: 'allow', scope: 'orders:read admin' }), { error: 'server_error' },
    'a scope that was not requested is refused'
  )
  t.match(await submit({ decision: 'none' }), { error: 'server_error' }, 'a value that is not a list is refused')
  t.match(await submit({ decision: 'nothing' }), { error: 'server_error' }, 'an empty list is refused')
  t.match(await submit({ decision: 'allow', scope: 'orders:read' }), { code: /./ })
  t.equal((await visit(app, authorizePath({ scope: 'orders:read' }), cookie)).status, 200)
  t.match(await submit({ decision: 'always', scope: 'orders:read' }), { code: /./ })
  t.match((await visit(app, authorizePath({ scope: 'orders:read' }), cookie)).params, { code: /./ })
  t.equal((await visit(app, authorizePath(), cookie)).status, 200, 'asks if one scope of two is remembered')
})

t.test('an error of a consent page that does not await reaches the client, and not the process', async t => {
  type Page = (reply: FastifyReply, consent: ConsentRequest) => unknown
  const visitPage = async (page: Page) => {
    const app = await serverApp(t, { oauth: { consent: (_request, reply, consent) => page(reply, consent) } })
    const { cookie } = await login(app)
    return await visit(app, authorizePath(), cookie)
  }
  const wrong = ['admin'] as never[]
  t.match((await visitPage((_reply, consent) => { void consent.approve(wrong) })).params, { error: 'server_error' })
  t.match((await visitPage((_reply, consent) => { void consent.approve(['orders:read']) })).params, { code: /./ })
  t.match((await visitPage((_reply, consent) => { void consent.deny() })).params, { error: 'access_denied' })
  const sorry = async (reply: FastifyReply, consent: ConsentRequest) => {
    await consent.approve(wrong).catch(() => { reply.send('sorry') })
  }
  t.equal((await visitPage(sorry)).answer.body, 'sorry', 'a page may handle the error')
  const own = (reply: FastifyReply, consent: ConsentRequest) => {
    void consent.approve(wrong)
    return reply.send('own')
  }
  t.equal((await visitPage(own)).answer.body, 'own')
})

t.test('an option of approve() that is misspelled, undefined or no boolean is a fault', async t => {
  for (const options of [{ remembr: true }, { remember: undefined }, { remember: 'false' }, null, true]) {
    const app = await serverApp(t, {
      oauth: { consent: async (_request, _reply, consent) => await consent.approve(['orders:read'], options as object) }
    })
    const { cookie } = await login(app)
    t.match((await visit(app, authorizePath(), cookie)).params, { error: 'server_error' }, JSON.stringify(options))
    t.same(await app.gatehouse.oauth.consents.of({ realm: 'web', id: 'ann' }).list(), [])
  }
})

t.test('a person without the scopes is refused, and a client without scopes gets none', async t => {
  const app = await serverApp(t, {
    oauth: { clients: { ...clients, plain: { redirectUris: [spaUri] } } }
  })
  const { cookie } = await login(app, 'bob')
  t.match((await visit(app, authorizePath(), cookie)).params, { error: 'invalid_scope' })
  const page = await visit(app, authorizePath({ client_id: 'plain' }), cookie)
  t.match(page.answer.body, /wants to know who you are.*sent to <b>spa\.example\.com<\/b>/)
  t.ok((await decide(app, page.answer.body, cookie)).params['code'])
})

t.test('a page of the application may allow a client without scopes', async t => {
  const app = await serverApp(t, {
    oauth: {
      clients: { ...clients, plain: { redirectUris: [spaUri] } },
      consent: async (_request, _reply, consent) =>
        consent.submitted === null ? { fields: consent.form.fields } : await consent.approve([])
    }
  })
  const { cookie } = await login(app)
  const { fields } = (await visit(app, authorizePath({ client_id: 'plain' }), cookie)).answer.json()
  t.match((await post(app, '/oauth/consent', fields, { cookie })).body, /;url=https:\/\/spa\.example\.com\/cb\?code=/)
})

t.test('a consent page from before the rotation of the secret can be answered after it', async t => {
  const [older, newer] = [secretOf(), secretOf()]
  const before = await serverApp(t, { session: { secret: older } })
  const after = await serverApp(t, { session: { secret: [newer, older] } })
  const { cookie } = await login(before)
  const { answer } = await visit(before, authorizePath(), cookie)
  t.ok((await decide(after, answer.body, cookie)).params['code'])
})

t.test('a person of another realm, or with the id of a client, is a fault', async t => {
  const app = await serverApp(t, { plugin: { load: principal => principal } })
  app.post('/enter', { config: { auth: { public: 'for tests' } } }, async (request, reply) => {
    await reply.login(request.body as { id: string })
    return {}
  })
  for (const person of [{ id: 'ann', realm: 'people' }, { id: 'client:partner' }]) {
    const answer = await app.inject({ method: 'POST', url: '/enter', payload: person })
    const cookie = String([answer.headers['set-cookie']].flat()[0]).split(';')[0]
    t.match((await visit(app, authorizePath(), cookie)).params, { error: 'server_error' }, person.id)
  }
})

t.test('pages with a form are not framed, and let browsers send their origin', async t => {
  const app = await serverApp(t)
  const { cookie } = await login(app)
  const { answer } = await visit(app, authorizePath(), cookie)
  t.match(answer.headers, {
    'referrer-policy': 'same-origin',
    'x-frame-options': 'DENY',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-type': 'text/html; charset=utf-8'
  })
  const [, style] = /<style>([^]*)<\/style>/.exec(answer.body) ?? []
  t.equal(
    answer.headers['content-security-policy'],
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(`${style}`).digest('base64')}'; ` +
      "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
  )
})

t.test('shows names of people, clients and scopes as text, never as HTML', async t => {
  const hostile = '<i>&"\''
  const app = await serverApp(t, {
    plugin: {
      scopes: { 'orders:read': `reads ${hostile}`, 'orders:write': '' },
      load: ({ id }) => ({ id, scopes: ['orders:read'] })
    },
    oauth: { clients: { spa: { ...clients?.['spa'], name: `client ${hostile}` } } } as never
  })
  const { cookie } = await login(app, `person ${hostile}`)
  const { body } = (await visit(app, authorizePath(), cookie)).answer
  const escaped = '&#60;i&#62;&#38;&#34;&#39;'
  for (const [element, text] of [
    ['title', `Allow client ${escaped}?`], ['h1', `Allow client ${escaped}?`], ['b', `client ${escaped}`],
    ['b', `person ${escaped}`], ['li', `reads ${escaped}`]
  ] as const) t.ok(body.includes(`<${element}>${text}</${element}>`), `${element}: ${text}`)
  t.notOk(body.includes('<i>'))
})

t.test('a submitted form leads to the client by a page, which form-action does not block', async t => {
  const app = await serverApp(t)
  const headers = { 'sec-fetch-site': 'same-origin' }
  const { status, answer } = await visit(app, authorizePath({ prompt: 'none' }), '', headers)
  t.equal(status, 200)
  t.match(answer.body, /http-equiv="refresh" content="0;url=https:\/\/spa.example.com\/cb\?error=login_required/)
  const framed = await visit(app, authorizePath({ prompt: 'none' }), '', { ...headers, 'sec-fetch-dest': 'iframe' })
  t.match(framed, { status: 303, params: { error: 'login_required' } }, 'in a frame, the page would not be shown')
})
