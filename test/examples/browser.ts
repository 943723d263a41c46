import { createServer } from 'node:net'
import { chromium, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { browserPath } from './running.js'

const executablePath = browserPath()

/** The reason why a test cannot have a browser, or `false`. */
export function withoutBrowser (): string | false {
  if (process.env['GATEHOUSE_BROWSER'] === 'none') return 'GATEHOUSE_BROWSER is none'
  return executablePath === null && process.env['CI'] !== 'true' && 'no chromium on this machine'
}

/** Opens a page in a browser that is closed when the test ends. */
export async function openPage (t: Test, options: BrowserContextOptions = {}): Promise<Page> {
  const args = [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync'
  ]
  const browser = await chromium.launch({ executablePath: executablePath ?? '', headless: true, args })
  t.teardown(() => browser.close())
  const page = await (await browser.newContext(options)).newPage()
  page.setDefaultTimeout(120_000)
  return page
}

/** A port that nobody listens on, for an application that must know its own address before it listens. */
export async function freePort (): Promise<number> {
  return await new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => { resolve(port) })
    })
  })
}
