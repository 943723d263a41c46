import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { transform } from 'esbuild'
import t, { type Test } from 'tap'
import { blocksOf, pages, textOf, titleOf, type Block } from './blocks.js'
import { prepareShell, runShell } from './shell.js'
import { stage } from './stage.js'

/**
 * Runs the `ts`, `js` and `sh` blocks of the README and of docs/. Two kinds of block are parsed and not run: `setup`
 * (what a reader does once, on their own machine) and, in pages about migration, `before` (the code that they have
 * today).
 */

const root = new URL('../../', import.meta.url)
const folder = new URL('.tap/docs/', root)

/** Languages of blocks that are not run. Any other word would be a mistake that readers do not notice. */
const shown = ['', 'json', 'sql', 'html', 'nginx', 'dockerfile', 'yaml', 'http']

rmSync(folder, { recursive: true, force: true })
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

/** Examples listen on a fixed port, which is replaced by a free one. */
const listen = Server.prototype.listen
Server.prototype.listen = function (this: Server, ...args: unknown[]) {
  const [options] = args
  if (typeof options === 'object' && options !== null && 'port' in options) {
    args[0] = { ...options, port: 0, host: '127.0.0.1' }
  }
  return Reflect.apply(listen, this, args) as Server
}
t.teardown(() => { Server.prototype.listen = listen })

/** Failed assertions are collected, because those in hooks may be caught. */
const failures: unknown[] = []
const { assert } = console
console.assert = (holds?: boolean, ...about: unknown[]) => {
  if (holds !== true) failures.push(new Error(`an example states something that is not true ${about.join(' ')}`))
}
t.teardown(() => { console.assert = assert })

/** Collects the tests that an example registers with node:test, whose own report would look like one of this file. */
const registered: Array<Promise<unknown>> = []
const afterwards: Array<() => unknown> = []
const nodeTest = {
  test: (...args: readonly unknown[]) => {
    const done = Promise.resolve((args.at(-1) as (t: unknown) => unknown)(nodeTest))
    registered.push(done)
    return done
  },
  after: (run: () => unknown) => { afterwards.push(run) }
}
Object.assign(globalThis, { nodeTest })
t.teardown(() => { Reflect.deleteProperty(globalThis, 'nodeTest') })
const withoutRunner = (code: string): string =>
  code.replace(/^import (\{.*\}) from 'node:test'$/m, 'const $1 = globalThis.nodeTest')

/** Runs a module of a page. If its first line is `// app.js`, later modules can import it by this name. */
async function runModule (test: Test, block: Block, here: URL): Promise<void> {
  const name = /^\/\/ ([\w-]+\.[jt]s)$/m.exec(block.code.split('\n', 1)[0] ?? '')?.[1]
  const module = new URL(name ?? `${block.line}.${block.language}`, here)
  const { app, close } = await stage(block.code)
  const shownApp = "export const __app = typeof app === 'undefined' ? undefined : app"
  writeFileSync(module, `${withoutRunner(block.code)}\n${shownApp}\n`)
  try {
    const { __app: own } = await import(module.href) as { __app?: typeof app }
    await (own ?? app).ready()
    while (registered.length > 0) await Promise.all(registered.splice(0))
    for (const run of afterwards.splice(0)) await run()
    if (own !== undefined && own !== app) await own.close()
    test.same(failures.splice(0), [], titleOf(block))
  } catch (error) {
    test.fail(titleOf(block), { error })
  } finally {
    await close()
  }
}

async function runCommands (test: Test, block: Block, here: URL): Promise<void> {
  const path = fileURLToPath(new URL('shell/', here))
  if (!existsSync(path)) prepareShell(path)
  const { code, output } = await runShell(block.code, path)
  test.equal(code, 0, `${titleOf(block)}\n${output}`)
}

async function parse (test: Test, block: Block, here: URL): Promise<void> {
  try {
    if (block.language !== 'sh') {
      const tsconfigRaw = { compilerOptions: { experimentalDecorators: true } }
      await transform(block.code, { loader: block.language as 'ts' | 'js', tsconfigRaw })
    } else {
      mkdirSync(here, { recursive: true })
      const { code, output } = await runShell(`set -n\n${block.code}`, fileURLToPath(here))
      if (code !== 0) throw new Error(output)
    }
    test.pass(`${titleOf(block)} parses`)
  } catch (error) {
    test.fail(`${titleOf(block)} parses`, { error })
  }
}

const runners: Readonly<Record<string, typeof runModule>> = { ts: runModule, js: runModule, sh: runCommands }

/**
 * Returns true for `curl` lines of the README's first example. The test of the package runs them against the packed
 * package.
 */
const isCurl = ({ code }: Block): boolean => code.startsWith('curl ')

for (const page of pages) {
  t.test(`${page}: every example works`, async test => {
    const here = new URL(`${page.replace(/\W/g, '-')}/`, folder)
    mkdirSync(here, { recursive: true })
    for (const block of blocksOf(page)) {
      const run = runners[block.language]
      if (run === undefined) test.ok(shown.includes(block.language), `${titleOf(block)}: ${block.language} is known`)
      else if (block.mark === 'setup' || (block.mark === 'before' && page === 'docs/moving.md')) {
        await parse(test, block, here)
      } else if (block.mark !== '') test.fail(`${titleOf(block)}: the mark ${block.mark} is unknown`)
      else if (page !== 'README.md' || !isCurl(block)) await run(test, block, here)
    }
  })
}

t.test('the prose of every page has at most 120 columns', async test => {
  for (const page of [...pages, 'CONTRIBUTING.md']) {
    const prose = textOf(page).replace(/^```[^]*?^```$/gm, block => block.replace(/.+/g, ''))
    const wide = prose.split('\n').flatMap((line, i) => line.length > 120 && !line.startsWith('|') ? [i + 1] : [])
    test.same(wide, [], page)
  }
})

t.test('every link between pages resolves, with its heading', async test => {
  for (const page of pages) {
    const from = new URL(page, root)
    for (const [, path = '', heading = ''] of textOf(page).matchAll(/\]\((?!https?:)([^)#]*)#?([^)]*)\)/g)) {
      const target = path === '' ? from : new URL(path, from)
      if (!existsSync(target)) test.fail(`${page} links to ${path}`)
      else if (heading !== '') {
        const name = target.href.slice(root.href.length)
        test.ok(headingsOf(textOf(name)).includes(heading), `${page} links to ${name}#${heading}`)
      }
    }
  }
})

t.test('every page leads to the start, for readers who come from a search engine', async test => {
  const links = [
    '[All pages](../README.md#documentation)', '[Getting started](getting-started.md)', '[Glossary](glossary.md)'
  ]
  for (const page of pages.filter(name => name !== 'README.md')) {
    const others = links.filter(link => !link.includes(`(${page.slice('docs/'.length)})`))
    test.equal(textOf(page).split('\n')[2], others.join(' · '), page)
  }
})

t.test('the README lists every page', async test => {
  const readme = textOf('README.md')
  for (const page of pages) if (page !== 'README.md') test.ok(readme.includes(`](${page})`), page)
})

t.test('every file and folder of the repository that a page names exists', async test => {
  for (const page of pages) {
    for (const [, path = ''] of textOf(page).matchAll(/`((?:test|lib|types|examples|bench)\/[\w./-]*)`/g)) {
      test.ok(existsSync(new URL(path, root)), `${page} names ${path}`)
    }
  }
})

/** Returns the anchors of a page's headings, as GitHub creates them. */
function headingsOf (text: string): readonly string[] {
  return [...text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#{1,6} (.+)$/gm)].map(([, title = '']) =>
    title.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-'))
}
