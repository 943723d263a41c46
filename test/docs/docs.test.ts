import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Server } from 'node:net'
import t from 'tap'
import { stage } from './stage.js'

/**
 * Runs every `ts` block of the README and of docs/: each is a module of its own, on a stage where what it takes for
 * granted is there.
 */

const root = new URL('../../', import.meta.url)
const folder = new URL('.tap/docs/', root)
const texts = [
  'README.md', ...readdirSync(new URL('docs/', root)).filter(file => file.endsWith('.md')).map(file => `docs/${file}`)
]

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

/** Examples listen on the port of an example; here, on a free one. */
const listen = Server.prototype.listen
Server.prototype.listen = function (this: Server, ...args: unknown[]) {
  const [options] = args
  if (typeof options === 'object' && options !== null && 'port' in options) {
    args[0] = { ...options, port: 0, host: '127.0.0.1' }
  }
  return Reflect.apply(listen, this, args) as Server
}
t.teardown(() => { Server.prototype.listen = listen })

/** Some stand in hooks, where what is thrown may be caught. */
const untrue: unknown[] = []
const { assert } = console
console.assert = (holds?: boolean, ...about: unknown[]) => {
  if (holds !== true) untrue.push(new Error(`an example says what is not so ${about.join(' ')}`))
}
t.teardown(() => { console.assert = assert })

/** Tests that an example registers with node:test, whose own report would be read as one of this file. */
const registered: Array<Promise<unknown>> = []
const nodeTest = {
  test: (...args: readonly unknown[]) => {
    const done = Promise.resolve((args.at(-1) as () => unknown)())
    registered.push(done)
    return done
  },
  after: (run: () => unknown) => { registered.push(Promise.all(registered).then(run)) }
}
Object.assign(globalThis, { nodeTest })
t.teardown(() => { Reflect.deleteProperty(globalThis, 'nodeTest') })
const withoutRunner = (code: string): string =>
  code.replace(/^import (\{.*\}) from 'node:test'$/m, 'const $1 = globalThis.nodeTest')

for (const file of texts) {
  t.test(`${file}: every example works`, async test => {
    const blocks = [
      ...readFileSync(new URL(file, root), 'utf8').matchAll(/^```ts\n(.*?)^```/gms)
    ].map(match => match[1] ?? '')
    for (const [i, code] of blocks.entries()) {
      const name = `${file} block ${i + 1}: ${code.trim().split('\n')[0]}`
      const { app, close } = await stage(code)
      const module = new URL(`${file.replace(/\W/g, '-')}-${i + 1}.ts`, folder)
      const shownApp = "export const __app = typeof app === 'undefined' ? undefined : app"
      writeFileSync(module, `${withoutRunner(code)}\n${shownApp}\n`)
      try {
        const shown = await import(module.href) as { __app?: typeof app }
        await (shown.__app ?? app).ready()
        await Promise.all(registered.splice(0))
        if (shown.__app !== undefined && shown.__app !== app) await shown.__app.close()
        test.same(untrue.splice(0), [], name)
      } catch (error) {
        test.fail(name, { error })
      } finally {
        await close()
      }
    }
    test.ok(blocks.length > 0 || file !== 'README.md', `${blocks.length} examples ran`)
  })
}

t.test('every link between pages resolves', async test => {
  for (const file of texts) {
    const from = new URL(file, root)
    for (const [, target = ''] of readFileSync(from, 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      test.doesNotThrow(() => readFileSync(new URL(target, from)), `${file} links to ${target}`)
    }
  }
})
