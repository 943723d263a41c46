import { Validator } from '@seriousme/openapi-schema-validator'
import type { Locator, Page } from 'playwright-core'
import t from 'tap'
import { startQuiet, tokenOf } from './app.js'
import { freePort, openPage, withoutBrowser } from '../fixtures/browser.js'
import { onlyInSoak } from '../fixtures/size.js'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly security?: unknown }>>>>
  readonly components: { readonly securitySchemes: object }
}

t.test('the documentation', async t => {
  const desk = await startQuiet({ PORT: String(await freePort()) })
  const { app, config } = desk

  await t.test('is a valid document that says who may call each operation', async t => {
    const document = (await app.inject('/docs/json')).json<Document>()
    const { valid, errors } = await new Validator().validate({ ...structuredClone(document) })
    t.ok(valid, 'the document is valid', { errors })
    const at = (path: string, method = 'get') => document.paths[path]?.[method]
    t.strictSame(at('/health')?.security, [])
    const callers = ['user', 'client', 'own', 'service']
    t.strictSame(at('/api/orders')?.security, callers.map(name => ({ [name]: ['orders:read'] })))
    t.strictSame(at('/api/orders/{id}/ship', 'post')?.security, [{ service: ['orders:ship'] }])
    t.strictSame(at('/ops/routes')?.security, [{ ops: [] }])
    t.same(Object.keys(document.components.securitySchemes).sort(), ['client', 'ops', 'own', 'service', 'user', 'web'])
    const operations = Object.values(document.paths).flatMap(item => Object.values(item))
    t.same(operations.filter(each => each.security === undefined), [])
  })

  await t.test('lets a person authorize in a browser, by key, token, password and the authorization server', {
    skip: onlyInSoak('opens the other pages in a browser') || withoutBrowser()
  }, async t => {
    await app.listen({ host: '127.0.0.1', port: config.PORT })
    const page = await openPage(t, { viewport: { width: 1200, height: 1400 } })
    await page.goto(`${config.PUBLIC_URL}/docs`)

    const ways: Array<[scheme: string, values: readonly string[], path: string]> = [
      ['service', [config.SHOP_KEY], '/api/orders'],
      ['user', [(await tokenOf(desk, 'ada')).replace('Bearer ', '')], '/api/me'],
      ['ops', ['ops', config.OPS_PASSWORD], '/ops/routes']
    ]
    for (const [scheme, values, path] of ways) {
      // without a credential, HTTP Basic makes the browser itself ask for one
      if (scheme !== 'ops') t.equal(await statusOf(page, path), 401, `${path} without a credential`)
      await authorize(page, scheme, values)
      t.equal(await statusOf(page, path), 200, `${path} with the scheme ${scheme}`)
      await logOut(page, scheme)
    }

    t.equal(await statusOf(page, '/api/orders'), 401, 'without a credential again')
    await connect(page, config.PEOPLE_PASSWORD)
    t.equal(await statusOf(page, '/api/orders'), 200, 'with a token of the authorization server')
  })
})

/** Gets a token for the scheme `client` from the authorization server, with code and PKCE, in a window of its own. */
async function connect (page: Page, password: string): Promise<void> {
  await page.locator('.auth-wrapper > .btn.authorize').click()
  const form = page.locator('.auth-container').filter({ hasText: 'client (OAuth2, authorizationCode with PKCE)' })
  await form.getByText('select all').click()
  const opened = page.waitForEvent('popup')
  await form.getByRole('button', { name: 'Apply given OAuth2 credentials' }).click()
  const popup = await opened
  await popup.getByLabel('User name').fill('ben')
  await popup.getByLabel('Password').fill(password)
  await popup.getByRole('button', { name: 'Log in' }).click()
  const closed = popup.waitForEvent('close')
  await popup.getByRole('button', { name: 'Allow' }).click()
  await closed
  await form.getByRole('button', { name: 'Remove authorization' }).waitFor()
  await form.locator('.btn-done').click()
}

/** Opens the dialog of *Authorize*, and returns the form of one scheme. */
async function openForm (page: Page, scheme: string): Promise<Locator> {
  await page.locator('.auth-wrapper > .btn.authorize').click()
  const title = page.locator('h4 code', { hasText: new RegExp(`^${scheme}$`) })
  return page.locator('.auth-container').filter({ has: title })
}

/** Fills the form of one scheme in the dialog that *Authorize* opens. */
async function authorize (page: Page, scheme: string, values: readonly string[]): Promise<void> {
  const form = await openForm(page, scheme)
  for (const [i, value] of values.entries()) await form.locator('input').nth(i).fill(value)
  await form.getByRole('button', { name: 'Apply credentials' }).click()
  await form.locator('.btn-done').click()
}

async function logOut (page: Page, scheme: string): Promise<void> {
  const form = await openForm(page, scheme)
  await form.getByRole('button', { name: 'Remove authorization' }).click()
  await form.locator('.btn-done').click()
}

/** Executes a GET in the page, and returns the status that it shows. */
async function statusOf (page: Page, path: string): Promise<number> {
  const operation = page.locator('.opblock-get').filter({ has: page.locator(`[data-path="${path}"]`) })
  if (await operation.locator('.opblock-body').count() === 0) {
    await operation.locator('.opblock-summary-control').click()
  }
  const begin = operation.locator('.try-out__btn', { hasText: 'Try it out' })
  if (await begin.count() > 0) await begin.click()
  const response = page.waitForResponse(each => new URL(each.url()).pathname === path)
  await operation.locator('.btn.execute').click()
  await response
  await operation.locator('.live-responses-table .response-col_status').last().waitFor()
  return (await response).status()
}
