import t from 'tap'
import { movableClock } from '../fixtures/clock.js'
import { recordNamedEvents } from '../fixtures/events.js'
import {
  authorizePath, call, codeFor, decide, login, origin, post, redeem, serverApp, spaUri, visit
} from './app.js'
import { exactly } from '../fixtures/exactly.js'

t.test('a person who is not logged in goes to the login page and back, allows, and the client gets tokens', async t => {
  const app = await serverApp(t)
  const first = await visit(app, authorizePath())
  t.equal(first.status, 302)
  t.match(first.location, /^\/login\?returnTo=/)
  const { cookie, returnTo } = await login(app, 'ann', String(first.location).replace('/login', ''))
  t.match(returnTo, /^\/oauth\/authorize\?/)
  const page = await visit(app, returnTo, cookie)
  t.equal(page.status, 200)
  t.match(page.answer.body, /The &#60;Shop&#62;/)
  t.match(page.answer.body, /Read your orders/)
  const end = await decide(app, page.answer.body, cookie)
  t.equal(end.status, 200)
  t.ok(end.location?.startsWith(spaUri))
  t.match(end.params, { state: 'a b', iss: origin })
  const tokens = await redeem(app, end.params['code'] ?? '')
  t.match(tokens, { status: 200, body: { token_type: 'Bearer', expires_in: 600, scope: /^orders:read orders:write$/ } })
  const me = { id: 'ann', realm: 'web', roles: exactly() }
  t.match(await call(app, tokens.body.access_token), { status: 200, body: me })
  const next = await post(app, '/oauth/token', {
    grant_type: 'refresh_token', client_id: 'spa', refresh_token: tokens.body.refresh_token
  })
  t.match(next, { status: 200, body: { scope: /^orders:read orders:write$/ } })
  t.match(await call(app, next.body.access_token), { status: 200 })
})

t.test('a code that is used again ends its grant', async t => {
  const events = recordNamedEvents(t, 'token-issued', 'code-reused')
  const app = await serverApp(t)
  const code = await codeFor(app)
  const { body } = await redeem(app, code)
  t.match(await call(app, body.access_token), { status: 200 })
  t.match(await redeem(app, code), { status: 400, body: { error: 'invalid_grant' } })
  const person = { scheme: 'api', realm: 'web', id: 'ann' }
  t.match(events, [['token-issued', person], ['code-reused', { ...person, client: 'spa', grant: /./ }]])
  t.match(await call(app, body.access_token), { status: 401 })
  const other = await codeFor(app)
  const given = await redeem(app, other)
  t.equal((await redeem(app, other, { code_verifier: 'a'.repeat(43) })).status, 400)
  t.match(
    await call(app, given.body.access_token), { status: 401 },
    'a code that is used again ends the grant, even with a wrong verifier'
  )
})

t.test('a code that is used again ends its grant, and after ten minutes is forgotten', async t => {
  const clock = movableClock(t)
  for (const [minutes, status] of [[9, 401], [11, 200]] as const) {
    const app = await serverApp(t, { sign: { expiresIn: '1h' } })
    const code = await codeFor(app)
    const { body } = await redeem(app, code)
    clock.offset += minutes * 60_000
    t.match(await redeem(app, code), { status: 400, body: { error: 'invalid_grant' } })
    t.match(await call(app, body.access_token), { status }, `${minutes} minutes`)
  }
})
