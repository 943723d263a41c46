import t from 'tap'
import { openIdProvider } from '../oidc/provider.js'
import { Browser } from '../oidc/app.js'
import { quiet } from './app.js'

t.test('people log in with the provider of LOGIN_ISSUER, and log out there too', async t => {
  const origin = 'http://localhost:3000'
  const { issuer, person } = await openIdProvider(t, {
    client: {
      client_id: 'order-desk',
      client_secret: undefined,
      token_endpoint_auth_method: 'none',
      redirect_uris: [`${origin}/login/provider/callback`],
      post_logout_redirect_uris: [`${origin}/`]
    } as object
  })
  const { app } = await quiet({ LOGIN_ISSUER: issuer })
  const browser = new Browser(app, { [origin]: app })
  const page = await browser.visit(`${origin}/desk`)
  const [, href = ''] = /href="(\/login\/provider\?returnTo=[^"]+)"/.exec(page.body) ?? []
  person.id = 'ada'
  const desk = await browser.visit(`${origin}${href}`)
  t.match(desk, { status: 200, url: `${origin}/desk` })
  t.match(desk.body, /Ada/)
  const asked = await browser.visit(`${origin}/logout`, { method: 'POST', form: {} })
  t.match(asked.url, `${issuer}/session/end`)
  t.match((await browser.visit(`${origin}/desk`)).url, /\/login\?returnTo=/)
  person.id = 'nobody'
  t.equal((await new Browser(app, { [origin]: app }).visit(`${origin}/login/provider`)).status, 403)
})

t.test('without it, the login page has the form alone', async t => {
  const { app } = await quiet()
  t.notMatch((await app.inject('/login')).body, '/login/provider')
})
