import { Validator } from '@seriousme/openapi-schema-validator'
import { chromium, type Locator, type Page } from 'playwright-core'
import t from 'tap'
import { quiet, tokenOf } from './app.js'
import { browserPath } from './running.js'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly security?: unknown }>>>>
  readonly components: { readonly securitySchemes: object }
}

const executablePath = browserPath()

function withoutBrowser (): string | false {
  if (process.env['GATEHOUSE_BROWSER'] === 'none') return 'GATEHOUSE_BROWSER is none'
  return executablePath === null && process.env['CI'] !== 'true' && 'no chromium on this machine'
}

t.test('the documentation', async t => {
  const desk = await quiet()
  const { app, config } = desk

  await t.test('is a valid document that says who may call each operation', async t => {
    const document = (await app.inject('/docs/json')).json<Document>()
    const { valid, errors } = await new Validator().validate({ ...structuredClone(document) })
    t.ok(valid, 'valid', { errors })
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

  await t.test('lets a person authorize in a browser, by key, token and password', {
    skip: withoutBrowser()
  }, async t => {
    await app.listen({ host: '127.0.0.1', port: 0 })
    const address = app.server.address()
    const args = [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'
    ]
    const browser = await chromium.launch({ executablePath: executablePath ?? '', headless: true, args })
    t.teardown(() => browser.close())
    const page = await browser.newPage({ viewport: { width: 1200, height: 1400 } })
    page.setDefaultTimeout(120_000)
    await page.goto(`http://localhost:${typeof address === 'object' ? address?.port : ''}/docs`)

    const ways: Array<[scheme: string, values: readonly string[], path: string]> = [
      ['service', [config.SHOP_KEY], '/api/orders'],
      ['user', [(await tokenOf(desk, 'ada')).replace('Bearer ', '')], '/api/me'],
      ['ops', ['ops', config.OPS_PASSWORD], '/ops/routes']
    ]
    for (const [scheme, values, path] of ways) {
      // without a credential, Basic makes the browser itself ask for one
      if (scheme !== 'ops') t.equal(await statusOf(page, path), 401, `${path} without a credential`)
      await authorize(page, scheme, values)
      t.equal(await statusOf(page, path), 200, `${path} with the scheme ${scheme}`)
      await logOut(page, scheme)
    }
  })
})

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
