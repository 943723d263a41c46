import { once } from 'node:events'
import type { Page } from 'playwright-core'
import t from 'tap'
import { bundle, spawnNode } from '../fixtures/programs.js'
import { onlyInSoak } from '../fixtures/size.js'
import { startQuiet } from './app.js'
import { freePort, openPage, withoutBrowser } from '../fixtures/browser.js'

t.test('an application of somebody else, in a browser', {
  skip: onlyInSoak('opens the other pages in a browser') || withoutBrowser()
}, async t => {
  const desk = await startQuiet({ PORT: String(await freePort()) })
  const { app, config: { PORT, PUBLIC_URL, DASHBOARD_SECRET, PEOPLE_PASSWORD } } = desk
  await app.listen({ port: PORT, host: '127.0.0.1' })
  const port = await freePort()
  const home = `http://127.0.0.1:${port}`
  const client = spawnNode([bundle('examples/client.ts')], {
    env: { PATH: process.env['PATH'], ISSUER: PUBLIC_URL, CLIENT_PORT: String(port), DASHBOARD_SECRET },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(client, 'exit')
  t.teardown(() => { client.kill('SIGKILL') })
  t.match(String(await once(client.stdout as NodeJS.EventEmitter, 'data')), `Sales dashboard   ${home}`)
  const page = await openPage(t)
  const connect = async () => {
    await page.goto(home)
    await page.getByRole('link', { name: 'Connect the order desk' }).click()
  }

  await t.test('shows the orders of a person who logs in and allows it', async t => {
    await connect()
    await logIn(page, PEOPLE_PASSWORD)
    t.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'Allow Sales dashboard?')
    await page.getByRole('button', { name: 'Allow' }).click()
    await page.waitForURL(`${home}/`)
    t.equal(await page.getByRole('row').count(), 7)
    t.match(await page.locator('table').textContent(), /Hotel Miramar/)
  })

  await t.test('asks neither for the login nor for consent again', async t => {
    await page.context().clearCookies({ name: 'visit' })
    await connect()
    await page.waitForURL(`${home}/`)
    t.equal(await page.getByRole('row').count(), 7)
  })

  await t.test('loses access when the person disconnects it', async t => {
    await page.goto(`${PUBLIC_URL}/apps`)
    await page.getByRole('button', { name: 'Disconnect Sales dashboard' }).click()
    await page.getByText('You have not connected an application.').waitFor()
    await page.goto(home)
    t.equal(await page.getByRole('link', { name: 'Connect the order desk' }).count(), 1)
  })

  await t.test('says so if the person does not allow it', async t => {
    await connect()
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.waitForURL(`${home}/callback**`)
    t.equal(await page.getByRole('alert').textContent(), 'You did not allow it, so there is nothing to show.')
  })

  await t.test('is connected at a second try if the session ends on the consent page', async t => {
    await connect()
    await page.getByRole('button', { name: 'Allow' }).waitFor()
    await page.context().clearCookies({ name: '__Host-web' })
    await page.getByRole('button', { name: 'Allow' }).click()
    await logIn(page, PEOPLE_PASSWORD)
    await page.waitForURL(`${PUBLIC_URL}/desk`)
    await connect()
    await page.getByRole('button', { name: 'Allow' }).click()
    await page.waitForURL(`${home}/`)
    t.equal(await page.getByRole('row').count(), 7)
  })

  await t.test('ends on a signal', async t => {
    client.kill('SIGTERM')
    t.same(await ended, [0, null])
  })
})

async function logIn (page: Page, password: string): Promise<void> {
  await page.getByLabel('User name').fill('cleo')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}
