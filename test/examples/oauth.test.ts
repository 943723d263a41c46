import t from 'tap'
import type { Example } from '../../examples/app.js'
import {
  authorizeQuery, basic, call, decide, fieldsOf, post, verifier, visit, type Fields
} from '../fixtures/oauth-client.js'
import { logIn, startQuiet, type Quiet } from './app.js'

const dashboard = { client_id: 'dashboard', redirect_uri: 'http://127.0.0.1:4000/callback', scope: 'orders:read' }
const agent = { client_id: 'agent', redirect_uri: 'http://localhost:5010/callback' }
const authorize = (client: Fields): string => `/oauth/authorize?${authorizeQuery(client)}`

/** Redeems a code of the dashboard, and returns its tokens. */
async function redeem ({ app, config }: Example, code = '') {
  const fields = { grant_type: 'authorization_code', code, code_verifier: verifier }
  const { status, body } = await post(app, '/oauth/token', fields, basic('dashboard', config.DASHBOARD_SECRET))
  return { status, ...body as { access_token: string, refresh_token: string } }
}

async function connect (desk: Quiet, cookie: string) {
  const { app } = desk
  const { answer, params } = await visit(app, authorize(dashboard), cookie)
  return await redeem(desk, params['code'] ?? (await decide(app, answer.body, cookie)).params['code'])
}

const page = async ({ app }: Quiet, cookie: string) => (await app.inject({ url: '/apps', headers: { cookie } })).body

t.test('programs of people refresh their tokens', async t => {
  const desk = await startQuiet()
  const { app, config } = desk
  const login = await app.inject({
    method: 'POST', url: '/api/token', payload: { username: 'ben', password: config.PEOPLE_PASSWORD }
  })
  t.match(login.json(), { token_type: 'Bearer', expires_in: 900, refresh_token: /^rt_/ })
  const refresh = async (token: string) =>
    await app.inject({ method: 'POST', url: '/api/token/refresh', payload: { refresh_token: token } })
  const next = await refresh(login.json().refresh_token)
  t.not(next.json().refresh_token, login.json().refresh_token)
  t.equal((await call(app, next.json().access_token, '/api/me')).status, 200)
  t.match(await refresh('rt_wrong'), { statusCode: 401, headers: { 'www-authenticate': /^Bearer realm="user"/ } })

  const { cookie } = await logIn(desk, 'ben')
  const [path = ''] = /\/apps\/tokens\/[\w-]+\/end/.exec(await page(desk, cookie)) ?? []
  const { cookie: other } = await logIn(desk, 'ada')
  t.equal((await post(app, path, {}, { cookie: other })).status, 404, 'not the tokens of somebody else')
  t.equal((await post(app, path, {}, { cookie })).status, 303)
  t.equal((await call(app, next.json().access_token, '/api/me')).status, 401)
  t.equal((await refresh(next.json().refresh_token)).statusCode, 401)
})

t.test('people connect an application, and disconnect it', async t => {
  const desk = await startQuiet()
  const { app } = desk
  const { cookie } = await logIn(desk, 'ben')
  t.match(await page(desk, cookie), 'You have not connected an application.')

  const { answer } = await visit(app, authorize(dashboard), cookie)
  t.match(answer.body, /<h1>Allow Sales dashboard\?<\/h1>[^]*<p>Ben Okafor, [^]*<li>Read orders<\/li>/)
  t.match(answer.body, '<code>127.0.0.1:4000</code>')
  t.notMatch(answer.body, 'Any program on this computer')
  t.match(answer.headers, { 'cache-control': 'no-store', 'x-frame-options': 'DENY' })
  t.match((await decide(app, answer.body, cookie, 'deny')).params, { error: 'access_denied' })

  const tokens = await connect(desk, cookie)
  t.match(await call(app, tokens.access_token, '/api/orders'), { status: 200 })
  t.match(await call(app, tokens.access_token, '/api/me'), { status: 403 }, 'not without a scope')
  t.match(await call(app, tokens.access_token, '/mcp'), { status: 401 }, 'the token is refused at another resource')
  t.equal((await connect(desk, cookie)).status, 200, 'without being asked again')
  t.match(await page(desk, cookie), /<th scope="row">Sales dashboard<\/th>\s*<td data-label="Scopes">orders:read<\/td>/)
  t.notMatch(await page(desk, (await logIn(desk, 'ada')).cookie), 'Sales dashboard')

  t.equal((await post(app, '/apps/dashboard/disconnect', {}, { cookie })).status, 303)
  t.equal((await call(app, tokens.access_token, '/api/orders')).status, 401)
  t.notMatch(await page(desk, cookie), 'Sales dashboard')
  t.match((await visit(app, authorize(dashboard), cookie)).answer.body, 'Allow Sales dashboard?')
})

t.test('a program without a secret is shown as such, and always asks', async t => {
  const desk = await startQuiet()
  const { cookie } = await logIn(desk, 'cleo')
  for (let i = 0; i < 2; i++) {
    const { answer } = await visit(desk.app, authorize(agent), cookie)
    t.match(answer.body, 'Any program on this computer can claim to be AI assistant.')
    t.match((await decide(desk.app, answer.body, cookie)).params, { code: /./ })
  }
})

t.test('a consent form is of no use after its session has ended', async t => {
  const desk = await startQuiet()
  const { app } = desk
  const { cookie } = await logIn(desk, 'ben')
  const { answer } = await visit(app, authorize(dashboard), cookie)
  await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })
  const html = { accept: 'text/html' }
  const ended = await post(app, '/oauth/consent', { ...fieldsOf(answer.body), decision: 'allow' }, { cookie, ...html })
  t.match(ended, { status: 303, headers: { location: /^\/login/ } })
  const { cookie: next } = await logIn(desk, 'ben')
  const reused = await post(app, '/oauth/consent', { ...fieldsOf(answer.body), decision: 'allow' }, { cookie: next })
  t.match(reused, { status: 400, body: /not of this session/ })
})
