import { once } from 'node:events'
import t from 'tap'
import { freePort, openPage, withoutBrowser } from '../fixtures/browser.js'
import { bundle, spawnNode } from '../fixtures/programs.js'
import { onlyInSoak } from '../fixtures/size.js'
import { openIdProvider } from '../oidc/provider.js'
import { Browser } from '../oidc/app.js'
import { startQuiet } from './app.js'

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
  const { app } = await startQuiet({ LOGIN_ISSUER: issuer })
  const browser = new Browser(app, { [origin]: app })
  const page = await browser.visit(`${origin}/desk`)
  const [, href = ''] = /href="(\/login\/provider\?returnTo=[^"]+)"/.exec(page.body) ?? []
  person.id = 'ada'
  const desk = await browser.visit(`${origin}${href}`)
  t.match(desk, { status: 200, url: `${origin}/desk` })
  t.match(desk.body, /Ada/)
  const logout = await browser.visit(`${origin}/logout`, { method: 'POST', form: {} })
  t.match(logout.url, `${issuer}/session/end`)
  t.match((await browser.visit(`${origin}/desk`)).url, /\/login\?returnTo=/)
  person.id = 'nobody'
  t.equal((await new Browser(app, { [origin]: app }).visit(`${origin}/login/provider`)).status, 403)
})

t.test('without it, the login page has only the form', async t => {
  const { app } = await startQuiet()
  t.notMatch((await app.inject('/login')).body, '/login/provider')
})

t.test('in a browser, with npm run provider', {
  skip: onlyInSoak('opens the other pages in a browser') || withoutBrowser()
}, async t => {
  const [port, providerPort] = [await freePort(), await freePort()]
  const [at, issuer] = [`http://localhost:${port}`, `http://localhost:${providerPort}`]
  const provider = spawnNode([bundle('examples/provider.ts')], {
    env: { PATH: process.env['PATH'], PROVIDER_PORT: String(providerPort), PUBLIC_URL: at },
    stdio: ['ignore', 'pipe', 'ignore']
  })
  t.teardown(() => { provider.kill('SIGKILL') })
  await once(provider.stdout as NodeJS.EventEmitter, 'data')
  const { app } = await startQuiet({ PORT: String(port), LOGIN_ISSUER: issuer })
  await app.listen({ port, host: 'localhost' })
  const page = await openPage(t)

  await page.goto(`${at}/keys`)
  await page.getByRole('link', { name: /^Log in with/ }).click()
  await page.waitForURL(`${issuer}/interaction/**`)
  await page.getByPlaceholder('Enter any login').fill('ada')
  await page.getByPlaceholder('and password').fill('any')
  await page.getByRole('button', { name: 'Sign-in' }).click()
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.waitForURL(`${at}/keys`)
  t.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'API keys', 'back at the requested page')
  t.match(await page.locator('.account').textContent(), 'Ada Moreau')
  const session = (await page.context().cookies(at)).find(({ name }) => name === '__Host-web')
  t.match(session, { secure: true, httpOnly: true, sameSite: 'Lax' })

  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(`${issuer}/session/end**`)
  await page.getByRole('button', { name: /^Yes/ }).click()
  await page.waitForURL(`${at}/`)
  await page.goto(`${at}/keys`)
  t.match(page.url(), `${at}/login?returnTo=`, 'logged out here and there')
})
